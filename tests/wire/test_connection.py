"""HTTP/1.1 between clients and weir: framing, reuse, pipelining, and what goes up."""

import json
import socket
import threading
import time

import pytest

from harness import sse
from harness.rawhttp import Client, Closed
from harness.upstream import CHAT_ANSWER, answer, chat, cut, stream
from harness.weir import config, patience, provider

CHAT = b'{"model":"up/m","messages":[]}'
PATH = "/v1/chat/completions"


def test_one_connection_serves_many_requests(weir, upstream):
    upstream.handler = chat()
    with weir.client() as client:
        for i in range(20):
            is_stream = i % 2 == 0
            got = client.chat({"model": "up/m", "messages": [], "stream": is_stream})
            assert got.status == 200
            assert got.framing == ("chunked" if is_stream else "length")
            assert "connection" not in got.headers or got.headers.get("connection") == "keep-alive"
        for path, status in (("/healthz", 200), ("/nonsense", 404)):
            assert client.ask("GET", path).status == status
        assert client.chat(b"{").status == 400
        assert client.chat(CHAT).status == 200


def test_connection_close_is_honoured(weir):
    with weir.client() as client:
        got = client.ask("POST", PATH, CHAT, {"Connection": "close"})
        assert got.status == 200 and got.headers.get("connection") == "close"
        assert client.is_closed()


@pytest.mark.parametrize("is_stream", [False, True])
def test_http_1_0_gets_a_body_that_ends_with_the_connection(weir, upstream, is_stream):
    upstream.handler = chat()
    body = json.dumps({"model": "up/m", "messages": [], "stream": is_stream}).encode()
    with weir.client() as client:
        client.send(b"POST %s HTTP/1.0\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                    % (PATH.encode(), len(body), body))  # fmt: skip
        got = client.response()
        assert got.status == 200 and got.framing in ("length", "close")
        if is_stream:
            assert sse.text_of(got.body) == "Hello there."
        assert client.is_closed()


def test_pipelined_requests_are_answered_in_order(weir, upstream):
    upstream.handler = lambda call: call.reply(200, {"n": call.request.json()["n"]})
    with weir.client() as client:
        wire = b"".join(
            client.build("POST", PATH, b'{"model":"up/m","n":%d}' % i) for i in range(10)
        )
        client.send(wire)
        for i in range(10):
            got = client.response()
            assert got.status == 200 and got.json() == {"n": i}
        client.send(client.build("GET", "/healthz") * 3)
        for _ in range(3):
            assert client.response("GET").status == 200


def test_a_request_cut_anywhere_is_the_same_request(weir, upstream, rng):
    with weir.client() as client:
        for _ in range(15):
            upstream.clear()
            body = b'{"model":"up/m","messages":[{"content":"' + b"x" * 500 + b'"}]}'
            wire = client.build("POST", PATH, body)
            for piece in cut(wire, rng, 25):
                client.send(piece)
                if rng.random() < 0.3:
                    time.sleep(0.001)
            assert client.response().status == 200
            assert upstream.only_request().body == body.replace(b"up/m", b"m")


def test_a_chunked_request_arrives_whole(weir, upstream, rng):
    body = b'{"model":"up/m","messages":[],"pad":"' + b"y" * 70000 + b'"}'
    with weir.client() as client:
        for _ in range(3):
            upstream.clear()
            pieces = cut(body, rng, 30)
            wire = client.build("POST", PATH, None, {"Transfer-Encoding": "chunked",
                                                     "Content-Type": "application/json"})  # fmt: skip
            wire += b"".join(b"%X\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
            for piece in cut(wire, rng, 30):
                client.send(piece)
            assert client.response().status == 200
            assert upstream.only_request().body == body.replace(b"up/m", b"m")


def test_trailers_and_small_chunk_extensions_are_read_and_not_passed_on(weir, upstream):
    with weir.client() as client:
        client.send(client.build("POST", PATH, None, {"Transfer-Encoding": "chunked",
                                                      "Trailer": "X-Sum"}))  # fmt: skip
        client.send(b"%x;name=value\r\n%s\r\n0\r\nX-Sum: 1\r\nAuthorization: Bearer evil\r\n\r\n"
                    % (len(CHAT), CHAT))  # fmt: skip
        assert client.response().status == 200
        assert client.chat(CHAT).status == 200  # the connection is in step
    request = upstream.requests[0]
    assert request.body == b'{"model":"m","messages":[]}'
    assert "x-sum" not in request.headers and b"evil" not in request.raw_head
    assert b"name=value" not in request.raw_body


def test_expect_continue_is_answered_before_the_body(weir, upstream):
    with weir.client() as client:
        client.send(client.build("POST", PATH, None, {"Expect": "100-continue",
                                                      "Content-Length": len(CHAT)}))  # fmt: skip
        interim = client.reader.until(b"\r\n\r\n")
        assert interim.startswith(b"HTTP/1.1 100 ")
        assert upstream.requests == []
        client.send(CHAT)
        assert client.response().status == 200
        # One that does not wait for the 100 is fine, too.
        client.send(client.build("POST", PATH, CHAT, {"Expect": "100-continue"}))
        assert client.response().status == 200
        assert client.chat(CHAT).status == 200
    assert all("expect" not in r.headers for r in upstream.requests)


def test_expect_continue_is_not_answered_when_the_request_is_refused(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}, limits={"request_body": "1KiB"}))
    with weir.client() as client:
        client.send(client.build("POST", PATH, None, {"Expect": "100-continue",
                                                      "Content-Length": 5000}))  # fmt: skip
        got = client.response()
        assert got.status == 413 and got.interim == []


