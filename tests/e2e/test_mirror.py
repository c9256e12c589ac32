"""A sample of the requests is sent to a second target as well; the client never notices."""

import json
import threading

import pytest

from harness import model, sdk
from harness.weir import config, provider, virtual_key, wait_until

CHAT = {"model": "r", "messages": [{"role": "user", "content": "world"}]}


class Counted:
    """A provider that can be told what to do in place of an answer."""

    def __init__(self, kind, instead=None):
        self.behind, self.instead, self.calls = kind(), instead, 0

    def __call__(self, call):
        self.calls += 1
        (self.instead or self.behind)(call)


def row(upstream, kind):
    return provider(
        upstream.url,
        dialect=kind.dialect,
        paths=dict(kind.paths),
        auth={"kind": "bearer"},
        quirks={"reasoning_field": "reasoning_content"},
    )


@pytest.fixture
def mirrored(make_weir, make_upstream):
    """(weir, provider, mirror): the route "r" copies `percent` of its requests."""

    def make(
        kind=model.OpenAIChat, candidate=None, percent=100, target="b/m", instead=None, **more
    ):
        a, b = Counted(kind), Counted(candidate or kind, instead)
        rows = {"a": row(make_upstream(a), kind), "b": row(make_upstream(b), candidate or kind)}
        routes = {
            "r": {"targets": ["a/m"], "mirror": {"target": target, "percent": percent}},
            "next": {"targets": ["b/m"], "mirror": {"target": "a/m", "percent": 100}},
        }
        key = virtual_key("py", value=sdk.KEY, models=["r", "next"])
        routing = {"backoff": "5ms", "breaker": {"failures": 0}}
        return make_weir(config(rows, keys=[key], routes=routes, routing=routing, **more)), a, b

    return make


def post(weir, **more):
    return weir.chat(CHAT | more, key=sdk.KEY)


def request_id(got):
    return got.headers.get("x-weir-request-id")


@pytest.mark.parametrize("stream", [False, True])
def test_a_copy_goes_to_the_mirror_and_is_logged(mirrored, stream):
    weir, a, b = mirrored()
    got = post(weir, stream=stream)
    assert got.status == 200 and got.headers.get("x-weir-target") == "a/m"
    lines = weir.log_entries(2, pair=request_id(got))
    told = next(x for x in lines if "mirror" not in x)
    copy = next(x for x in lines if x.get("mirror"))
    assert told["request_id"] == copy["pair"] != copy["request_id"]
    assert told["provider"] == "a" and copy["provider"] == "b"
    assert copy["outcome"] == "ok" and copy["key"] == "py" and copy["stream"] is stream
    assert copy["output_tokens"] == told["output_tokens"] > 0 and copy["duration_ms"] > 0
    assert (a.calls, b.calls) == (1, 1)
    assert weir.metric("weir_mirrors_total") == 1
    assert weir.metric("weir_requests_total", operation="chat") == 1


def test_the_client_gets_what_it_would_get_without(mirrored):
    weir, a, b = mirrored(percent=100)
    plain, *_ = mirrored(percent=0)
    for stream in (False, True):
        with_copy, without = post(weir, stream=stream), post(plain, stream=stream)
        assert with_copy.body == without.body
        own = {"x-weir-overhead-us", "x-weir-request-id", "date"}
        assert set(with_copy.headers.names()) - own == set(without.headers.names()) - own


def test_the_mirror_may_speak_another_dialect(mirrored):
    weir, a, b = mirrored(candidate=model.Anthropic)
    got = post(weir)
    copy = weir.log_entries(1, pair=request_id(got), mirror=True)[0]
    assert copy["outcome"] == "ok" and copy["upstream_dialect"] == "anthropic"


