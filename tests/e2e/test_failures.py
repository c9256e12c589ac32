"""Providers that fail, stall, lie or break off, and clients that leave."""

import json
import threading
import time

import pytest

from harness import sse
from harness.rawhttp import Closed
from harness.upstream import answer, chat, stream
from harness.weir import config, patience, provider

CHAT = {"model": "up/m", "messages": []}
STREAM = CHAT | {"stream": True}


def gateway(make_weir, upstream, **timeouts):
    return make_weir(config({"up": provider(upstream)}, timeouts=timeouts))


def stream_error(body):
    """The error event that ends a stream; asserts that it is a well-formed, final one."""
    messages = sse.messages(body)
    assert b"[DONE]" not in messages, body
    error = json.loads(messages[-1])["error"]
    assert error["message"] and "type" in error and "code" in error
    return error


# --- errors before the first byte ---


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (400, {}, {"message": "bad", "type": "invalid_request_error", "param": "n", "code": None}),
        (401, {}, {"message": "who?", "type": "authentication_error", "code": "invalid_api_key"}),
        (402, {}, {"message": "pay", "code": 402}),
        (404, {}, {"message": "no such model", "code": "model_not_found"}),
        (413, {}, {"message": "too large"}),
        (422, {}, {"message": "cannot"}),
        (429, {"Retry-After": "7", "x-ratelimit-remaining-requests": "0"}, {"code": "429"}),
        (500, {}, {"message": "oops", "type": "server_error"}),
        (503, {"Retry-After": "120"}, {"message": "overloaded"}),
        (529, {}, {"message": "overloaded", "type": "overloaded_error"}),
    ],
)
def test_D4_L19_a_providers_error_keeps_status_body_and_retry_after(
    weir, upstream, status, headers, error, is_stream
):
    body = json.dumps({"error": error}, indent=1).encode()
    upstream.handler = answer(body, status, headers)
    got = weir.chat(CHAT | {"stream": is_stream})
    assert (got.status, got.body) == (status, body)
    for name, value in headers.items():
        assert got.headers.get(name) == value
    assert len(upstream.requests) == 1  # one target: nothing was tried twice behind the back
    entry = weir.log_entries(1, operation="chat")[0]
    assert entry["status"] == entry["upstream_status"] == status


@pytest.mark.parametrize("status", [400, 403, 500, 502, 503])
def test_D4_an_html_error_page_becomes_a_json_error(weir, upstream, status):
    page = b"<html><head><title>cloudflare</title></head><body>sorry</body></html>"
    upstream.handler = answer(page, status, {"Content-Type": "text/html", "Retry-After": "3"})
    got = weir.chat(CHAT)
    assert got.status == status
    assert got.headers.get("content-type") == "application/json"
    assert got.headers.get("retry-after") == "3"
    assert "cloudflare" in got.error["message"] and str(status) in got.error["message"]


def test_D4_an_error_inside_a_200_is_an_error(weir, upstream):
    upstream.handler = answer({"error": {"message": "insufficient_quota", "code": 429}})
    got = weir.chat(CHAT)
    assert got.status >= 400
    assert got.error_message == "insufficient_quota"


@pytest.mark.parametrize("name", [b"event: error\n", b""])
def test_S3_an_error_as_first_event_of_a_stream_is_an_error_answer(weir, upstream, name):
    error = {"error": {"message": "Rate limit reached", "type": "tokens", "param": None,
                       "code": "rate_limit_exceeded", "status_code": 429}}  # fmt: skip
    upstream.handler = stream(name + sse.event(error))
    got = weir.chat(STREAM)
    assert got.status >= 400, got.body
    assert got.headers.get("content-type").startswith("application/json")
    assert got.json()["error"]["message"] == "Rate limit reached"


def test_an_empty_stream_is_no_success(weir, upstream):
    upstream.handler = stream(b"")
    got = weir.chat(STREAM)
    assert got.status == 502 and got.error["type"] == "server_error"


def test_comments_alone_are_no_stream(weir, upstream):
    upstream.handler = stream(b": processing\n\n: processing\n\n")
    assert weir.chat(STREAM).status == 502


def test_nobody_listens_there(make_weir, make_upstream):
    gone = make_upstream()
    gone.stop()
    weir = make_weir(config({"up": provider(gone)}))
    got = weir.chat(CHAT)
    assert got.status == 502
    assert got.error["code"] == "upstream_unreachable" and "up" in got.error["message"]


