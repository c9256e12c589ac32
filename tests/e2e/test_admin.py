"""What only operators may see: /v1/weir/health and /v1/weir/plan."""

import json

import pytest

from harness.upstream import chat
from harness.weir import config, provider, virtual_key, wait_until

ADMIN = {"Authorization": "Bearer wk-admin-00001"}
USER = {"Authorization": "Bearer wk-user-000001"}
HEALTH = "/v1/weir/health"
PLAN = "/v1/weir/plan"


@pytest.fixture
def guarded(make_weir):
    keys = [
        virtual_key("ops", value="wk-admin-00001", admin=True),
        virtual_key("app", value="wk-user-000001", team="search"),
    ]
    return make_weir(config(keys=keys))


def test_only_admins_see_health(guarded):
    got = guarded.get(HEALTH, headers=ADMIN)
    assert got.status == 200 and got.json()["object"] == "list"
    assert got.headers.get("cache-control") == "no-store"
    refused = guarded.get(HEALTH, headers=USER)
    assert refused.status == 403
    assert refused.json()["error"]["code"] == "admin_only"
    assert b"wk-" not in refused.body
    assert guarded.get(HEALTH).status == 401


def test_an_open_gateway_shows_health_to_its_own_machine_alone(make_weir):
    assert make_weir(config()).get(HEALTH).status == 200
    exposed = make_weir(config(auth="none", listen=["127.0.0.1:0", "0.0.0.0:0"]))
    assert exposed.get(HEALTH).status == 403


def test_health_tells_how_each_key_is_doing(make_weir, upstream):
    upstream.handler = chat(["hello"])
    pool = [{"name": "only", "api_key": "sk-upstream-secret"}]
    row = provider(upstream, keys=pool)
    row.pop("api_key", None)
    gateway = make_weir(config({"up": row}))
    assert gateway.client().chat({"model": "up/m", "messages": []}).status == 200
    # What became of it is noted when the answer has left.
    wait_until(lambda: b'"ok"' in gateway.get(HEALTH + "?provider=up").body, 10, "its outcome")
    got = gateway.get(HEALTH + "?provider=up")
    assert b"secret" not in got.body
    [target] = got.json()["data"]
    assert (target["provider"], target["model"], target["key"]) == ("up", "m", "only")
    assert (target["verdict"], target["state"]) == ("go", "closed")
    assert target["attempts"] == 1 and target["outcomes"] == {"ok": 1}
    assert target["last_error"] is None and target["in_flight"] == 0
    assert gateway.get(HEALTH + "?provider=other").json()["data"] == []


# --- plans ---


def post(gateway, path, body, headers=()):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.client().ask("POST", path, raw, headers)


@pytest.fixture
def routed(make_weir):
    targets = [
        {"target": "sim/echo", "when": {"key.team": "search"}},
        {"target": "sim/lorem", "when": {"user": "ann"}},
        "sim/story",
    ]
    routes = {"r": {"strategy": "conditional", "targets": targets}}
    keys = [
        virtual_key("ops", value="wk-admin-00001", admin=True),
        virtual_key("app", value="wk-user-000001", team="search"),
    ]
    return make_weir(config(keys=keys, routes=routes))


def models_of(plan):
    return [step["model"] for step in plan["targets"] if step["is_in"]]


def test_a_plan_is_told_beforehand(routed):
    body = {"model": "r", "messages": [], "user": "ann"}
    plan = post(routed, PLAN, body, headers=ADMIN)
    assert plan.status == 200
    assert models_of(plan.json())[0] == "lorem"
    as_app = post(routed, PLAN + "?key=app", body, headers=ADMIN)
    assert models_of(as_app.json())[0] == "echo"
    assert post(routed, PLAN + "?key=nobody", body, headers=ADMIN).status == 400
    other = post(routed, PLAN, {"model": "r", "messages": []}, headers=ADMIN)
    assert models_of(other.json()) == ["story"]


def test_a_plan_of_another_dialect(routed):
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    plan = post(routed, PLAN + "?dialect=gemini&model=r", body, headers=ADMIN)
    assert plan.status == 200 and models_of(plan.json()) == ["story"]
    assert post(routed, PLAN + "?dialect=gemini", body, headers=ADMIN).status == 400
    assert post(routed, PLAN + "?dialect=latin", body, headers=ADMIN).status == 400


def test_a_name_that_leads_nowhere_is_a_plan_too(routed):
    plan = post(routed, PLAN, {"model": "nothing", "messages": []}, headers=ADMIN)
    assert plan.status == 200 and plan.json()["verdict"] != "ok"


def test_only_admins_see_plans(routed):
    body = {"model": "r", "messages": []}
    assert post(routed, PLAN, body, headers=USER).json()["error"]["code"] == "admin_only"
    assert post(routed, PLAN, body).status == 401
    assert post(routed, PLAN, b"[]", headers=ADMIN).status == 400
    assert post(routed, PLAN, {"messages": []}, headers=ADMIN).status == 400


def test_asking_for_a_plan_takes_nobodys_turn(make_weir):
    """Two targets, one after the other, however often somebody asks whose turn it is."""
    routes = {"r": {"strategy": "round_robin", "targets": ["sim/echo", "sim/lorem"]}}
    gateway = make_weir(config(routes=routes))
    body = {"model": "r", "messages": [{"role": "user", "content": "hi"}]}
    for turn in range(6):
        foreseen = {tuple(models_of(post(gateway, PLAN, body).json())) for _ in range(3)}
        assert len(foreseen) == 1
        first = foreseen.pop()[0]
        assert first == ("echo", "lorem")[turn % 2]
        assert gateway.chat(body).headers.get("x-weir-target") == f"sim/{first}"


def reasons_of(plan):
    return {step["model"]: step["reason"] for step in plan["targets"] if step["is_forbidden"]}


def test_a_plan_shows_what_the_key_may_not_use(make_weir):
    routes = {"r": {"strategy": "priority", "targets": ["sim/echo"], "fallbacks": {"general": ["sim/story"]}}}
    keys = [
        virtual_key("ops", value="wk-admin-00001", admin=True),
        virtual_key("app", value="wk-user-000001", models=["r", "sim/lorem"]),
    ]
    gateway = make_weir(config(keys=keys, routes=routes))
    body = {"model": "r", "messages": [], "fallbacks": ["sim/lorem", "sim/story"]}
    own = post(gateway, PLAN + "?key=app", body, headers=ADMIN).json()
    assert reasons_of(own) == {"story": "the key may not use it"}
    assert models_of(own) == ["echo", "lorem"] and own["verdict"] == "ok"
    all_of_it = post(gateway, PLAN, body, headers=ADMIN).json()
    assert models_of(all_of_it) == ["echo", "lorem", "story"] and not reasons_of(all_of_it)
    by_name = {"model": "sim/echo", "messages": []}
    none = post(gateway, PLAN + "?key=app", by_name, headers=ADMIN).json()
    assert none["verdict"] == "forbidden" and not models_of(none)
    assert gateway.chat(by_name, headers=USER).status == 403


def test_an_admin_who_names_no_key_asks_in_his_own_name(make_weir):
    keys = [virtual_key("ops", value="wk-admin-00001", admin=True, models=["sim/lorem"])]
    gateway = make_weir(config(keys=keys))
    body = {"model": "sim/echo", "messages": []}
    assert post(gateway, PLAN, body, headers=ADMIN).json()["verdict"] == "forbidden"
    assert gateway.chat(body, headers=ADMIN).status == 403