def test_an_expectation_that_nobody_knows_is_refused(weir):
    with weir.client() as client:
        client.send(client.build("POST", PATH, CHAT, {"Expect": "the-moon"}))
        assert client.response().status == 417


def test_head_is_get_without_the_body(weir):
    with weir.client() as client:
        wanted = client.ask("GET", "/healthz")
        got = client.ask("HEAD", "/healthz")
        assert got.status == 200 and got.body == b""
        assert got.headers.get("content-length") == str(len(wanted.body))
        assert client.ask("HEAD", "/nonsense").status == 404
        assert client.ask("HEAD", PATH).status == 405
        assert client.ask("GET", "/healthz").body == wanted.body  # in step


def test_empty_lines_before_a_request_are_skipped(weir):
    with weir.client() as client:
        client.send(b"\r\n\r\n" + client.build("GET", "/healthz"))
        assert client.response("GET").status == 200


def test_absolute_form_and_query_find_the_same_operation(weir, upstream):
    with weir.client() as client:
        assert client.ask("GET", "/healthz?x=1").status == 200
        client.send(client.build("GET", f"http://{client.host}/healthz"))
        assert client.response("GET").status == 200
        assert client.ask("POST", PATH + "?beta=true", CHAT).status == 200


@pytest.mark.parametrize("headers", [{"Connection": "keep-alive, X-Hop", "X-Hop": "1",
                                      "Keep-Alive": "timeout=5", "TE": "trailers",
                                      "Proxy-Authorization": "Basic x", "Upgrade": "h2c"}])  # fmt: skip
def test_hop_by_hop_headers_stay_on_their_hop(weir, upstream, headers):
    upstream.handler = answer(
        CHAT_ANSWER, 200, {"Connection": "x-hop", "X-Hop": "1", "Keep-Alive": "timeout=9",
                           "Trailer": "X-T", "Proxy-Authenticate": "Basic", "X-Stays": "1"}
    )  # fmt: skip
    with weir.client() as client:
        got = client.ask("POST", PATH, CHAT, headers)
    sent = upstream.only_request().headers
    for name in ("x-hop", "keep-alive", "te", "proxy-authorization", "upgrade"):
        assert name not in sent
    for name in ("x-hop", "keep-alive", "trailer", "proxy-authenticate"):
        assert name not in got.headers
    assert got.headers.get("x-stays") == "1"


def test_repeated_and_long_headers_of_the_provider_come_through(weir, upstream):
    upstream.handler = lambda call: call.reply(
        200, b"{}", [("X-Many", "a"), ("X-Many", "b"), ("X-Long", "v" * 8000), ("X-Empty", "")]
    )
    got = weir.chat(CHAT)
    assert got.headers.all("x-many") == ["a", "b"]
    assert got.headers.get("x-long") == "v" * 8000
    assert got.headers.get("x-empty") == ""


def test_every_answer_has_a_date(weir):
    got = weir.get("/healthz")
    assert got.headers.get("date").endswith("GMT")


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_without_a_body(weir, upstream, status):
    length = "Content-Length: 0\r\n" if status == 205 else ""
    upstream.handler = lambda call: call.send(f"HTTP/1.1 {status} Odd\r\n{length}\r\n".encode())
    with weir.client() as client:
        client.send(client.build("POST", PATH, CHAT))
        got = client.response()
        assert got.body == b"" or got.status == 502
        assert client.ask("GET", "/healthz").status == 200  # in step


def test_interim_answers_of_the_provider_are_skipped(weir, upstream):
    def handle(call):
        call.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        call.reply(200, CHAT_ANSWER)

    upstream.handler = handle
    got = weir.chat(CHAT)
    assert got.status == 200 and got.interim == [] and got.json() == CHAT_ANSWER


