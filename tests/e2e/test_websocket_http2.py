"""Passthroughs and sockets of many requests where HTTP/2 carries them (RFC 8441)."""

import json

import pytest
from websockets.frames import Close, Frame, Opcode

from harness.h2client import H2Client
from harness.sockets import SocketUpstream
from harness.upstream import chat
from harness.weir import config, provider, virtual_key

pytestmark = pytest.mark.http1("HTTP/2 already")

KEY = "wk-websocket-h2-0001"


@pytest.fixture
def sessions():
    upstream = SocketUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture
def weir(make_weir, sessions, upstream):
    upstream.handler = chat(("One", " two"))
    rows = {
        "up": provider(upstream),
        "ws": provider(sessions.url + "/v1", passthrough=["/own"]),
    }
    return make_weir(config(rows, keys=[virtual_key("me", KEY)]))


class Socket:
    """A WebSocket on a stream of the connection."""

    def __init__(self, client, path, key=KEY, **headers):
        fields = [("sec-websocket-version", "13"), *headers.items()]
        if key is not None:
            fields.append(("authorization", f"Bearer {key}"))
        self.client = client
        self.stream = client.head(path, "CONNECT", fields, end=False, protocol="websocket")
        self.answer = client.answers[self.stream]
        self.read = 0
        client.wait(lambda: self.answer.headers)

    def send(self, opcode, data):
        self.client.send(self.stream, Frame(opcode, data).serialize(mask=True))

    def say(self, text):
        self.send(Opcode.TEXT, text.encode())

    def frame(self):
        """The next frame: (opcode, payload)."""
        while True:
            rest = self.answer.body[self.read :]
            if len(rest) >= 2 and len(rest) >= (end := self.end_of(rest)):
                self.read += end
                return rest[0] & 15, rest[end - self.payload : end]
            have = len(self.answer.body)
            self.client.wait(lambda have=have: len(self.answer.body) > have)

    def end_of(self, rest):
        extra = {126: 2, 127: 8}.get(rest[1], 0)
        self.payload = int.from_bytes(rest[2 : 2 + extra], "big") if extra else rest[1]
        return 2 + extra + self.payload

    def close(self, code=1000):
        self.send(Opcode.CLOSE, Close(code, "").serialize())
        opcode, payload = self.frame()
        assert opcode == Opcode.CLOSE
        return Close.parse(payload).code


def test_a_session_whose_stream_is_reset_ends_at_the_provider(weir, sessions):
    with H2Client(weir.port) as client:
        gone, stays = (Socket(client, "/passthrough/ws/own") for _ in range(2))
        for s in (gone, stays):
            s.say("hi")
            assert s.frame() == (Opcode.TEXT, b"hi")
        client.reset(gone.stream)
        (entry,) = weir.log_entries(1, operation="passthrough")
        assert entry["outcome"] == "client_gone"
        stays.say("still here")
        assert stays.frame() == (Opcode.TEXT, b"still here")


def test_many_requests_on_a_socket_on_a_stream(weir):
    body = {"model": "up/m", "messages": [], "stream": True}
    with H2Client(weir.port) as client:
        s = Socket(client, "/v1/ws")
        for id_ in ("a", "b"):
            s.say(json.dumps({"id": id_, "path": "/v1/chat/completions", "body": body}))
        seen = {"a": [], "b": []}
        while not all(m and "end" in m[-1] for m in seen.values()):
            message = json.loads(s.frame()[1])
            seen[message["id"]].append(message)
        assert seen["a"][0]["status"] == seen["b"][0]["status"] == 200
        assert {m[-1]["end"] for m in seen.values()} == {"complete"}
        assert s.close() == 1000


def test_refusals_are_answers(weir):
    with H2Client(weir.port) as client:
        for path, key, status in (("/v1/ws", None, "401"), ("/v1/realtime", KEY, "400")):
            s = Socket(client, path, key)
            assert s.answer.headers[":status"] == status
        s = Socket(client, "/v1/models")
        assert s.answer.headers[":status"] == "405"
