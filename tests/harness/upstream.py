"""A model provider that does what a test tells it to, on raw sockets.

A handler is a function that gets a Call: the request as it came, and the means to answer it in
pieces, slowly, wrongly or not at all. One thread a connection. What arrives is parsed strictly;
anything that a strict server would have to refuse is kept in `complaints`, which fail the test.
"""

import json
import select
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field

from . import h2bridge, sse
from .rawhttp import BadResponse, Closed, Headers, Reader, parse_fields


class PeerGone(Exception):
    """The caller hung up while the handler was still answering."""


@dataclass
class Request:
    raw_head: bytes
    method: str
    target: str
    headers: Headers
    body: bytes = b""
    raw_body: bytes = b""  # with its framing
    connection: int = 0  # the how manieth connection of this upstream
    turn: int = 0  # the how manieth request on that connection
    received_at: float = 0.0
    peer_certificate: dict = field(default_factory=dict)
    server_name: str = ""

    @property
    def path(self):
        return self.target.partition("?")[0]

    def json(self):
        return json.loads(self.body)


class Call:
    def __init__(self, upstream, sock, request, reader):
        self.upstream = upstream
        self.sock = sock
        self.request = request
        self.reader = reader
        self.is_open = True  # the connection can serve another request
        self.hung_up_at = None
        self.sent = 0
        self._chunked = False

    # --- raw ---

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            self._gone(error)
        self.sent += len(data)

    def send_cut(self, data, rng, most=40):
        """In separate writes at random places, some of them after a tiny pause."""
        for piece in cut(data, rng, most):
            self.send(piece)
            if rng.random() < 0.25:
                time.sleep(rng.random() * 0.001)

    def close(self):
        self.is_open = False
        close_in_order(self.sock)

    def reset(self):
        self.is_open = False
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.sock.close()

    def _gone(self, cause=None):
        self.is_open = False
        if self.hung_up_at is None:
            self.hung_up_at = time.monotonic()
        raise PeerGone() from cause

    def sleep(self, seconds):
        """Waits; raises PeerGone at once when the caller hangs up."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            watch = select.poll()
            watch.register(self.sock, select.POLLIN)
            if not watch.poll(left * 1000):
                return
            try:
                data = (
                    self.sock.recv(1)
                    if isinstance(self.sock, ssl.SSLSocket)
                    else self.sock.recv(1, socket.MSG_PEEK)
                )
            except OSError as error:
                self._gone(error)
            if not data:
                self._gone()
            raise AssertionError("the caller sent more while it waits for its answer")

    def wait_hang_up(self, seconds=20.0):
        """Holds the call until the caller hangs up. True when it did."""
        try:
            self.sleep(seconds)
        except PeerGone:
            return True
        return False

    # --- answers ---

    def head(self, status=200, headers=(), framing="chunked", length=None, reason="OK"):
        """The head alone. framing: chunked | close | length (of `length` bytes)."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if framing == "chunked":
            pairs.append(("Transfer-Encoding", "chunked"))
        elif framing == "length":
            pairs.append(("Content-Length", str(length)))
        else:
            pairs.append(("Connection", "close"))
            self.is_open = False
        self._chunked = framing == "chunked"
        lines = [f"HTTP/1.1 {status} {reason}"] + [f"{n}: {v}" for n, v in pairs]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def frame(self, data):
        return b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data

    def start(self, status=200, headers=(), framing="chunked", length=None):
        self.send(self.head(status, headers, framing, length))

    def start_stream(self, framing="chunked", headers=()):
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        self.start(200, [("Content-Type", "text/event-stream")] + pairs, framing)

    def write(self, data):
        if data:
            self.send(self.frame(data))

    def end(self):
        if self._chunked:
            self.send(b"0\r\n\r\n")
        elif not self.is_open:
            self.close()

    def reply(self, status=200, body=b"", headers=(), framing="length", rng=None):
        """A whole answer. With rng: its chunks and its writes are cut at random places."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if not any(n.lower() == "content-type" for n, _ in pairs):
            pairs.append(("Content-Type", "application/json"))
        wire = self.head(status, pairs, framing, len(body))
        if framing == "chunked":
            parts = cut(body, rng, 20) if rng else [body] if body else []
            wire += b"".join(self.frame(p) for p in parts) + b"0\r\n\r\n"
        else:
            wire += body
        if rng:
            self.send_cut(wire, rng)
        else:
            self.send(wire)
        if framing == "close":
            self.close()


def cut(data, rng, most=40):
    """The bytes in at most `most` pieces, cut at random places."""
    if len(data) < 2:
        return [data]
    marks = sorted(rng.sample(range(1, len(data)), min(len(data) - 1, rng.randint(0, most - 1))))
    return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)])]


def close_in_order(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


class Upstream:
    def __init__(self, handler=None, tls=None, host="127.0.0.1"):
        self.handler = handler or answer(CHAT_ANSWER)
        self.tls = tls
        self.on_secure = lambda sock: None  # told of each finished handshake
        if isinstance(tls, ssl.SSLContext) and h2bridge.is_asked_for():
            tls.set_alpn_protocols(["h2", "http/1.1"])
        self.requests = []
        self.complaints = []
        self.calls = []
        self.connections = 0
        self.in_progress = 0
        self.changed = threading.Condition()
        self._sockets = set()
        self._is_stopping = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, 0))
        self.listener.listen(4096)
        self.host = f"[{host}]" if ":" in host else host
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._is_stopping = True
        close_in_order(self.listener)  # a close alone would not wake the accepting thread
        with self.changed:
            sockets = list(self._sockets)
        for sock in sockets:
            close_in_order(sock)

    def clear(self):
        """Forgets what came so far; connections stay."""
        with self.changed:
            self.requests.clear()
            self.calls.clear()

    def wait(self, condition, seconds=10.0, what="the condition"):
        """Until condition(self) holds."""
        with self.changed:
            is_met = self.changed.wait_for(lambda: condition(self), seconds)
        assert is_met, f"{what} did not come true in {seconds} s"

    def only_request(self):
        assert len(self.requests) == 1, [r.raw_head for r in self.requests]
        return self.requests[0]

    # --- the connection threads ---

    def _accept(self):
        while not self._is_stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections += 1
                number = self.connections
                self._sockets.add(sock)
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _complain(self, text):
        with self.changed:
            self.complaints.append(text)

    def _serve(self, sock, number):
        plain = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                try:
                    sock.settimeout(20)
                    sock = self.tls.wrap_socket(sock, server_side=True)
                except OSError:
                    return
                self.on_secure(sock)
            if self._speaks_h2(sock):
                self._serve_h2(sock, number)
                return
            reader, turn = Reader(sock), 0
            while not self._is_stopping:
                turn += 1
                if not self._serve_one(sock, reader, number, turn, peer_certificate(sock)):
                    return
        except (OSError, ValueError):
            pass  # the test ended while this connection was open
        finally:
            close_in_order(sock)
            with self.changed:
                self._sockets.discard(plain)
                self.changed.notify_all()

    def _serve_one(self, sock, reader, number, turn, certificate):
        """One request. False when the connection has no more use."""
        try:
            request = self._read_request(reader)
        except Closed as closed:
            if closed.had and not closed.was_reset:
                self._complain(f"request cut short: {closed.had[:300]!r}")
            return False
        except (BadResponse, ValueError) as error:
            self._complain(f"bad request: {error}")
            return False
        request.connection, request.turn = number, turn
        request.peer_certificate = certificate
        return self._handle(sock, request, reader)

    def _speaks_h2(self, sock):
        if isinstance(sock, ssl.SSLSocket):
            return sock.selected_alpn_protocol() == "h2"
        return h2bridge.is_asked_for() and h2bridge.begins_h2(sock)

    def _serve_h2(self, sock, number):
        certificate = peer_certificate(sock)

        def serve_stream(end, turn):
            try:
                self._serve_one(end, Reader(end), number, turn, certificate)
            except (OSError, ValueError):
                pass
            finally:
                close_in_order(end)

        try:
            h2bridge.serve_h2(sock, serve_stream)
        except ValueError as error:
            self._complain(str(error))

    def _handle(self, sock, request, reader):
        sock.settimeout(60)
        call = Call(self, sock, request, reader)
        with self.changed:
            self.requests.append(request)
            self.calls.append(call)
            self.in_progress += 1
            self.changed.notify_all()
        try:
            self.handler(call)
        except PeerGone:
            call.is_open = False
        except AssertionError as error:
            self._complain(str(error))
            call.close()
        finally:
            with self.changed:
                self.in_progress -= 1
                self.changed.notify_all()
        wants_close = "close" in (request.headers.get("connection") or "").lower()
        return call.is_open and not wants_close

    def _read_request(self, reader):
        reader.deadline = time.monotonic() + 120
        raw = reader.until(b"\r\n\r\n")
        line, _, fields = raw.partition(b"\r\n")
        method, target, version = line.decode("latin-1").split(" ")
        headers = parse_fields(fields, "request head")
        if version != "HTTP/1.1" or len(headers.all("host")) != 1:
            raise BadResponse(f"{raw!r}")
        request = Request(raw, method, target, headers, received_at=time.monotonic())
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if length is not None and coding is not None:
            raise BadResponse(f"two framings: {raw!r}")
        if coding is not None:
            if coding != "chunked":
                raise BadResponse(f"Transfer-Encoding: {coding}")
            self._read_chunked(reader, request)
        elif length is not None:
            request.body = request.raw_body = reader.exactly(int(length))
        return request

    def _read_chunked(self, reader, request):
        while True:
            line = reader.until(b"\r\n")
            size = int(line, 16)
            data = reader.exactly(size + 2)
            request.raw_body += line + data
            if not data.endswith(b"\r\n"):
                raise BadResponse("no CRLF after a chunk")
            if size == 0:
                return
            request.body += data[:-2]


def peer_certificate(sock):
    return (sock.getpeercert() or {}) if isinstance(sock, ssl.SSLSocket) else {}


# --- handlers ---

CHAT_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello there."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}


def answer(body, status=200, headers=(), framing="length", rng=None):
    """Always the same whole answer."""
    return lambda call: call.reply(status, body, headers, framing, rng)


def stream(body, framing="chunked", headers=(), rng=None):
    """Always the same whole stream, at once or cut at random places."""
    pairs = [("Content-Type", "text/event-stream; charset=utf-8"), *dict(headers).items()]
    return lambda call: call.reply(200, body, pairs, framing, rng)


def in_turn(*handlers):
    """The first request gets the first handler and so on; the last one serves all that follow."""
    lock, left = threading.Lock(), list(handlers)

    def handle(call):
        with lock:
            handler = left.pop(0) if len(left) > 1 else left[0]
        handler(call)

    return handle


def chat(words=("Hello", " there", "."), gap_s=0.0, usage=(7, 3)):
    """An obliging OpenAI: streams when asked to, tells usage when asked to, else answers whole."""

    def handle(call):
        wish = call.request.json()
        if not wish.get("stream"):
            call.reply(200, CHAT_ANSWER | {"model": wish["model"]})
            return
        wants_usage = (wish.get("stream_options") or {}).get("include_usage")
        call.start_stream()
        for event in sse.split(sse.chat_stream(words, usage if wants_usage else None)):
            call.write(event.raw)
            if gap_s:
                call.sleep(gap_s)
        call.end()

    return handle
