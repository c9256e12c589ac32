"""A provider breaks off in the middle of its answer: another goes on, and the client cannot tell."""

import json
import struct
import time

import pytest

from harness import model, sdk
from harness.model import CALL_IDS, Reply
from harness.sse import text_of
from harness.weir import config

from .test_failover import KEY_HEADER, QUICK, Failing, client_of, keys, ms, row

TEXT = (
    "Rivers are the memory of a landscape — they keep what rain has told them. Over thousands of "
    "years a stream cuts through sandstone, then slate, and at last through granite; each bend "
    "remembers a flood, each terrace a drought. “Grüße aus dem Tal”, wrote a surveyor in 1871, "
    "and counted 128 bridges before noon. Nobody has counted them since. 🌊 The end."
)


def strings_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from strings_of(v)
    elif isinstance(value, list):
        for v in value:
            yield from strings_of(v)


def delivered(body):
    """What the request says has been answered already: the longest beginning of TEXT in it."""
    beginnings = [s for s in strings_of(body) if s and TEXT.startswith(s)]
    return max(beginnings, key=len, default="")


def going_on(kind):
    """A model that knows TEXT: it goes on where the request stops, from some words before."""

    class GoingOn(kind):
        def decide(self, asked, body):
            if asked.tools:
                return Reply(calls=[(CALL_IDS[0], asked.tools[0], {"city": "Paris", "days": 5})])
            done = delivered(body)
            return Reply(text=TEXT[max(len(done) - 120, 0) :] if done else TEXT)

    GoingOn.__name__ = kind.__name__
    return GoingOn


def events_of(kind, body):
    """The stream cut into its events."""
    if kind.dialect != "bedrock":
        blank = b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n\n"
        return [e + blank for e in body.split(blank) if e]
    out = []
    while body:
        (length,) = struct.unpack(">I", body[:4])
        out.append(body[:length])
        body = body[length:]
    return out


ERRORS = {
    "openai_chat": b'data: {"error":{"message":"Overloaded","type":"overloaded_error"}}\n\n',
    "openai_responses": b'event: error\ndata: {"type":"error","sequence_number":99,'
    b'"error":{"type":"server_error","code":"server_error","message":"It broke."}}\n\n',
    "anthropic": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
    b'"message":"Overloaded"}}\n\n',
    "gemini": b'data: {"error":{"code":503,"message":"Overloaded","status":"UNAVAILABLE"}}\n\n',
}


def in_band_error(kind, call):
    if kind.dialect == "bedrock":
        frame = model.event_frame("serviceUnavailableException", {"message": "no"}, "exception")
        call.write(frame)
    elif kind.dialect in ERRORS:
        call.write(ERRORS[kind.dialect])
    call.end()


def corrupt(kind, call):
    good = model.event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x"}})
    call.write(good[:-1] + bytes([good[-1] ^ 1]) if kind.dialect == "bedrock" else b'data: {"a\n\n')
    call.wait_hang_up(20)


BREAKS = {
    "reset": lambda kind, call: call.reset(),
    "early EOF": lambda kind, call: call.end(),
    "cut": lambda kind, call: call.close(),
    "error": in_band_error,
    "stall": lambda kind, call: call.wait_hang_up(20),
    "corrupt": corrupt,
}


class Breaking(Failing):
    """Breaks off after so many events of each stream."""

    def __init__(self, kind, how, after):
        super().__init__(going_on(kind))
        self.kind, self.how, self.after = kind, how, after

    def __call__(self, call):
        self.calls += 1
        body = json.loads(call.request.body)
        asked = self.behind.read(body, call.request.target)
        stream = self.behind.stream(self.behind.decide(asked, body))
        call.start(200, {"Content-Type": self.behind.stream_type})
        for event in events_of(self.kind, stream)[: self.after]:
            call.write(event)
        time.sleep(0.02)  # so that what was sent has been relayed
        BREAKS[self.how](self.kind, call)


@pytest.fixture
def broken(make_weir, make_upstream):
    """(weir, the provider that breaks off, the one that goes on) behind the route "r"."""

    def make(first, second, how, after, **routing):
        a, b = Breaking(first, how, after), Failing(going_on(second))
        rows = {"a": row(make_upstream(a), first), "b": row(make_upstream(b), second)}
        policy = QUICK | {"timeouts": {"first_byte": ms(2000), "stall": ms(400)}} | routing
        routes = {"r": {"targets": ["a/m", "b/m"]}}
        return make_weir(config(rows, keys=keys(), routes=routes, routing=policy)), a, b

    return make


def sdk_of(dialect):
    return next(s for s in sdk.SDKS if s.name == dialect)


def check_log(weir):
    (line,) = weir.log_entries(1, operation="chat")
    assert line["continued"] == 1 and line["provider"] == "b" and line["outcome"] == "ok"
    assert line["attempts"] == 2 and line["failed"][0]["target"] == "a/m"
    assert weir.metric("weir_streams_continued_total") == 1


