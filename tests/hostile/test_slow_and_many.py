"""Clients that take their time, leave half-way, or come in crowds."""

import json
import resource
import selectors
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness import sse
from harness.rawhttp import Client
from harness.upstream import chat, stream
from harness.weir import config, patience, provider, wait_until

CHAT = {"model": "up/m", "messages": []}
PATH = "/v1/chat/completions"
STREAM = b'{"model":"up/m","messages":[],"stream":true}'


@pytest.fixture(autouse=True)
def enough_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def gateway(make_weir, upstream, **timeouts):
    return make_weir(config({"up": provider(upstream)}, timeouts=timeouts))


def test_slowloris_headers_that_trickle_are_cut_at_the_header_timeout(make_weir, upstream):
    weir = gateway(make_weir, upstream, client_header="500ms", client_idle="60s")
    clients = [weir.client() for _ in range(50)]
    started = time.monotonic()
    for client in clients:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
    is_over = threading.Event()

    def trickle():
        # One more header line each 50 ms: never idle, never done.
        while not is_over.wait(0.05):
            for client in clients:
                try:
                    client.send(b"X-A: b\r\n")
                except OSError:
                    pass

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        assert weir.chat(CHAT).status == 200  # others are served meanwhile
        for client in clients:
            client.deadline(20)
            try:
                assert client.head().status == 408
            except OSError:
                pass
            except Exception as error:  # noqa: BLE001 - a bare close is as good as a 408
                assert type(error).__name__ == "Closed", error
        assert time.monotonic() - started < 8 * patience()
    finally:
        is_over.set()
        thread.join()
        for client in clients:
            client.close()
    assert upstream.requests and len(upstream.requests) == 1


@pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="slowhttptest is not installed")
@pytest.mark.parametrize("mode", ["-H", "-B", "-X"])
def test_slowhttptest_finds_the_service_available(make_weir, upstream, tmp_path, mode):
    upstream.handler = stream(sse.chat_stream(["x" * 1000] * 50))
    weir = gateway(make_weir, upstream, client_header="1s", client_body="1s", client_stall="1s",
                   client_idle="1s")  # fmt: skip
    answered, is_over = [], threading.Event()

    def probe():
        while not is_over.wait(0.1):
            started = time.monotonic()
            answered.append(weir.get("/healthz").status == 200 and time.monotonic() - started < 2)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        done = subprocess.run(
            ["slowhttptest", mode, "-c", "200", "-r", "200", "-i", "1", "-l", "4", "-t", "POST",
             "-p", "3", "-u", f"{weir.url}{PATH}"],
            capture_output=True, text=True, timeout=60, cwd=tmp_path,
        )  # fmt: skip
    finally:
        is_over.set()
        thread.join()
    assert done.returncode == 0, done.stdout[-2000:]
    assert all(answered) and len(answered) > 5


def test_deep_json_is_a_400(weir, upstream):
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        deep = opening * 100_000 + b"1" + closing * 100_000
        for body in (deep, b'{"model":"up/m","messages":' + deep + b"}",
                     b'{"model":"up/m","messages":' + opening * 100_000):  # fmt: skip
            got = weir.chat(body)
            assert got.status == 400
    assert (
        "128"
        in weir.chat(b'{"model":"up/m","x":' + b"[" * 200 + b"]" * 200 + b"}").error["message"]
    )
    assert weir.chat(b'{"model":"up/m","x":' + b"[" * 120 + b"]" * 120 + b"}").status == 200
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_over_the_limit_is_a_413(make_weir, upstream, framing):
    weir = make_weir(config({"up": provider(upstream)}, limits={"request_body": "64KiB"}))
    body = b'{"model":"up/m","pad":"' + b"x" * (1 << 20) + b'"}'
    with weir.client() as client:
        try:
            if framing == "length":
                client.send(client.build("POST", PATH, body))
            else:
                client.send(client.build("POST", PATH, None, {"Transfer-Encoding": "chunked"}))
                client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        except (BrokenPipeError, ConnectionResetError):
            pass
        got = client.response()
    assert got.status == 413 and "65536" in got.error["message"]
    assert upstream.requests == []
    just = b'{"model":"up/m","pad":"' + b"x" * (65536 - 25) + b'"}'
    assert len(just) == 65536 and weir.chat(just).status == 200


def test_an_announced_giant_body_costs_nothing(make_weir, upstream):
    weir = gateway(make_weir, upstream)
    before = weir.rss_bytes()
    clients = []
    for _ in range(50):
        client = weir.client()
        client.send(client.build("POST", PATH, None, {"Content-Length": 30 << 20}) + b"{")
        clients.append(client)
    assert weir.chat(CHAT).status == 200
    assert weir.rss_bytes() - before < 200 << 20  # not 50 x 30 MiB
    for client in clients:
        client.close()
    assert weir.chat(CHAT).status == 200


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_shut_its_sending_side_still_gets_its_answer_or_is_taken_for_gone(
    weir, upstream, is_stream
):
    """Half-closed peers: never a hang, never a leak."""
    upstream.handler = chat(["a", "b"], gap_s=0.05)
    body = json.dumps(CHAT | {"stream": is_stream}).encode()
    with weir.client() as client:
        client.send(client.build("POST", PATH, body))
        client.sock.shutdown(socket.SHUT_WR)
        client.deadline(10)
        rest = b""
        try:
            while True:
                rest += client.reader.some()
        except Exception as error:  # noqa: BLE001
            assert type(error).__name__ == "Closed"
    upstream.wait(lambda u: u.in_progress == 0)
    assert weir.metric("weir_requests_in_flight", operation="chat") == 0
    assert rest == b"" or rest.startswith(b"HTTP/1.1 200")


