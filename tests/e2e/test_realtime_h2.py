"""Sessions of realtime models where HTTP/2 is spoken (RFC 8441), and where a provider speaks it."""

import pytest
from websockets.frames import Frame, Opcode

from harness.certs import Authority
from harness.h2client import H2Client
from harness.sockets import PATIENCE_S, SocketUpstream, session
from harness.weir import config, provider

pytestmark = pytest.mark.http1("HTTP/2 already")

PATH = "/v1/realtime?model=up/m"


@pytest.fixture
def upstream():
    made = SocketUpstream()
    yield made
    made.stop()


@pytest.fixture
def weir(make_weir, upstream):
    return make_weir(config({"up": provider(upstream.url + "/v1")}))


class Stream:
    """One WebSocket on a stream of its own."""

    def __init__(self, client, path=PATH, protocol="websocket", version="13"):
        self.client, self.read = client, 0
        headers = [("sec-websocket-version", version), ("origin", "http://weir.test")]
        self.id = client.head(path, "CONNECT", headers, end=False, protocol=protocol)
        self.answer = client.answers[self.id]
        client.wait(lambda: self.answer.headers)

    def send(self, opcode, data):
        self.client.send(self.id, Frame(opcode, data).serialize(mask=True))

    def receive(self):
        def exactly(n):
            self.client.wait(lambda: len(self.answer.body) - self.read >= n)
            self.read += n
            return self.answer.body[self.read - n : self.read]
            yield

        try:
            steps = Frame.parse(exactly, mask=False)
            while True:
                next(steps)
        except StopIteration as done:
            return done.value


def test_many_sessions_share_a_connection(weir, upstream):
    with H2Client(weir.port) as client:
        client.wait(lambda: client.settings is not None)
        assert client.settings[8] == 1  # SETTINGS_ENABLE_CONNECT_PROTOCOL
        streams = [Stream(client) for _ in range(5)]
        for n, s in enumerate(streams):
            assert s.answer.status == 200
            assert "sec-websocket-accept" not in s.answer.headers
            assert "upgrade" not in s.answer.headers
            s.send(Opcode.TEXT, b"session %d" % n)
        for n, s in reversed(list(enumerate(streams))):
            assert s.receive().data == b"session %d" % n
        # Beside them an ordinary request.
        assert client.ask("/v1/models").status == 200
        for s in streams:
            s.send(Opcode.CLOSE, (1000).to_bytes(2, "big"))
            closing = s.receive()
            assert (closing.opcode, closing.data) == (Opcode.CLOSE, (1000).to_bytes(2, "big"))
            client.wait(lambda s=s: s.answer.is_over)
            assert s.answer.ended and s.answer.reset in (None, 0)
    assert [r.path for r in upstream.requests].count("/v1/realtime?model=m") == 5
    entries = weir.log_entries(5, operation="realtime")
    assert {e["outcome"] for e in entries} == {"ok"}


def test_a_large_message_goes_through_small_windows(weir):
    text = b"0123456789" * 100_000
    with H2Client(weir.port) as client:
        s = Stream(client)
        s.send(Opcode.BINARY, text)
        got = s.receive()
    assert got.opcode == Opcode.BINARY and got.data == text


def test_a_reset_stream_ends_the_providers_session(weir, upstream):
    with H2Client(weir.port) as client:
        s = Stream(client)
        s.send(Opcode.TEXT, b"x")
        assert s.receive().data == b"x"
        client.reset(s.id)
        entry = weir.log_entries(1, operation="realtime")[0]
        assert entry["outcome"] == "client_gone"
        assert client.ask("/healthz").status == 200


@pytest.mark.parametrize(
    "path, more, status",
    [
        (PATH, {"version": "12"}, 426),
        (PATH, {"protocol": "chat"}, 400),
        ("/v1/models", {}, 405),
        ("/v1/realtime?model=sim/echo", {}, 400),
    ],
)
def test_what_cannot_become_a_session_is_refused(weir, path, more, status):
    with H2Client(weir.port) as client:
        s = Stream(client, path, **more)
        assert s.answer.status == status
        client.wait(lambda: s.answer.is_over)
        assert b'"error"' in s.answer.body


def test_a_session_asks_a_provider_for_http1(make_weir, tmp_path):
    """One that prefers HTTP/2 is not asked for a session in words that it need not know."""
    authority = Authority(tmp_path / "ca")
    context = authority.server_context("IP:127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])
    upstream = SocketUpstream(ssl=context)
    try:
        settings = provider(upstream.url.replace("http:", "https:") + "/v1")
        settings["tls"] = {"ca_file": str(authority.cert)}
        weir = make_weir(config({"up": settings}))
        with session(weir) as s:
            s.send("hello")
            assert s.recv(PATIENCE_S) == "hello"
    finally:
        upstream.stop()