def test_a_name_that_does_not_resolve(make_weir):
    weir = make_weir(config({"up": provider("http://does-not-exist.invalid/v1")}))
    got = weir.chat(CHAT)
    assert got.status == 502 and got.error["code"] == "upstream_unreachable"


@pytest.mark.parametrize("is_stream", [False, True])
def test_no_answer_in_time_is_a_504(make_weir, upstream, is_stream):
    upstream.handler = lambda call: call.wait_hang_up()
    weir = gateway(make_weir, upstream, first_byte="300ms")
    started = time.monotonic()
    got = weir.chat(CHAT | {"stream": is_stream})
    assert got.status == 504
    assert time.monotonic() - started < 5
    upstream.wait(lambda u: u.in_progress == 0, what="the upstream call's end")


def test_the_total_time_bounds_an_answer_that_trickles(make_weir, upstream):
    def trickle(call):
        call.start(200, {"Content-Type": "application/json"}, "length", 100000)
        for _ in range(1000):
            call.send(b" ")
            call.sleep(0.02)

    upstream.handler = trickle
    weir = gateway(make_weir, upstream, total="500ms", stall="10s")
    assert weir.chat(CHAT).status == 504
    upstream.wait(lambda u: u.in_progress == 0, what="the upstream call's end")


@pytest.mark.parametrize("cut_at", [0, 1, 20, 60, 70])
def test_a_connection_that_breaks_before_the_answer_is_whole(weir, upstream, cut_at):
    def broken(call):
        wire = call.head(200, {"Content-Type": "application/json"}, "length", 40) + b'{"id":"x"'
        call.send(wire[:cut_at])
        call.reset()

    upstream.handler = broken
    got = weir.chat(CHAT)
    assert got.status == 502 and got.error["type"] == "server_error"


# --- streams that break ---


def events_then(end, may_end=None):
    """A stream of some words, then what `end` does to the connection, when `may_end` is set."""

    def handle(call):
        call.start_stream()
        call.write(sse.chunk(delta={"role": "assistant", "content": ""}))
        for i in range(3):
            call.write(sse.chunk(f"w{i} "))
        if may_end is not None:
            assert may_end.wait(20)
        end(call)

    return handle


DELIVERED = "w0 w1 w2 "


def ask_for_stream(client):
    client.send(client.build("POST", "/v1/chat/completions", json.dumps(STREAM).encode()))


ENDS = {
    "reset": lambda call: call.reset(),
    "closed": lambda call: call.close(),
    "ended early": lambda call: call.end(),
    "cut event": lambda call: (call.write(b'data: {"id":"chatcmpl-1","choi'), call.close()),
    "cut event ended": lambda call: (call.write(b'data: {"id":"chatcmpl-1","choi'), call.end()),
    "bad chunk": lambda call: (call.send(b"zz\r\n"), call.close()),
    "garbage": lambda call: (call.write(b"data: not json at all\n\n"), call.reset()),
}


@pytest.mark.parametrize("end", ENDS)
def test_D6_C19_a_broken_stream_ends_with_an_error_event(weir, upstream, end):
    may_end = threading.Event()
    upstream.handler = events_then(ENDS[end], may_end)
    with weir.client() as client:
        ask_for_stream(client)
        head = client.head()
        got = b""
        for piece in client.pieces(head):
            got += piece
            if b"w2" in got:
                may_end.set()
    assert sse.text_of(got.replace(b"data: not json at all\n\n", b"")) == DELIVERED
    stream_error(got)
    for data in sse.messages(got.replace(b"data: not json at all\n\n", b"")):
        json.loads(data)  # half an event was not passed off as a whole one
    assert len(upstream.requests) == 1  # no retry that repeats text
    entry = weir.log_entries(1, operation="chat")[0]
    assert entry["outcome"] == "stream_broken" and entry["usage_partial"] is True


@pytest.mark.parametrize("end", ENDS)
def test_D6_a_stream_that_breaks_at_once_is_never_a_success(weir, upstream, end):
    """Words and break in one packet: an error answer, or the words with an error event behind."""
    upstream.handler = events_then(ENDS[end])
    got = weir.chat(STREAM)
    if got.status == 200:
        stream_error(got.body)
    else:
        assert got.status == 502 and got.error["type"] == "server_error"
    assert sse.DONE not in got.body