def test_a_mirror_that_is_slow_holds_nobody_up(mirrored):
    gate = threading.Event()

    def wait(call):
        while not gate.is_set():
            call.sleep(0.01)
        model.OpenAIChat()(call)

    weir, a, b = mirrored(instead=wait)
    with weir.client() as client:
        for _ in range(20):
            assert client.chat(CHAT, key=sdk.KEY).status == 200
    wait_until(lambda: b.calls == 20, what="all copies are under way")
    assert not weir.log_entries(0, mirror=True)
    gate.set()
    assert all(x["outcome"] == "ok" for x in weir.log_entries(20, mirror=True))


def refuse(call):
    call.reply(500, {"error": {"message": "No.", "type": "server_error"}})


def reset(call):
    call.reset()


@pytest.mark.parametrize("instead", [refuse, reset], ids=["500", "reset"])
def test_a_mirror_that_fails_harms_nobody(mirrored, instead):
    weir, a, b = mirrored(instead=instead)
    got = post(weir)
    assert got.status == 200 and "x-weir-failed" not in got.headers
    copy = weir.log_entries(1, pair=request_id(got), mirror=True)[0]
    assert copy["outcome"] == "upstream_error"
    assert weir.metric("weir_requests_total", operation="chat") == 1


def test_the_rate_is_exact_at_both_ends(mirrored):
    weir, a, b = mirrored(percent=0)
    none = [post(weir) for _ in range(30)]
    assert b.calls == 0 and not any(
        weir.log_entries(0, pair=request_id(got)) for got in none
    )
    weir, a, b = mirrored(percent=100)
    for _ in range(30):
        post(weir)
    assert len(weir.log_entries(30, mirror=True)) == 30 and b.calls == 30


def test_a_share_is_about_right(mirrored):
    weir, a, b = mirrored(percent=50)
    with weir.client() as client:
        for _ in range(200):
            client.chat(CHAT, key=sdk.KEY)
    count = weir.metric("weir_mirrors_total")
    assert 60 <= count <= 140  # 5.6 standard deviations


def test_there_are_only_so_many_at_a_time(mirrored):
    gate = threading.Event()

    def wait(call):
        while not gate.is_set():
            call.sleep(0.02)
        model.OpenAIChat()(call)

    weir, a, b = mirrored(instead=wait, threads=1)
    with weir.client() as client:
        for _ in range(70):
            assert client.chat(CHAT, key=sdk.KEY).status == 200
    assert weir.metric("weir_mirrors_total") == 64
    assert weir.metric("weir_mirrors_dropped_total") == 6
    gate.set()
    weir.log_entries(64, mirror=True)


def test_a_mirror_is_not_mirrored(mirrored):
    """The mirror is a route that would copy everything back."""
    weir, a, b = mirrored(target="next")
    got = post(weir)
    copy = weir.log_entries(1, pair=request_id(got), mirror=True)[0]
    assert copy["route"] == "next" and copy["provider"] == "b"
    assert (a.calls, b.calls) == (1, 1)


def test_a_client_that_hangs_up_leaves_the_copy_alone(mirrored):
    gate = threading.Event()
    weir, a, b = mirrored()

    def wait(call):
        call.wait_hang_up()

    def later(call):
        while not gate.is_set():
            call.sleep(0.01)
        model.OpenAIChat()(call)

    a.instead, b.instead = wait, later
    with weir.client() as client:
        body = json.dumps(CHAT).encode()
        client.send(client.build("POST", "/v1/chat/completions", body, key=sdk.KEY))
        wait_until(lambda: (a.calls, b.calls) == (1, 1), what="both are asked")
    assert weir.log_entries(1, outcome="client_gone")
    gate.set()
    assert weir.log_entries(1, mirror=True)[0]["outcome"] == "ok"


def test_a_shutdown_does_not_wait_for_mirrors(mirrored):
    weir, a, b = mirrored(instead=lambda call: call.wait_hang_up())
    assert post(weir).status == 200
    wait_until(lambda: b.calls == 1, what="the mirror is asked")
    weir.signal(15)
    assert weir.wait_exit(5) == 0
