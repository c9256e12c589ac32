"""What a client sees at the end of a stream that its provider did not end well: one end, good or bad,
in the words of its dialect and where its stream stands."""

import json
import struct
import threading

import pytest

from harness import model, sse
from harness.model import CALL_IDS, Reply
from harness.rawhttp import ask
from harness.weir import config

from .test_continuation import BREAKS, ERRORS, TEXT, delivered, events_of
from .test_failover import KEY_HEADER, QUICK, Failing, keys, ms, row

COHERE_ERROR = (
    b'event: message-end\ndata: {"type":"message-end","delta":{"finish_reason":"ERROR",'
    b'"error":"It broke."}}\n\ndata: [DONE]\n\n'
)
GARBLED = b'data: {"a\n\n'


def error_event(kind, call):
    if kind.dialect == "bedrock":
        call.write(model.event_frame("serviceUnavailableException", {"message": "no"}, "exception"))
    else:
        call.write((ERRORS | {"cohere": COHERE_ERROR})[kind.dialect])
    call.end()


WAYS = {
    "eof": BREAKS["early EOF"],
    "cut": BREAKS["cut"],
    "stall": BREAKS["stall"],
    "corrupt": BREAKS["corrupt"],
    "error": error_event,
}


# --- clients that look at the events themselves ---

SAY = {"messages": [{"role": "user", "content": "tell"}], "stream": True}
FUNCTION = {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}


def request_of(kind, name, with_tool=False):
    """(path, body)"""
    tool = {"type": "function", "function": FUNCTION}
    of_kind = {
        "openai_chat": ("/v1/chat/completions", SAY | {"model": name}, tool),
        "openai_responses": (
            "/v1/responses",
            {"model": name, "input": "tell", "stream": True},
            FUNCTION | {"type": "function", "strict": False},
        ),
        "anthropic": (
            "/v1/messages",
            SAY | {"model": name, "max_tokens": 500},
            {"name": "get_weather", "input_schema": FUNCTION["parameters"]},
        ),
        "gemini": (
            f"/v1beta/models/{name.replace('/', '%2F')}:streamGenerateContent?alt=sse",
            {"contents": [{"role": "user", "parts": [{"text": "tell"}]}]},
            {"functionDeclarations": [{"name": "get_weather"}]},
        ),
        "bedrock": (
            f"/model/{name.replace('/', '%2F')}/converse-stream",
            {"messages": [{"role": "user", "content": [{"text": "tell"}]}]},
            {"toolSpec": {"name": "get_weather", "inputSchema": {"json": FUNCTION["parameters"]}}},
        ),
        "cohere": ("/v2/chat", SAY | {"model": name}, tool),
    }
    path, body, tool = of_kind[kind.dialect]
    if with_tool and kind.dialect == "bedrock":
        body = body | {"toolConfig": {"tools": [tool]}}
    elif with_tool:
        body = body | {"tools": [tool]}
    return path, body


def frames_of(body):
    """(name, payload) of each message of an AWS event stream."""
    out = []
    while body:
        length, head = struct.unpack(">II", body[:8])
        name, at = None, 12
        while at < 12 + head:
            key = body[at + 1 : at + 1 + body[at]].decode()
            at += 2 + body[at]
            (size,) = struct.unpack(">H", body[at : at + 2])
            value = body[at + 2 : at + 2 + size].decode()
            at += 2 + size
            name = value if key in (":event-type", ":exception-type") else name
        out.append((name, json.loads(body[12 + head : length - 4])))
        body = body[length:]
    return out


def read(kind, body):
    """(name, payload) of each event; [DONE] is a name."""
    if kind.dialect == "bedrock":
        return frames_of(body)
    out = []
    for event in sse.split(body):
        if event.is_done:
            out.append(("[DONE]", {}))
        elif event.has_data:
            assert event.raw.endswith(b"\n"), "half an event"
            value = event.json()
            out.append((value.get("type") or event.name.decode(), value))
    return out


def is_error(kind, name, value):
    if kind.dialect == "bedrock":
        return name.endswith("Exception")
    if kind.dialect == "cohere":
        return name == "message-end" and value["delta"]["finish_reason"] in ("ERROR", "TIMEOUT")
    if kind.dialect in ("openai_chat", "gemini"):
        return "error" in value
    return name == "error"


def is_start(kind, name, value):
    starts = {
        "openai_responses": "response.created",
        "anthropic": "message_start",
        "bedrock": "messageStart",
        "cohere": "message-start",
    }
    if kind.dialect == "openai_chat":
        return any("role" in c["delta"] for c in value.get("choices", []))
    return name == starts.get(kind.dialect)