@pytest.mark.parametrize(
    "error",
    [
        sse.event({"error": {"message": "upstream died", "code": 502}}),
        b"event: error\n" + sse.event({"error": {"message": "upstream died", "type": "x"}}),
        sse.chunk(finish="error", error={"message": "upstream died", "code": 502}),
        sse.chunk(choices=[], error={"message": "upstream died", "code": 502}),
    ],
    ids=["plain", "named", "beside choices", "no choices"],
)
@pytest.mark.parametrize("with_done", [False, True])
def test_D6_S4_an_error_inside_the_stream_reaches_the_client(weir, upstream, error, with_done):
    upstream.handler = events_then(
        lambda call: (call.write(error), call.write(sse.DONE if with_done else b""), call.end())
    )
    got = weir.chat(STREAM)
    assert error in got.body
    entry = weir.log_entries(1, operation="chat")[0]
    assert entry["outcome"] == "stream_broken", "it was counted as a success"


def test_a_stream_that_only_lacks_done_gets_it(weir, upstream):
    body = sse.chunk("a") + sse.chunk(finish="stop")
    upstream.handler = stream(body)
    assert weir.chat(STREAM).body == body + sse.DONE


def test_done_is_the_end_though_the_providers_body_goes_on(weir, upstream):
    may_end = threading.Event()

    def slow_to_end(call):
        call.start_stream()
        call.write(sse.chat_stream(["a"]))
        may_end.wait(20)
        call.end()

    upstream.handler = slow_to_end
    with weir.client() as client:
        ask_for_stream(client)
        client.deadline(3 * patience())
        assert sse.text_of(client.response().body) == "a"
        may_end.set()
        assert client.ask("GET", "/healthz").status == 200
    assert weir.log_entries(1, operation="chat")[0]["outcome"] == "ok"


def test_done_is_the_end_for_a_client_that_leaves_then(weir, upstream):
    """SDKs hang up when they have seen [DONE]: that was a success, not a client that went away."""
    may_end = threading.Event()

    def slow_to_end(call):
        call.start_stream()
        call.write(sse.chat_stream(["a"]))
        may_end.wait(20)
        call.end()

    upstream.handler = slow_to_end
    with weir.client() as client:
        ask_for_stream(client)
        client.reader.until(b"[DONE]\n\n")
    entry = weir.log_entries(1, operation="chat")[0]
    may_end.set()
    assert entry["outcome"] == "ok" and "usage_partial" not in entry


def test_B03_the_end_comes_though_the_provider_only_sends_heartbeats(weir, upstream):
    """Finished, but no [DONE] and an endless `: ping`: the client is not left hanging."""

    def endless(call):
        call.start_stream()
        call.write(sse.chunk("a") + sse.chunk(finish="stop") + sse.usage_chunk())
        for _ in range(1000):
            call.write(b": ping\n\n")
            call.sleep(0.1)

    upstream.handler = endless
    with weir.client() as client:
        got = client.chat(STREAM)
    assert sse.messages(got.body)[-1] == b"[DONE]"
    upstream.wait(lambda u: u.in_progress == 0, what="the upstream call's end")


# --- silence ---


def test_S9_a_stream_that_falls_silent_ends_with_an_error_event(make_weir, upstream):
    upstream.handler = events_then(lambda call: call.wait_hang_up())
    weir = gateway(make_weir, upstream, stall="400ms", heartbeat="100ms")
    got = weir.chat(STREAM)
    assert sse.text_of(got.body) == DELIVERED
    stream_error(got.body)
    upstream.wait(lambda u: u.in_progress == 0, what="the upstream call's end")


def test_S9_D10_heartbeats_fill_the_silence_and_nothing_is_cut(make_weir, upstream):
    def slow(call):
        call.start_stream()
        call.write(sse.chunk("before"))
        call.sleep(0.6)
        call.write(sse.chunk(" after") + sse.chunk(finish="stop") + sse.DONE)
        call.end()

    upstream.handler = slow
    weir = gateway(make_weir, upstream, heartbeat="100ms", stall="10s")
    got = weir.chat(STREAM)
    assert sse.text_of(got.body) == "before after" and sse.messages(got.body)[-1] == b"[DONE]"
    comments = [e for e in sse.split(got.body) if not e.has_data]
    assert 2 <= len(comments) <= 8 and all(e.raw.startswith(b":") for e in comments)
    assert weir.metric("weir_stream_heartbeats_total") >= 2


