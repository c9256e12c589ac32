"""The measuring instrument itself: client and scripted upstream face to face, without weir."""

import time

import pytest

from harness import sse
from harness.rawhttp import BadResponse, Client, Closed, ask
from harness.upstream import answer, chat, stream

pytestmark = [pytest.mark.timeout(60), pytest.mark.http1("of the harness")]
BODY = sse.chat_stream(["Gr", "üße", " 🌊"], usage=(1, 2))


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_body_cut_anywhere_arrives_as_it_was(make_upstream, rng, framing):
    upstream = make_upstream(stream(BODY, framing, rng=rng))
    for _ in range(10):
        assert ask(upstream.port, "POST", "/x", b"{}").body == BODY


def test_request_bytes_are_kept(upstream):
    with upstream, Client(upstream.port) as client:
        client.ask("POST", "/a?b=c", b'{"model": "m"}', {"X-One": "1"})
        client.send(b"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b'3\r\n{"m\r\nf\r\nodel": "chunk"}\r\n0\r\n\r\n')
        assert client.response().status == 200
    first, second = upstream.requests
    assert first.target == "/a?b=c" and first.body == b'{"model": "m"}'
    assert first.headers.get("x-one") == "1"
    assert second.body == b'{"model": "chunk"}' and second.connection == 1 and second.turn == 2


def test_a_hang_up_is_noticed_with_its_time(make_upstream):
    upstream = make_upstream(chat(["a"] * 1000, gap_s=0.05))
    client = Client(upstream.port)
    client.send(client.build("POST", "/", b'{"model":"m","stream":true}'))
    client.head()
    upstream.wait(lambda u: u.in_progress == 1)
    left_at = time.monotonic()
    client.close()
    upstream.wait(lambda u: u.in_progress == 0)
    assert 0 <= upstream.calls[0].hung_up_at - left_at < 1


def test_malformed_requests_are_complaints():
    from harness.upstream import Upstream

    with Upstream() as upstream, Client(upstream.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert client.is_closed()
        assert len(upstream.complaints) == 1


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ],
)
def test_the_client_takes_no_malformed_answer(make_upstream, wire):
    upstream = make_upstream(lambda call: (call.send(wire), call.close()))
    with pytest.raises(BadResponse):
        ask(upstream.port, "GET", "/")


def test_a_short_body_is_not_taken_for_a_whole_one(make_upstream):
    upstream = make_upstream(
        lambda call: (call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), call.close())
    )
    with pytest.raises(Closed):
        ask(upstream.port, "GET", "/")


def test_a_whole_answer(make_upstream):
    upstream = make_upstream(answer({"a": 1}, status=201))
    got = ask(upstream.port, "GET", "/")
    assert (got.status, got.json()) == (201, {"a": 1})


def test_events_are_split_as_the_standard_says():
    body = (
        b"\xef\xbb\xbfdata: a\r\ndata:b\r\n\r\n: note\n\ndata: c\n\nevent: x\rdata: d\r\rdata: half"
    )
    assert sse.messages(body) == [b"a\nb", b"c", b"d"]
    assert [e.name for e in sse.split(body)] == [b"", b"", b"", b"x", b""]