def is_good_end(kind, name, value):
    ends = {
        "openai_chat": "[DONE]",
        "openai_responses": "response.completed",
        "anthropic": "message_stop",
        "bedrock": "metadata",
    }
    if kind.dialect == "gemini":
        return any("finishReason" in c for c in value.get("candidates", []))
    if kind.dialect == "cohere":
        return name == "message-end" and not is_error(kind, name, value)
    return name == ends[kind.dialect]


def finished_calls(kind, events):
    """What says that a call is whole."""
    calls = {
        v.get("index", v.get("contentBlockIndex"))
        for n, v in events
        if n == "contentBlockStart"
        or (n == "content_block_start" and v["content_block"]["type"] == "tool_use")
    }

    def finishes(name, value):
        if kind.dialect == "openai_chat":
            return any(c["finish_reason"] for c in value.get("choices", []))
        if name == "response.output_item.done":
            return value["item"]["type"] == "function_call"
        if name in ("content_block_stop", "contentBlockStop"):
            return value.get("index", value.get("contentBlockIndex")) in calls
        return (
            name in ("tool-call-end", "response.function_call_arguments.done")
            or "functionCall" in json.dumps(value)
        )

    return [(n, v) for n, v in events if finishes(n, v)]


def check_bad_end(kind, body):
    """One beginning, one error, in order; nothing comes after it."""
    events = read(kind, body)
    names = [n for n, _ in events]
    errors = [i for i, (n, v) in enumerate(events) if is_error(kind, n, v)]
    assert len(errors) == 1, names
    assert sum(is_start(kind, n, v) for n, v in events) == (kind.dialect != "gemini"), names
    assert not any(is_good_end(kind, n, v) for n, v in events), names
    after = {"openai_responses": ["response.failed"], "cohere": ["[DONE]"]}
    assert names[errors[0] + 1 :] == after.get(kind.dialect, [])
    if kind.dialect == "openai_responses":
        assert [v["sequence_number"] for _, v in events] == list(range(len(events)))
        created, failed = events[0][1]["response"], events[-1][1]["response"]
        assert failed["status"] == "failed" and failed["error"]
        assert [failed[k] for k in ("id", "created_at", "model")] == [
            created[k] for k in ("id", "created_at", "model")
        ]
    return events


# --- providers ---


class Ending(Failing):
    """Sends the answer up to an event, and then what `how` does."""

    def __init__(self, kind, how, until):
        super().__init__(kind)
        self.kind, self.how, self.until = kind, how, until

    def __call__(self, call):
        self.calls += 1
        asked = self.behind.read(json.loads(call.request.body), call.request.target)
        call_of = (CALL_IDS[0], "get_weather", {"city": "Paris", "days": 5})
        reply = Reply(calls=[call_of]) if asked.tools else Reply(text=TEXT)
        events = events_of(self.kind, self.behind.stream(reply))
        call.start(200, {"Content-Type": self.behind.stream_type})
        call.write(b"".join(events[: self.until(events)]))
        self.how(self.kind, call)


def name_of(kind, way):
    return f"{kind.dialect.replace('_', '-')}-{way}"


def half(after):
    return lambda events: after


def all_but_last(events):
    return len(events) - 1


CALL_BEGINS = {
    "openai_chat": b'"tool_calls"',
    "openai_responses": b"response.output_item.added",
    "anthropic": b'"tool_use"',
    "bedrock": b"contentBlockStart",
    "cohere": b"tool-call-start",
}


def within_the_call(kind, pieces):
    """Up to where the call has begun, or half of its arguments were told."""
    more = pieces + (pieces > 0 and kind.dialect == "anthropic")  # whose first piece is empty

    def until(events):
        (at, *_) = (i for i, e in enumerate(events) if CALL_BEGINS[kind.dialect] in e)
        return at + 1 + more

    return until


@pytest.fixture
def ending(make_weir, make_upstream):
    """A gateway before the providers that are given by name."""

    def make(providers, **routing):
        rows = {name: row(make_upstream(up), up.kind) for name, up in providers.items()}
        policy = QUICK | {
            "retries": 0,
            "mid_stream": "terminate",
            "timeouts": {"first_byte": ms(3000), "stall": ms(300)},
        }
        return make_weir(config(rows, keys=keys(), routing=policy | routing))

    return make


def post(weir, kind, name, with_tool=False, **headers):
    path, body = request_of(kind, name, with_tool)
    return ask(weir.port, "POST", path, body, KEY_HEADER | headers)


