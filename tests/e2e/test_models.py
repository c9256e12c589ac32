"""GET /v1/models and /v1/models/{id}."""

import json

import pytest

from harness import recordings
from harness.upstream import answer
from harness.weir import alias, config, provider, virtual_key

LIST = {
    "object": "list",
    "data": [
        {"id": "alpha", "object": "model", "created": 1, "owned_by": "x", "context_window": 1e5},
        {"id": "org/beta", "object": "model", "created": 2, "owned_by": "y"},
    ],
}


def ids(answer_):
    return [m["id"] for m in answer_.json()["data"]]


@pytest.fixture
def gateway(make_weir, upstream, make_upstream):
    upstream.handler = answer(LIST)
    dead = make_upstream(answer({"error": {"message": "no"}}, 500))
    return make_weir(
        config(
            {
                "up": provider(upstream),
                "fixed": provider("http://127.0.0.1:1/v1", models=["one", "two", "any-*"]),
                "dead": provider(dead),
            },
            models={"fast": alias("up/alpha")},
            keys=[
                virtual_key("all", value="wk-all-00000001"),
                virtual_key("some", value="wk-some-0000001", models=["fast", "up/a*"]),
            ],
        )
    )


def test_every_model_is_listed_by_the_name_it_is_asked_by(gateway, upstream):
    got = gateway.get("/v1/models", key="wk-all-00000001")
    assert got.status == 200 and got.json()["object"] == "list"
    found = ids(got)
    assert {"fast", "up/alpha", "up/org/beta", "fixed/one", "fixed/two"} <= set(found)
    assert not any("*" in i for i in found) and len(found) == len(set(found))
    by_id = {m["id"]: m for m in got.json()["data"]}
    assert by_id["up/alpha"]["context_window"] == 1e5  # what the provider says is kept
    for model in got.json()["data"]:
        assert model["object"] == "model" and "owned_by" in model and "created" in model
    assert "dead" in got.headers.get("x-weir-partial")
    assert upstream.requests[0].target == "/v1/models"
    assert upstream.requests[0].headers.get("authorization") == "Bearer sk-upstream-secret"
    assert upstream.requests[0].body == b""
    # Each listed name works as it stands.
    upstream.handler = answer(b"{}")
    for name in ("up/alpha", "up/org/beta", "fast"):
        body = {"model": name, "messages": []}
        assert gateway.client().chat(body, key="wk-all-00000001").status == 200


def test_a_key_sees_only_its_models(gateway):
    assert ids(gateway.get("/v1/models", key="wk-some-0000001")) == ["fast", "up/alpha"]
    got = gateway.get("/v1/models?provider=up", key="wk-some-0000001")
    assert got.status == 200 and "up/alpha" in ids(got) and b"beta" not in got.body
    assert gateway.get("/v1/models/up/org/beta", key="wk-some-0000001").status == 403


def test_one_model(gateway, upstream):
    upstream.handler = answer(LIST["data"][0])
    got = gateway.get("/v1/models/up/alpha", key="wk-all-00000001")
    assert got.status == 200 and got.json()["id"] in ("alpha", "up/alpha")
    assert upstream.requests[-1].target == "/v1/models/alpha"
    got = gateway.get("/v1/models/nothing-like-this", key="wk-all-00000001")
    assert got.status == 404 and got.error["code"] == "model_not_found"
    got = gateway.get("/v1/models/up/org/beta", key="wk-some-0000001")
    assert got.status in (403, 404)


def test_lists_are_not_fetched_anew_for_every_client(gateway, upstream):
    for _ in range(10):
        gateway.get("/v1/models", key="wk-all-00000001")
    assert len(upstream.requests) <= 2  # at most once a thread


def test_head_has_the_length_and_no_body(gateway):
    with gateway.client() as client:
        got = client.ask("HEAD", "/v1/models", key="wk-all-00000001")
        assert got.status == 200 and int(got.headers.get("content-length")) > 100
        assert client.ask("GET", "/healthz").status == 200


RECORDED = [r for r in recordings.load("openai.models", "groq.models", "mistral.models")]


@pytest.mark.skipif(not RECORDED, reason=f"no recorded traffic in {recordings.folder()}")
@pytest.mark.parametrize("recording", RECORDED, ids=str)
def test_recorded_lists_come_through(make_weir, upstream, rng, recording):
    """The provider's own list byte for byte (?provider=), each of its models in the common one."""
    upstream.handler = lambda call: call.reply(
        recording.status, recording.response_body, recording.response_headers, rng=rng
    )
    name = recording.api.partition(".")[0]
    weir = make_weir(config({name: provider(upstream, paths={"models": "/models"})}))
    if recording.path.endswith("/models"):
        got = weir.get(f"/v1/models?provider={name}")
    else:
        got = weir.get("/v1/models/" + name + "/" + recording.path.rpartition("/")[2])
    assert got.status == recording.status
    assert got.body == recording.response_body
    if recording.status == 200 and recording.path.endswith("/models"):
        wanted = [m["id"] for m in json.loads(recording.response_body)["data"]]
        found = ids(weir.get("/v1/models"))
        assert [i for i in found if i.startswith(name + "/")] == [f"{name}/{w}" for w in wanted]