@pytest.mark.parametrize("second", model.MODELS, ids=lambda m: m.dialect)
@pytest.mark.parametrize("first", model.MODELS, ids=lambda m: m.dialect)
def test_a_text_goes_on(broken, first, second):
    weir, a, b = broken(first, second, "reset", 20)
    assert client_of(sdk_of(first.dialect), weir).stream("tell").text == TEXT
    assert (a.calls, b.calls) == (1, 1)
    check_log(weir)


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("first", model.MODELS, ids=lambda m: m.dialect)
def test_however_it_breaks(broken, first, how):
    if how == "error" and first.dialect == "cohere":
        pytest.skip("Cohere's streams have no error event")
    weir, a, b = broken(first, model.OpenAIChat, how, 12)
    assert client_of(sdk_of(first.dialect), weir).stream("tell").text == TEXT
    check_log(weir)


@pytest.mark.parametrize("after", [1, 2, 3, 4, 6, 9, 40, 58, 60, 62, 64])
@pytest.mark.parametrize("first", model.MODELS, ids=lambda m: m.dialect)
def test_wherever_it_breaks(broken, first, after):
    weir, a, b = broken(first, model.Anthropic, "cut", after)
    assert client_of(sdk_of(first.dialect), weir).stream("tell").text == TEXT


@pytest.mark.parametrize("after", range(2, 9))
@pytest.mark.parametrize("first", model.MODELS, ids=lambda m: m.dialect)
def test_a_call_is_whole_or_an_error(broken, first, after):
    """What was delivered of a call is repeated by the second provider word for word."""
    weir, a, b = broken(first, model.OpenAIChat, "reset", after)
    answer = client_of(sdk_of(first.dialect), weir).stream("weather", "tools")
    assert [(n, dict(v)) for _, n, v in answer.calls] == [
        (sdk.TOOL, {"city": "Paris", "days": 5})
    ]


def test_the_other_side_may_be_translated(broken):
    """The first answer was translated as well: the journal is the client's dialect either way."""
    for client in sdk.SDKS:
        weir, a, b = broken(model.Gemini, model.Bedrock, "reset", 15)
        assert client_of(client, weir).stream("tell").text == TEXT


def test_a_second_break_is_mended_too(make_weir, make_upstream):
    first, second = Breaking(model.OpenAIChat, "reset", 12), Breaking(model.Anthropic, "cut", 30)
    third = Failing(going_on(model.Cohere))
    kinds = {"a": (first, model.OpenAIChat), "b": (second, model.Anthropic), "c": (third, model.Cohere)}
    rows = {name: row(make_upstream(up), kind) for name, (up, kind) in kinds.items()}
    routes = {"r": {"targets": ["a/m", "b/m", "c/m"]}}
    weir = make_weir(config(rows, keys=keys(), routes=routes, routing=QUICK))
    assert client_of(sdk_of("openai_chat"), weir).stream("tell").text == TEXT
    (line,) = weir.log_entries(1, operation="chat")
    assert line["continued"] == 2


@pytest.mark.parametrize("first", model.MODELS, ids=lambda m: m.dialect)
def test_where_nobody_goes_on_the_client_is_told(broken, first):
    weir, a, b = broken(first, model.OpenAIChat, "reset", 12)
    b.fault = lambda behind, call: call.reply(500, behind.error(500))
    with pytest.raises(Exception):  # noqa: B017 - each SDK has its own
        client_of(sdk_of(first.dialect), weir).stream("tell")


def test_what_does_not_join_is_an_error(broken):
    """The second model begins anew: it is not passed off as the rest."""
    weir, a, b = broken(model.OpenAIChat, model.OpenAIChat, "reset", 12)
    b.behind.decide = lambda asked, body: Reply(text="Something else altogether. " * 200)
    with pytest.raises(Exception):  # noqa: B017
        client_of(sdk_of("openai_chat"), weir).stream("tell")
    (line,) = weir.log_entries(1, operation="chat")
    assert line["outcome"] == "stream_broken"


def test_terminate_is_an_error_at_once(broken):
    weir, a, b = broken(model.OpenAIChat, model.OpenAIChat, "reset", 12, mid_stream="terminate")
    with pytest.raises(Exception):  # noqa: B017
        client_of(sdk_of("openai_chat"), weir).stream("tell")
    assert b.calls == 0


def test_usage_is_the_sum(broken):
    weir, a, b = broken(model.Anthropic, model.Anthropic, "reset", 20)
    answer = client_of(sdk_of("anthropic"), weir).stream("tell")
    (line,) = weir.log_entries(1, operation="chat")
    assert line["usage_partial"] is True
    assert answer.output_tokens >= model.USAGE["output"]
    assert line["input_tokens"] > model.USAGE["input"]


def test_a_client_may_want_the_answer_anew(broken):
    weir, a, b = broken(model.OpenAIChat, model.Anthropic, "reset", 12)
    body = {"model": "r", "stream": True, "messages": [{"role": "user", "content": "tell"}]}
    got = weir.chat(body, headers=KEY_HEADER | {"x-weir-resume": "restart"})
    before, reset, after = got.body.partition(b"event: weir.reset\n")
    assert reset and 0 < len(text_of(before)) < len(TEXT)
    assert text_of(after.partition(b"\n\n")[2]) == TEXT
    assert "assistant" not in json.dumps([body for _, body, _ in b.behind.asked])
