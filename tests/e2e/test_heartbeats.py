"""A path between client and gateway that cuts what is silent: something is always sent in time."""

import json
import threading

import pytest

from harness import model, sdk
from harness.sse import text_of
from harness.weir import config, patience

from .test_continuation import BREAKS, TEXT, Breaking, events_of, going_on, sdk_of
from .test_failover import KEY_HEADER, QUICK, Failing, client_of, keys, ms, row, status

EARLY = {"early_head": "150ms", "timeouts": {"first_byte": ms(3000)}}


def slow(seconds, then=None):
    def handle(behind, call):
        call.sleep(seconds)
        (then or (lambda behind, call: behind(call)))(behind, call)

    return handle


@pytest.fixture
def two(make_weir, make_upstream):
    def make(kind, fault, second=None, **routing):
        a, b = Failing(kind, fault), Failing(second or kind)
        rows = {"a": row(make_upstream(a), kind), "b": row(make_upstream(b), second or kind)}
        settings = config(
            rows,
            keys=keys(),
            routes={"r": {"targets": ["a/m", "b/m"]}},
            routing=QUICK | EARLY | routing,
            timeouts={"heartbeat": "100ms"},
        )
        return make_weir(settings), a, b

    return make


@pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)
def test_a_head_leaves_before_the_provider_has_answered(two, kind):
    weir, a, b = two(kind, slow(0.8))
    client = client_of(sdk_of(kind.dialect), weir)
    assert client.stream("world").text == "Hello world!"
    assert weir.metric("weir_stream_heartbeats_total") >= (0 if kind.dialect == "bedrock" else 2)


@pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)
def test_a_failure_after_an_early_head_is_not_seen(two, kind):
    weir, a, b = two(kind, slow(0.4, status(503)))
    assert client_of(sdk_of(kind.dialect), weir).stream("world").text == "Hello world!"
    assert (a.calls, b.calls) == (1, 1)


@pytest.mark.parametrize("second", model.MODELS, ids=lambda m: m.dialect)
def test_nor_one_whose_successor_speaks_another_dialect(two, second):
    for client in sdk.SDKS:
        kind = next(m for m in model.MODELS if m.dialect == client.name)
        weir, a, b = two(kind, slow(0.3, status(500)), second)
        assert client_of(client, weir).stream("world").text == "Hello world!"


@pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)
def test_when_all_fail_after_an_early_head_the_stream_says_so(two, kind):
    weir, a, b = two(kind, slow(0.3, status(503)))
    b.fault = status(500)
    with pytest.raises(Exception):  # noqa: B017 - each SDK has its own
        answer = client_of(sdk_of(kind.dialect), weir).stream("world")
        assert answer.text or answer.calls, "an end without an answer"
    (line,) = weir.log_entries(1, operation="chat")
    assert line["outcome"] == "upstream_error"


def test_a_whole_answer_to_a_stream_with_an_early_head(two):
    def whole(behind, call):
        call.sleep(0.3)
        call.reply(200, behind.whole(behind.decide(behind.read(call.request.json(), ""), {})))

    weir, a, b = two(model.Anthropic, whole)
    got = client_of(sdk_of("openai_chat"), weir).stream("world")
    assert got.text == "Hello world!"


def streamed(behind, call):
    body = call.request.json()
    return behind.stream(behind.decide(behind.read(body, call.request.target), body))


@pytest.mark.parametrize("how", ["reset", "early EOF", "error", "corrupt"])
@pytest.mark.parametrize("policy", ["terminate", "continue"])
@pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)
def test_nor_a_stream_that_breaks_before_its_first_event(two, kind, policy, how):
    if how == "error" and kind.dialect == "cohere":
        pytest.skip("it has no error event")

    def break_later(behind, call):
        call.start(200, {"Content-Type": behind.stream_type})
        call.sleep(0.4)
        BREAKS[how](behind, call)

    weir, a, b = two(kind, break_later, mid_stream=policy, timeouts={"stall": ms(700)})
    got = client_of(sdk_of(kind.dialect), weir).stream("world")
    assert got.text == "Hello world!"
    assert (a.calls, b.calls) == (1, 1)
    (line,) = weir.log_entries(1, operation="chat")
    assert line["outcome"] == "ok" and line["provider"] == "b" and line["attempts"] == 2
    assert weir.metric("weir_streams_continued_total") == 0


@pytest.mark.parametrize("openings", [0, 1])
def test_a_head_leaves_early_though_the_provider_has_sent_its_own(two, openings):
    """What has come of the stream stays here until it says something."""
    gate = threading.Event()

    def stop(behind, call):
        call.start(200, {"Content-Type": behind.stream_type})
        for event in events_of(behind, streamed(behind, call))[:openings]:
            call.write(event)
        gate.wait(30 * patience())
        call.reset()

    # The first heartbeat would let openings go; the head leaves before.
    early = {"early_head": "20ms", "timeouts": {"stall": ms(30000)}}
    weir, a, b = two(model.OpenAIChat, stop, mid_stream="terminate", **early)
    body = {"model": "r", "stream": True, "messages": [{"role": "user", "content": "world"}]}
    with weir.client() as peer:
        peer.deadline(30 * patience())
        data = json.dumps(body).encode()
        peer.send(peer.build("POST", "/v1/chat/completions", data, headers=KEY_HEADER))
        head = peer.head()
        assert head.status == 200 and "x-weir-target" not in head.headers
        pieces = peer.pieces(head)
        assert next(pieces) == next(pieces) == b": heartbeat\n\n"
        gate.set()
        assert text_of(b"".join(pieces)) == "Hello world!"
    assert (a.calls, b.calls) == (1, 1)


def test_without_the_wish_the_head_waits(two):
    def refuse(behind, call):
        call.reply(400, {"error": {"message": "No.", "type": "invalid_request_error"}})

    weir, a, b = two(model.OpenAIChat, slow(0.5, refuse), early_head="0s")
    got = weir.chat({"model": "r", "stream": True, "messages": [{"role": "user", "content": "x"}]},
                    headers=KEY_HEADER)  # fmt: skip
    assert got.status == 400


def test_heartbeats_while_the_next_provider_is_waited_for(make_weir, make_upstream):
    a = Breaking(model.OpenAIChat, "reset", 12)
    b = Failing(going_on(model.OpenAIChat), slow(1.0))
    rows = {"a": row(make_upstream(a), model.OpenAIChat), "b": row(make_upstream(b), model.OpenAIChat)}
    settings = config(
        rows,
        keys=keys(),
        routes={"r": {"targets": ["a/m", "b/m"]}},
        routing=QUICK | {"timeouts": {"first_byte": ms(5000)}},
        timeouts={"heartbeat": "100ms"},
    )
    weir = make_weir(settings)
    assert client_of(sdk_of("openai_chat"), weir).stream("tell").text == TEXT
    assert weir.metric("weir_stream_heartbeats_total") >= 4
