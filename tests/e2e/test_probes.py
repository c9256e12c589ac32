"""Where a route wants it, the gateway looks by itself how the route's targets are."""

import pytest

from harness import model
from harness.weir import config, provider, wait_until

CHAT = {"model": "r", "messages": [{"role": "user", "content": "world"}]}
LIST = {"object": "list", "data": [{"id": "m", "object": "model"}]}


class Provider:
    """OpenAI-like; fails while `is_down`."""

    def __init__(self):
        self.is_down = False
        self.lists = self.chats = 0
        self.keys = set()
        self.bodies = []

    def __call__(self, call):
        self.keys.add(call.request.headers.get("authorization"))
        if call.request.method == "GET":
            self.lists += 1
        else:
            self.chats += 1
            self.bodies.append(call.request.json())
        if self.is_down:
            call.reply(503, {"error": {"message": "Down.", "type": "server_error"}})
        elif call.request.method == "GET":
            call.reply(200, LIST)
        else:
            model.OpenAIChat()(call)


PATHS = {"chat": "/chat/completions"}
LISTING = PATHS | {"models": "/models"}


@pytest.fixture
def probed(make_weir, make_upstream):
    def make(paths=LISTING, interval="200ms", more_keys=(), **more):
        a = Provider()
        row = provider(make_upstream(a).url, paths=paths, auth={"kind": "bearer"})
        if more_keys:
            row.pop("api_key", None)
            row["keys"] = [{"name": n, "api_key": f"sk-upstream-{n}"} for n in more_keys]
        route = {
            "targets": ["a/m"],
            "probe_interval": interval,
            "retries": 0,
            "breaker": {"failures": 2, "open": "300ms"},
        }
        return make_weir(config({"a": row}, routes={"r": route}, **more)), a

    return make


def test_a_dead_target_is_known_before_a_client_meets_it(probed):
    weir, a = probed()
    a.is_down = True
    wait_until(lambda: weir.metric("weir_probes_total", result="failed") >= 2, what="two probes")
    got = weir.chat(CHAT)
    assert got.status == 503 and a.chats == 0
    assert "failed too often" in got.json()["error"]["message"]


def test_a_breaker_closes_without_traffic(probed):
    weir, a = probed()
    a.is_down = True
    wait_until(lambda: weir.metric("weir_probes_total", result="failed") >= 2, what="two probes")
    a.is_down = False
    good = weir.metric("weir_probes_total", result="ok")
    wait_until(lambda: weir.metric("weir_probes_total", result="ok") > good, what="a good probe")
    assert a.chats == 0
    assert weir.chat(CHAT).status == 200


def test_a_provider_without_a_list_is_asked_for_a_token(probed):
    weir, a = probed(paths=PATHS)
    wait_until(lambda: weir.metric("weir_probes_total", result="ok") >= 2, what="two probes")
    assert a.lists == 0
    assert all(b["max_tokens"] == 1 and b["model"] == "m" for b in a.bodies)
    assert weir.log_entries(2, probe=True)[0]["outcome"] == "ok"
    assert weir.metric("weir_requests_total", operation="chat") == 0
    a.is_down = True
    wait_until(lambda: weir.metric("weir_probes_total", result="failed") >= 2, what="two probes")
    a.is_down = False
    good = weir.metric("weir_probes_total", result="ok")
    wait_until(lambda: weir.metric("weir_probes_total", result="ok") > good, what="a good probe")
    assert weir.chat(CHAT).status == 200


def test_every_key_is_looked_at(probed):
    weir, a = probed(more_keys=("one", "two", "three"))
    want = {f"Bearer sk-upstream-{n}" for n in ("one", "two", "three")}
    wait_until(lambda: a.keys >= want, what="each key was used")


def test_nobody_is_probed_unasked(probed):
    weir, a = probed(interval="0s")
    with weir.client() as client:
        for _ in range(20):
            assert client.chat(CHAT).status == 200
    assert a.lists == 0 and weir.metric("weir_probes_total", result="ok") == 0


def test_a_path_that_is_unknown_condemns_nobody(make_weir, make_upstream):
    def handle(call):
        if call.request.method == "GET":
            call.reply(404, {"error": {"message": "No such path."}})
        else:
            model.OpenAIChat()(call)

    row = provider(make_upstream(handle).url, paths=LISTING)
    route = {"targets": ["a/m"], "probe_interval": "100ms", "retries": 0}
    weir = make_weir(config({"a": row}, routes={"r": route}))
    wait_until(lambda: weir.metric("weir_probes_total", result="ok") >= 3, what="three probes")
    assert weir.chat(CHAT).status == 200


def test_a_reload_ends_the_probes_of_the_old_config(make_weir, make_upstream):
    a = Provider()
    row = provider(make_upstream(a).url, paths=LISTING, auth={"kind": "bearer"})
    route = {"targets": ["a/m"], "probe_interval": "100ms"}
    weir = make_weir(config({"a": row}, routes={"r": route}))
    wait_until(lambda: a.lists >= 2, what="two probes")
    weir.write_config(config({"a": row}, routes={"r": route | {"probe_interval": "0s"}}))
    weir.signal(1)
    wait_until(lambda: weir.metric("weir_config_generation") == 2, what="the new config")
    before = weir.metric("weir_probes_total", result="ok") + 1  # one may have been under way
    with weir.client() as client:
        for _ in range(50):
            client.chat(CHAT)
    assert weir.metric("weir_probes_total", result="ok") <= before


def test_a_shutdown_does_not_wait_for_probes(make_weir, make_upstream):
    hung = []

    def handle(call):
        hung.append(call)
        call.wait_hang_up()

    row = provider(make_upstream(handle).url, paths=LISTING)
    route = {"targets": ["a/m"], "probe_interval": "100ms"}
    weir = make_weir(config({"a": row}, routes={"r": route}))
    wait_until(lambda: hung, what="a probe is under way")
    weir.signal(15)
    assert weir.wait_exit(5) == 0
