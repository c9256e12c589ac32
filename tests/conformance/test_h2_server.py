"""HTTP/2 to clients, spoken by hyper's h2, by h2spec and by curl, with a server that has nothing
behind it: streams, flow control, floods, the end."""

import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

h2client = pytest.importorskip("harness.h2client", reason="h2 is not installed")

from harness.certs import Authority  # noqa: E402
from harness.h2client import END_HEADERS, END_STREAM, H2Client, PREFACE, frame  # noqa: E402
from harness.weir import binary, patience  # noqa: E402

TOOL = pathlib.Path(binary()).parent / "tests" / "h2_tool"
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 0, 1, 2


class Server:
    """h2_tool; ends with its standard input."""

    def __init__(self, *args):
        if not TOOL.is_file():
            pytest.skip("h2_tool is not built (scripts/build release tool-programs)")
        self.input, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [str(TOOL), *args], stdin=theirs, stdout=subprocess.PIPE, text=True
        )
        theirs.close()
        self.port = int(self.process.stdout.readline())
        self.lines = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._came:
                self.lines.append(line.strip())
                self._came.notify_all()

    def wait_line(self, line, count=1):
        with self._came:
            assert self._came.wait_for(lambda: self.lines.count(line) >= count, 10 * patience())

    def drain(self):
        if self.input is not None:
            self.input.close()
            self.input = None

    def stop(self):
        self.drain()
        code = self.process.wait(20 * patience())
        self._reader.join(10)
        assert (code, self.lines[-1]) == (0, "0 connections left")


@pytest.fixture
def server():
    made = Server()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def secure(authority):
    made = Server(*authority.issue("server", "IP:127.0.0.1"))
    yield made
    made.stop()


def context_for(authority, *protocols):
    context = authority.client_context()
    context.set_alpn_protocols(list(protocols))
    return context


# --- what a client sees ---


def test_prior_knowledge(server):
    with H2Client(server.port) as client:
        answer = client.answer(client.post("/echo", b"hello"))
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.headers["content-length"] == "5" and "date" in answer.headers
        assert client.settings[3] >= 100  # MAX_CONCURRENT_STREAMS
        assert client.settings[8] == 1  # ENABLE_CONNECT_PROTOCOL