def stream(weir, kind, name, **headers):
    got = post(weir, kind, name, **headers)
    assert got.status == 200, got.body
    return got.body


every_client = pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)


# --- streams in the client's own dialect ---


@every_client
def test_an_error_comes_where_the_stream_stands(ending, kind):
    """No second beginning, and the numbers go on."""
    weir = ending({name: Ending(kind, how, half(9)) for name, how in WAYS.items()})
    for name in WAYS:
        body = stream(weir, kind, f"{name}/m")
        if name == "corrupt" and kind.dialect != "bedrock":
            body = body.replace(GARBLED, b"")  # as it came
        if name == "error" and kind.dialect == "openai_responses":
            # It is the provider's own, of its own number, and there is no other.
            assert body.count(b'"type":"error"') == 1 and b"response.failed" not in body
        else:
            check_bad_end(kind, body)


@every_client
def test_a_providers_own_error_is_the_only_one(ending, kind):
    def then_cut(kind, call):
        call.end, end = lambda: None, call.end
        error_event(kind, call)
        call.end = end
        call.close()

    weir = ending({"up": Ending(kind, then_cut, half(9))})
    events = read(kind, stream(weir, kind, "up/m"))
    assert sum(is_error(kind, n, v) for n, v in events) == 1
    assert weir.log_entries(1, operation="chat")[0]["outcome"] == "stream_broken"


@pytest.mark.parametrize("how", ["eof", "cut", "stall"])
@every_client
def test_the_last_event_is_there_when_all_was_said(ending, kind, how):
    """The provider broke off between its reason to finish and its last event."""
    weir = ending({"up": Ending(kind, WAYS[how], all_but_last)})
    events = read(kind, stream(weir, kind, "up/m"))
    names = [n for n, _ in events]
    is_told_last = kind.dialect in ("openai_responses", "gemini")  # the reason is the last event
    assert sum(is_error(kind, n, v) for n, v in events) == is_told_last, names
    assert sum(is_good_end(kind, n, v) for n, v in events) == (not is_told_last), names
    whole = read(kind, kind().stream(Reply(text=TEXT)))
    if not is_told_last:  # but for the usage, which was not asked for
        assert names == [n for n, v in whole if kind.dialect != "openai_chat" or v.get("choices") != []]
    (line,) = weir.log_entries(1, operation="chat")
    assert line["outcome"] == ("stream_broken" if is_told_last else "ok")


@pytest.mark.parametrize("kind", [m for m in model.MODELS if m.dialect != "bedrock"],
                         ids=lambda m: m.dialect)  # fmt: skip
def test_a_last_event_that_nothing_terminates_counts(ending, kind):
    """It arrives as it came, and is no reason to call the answer broken."""
    whole = kind().stream(Reply(text=TEXT)).rstrip(b"\r\n")

    def drop_blank_line(_, call):
        call.write(whole)
        call.end()

    weir = ending({"up": Ending(kind, drop_blank_line, half(0))})
    body = stream(weir, kind, "up/m")
    assert body.endswith(whole[whole.rindex(b"data:") :])
    assert sum(is_good_end(kind, n, v) for n, v in read(kind, body + b"\n\n")) == 1
    assert weir.log_entries(1, operation="chat")[0]["outcome"] == "ok"


# --- calls that were cut ---


@pytest.mark.parametrize("pieces", [0, 1])
@every_client
def test_a_call_that_was_cut_never_looks_finished(ending, kind, pieces):
    """Whoever answers, and however it breaks off."""
    others = [m for m in model.MODELS if m.dialect != "gemini"]  # whose calls come in one piece
    ways = {name: how for name, how in WAYS.items() if name != "stall"}
    weir = ending(
        {
            name_of(other, name): Ending(other, how, within_the_call(other, pieces))
            for other in others
            for name, how in ways.items()
        }
    )
    for other in others:
        for name in ways:
            got = post(weir, kind, f"{name_of(other, name)}/m", with_tool=True)
            if got.status >= 500 and pieces == 0:
                continue  # the head had not left yet
            body = got.body
            if other is kind and name == "corrupt":
                body = body.replace(GARBLED, b"")  # as it came
            events = read(kind, body)
            assert finished_calls(kind, events) == [], (other.dialect, name)
            assert sum(is_error(kind, n, v) for n, v in events) == 1, (other.dialect, name)


# --- translated streams ---


def lose_one(kind, call):
    """One event is no JSON; all the others come."""
    events = events_of(kind, kind().stream(Reply(text=TEXT)))
    call.write(b"".join(events[:8] + [GARBLED] + events[9:]))
    call.end()