def test_half_closed_before_the_request_was_whole(weir, upstream):
    for wire in (b"", b"POST", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n",
                 b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"):  # fmt: skip
        with weir.client() as client:
            client.send(wire)
            client.sock.shutdown(socket.SHUT_WR)
            client.deadline(10)
            try:
                assert client.head().status in (400, 408)
            except Exception as error:  # noqa: BLE001
                assert type(error).__name__ == "Closed"
    assert upstream.requests == []


def test_an_upstream_that_half_closes_after_its_answer(weir, upstream):
    def half(call):
        call.start(200, {"Content-Type": "application/json"}, "length", 2)
        call.send(b"{}")
        call.sock.shutdown(socket.SHUT_WR)
        # The next request may be on its way when the end is noticed: it is sent again elsewhere.
        while call.sock.recv(65536):
            pass
        call.close()

    upstream.handler = half
    for _ in range(5):
        assert weir.chat(CHAT).status == 200
    upstream.wait(lambda u: u.in_progress == 0, what="the closing of half-closed connections")


def test_crowds_that_connect_and_say_nothing(make_weir, upstream):
    weir = gateway(make_weir, upstream, client_idle="60s")
    fds = weir.fds()
    crowd = [socket.create_connection(("127.0.0.1", weir.port)) for _ in range(2000)]
    assert weir.chat(CHAT).status == 200
    for sock in crowd:
        sock.close()
    wait_until(lambda: weir.fds() <= fds + 8, 20, "the end of the crowd's descriptors")


def test_connections_reset_at_random_moments(weir, upstream, rng):
    upstream.handler = chat(["w"] * 5, gap_s=0.002)
    wire = None
    for _ in range(200):
        client = weir.client()
        wire = wire or client.build("POST", PATH, STREAM)
        client.send(wire[: rng.randint(0, len(wire))] if rng.random() < 0.5 else wire)
        if rng.random() < 0.5:
            time.sleep(rng.random() * 0.01)
        client.reset() if rng.random() < 0.5 else client.close()
    upstream.wait(lambda u: u.in_progress == 0, what="the end of all calls")
    assert sse.text_of(weir.chat(CHAT | {"stream": True}).body) == "wwwww"


class Flood:
    """A provider that streams as fast as it is let, for as many callers as come, in one thread."""

    EVENT = sse.chunk("x" * 900)

    def __init__(self):
        self.sent = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.is_over = False
        self.callers = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        burst = self.EVENT * 16
        while not self.is_over:
            for key, _ in self.selector.select(0.1):
                sock = key.fileobj
                if sock is self.listener:
                    peer, _ = sock.accept()
                    peer.setblocking(False)
                    self.selector.register(peer, selectors.EVENT_READ, None)
                    continue
                try:
                    if key.data is None:
                        request = sock.recv(65536)
                        if not request:
                            raise OSError
                        sock.sendall(head)
                        self.callers += 1
                        self.selector.modify(sock, selectors.EVENT_WRITE, b"")
                    else:
                        rest = key.data or burst
                        count = sock.send(rest)
                        self.sent += count
                        self.selector.modify(sock, selectors.EVENT_WRITE, rest[count:])
                except BlockingIOError:
                    pass
                except OSError:
                    self.selector.unregister(sock)
                    sock.close()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()

    def stop(self):
        self.is_over = True
        self.thread.join()


@pytest.mark.sizes
def test_memory_stays_bounded_with_1000_clients_that_read_1_kb_a_second(make_weir):
    """The provider would send gigabytes: weir takes from it only what its clients take."""
    flood = Flood()
    try:
        weir = make_weir(config({"up": provider(flood.url)}, timeouts={"client_stall": "60s"}))
        idle = weir.rss_bytes()
        request = None
        socks = []
        for _ in range(1000):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.connect(("127.0.0.1", weir.port))
            request = request or Client.build(type("H", (), {"host": "x"})(), "POST", PATH, STREAM)
            sock.sendall(request)
            socks.append(sock)
        wait_until(lambda: flood.callers == 1000, 60, "1,000 streams")
        most, got, started = 0, [0] * len(socks), time.monotonic()
        for sock in socks:
            sock.setblocking(False)
        for second in range(8):
            for i, sock in enumerate(socks):
                try:
                    got[i] += len(sock.recv(1024))
                except BlockingIOError:
                    pass
            most = max(most, weir.rss_bytes())
            time.sleep(max(0.0, started + second + 1 - time.monotonic()))
        per_stream = (most - idle) / len(socks)
        assert per_stream < 128 * 1024, f"{per_stream / 1024:.0f} KiB a slow stream"
        assert min(got) > 0, "a slow client got nothing"
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        wait_until(
            lambda: weir.metric("weir_requests_in_flight", operation="chat") == 0, 20, "the end"
        )
    finally:
        flood.stop()