def test_an_answer_that_comes_before_the_body_was_taken(make_weir):
    """The provider refuses without reading: its answer reaches the client, whole."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse_early():
        sock, _ = listener.accept()
        sock.recv(1000)
        body = b'{"error":{"message":"too large for us"}}'
        sock.sendall(b"HTTP/1.1 413 No\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))  # fmt: skip
        try:
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        except OSError:  # weir has read its answer and is gone
            pass
        sock.close()

    threading.Thread(target=refuse_early, daemon=True).start()
    with listener:
        weir = make_weir(
            config({"early": provider(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")})
        )
        got = weir.chat(b'{"model":"early/m","pad":"' + b"z" * (8 << 20) + b'"}')
    assert got.status == 413 and got.json()["error"]["message"] == "too large for us"


# --- timeouts and limits of clients ---


def test_an_idle_connection_is_closed_after_its_time(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}, timeouts={"client_idle": "300ms"}))
    with weir.client() as client:
        assert client.ask("GET", "/healthz").status == 200
        started = time.monotonic()
        assert client.is_closed(10)
        assert 0.2 < time.monotonic() - started < 5 * patience()
    with weir.client() as client:  # also before its first request
        assert client.is_closed(10)


@pytest.mark.parametrize("pieces", ["one", "head and body", "many"])
def test_an_idle_connection_is_kept_for_its_time_however_the_request_came(
    make_weir, upstream, pieces
):
    """Between requests the idle time counts, not the time that a head may take."""
    limits = {"client_header": "300ms", "client_idle": "60s"}
    weir = make_weir(config({"up": provider(upstream)}, timeouts=limits))
    with weir.client() as client:
        for _ in range(3):
            wire = client.build("POST", PATH, CHAT)
            size = {"one": len(wire), "head and body": len(wire) - len(CHAT), "many": 50}[pieces]
            for at in range(0, len(wire), size):
                client.send(wire[at : at + size])
                time.sleep(0.01)
            client.deadline()
            assert client.response().status == 200
        assert not client.is_closed(1.0)
        assert client.chat(CHAT).status == 200


def test_a_body_that_stops_coming_is_a_408(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}, timeouts={"client_body": "300ms"}))
    with weir.client() as client:
        client.send(client.build("POST", PATH, None, {"Content-Length": 1000}) + b"{")
        got = client.response()
        assert got.status == 408
        assert client.is_closed()
    assert upstream.requests == []


# --- writes: no token waits for another ---


def test_head_and_first_event_come_together(weir, upstream):
    upstream.handler = chat(["a"])
    with weir.client() as client:
        client.send(client.build("POST", PATH, b'{"model":"up/m","messages":[],"stream":true}'))
        first = client.reader.some()
    assert first.startswith(b"HTTP/1.1 200") and b"data: " in first


def test_events_that_are_ready_leave_in_one_write(weir, upstream):
    """A burst of events in one packet costs one chunk, not one each."""
    body = sse.chat_stream([f"w{i}" for i in range(50)])

    def burst(call):
        call.start_stream()
        call.write(body)
        call.end()

    upstream.handler = burst
    got = weir.chat({"model": "up/m", "messages": [], "stream": True})
    assert got.body == body
    assert len(got.chunks) <= 5


def test_C16_no_40_ms_step_hides_anywhere(weir, upstream):
    """Delayed acknowledgements and Nagle together would cost 40 ms a token."""
    upstream.handler = stream(sse.chat_stream(["a"]))
    with weir.client() as client:
        times = []
        for i in range(60):
            started = time.monotonic()
            client.chat({"model": "up/m", "messages": [], "stream": i % 2 == 0})
            times.append(time.monotonic() - started)
    times.sort()
    assert times[len(times) // 2] < 0.035 * patience()


def test_a_slow_reader_does_not_disturb_others(weir, upstream):
    big = sse.chat_stream(["x" * 1000] * 3000)
    upstream.handler = lambda call: (
        call.reply(200, big, {"Content-Type": "text/event-stream"}, "chunked")
        if call.request.json().get("user") == "slow"
        else call.reply(200, CHAT_ANSWER)
    )
    slow = Client(weir.port, receive_buffer=4096)
    slow.send(slow.build("POST", PATH, b'{"model":"up/m","stream":true,"user":"slow"}'))
    slow.head()
    for _ in range(50):
        assert weir.chat(CHAT).status == 200
    slow.close()


def test_a_slow_reader_gets_everything_in_the_end(weir, upstream):
    big = sse.chat_stream(["y" * 500] * 4000)
    upstream.handler = stream(big)
    with Client(weir.port, receive_buffer=4096) as client:
        client.send(client.build("POST", PATH, b'{"model":"up/m","stream":true}'))
        head = client.head()
        got = []
        for i, piece in enumerate(client.pieces(head)):
            got.append(piece)
            if i % 20 == 0:
                time.sleep(0.001)
    assert b"".join(got) == big


def test_a_reader_that_takes_nothing_is_cut_off(make_weir, upstream):
    big = sse.chat_stream(["z" * 1000] * 20000)
    upstream.handler = stream(big)
    weir = make_weir(config({"up": provider(upstream)}, timeouts={"client_stall": "500ms"}))
    with Client(weir.port, receive_buffer=4096) as client:
        client.send(client.build("POST", PATH, b'{"model":"up/m","stream":true}'))
        upstream.wait(lambda u: u.in_progress == 1)
        upstream.wait(lambda u: u.in_progress == 0, 20 * patience(), "the upstream call's end")
        with pytest.raises(Closed):
            client.deadline(20)
            while True:
                client.reader.some()