@every_client
def test_a_garbled_event_of_a_translated_stream_is_an_error(ending, kind):
    """Not an answer with a hole in it."""
    others = [m for m in model.MODELS if m is not kind and m.dialect != "bedrock"]
    weir = ending({other.dialect: Ending(other, lose_one, half(0)) for other in others})
    for other in others:
        check_bad_end(kind, stream(weir, kind, f"{other.dialect}/m"))


# --- going on ---


@pytest.mark.parametrize("first", [model.OpenAIResponses, model.OpenAIChat, model.Cohere],
                         ids=lambda m: m.dialect)  # fmt: skip
@pytest.mark.parametrize("wish", ["continue", "restart"])
@every_client
def test_where_nobody_goes_on_the_error_follows_what_was_sent(
    make_weir, make_upstream, kind, first, wish
):
    def refuse(behind, call):
        call.reply(500, behind.error(500))

    a, b = Ending(first, WAYS["eof"], half(9)), Failing(model.OpenAIChat, refuse)
    rows = {"a": row(make_upstream(a), first), "b": row(make_upstream(b), model.OpenAIChat)}
    routes = {"r": {"targets": ["a/m", "b/m"]}}
    weir = make_weir(config(rows, keys=keys(), routes=routes, routing=QUICK))
    body = stream(weir, kind, "r", **{"x-weir-resume": wish})
    check_bad_end(kind, body)
    assert b.calls > 0


def test_nobody_goes_on_who_lacks_what_came_before(make_weir, make_upstream):
    """The first turns are kept by the provider that broke off: without them it is another question."""
    kind = model.OpenAIResponses
    a, b = Ending(kind, WAYS["cut"], half(12)), Failing(model.Anthropic)
    rows = {"a": row(make_upstream(a), kind), "b": row(make_upstream(b), model.Anthropic)}
    routes = {"r": {"targets": ["a/m", "b/m"]}}
    weir = make_weir(config(rows, keys=keys(), routes=routes, routing=QUICK))
    path, body = request_of(kind, "r", False)
    got = ask(weir.port, "POST", path, body | {"previous_response_id": "resp_before"}, KEY_HEADER)
    check_bad_end(kind, got.body)
    assert (a.calls, b.calls) == (1, 0)
    (line,) = weir.log_entries(1, operation="chat")
    assert line["outcome"] == "stream_broken"


def test_a_claude_that_goes_on_is_asked_for_the_same_features(make_weir, make_upstream):
    class GoingOn(model.Anthropic):
        def decide(self, asked, body):
            return Reply(text=TEXT[max(len(delivered(body)) - 120, 0) :])

    kind, behind = model.OpenAIChat, Failing(GoingOn)
    upstream = make_upstream(behind)
    rows = {"a": row(make_upstream(Ending(kind, WAYS["cut"], half(12))), kind),
            "b": row(upstream, GoingOn)}  # fmt: skip
    routes = {"r": {"targets": ["a/m", "b/m"]}}
    weir = make_weir(config(rows, keys=keys(), routes=routes, routing=QUICK))
    beta = "context-1m-2025-08-07"
    assert sse.text_of(stream(weir, kind, "r", **{"anthropic-beta": beta})) == TEXT
    assert beta in upstream.requests[-1].headers.get("anthropic-beta", "")


def test_who_does_not_offer_it_is_not_asked_to_go_on(make_weir, make_upstream):
    class GoingOn(model.Anthropic):
        def decide(self, asked, body):
            return Reply(text=TEXT[max(len(delivered(body)) - 120, 0) :])

    kind, asked = model.OpenAIChat, threading.Event()
    a, c = Ending(kind, WAYS["cut"], half(12)), Failing(GoingOn)

    def b(call):
        asked.set()
        call.reply(404, {"error": {"message": "no such path"}})

    rows = {
        "a": row(make_upstream(a), kind),
        "b": row(make_upstream(b), kind) | {"paths": {"models": "/v1/models"}},
        "c": row(make_upstream(c), GoingOn),
    }
    routes = {"r": {"targets": ["a/m", "b/m", "c/m"]}}
    weir = make_weir(config(rows, keys=keys(), routes=routes, routing=QUICK))
    assert sse.text_of(stream(weir, kind, "r")) == TEXT
    assert not asked.is_set() and c.calls == 1
    (line,) = weir.log_entries(1, operation="chat")
    assert line["provider"] == "c" and line["continued"] == 1
    assert [f["target"] for f in line["failed"]] == ["a/m"]  # nobody else is blamed