def test_D10_no_heartbeat_goes_into_the_middle_of_an_event(make_weir, upstream):
    event = sse.chunk("whole")

    def split(call):
        call.start_stream()
        call.write(sse.chunk("a"))
        call.write(event[:20])
        call.sleep(0.5)
        call.write(event[20:] + sse.chunk(finish="stop") + sse.DONE)
        call.end()

    upstream.handler = split
    weir = gateway(make_weir, upstream, heartbeat="100ms")
    got = weir.chat(STREAM)
    assert event in got.body and sse.text_of(got.body) == "awhole"


def test_D19_the_first_byte_timeout_does_not_cut_a_running_stream(make_weir, upstream):
    upstream.handler = chat(["w"] * 10, gap_s=0.08)
    weir = gateway(make_weir, upstream, first_byte="300ms")
    assert sse.messages(weir.chat(STREAM).body)[-1] == b"[DONE]"


# --- clients that leave ---


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("when", ["before the head", "mid-stream", "mid-answer"])
def test_S10_client_gone_cancels_upstream(weir, upstream, how, when):
    def slow_answer(call):
        call.start(200, {"Content-Type": "application/json"}, "length", 100)
        call.send(b"{")
        call.wait_hang_up()

    upstream.handler = {
        "before the head": lambda call: call.wait_hang_up(),
        "mid-stream": events_then(lambda call: call.wait_hang_up()),
        "mid-answer": slow_answer,
    }[when]
    client = weir.client()
    ask_for_stream(client)
    upstream.wait(lambda u: u.in_progress == 1)
    if when == "mid-stream":
        client.reader.until(b"w2")
    left_at = time.monotonic()
    getattr(client, how)()
    upstream.wait(lambda u: u.in_progress == 0, what="the upstream call's end")
    assert upstream.calls[0].hung_up_at - left_at < 1.0  # promised: 100 ms; this machine is shared
    entry = weir.log_entries(1, operation="chat")[0]
    assert entry["outcome"] == "client_gone"


def test_C7_usage_so_far_is_booked_once_when_the_client_leaves(weir, upstream):
    def growing(call):
        call.start_stream()
        for i in range(1, 100):
            usage = {"prompt_tokens": 5, "completion_tokens": i, "total_tokens": 5 + i}
            call.write(sse.chunk(f"w{i} ", usage=usage))
            call.sleep(0.02)

    upstream.handler = growing
    client = weir.client()
    ask_for_stream(client)
    client.reader.until(b"w5 ")
    client.close()
    entry = weir.log_entries(1, operation="chat")[0]
    assert entry["outcome"] == "client_gone" and entry["usage_partial"] is True
    assert entry["input_tokens"] == 5 and 5 <= entry["output_tokens"] < 100


def test_many_clients_leave_at_once_and_nothing_stays_behind(weir, upstream):
    upstream.handler = chat(["w"] * 1000, gap_s=0.05)
    clients = [weir.client() for _ in range(50)]
    for client in clients:
        ask_for_stream(client)
    upstream.wait(lambda u: u.in_progress == 50)
    for i, client in enumerate(clients):
        client.reset() if i % 2 else client.close()
    upstream.wait(lambda u: u.in_progress == 0, what="the end of all upstream calls")
    weir.log_entries(50, operation="chat", outcome="client_gone")
    # And it goes on as if nothing had been.
    upstream.handler = chat()
    assert sse.text_of(weir.chat(STREAM).body) == "Hello there."


def test_a_client_that_is_gone_before_it_asked_is_no_request(weir, upstream):
    with weir.client() as client:
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        )
    assert weir.chat(CHAT).status == 200
    assert len(upstream.requests) == 1


def test_the_answers_of_one_request_never_show_in_another(weir, upstream, rng):
    """Cancelled at random moments, then asked again: each client sees only its own words."""

    def own_words(call):
        nonce = call.request.json()["user"]
        call.start_stream()
        for i in range(200):
            call.write(sse.chunk(f"<{nonce}:{i}>"))
            if i % 10 == 0:
                call.sleep(0.001)
        call.write(sse.chunk(finish="stop") + sse.DONE)
        call.end()

    upstream.handler = own_words
    for turn in range(60):
        with weir.client() as client:
            body = json.dumps(STREAM | {"user": f"n{turn}"}).encode()
            client.send(client.build("POST", "/v1/chat/completions", body))
            try:
                head = client.head()
                got, most = b"", rng.choice([1, 500, 5000, 10**9])
                for piece in client.pieces(head):
                    got += piece
                    if len(got) > most:
                        break
            except Closed:
                raise AssertionError("weir cut a healthy stream") from None
            words = sse.text_of(got)
            assert words.count("<") == words.count(f"<n{turn}:")
