"""Providers that send nonsense, too much, or things meant for somebody else."""

import json

import pytest

from harness import sse
from harness.rawhttp import BadResponse, Closed
from harness.weir import config, patience, provider

CHAT = {"model": "up/m", "messages": []}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

HEADS = {
    "CL and TE": OK
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "CL twice": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "CL list": OK + b"Content-Length: 2, 2\r\n\r\n{}",
    "CL negative": OK + b"Content-Length: -2\r\n\r\n{}",
    "CL not a number": OK + b"Content-Length: two\r\n\r\n{}",
    "TE unknown": OK + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "TE gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunk size negative": OK + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "chunk size not hex": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "chunk size overflow": OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}",
    "chunk too long": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "headers too large": OK + b"X-Big: " + b"h" * 200000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "too many headers": OK
    + b"".join(b"X-%d: 1\r\n" % i for i in range(1000))
    + b"Content-Length: 2\r\n\r\n{}",
    "header without colon": OK + b"nonsense\r\nContent-Length: 2\r\n\r\n{}",
    "header with NUL": OK + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "obs-fold": OK + b"X: 1\r\n folded\r\nContent-Length: 2\r\n\r\n{}",
    "space before colon": OK + b"Content-Length : 2\r\n\r\n{}",
    "no status line": b"{}",
    "HTTP/0.9 page": b"<html>hello</html>",
    "HTTP/2 frames": bytes.fromhex("000012040000000000000300000064"),
    "bad status": b"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\n{}",
    "status 99": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\n{}",
    "101": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
    "1xx flood": b"HTTP/1.1 102 Processing\r\n\r\n" * 1000 + OK + b"Content-Length: 2\r\n\r\n{}",
    "endless status line": b"HTTP/1.1 200 " + b"O" * 200000,
    "a TLS alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "nothing": b"",
    "body too short": OK + b"Content-Length: 200\r\n\r\n{}",
}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", HEADS)
def test_a_malformed_answer_is_a_502_that_says_so(weir, upstream, name, is_stream):
    upstream.handler = lambda call: (call.send(HEADS[name]), call.close())
    with weir.client() as client:
        got = client.chat(CHAT | {"stream": is_stream})
        assert got.status == 502, (got.status, got.body)
        assert got.error["type"] == "server_error" and "up" in got.error["message"]
        # The client's connection is in step and useful.
        assert client.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("value", [b"a\rb", b"a\r\nInjected: yes", b"a\nInjected: yes"])
def test_headers_cannot_be_injected_into_the_clients_answer(weir, upstream, value):
    upstream.handler = lambda call: (
        call.send(OK + b"X-Request-Id: " + value + b"\r\nContent-Length: 2\r\n\r\n{}"), call.close()
    )  # fmt: skip
    got = weir.chat(CHAT)
    # A CR LF before a well-formed header makes two headers, which is no injection.
    assert got.status == (200 if value.startswith(b"a\r\nI") else 502)


def test_a_model_name_cannot_inject_a_header(weir, upstream):
    got = weir.chat({"model": "up/m\r\nInjected: yes", "messages": []})
    assert "injected" not in got.headers
    assert got.status in (200, 400)
    for request in upstream.requests:
        assert "injected" not in request.headers


def test_forged_weir_headers_of_a_provider_do_not_pass(weir, upstream):
    upstream.handler = lambda call: call.reply(
        200, b"{}", {"x-weir-target": "forged", "x-weir-request-id": "forged", "Set-Cookie": "a=b"}
    )
    got = weir.chat(CHAT)
    assert got.headers.get("x-weir-target") == "up/m"
    assert got.headers.get("x-weir-request-id") != "forged"
    assert "set-cookie" not in got.headers


def test_bytes_after_the_answer_never_reach_the_next_client(make_weir, upstream):
    """Response splitting: what a provider appends belongs to nobody."""

    def handle(call):
        evil = OK + b'Content-Length: 8\r\n\r\n{"evil"}'
        call.send(OK + b"Content-Length: 2\r\n\r\n{}" + evil)

    upstream.handler = handle
    weir = make_weir(config({"up": provider(upstream)}, threads=1))
    for _ in range(5):
        got = weir.chat(CHAT)
        assert got.status == 200 and got.body == b"{}"


def test_an_answer_over_its_limit_is_a_502(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}, limits={"response_body": "64KiB"}))
    upstream.handler = lambda call: call.reply(200, b"x" * 70000, framing="chunked")
    got = weir.chat(CHAT)
    assert got.status == 502 and got.error["code"] == "upstream_too_large"
    upstream.handler = lambda call: call.reply(200, b'"' + b"x" * 60000 + b'"')
    assert weir.chat(CHAT).status == 200


def test_an_endless_event_ends_the_stream_and_not_the_memory(make_weir, upstream):
    def endless(call):
        call.start_stream()
        call.write(sse.chunk("begun"))
        call.write(b'data: {"choices":[{"index":0,"delta":{"content":"')
        for _ in range(100000):
            call.write(b"x" * 65536)

    upstream.handler = endless
    weir = make_weir(config({"up": provider(upstream)}, limits={"stream_event": "1MiB"}))
    weir.chat(CHAT)
    before = weir.rss_bytes()
    got = weir.chat(CHAT | {"stream": True})
    assert sse.text_of(got.body) == "begun"
    assert json.loads(sse.messages(got.body)[-1])["error"]["message"]
    upstream.wait(lambda u: u.in_progress == 0, 20 * patience())
    assert weir.rss_bytes() - before < 64 << 20


def test_a_stream_of_nothing_but_comments_has_no_end_without_timeouts_but_a_bound(
    make_weir, upstream
):
    def comments(call):
        call.start_stream()
        while True:
            call.write(b": still thinking\n\n")
            call.sleep(0.01)

    upstream.handler = comments
    weir = make_weir(config({"up": provider(upstream)}, timeouts={"total": "500ms"}))
    got = weir.chat(CHAT | {"stream": True})
    assert got.status == 504
    upstream.wait(lambda u: u.in_progress == 0, 20 * patience())


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_never_breaks_weir(weir, upstream, rng, seed):
    """A good stream with random bytes flipped, dropped or doubled: an answer, whatever it is."""
    good = (
        OK.replace(b"application/json", b"text/event-stream")
        + b"Transfer-Encoding: chunked\r\n\r\n"
    )
    good += b"".join(
        b"%x\r\n%s\r\n" % (len(e.raw), e.raw) for e in sse.split(sse.chat_stream(["ab", "cd"] * 5))
    )
    good += b"0\r\n\r\n"

    def damaged(call):
        data = bytearray(good)
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(len(data))
            kind = rng.random()
            if kind < 0.5:
                data[at] = rng.randrange(256)
            elif kind < 0.75:
                del data[at : at + rng.randint(1, 9)]
            else:
                data[at:at] = data[at : at + rng.randint(1, 30)]
        call.send_cut(bytes(data), rng)
        call.close()

    upstream.handler = damaged
    for _ in range(10):
        with weir.client() as client:
            try:
                got = client.chat(CHAT | {"stream": True})
            except (Closed, BadResponse) as error:
                raise AssertionError(f"weir passed damaged framing on: {error}") from error
            assert got.status in (*range(200, 300), 502, 504) or got.status >= 400
    assert weir.get("/healthz").status == 200