def test_the_preface_may_come_in_pieces(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in PREFACE + frame(h2client.SETTINGS):
            raw.sendall(bytes([byte]))
            time.sleep(0.001)  # so that they arrive one by one; not to be right
        assert raw.recv(9)[3] == h2client.SETTINGS


@pytest.mark.parametrize("first", [b"P", b"PO", b"POST"])
def test_http1_on_the_same_port(server, first):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
        raw.sendall(first)
        time.sleep(0.02)  # so that it arrives alone; not to be right
        raw.sendall(request[len(first) :])
        got = b""
        while not got.endswith(b"\r\n\r\nhi"):
            part = raw.recv(4096)
            assert part, got
            got += part
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")


def test_alpn_decides_on_tls(secure, authority):
    with H2Client(secure.port, context_for(authority, "h2", "http/1.1")) as client:
        assert client.answer(client.post("/echo", b"x" * 100_000)).body == b"x" * 100_000
    raw = socket.create_connection(("127.0.0.1", secure.port), timeout=10)
    with context_for(authority, "http/1.1").wrap_socket(raw, server_hostname="127.0.0.1") as one:
        assert one.selected_alpn_protocol() == "http/1.1"
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        while True:
            try:
                if not one.recv(4096):
                    break
            except ssl.SSLError:
                break


def test_streams_run_side_by_side(server):
    with H2Client(server.port) as client:
        slow = client.head("/drip?20")
        fast = [client.post("/echo", b"%d" % i) for i in range(50)]
        for i, stream in enumerate(fast):
            assert client.answer(stream).body == b"%d" % i
        assert not client.answers[slow].is_over
        assert client.answer(slow).body == b"".join(b"line %d\n" % i for i in range(20))


def test_trailers_of_an_answer(server):
    with H2Client(server.port) as client:
        answer = client.ask("/trailers")
        assert (answer.body, answer.trailers) == (b"body", {"x-sum": "7"})
        assert answer.ended


def test_trailers_of_a_request_end_its_body(server):
    with H2Client(server.port) as client:
        stream = client.head("/echo", "POST", end=False)
        client.send(stream, b"hello")
        client.h2.send_headers(stream, [("x-checksum", "1")], end_stream=True)
        client.push()
        assert client.answer(stream).body == b"hello"


def test_head_has_a_length_and_no_body(server):
    with H2Client(server.port) as client:
        answer = client.ask("/bytes?70", "HEAD")
        assert (answer.headers["content-length"], answer.body) == ("70", b"")


def test_a_body_that_is_waited_for(server):
    with H2Client(server.port) as client:
        stream = client.head("/echo", "POST", [("expect", "100-continue")], end=False)
        client.wait(lambda: client.answers[stream].interim)
        client.send(stream, b"now", end=True)
        answer = client.answer(stream)
        assert (answer.interim, answer.body) == ([100], b"now")


def test_cookies_are_joined_and_large_bodies_arrive(server):
    body = os.urandom(3_000_000)
    with H2Client(server.port) as client:
        answer = client.answer(client.post("/echo", body, [("cookie", "a=1"), ("cookie", "b=2")]))
        assert answer.body == body


def test_an_answer_that_breaks_off_is_reset(server):
    with H2Client(server.port) as client:
        answer = client.ask("/broken")
        assert (answer.status, answer.body, answer.ended) == (200, b"half", False)
        assert answer.reset == INTERNAL_ERROR
        assert client.answer(client.post("/echo", b"goes on")).body == b"goes on"


# --- flow control ---


def test_a_slow_reader_holds_up_itself_only(server):
    with H2Client(server.port, window=1000) as client:
        # The connection's window stays open: only the stream's own is short.
        slow = client.head("/bytes?500000")
        client.wait(lambda: len(client.answers[slow].body) == 1000)
        other = client.answer(client.post("/echo", b"y" * 500))
        assert other.body == b"y" * 500
        got = client.answers[slow]
        while not got.is_over:
            before = len(got.body)
            client.h2.increment_flow_control_window(100_000, slow)
            client.h2.increment_flow_control_window(100_000)
            client.push()
            client.wait(lambda: len(got.body) > before or got.is_over)
        assert got.body == b"x" * 500_000


def test_a_body_that_nobody_reads_is_bounded(server):
    """Credit comes back only for what the handler has taken."""
    with H2Client(server.port) as client:
        stream = client.head("/never", "POST", end=False)
        sent = 0
        while (room := client.h2.local_flow_control_window(stream)) > 0:
            part = min(room, client.h2.max_outbound_frame_size)
            client.h2.send_data(stream, b"z" * part)
            client.push()
            sent += part
            if sent > 2_000_000:
                break
            client.h2.ping(b"12345678")
            client.push()
            pongs = client.pongs
            client.wait(lambda: client.pongs > pongs)
        assert sent <= 300_000
        # The connection goes on.
        assert client.answer(client.post("/count", b"a" * 600_000)).body == b"600000"
        client.reset(stream)
        server.wait_line("cancelled")


def test_a_client_that_takes_nothing_is_given_up(server):
    with H2Client(server.port, window=0) as client:
        stream = client.head("/bytes?500000")
        answer = client.answer(stream)
        assert (answer.body, answer.ended) == (b"", False)
        assert answer.reset is not None


# --- the client gives up ---


def test_a_reset_cancels_the_handler(server):
    with H2Client(server.port) as client:
        stream = client.head("/never")
        other = client.head("/drip?30")
        client.wait(lambda: client.answers[other].body)
        client.reset(stream)
        server.wait_line("cancelled")
        assert client.answer(other).ended


def test_the_end_of_a_connection_cancels_all_its_streams(server):
    client = H2Client(server.port)
    for _ in range(5):
        client.head("/never")
    ping = client.pongs
    client.h2.ping(b"12345678")
    client.push()
    client.wait(lambda: client.pongs > ping)
    client.close()
    server.wait_line("cancelled", 5)


# --- what is no request ---


def test_heads_are_bounded(server):
    with H2Client(server.port) as client:
        many = [(f"x-{i}", "v") for i in range(200)]
        assert client.ask("/echo", headers=many).status == 431
        big = [(f"x-{i}", "v" * 8000) for i in range(10)]
        assert client.ask("/echo", headers=big).status == 431
        assert client.ask("/" + "p" * 17_000).status == 414
        assert client.ask("/echo", headers=[("expect", "wonders")]).status == 417
        assert client.ask("/echo", headers=[("host", "elsewhere.test")]).status == 400
        assert client.ask("/echo", headers=[("host", "weir.test")]).status == 200


@pytest.mark.parametrize(
    "field", [("x-a", "b\r\nc"), ("x-a", "b\0"), ("X-Upper", "1"), ("connection", "close"),
              ("transfer-encoding", "chunked"), ("te", "gzip")]
)  # fmt: skip
def test_a_malformed_head_is_a_stream_error(server, field):
    with H2Client(server.port) as client:
        stream = client.head("/echo", headers=[field])
        assert client.answer(stream).reset == PROTOCOL_ERROR
        assert client.answer(client.post("/echo", b"next")).body == b"next"


def test_connect_is_refused_without_a_protocol(server):
    with H2Client(server.port) as client:
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", "a.test:80")])
        client.answers[stream] = h2client.Answer()
        client.push()
        client.wait(lambda: client.answers[stream].headers)
        assert client.answers[stream].status == 501


def test_extended_connect_is_a_pipe(server):
    with H2Client(server.port) as client:
        client.wait(lambda: client.settings)
        stream = client.head("/pipe", "CONNECT", end=False, protocol="websocket")
        client.wait(lambda: client.answers[stream].headers)
        answer = client.answers[stream]
        assert answer.status == 200 and "content-length" not in answer.headers
        for i in range(3):
            before = answer.body
            client.send(stream, b"ping %d;" % i)
            client.wait(lambda: answer.body == before + b"websocket ping %d;" % i)
        client.send(stream, b"", end=True)
        client.answer(stream)
        assert answer.ended


# --- floods ---

GET = b"\x82\x86\x84\x41\x01x"  # / of http, :authority x
EMPTY_SETTINGS = frame(h2client.SETTINGS)
FLOODS = {
    "pings": frame(h2client.PING, payload=b"12345678"),
    "settings": EMPTY_SETTINGS,
    "priorities": frame(h2client.PRIORITY, stream=1, payload=b"\0\0\0\0\x10"),
    "window updates": frame(8, payload=b"\0\0\0\1"),
    "empty data": frame(h2client.DATA, stream=1),
    "resets": None,  # each of a request of its own
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_ends_the_connection(server, kind):
    with H2Client(server.port) as client, H2Client(server.port) as bystander:
        client.wait(lambda: client.settings)
        open_stream = client.head("/never", "POST", end=False)
        assert open_stream == 1
        for n in range(200):
            block = (FLOODS[kind] or b"") * 100
            for i in range(3 + 200 * n, 203 + 200 * n, 2) if kind == "resets" else ():
                block += frame(h2client.HEADERS, END_HEADERS | END_STREAM, i, GET)
                block += frame(h2client.RST_STREAM, 0, i, b"\0\0\0\x08")
            if not client.raw(block):
                break
        drain_raw(client)
        server.wait_line("cancelled")
        assert bystander.answer(bystander.post("/echo", b"still here")).body == b"still here"


def drain_raw(client):
    """Reads to the end without h2, which knows nothing of the streams that were made behind it."""
    client.socket.settimeout(10 * patience())
    try:
        while client.socket.recv(65536):
            pass
    except ConnectionError:
        pass
    client.is_closed = True


def test_endless_continuations_end_the_connection(server):
    with H2Client(server.port) as client:
        client.wait(lambda: client.settings)
        client.raw(frame(h2client.HEADERS, END_STREAM, 1, GET))
        for _ in range(5000):
            if not client.raw(frame(h2client.CONTINUATION, 0, 1, b"\x00\x01a\x01b")):
                break
        drain_raw(client)


def test_a_head_that_unpacks_without_end_costs_no_memory(server):
    """One byte on the wire stands for a header of 4 KB."""
    with H2Client(server.port) as client:
        client.wait(lambda: client.settings)
        value = b"v" * 4000
        insert = b"\x40\x01a" + b"\x7f" + bytes([(4000 - 127) & 0x7F | 0x80, (4000 - 127) >> 7]) + value
        before = resident_kb(server)
        for i in range(20):
            block = GET + (insert if i == 0 else b"") + b"\xbe" * 12_000
            client.answers[1 + 2 * i] = h2client.Answer()
            assert client.raw(frame(h2client.HEADERS, END_HEADERS | END_STREAM, 1 + 2 * i, block))
        client.socket.settimeout(10 * patience())
        assert client.socket.recv(1)  # it answers, or says goodbye
        assert resident_kb(server) - before < 20_000


def resident_kb(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def test_more_streams_than_allowed_end_the_connection(server):
    with H2Client(server.port) as client:
        client.wait(lambda: client.settings)
        limit = client.settings[3]
        client.h2.remote_settings.max_concurrent_streams = 1000
        client.h2.remote_settings.acknowledge()
        streams = [client.head("/never") for _ in range(limit + 1)]
        client.wait(lambda: client.goaways)
        assert client.goaways == [(streams[limit - 1], PROTOCOL_ERROR)]
        client.wait_closed()
    server.wait_line("cancelled", limit)


# --- the end ---


def test_a_drain_lets_streams_end_and_says_so(server):
    with H2Client(server.port) as client:
        running = client.head("/drip?100")
        client.wait(lambda: client.answers[running].body)
        server.drain()
        client.wait(lambda: client.goaways)
        assert client.goaways[0] == (2**31 - 1, NO_ERROR)  # so far nothing is lost
        # A request that crossed the notice is served.
        late = client.post("/echo", b"late")
        assert client.answer(late).body == b"late"
        assert client.answer(running).body.endswith(b"line 99\n")
        client.wait_closed()
        assert client.goaways[-1] == (late, NO_ERROR)


def test_an_idle_connection_is_told_before_it_ends(server):
    with H2Client(server.port) as client:
        assert client.ask("/").status == 200
        server.drain()
        client.wait_closed()
        assert client.goaways[-1][1] == NO_ERROR


# --- other people's clients ---


def h2spec():
    """The program, from the path or built by Go into the cache."""
    found = os.environ.get("WEIR_H2SPEC") or shutil.which("h2spec")
    if found:
        return found
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    folder = cache / "weir" / "h2spec-2.6.0"
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not (folder / "h2spec").is_file() and go:
        module = "github.com/summerwind/h2spec/cmd/h2spec@v2.6.0"
        env = dict(os.environ, GOBIN=str(folder), GOFLAGS="-mod=mod")
        try:
            subprocess.run([go, "install", module], env=env, capture_output=True, timeout=240)
        except subprocess.TimeoutExpired:
            pass
    if not (folder / "h2spec").is_file():
        pytest.skip("h2spec is not installed and could not be built")
    return str(folder / "h2spec")


def failures_of_h2spec(*args):
    spec = subprocess.run(
        [h2spec(), "--strict", "--timeout", str(int(2 * patience())), "--host", "127.0.0.1", *args],
        capture_output=True,
        text=True,
        timeout=280,
    )
    failed = spec.stdout.split("Failures:")[1] if "Failures:" in spec.stdout else ""
    assert "146 tests" in spec.stdout, spec.stdout[-2000:] + spec.stderr
    return [line.strip() for line in failed.splitlines() if "×" in line]


@pytest.mark.timeout(600)
def test_h2spec_over_tls(secure):
    assert failures_of_h2spec("--port", str(secure.port), "--tls", "--insecure") == []


@pytest.mark.timeout(600)
def test_h2spec_on_the_plain_port(server):
    assert failures_of_h2spec("--port", str(server.port)) == []


def test_what_is_neither_version_is_closed_and_not_answered(server):
    for first, is_answered in ((b"HELO there\r\n", False), (b"GET / HTTP/3\r\n\r\n", True)):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(first)
            assert raw.recv(100).startswith(b"HTTP/1.1 ") == is_answered


def test_curl(server):
    out = subprocess.run(
        ["curl", "-s", "--http2-prior-knowledge", "-d", "hello", "-w", " %{http_version}",
         f"http://127.0.0.1:{server.port}/echo"],
        capture_output=True, timeout=30, text=True,
    )  # fmt: skip
    if "does not support" in out.stderr or "option --http2" in out.stderr:
        pytest.skip("this curl speaks no HTTP/2")
    assert out.stdout == "hello 2"
