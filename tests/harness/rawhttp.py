"""An HTTP/1.1 client that shows every byte.

Nothing is repaired on the way: a response that does not follow RFC 9112 to the letter raises
BadResponse, so a test that reads one has also checked its framing.
"""

import json
import socket
import ssl
import time
from dataclasses import dataclass, field

DEADLINE_S = 20.0


class BadResponse(Exception):
    """What came is no well-formed HTTP/1.1 response."""


class Closed(Exception):
    """The peer closed (or reset) the connection; `had` is what came before."""

    def __init__(self, had=b"", was_reset=False):
        super().__init__(f"closed after {len(had)} bytes: {had[:200]!r}")
        self.had = had
        self.was_reset = was_reset


class Headers:
    """A list of (name, value) in the order they came; names compare without case."""

    def __init__(self, items=()):
        self.items = list(items)

    def all(self, name):
        return [v for n, v in self.items if n.lower() == name.lower()]

    def get(self, name, default=None):
        """The only value of that name: a second one is an error of the sender."""
        values = self.all(name)
        if len(values) > 1:
            raise BadResponse(f"{name} came {len(values)} times: {values}")
        return values[0] if values else default

    def __contains__(self, name):
        return bool(self.all(name))

    def names(self):
        return [n.lower() for n, _ in self.items]

    def __repr__(self):
        return f"Headers({self.items})"


@dataclass
class Response:
    status: int
    reason: str
    version: str
    headers: Headers
    framing: str  # none | length | chunked | close
    raw_head: bytes
    body: bytes = b""
    chunks: list = field(default_factory=list)  # as framed, when chunked
    trailers: Headers = field(default_factory=Headers)
    interim: list = field(default_factory=list)  # 1xx responses that came before
    head_at: float = 0.0

    def json(self):
        return json.loads(self.body)

    @property
    def error_message(self):
        return self.json()["error"]["message"]

    @property
    def error(self):
        """The error object of an error answer of weir's own, which is complete."""
        error = self.json()["error"]
        assert set(error) >= {"message", "type", "param", "code"}, error
        assert error["message"], error
        return error


class Reader:
    """Bytes of a socket, each wait bounded by one deadline."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.deadline = time.monotonic() + DEADLINE_S

    def more(self):
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"nothing more came; so far: {self.buffer[-300:]!r}")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError) as error:
            if isinstance(error, ssl.SSLError) and not isinstance(
                error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)
            ):
                raise
            raise Closed(self.buffer, was_reset=True) from error
        if not data:
            raise Closed(self.buffer)
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        found, self.buffer = self.buffer.split(mark, 1)
        return found + mark

    def exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def some(self):
        """Whatever is there, at least one byte."""
        if not self.buffer:
            self.more()
        found, self.buffer = self.buffer, b""
        return found

    def rest(self):
        """All until the peer closes in order."""
        try:
            while True:
                self.more()
        except Closed as closed:
            if closed.was_reset:
                raise
        found, self.buffer = self.buffer, b""
        return found


TOKEN = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def parse_fields(raw, where):
    fields = []
    for line in raw.split(b"\r\n"):
        if not line:
            continue
        if b"\n" in line or b"\r" in line or b"\0" in line:
            raise BadResponse(f"bare CR, LF or NUL in {where}: {line!r}")
        name, colon, value = line.partition(b":")
        name = name.decode("latin-1")
        if not colon or not name or not set(name) <= TOKEN:
            raise BadResponse(f"bad field in {where}: {line!r}")
        fields.append((name, value.strip(b" \t").decode("latin-1")))
    return Headers(fields)


class Client:
    """One connection. Usable as a context manager."""

    def __init__(self, port, host="127.0.0.1", tls=None, server_hostname=None, receive_buffer=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_hostname or host)
        self.reader = Reader(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Goes away like a killed process: RST instead of FIN."""
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4)
        )
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def deadline(self, seconds=DEADLINE_S):
        self.reader.deadline = time.monotonic() + seconds

    # --- requests ---

    def build(self, method, path, body=None, headers=(), key=None):
        """The bytes of a request with the usual headers; `headers` may be a dict or pairs."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        names = {name.lower() for name, _ in pairs}
        lines = [f"{method} {path} HTTP/1.1"]
        if "host" not in names:
            lines.append(f"Host: {self.host}")
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        if body is not None:
            if "content-type" not in names:
                lines.append("Content-Type: application/json")
            if "content-length" not in names and "transfer-encoding" not in names:
                lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in pairs]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")

    def ask(self, method, path, body=None, headers=(), key=None):
        """Sends a request and reads the whole answer."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self.deadline()
        self.send(self.build(method, path, body, headers, key))
        return self.response(method)

    def chat(self, body, headers=(), key=None):
        return self.ask("POST", "/v1/chat/completions", body, headers, key)

    # --- answers ---

    def head(self, method="POST"):
        """The head of the next answer; interim answers are kept in .interim."""
        interim = []
        while True:
            raw = self.reader.until(b"\r\n\r\n")
            head = self._parse_head(raw, method)
            if head.status >= 200 or head.status == 101:
                head.interim = interim
                return head
            interim.append(head)

    def _parse_head(self, raw, method):
        line, _, fields = raw.partition(b"\r\n")
        parts = line.split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or len(parts[1]) != 3:
            raise BadResponse(f"bad status line {line!r}")
        status = int(parts[1])
        headers = parse_fields(fields, "head")
        lengths, codings = headers.all("content-length"), headers.all("transfer-encoding")
        if lengths and codings:
            raise BadResponse(f"both Content-Length and Transfer-Encoding: {raw!r}")
        if len(lengths) > 1 or len(codings) > 1:
            raise BadResponse(f"framing header twice: {raw!r}")
        if method == "HEAD" or status < 200 or status in (204, 304):
            framing = "none"
        elif codings:
            if codings[0] != "chunked":
                raise BadResponse(f"Transfer-Encoding: {codings[0]}")
            framing = "chunked"
        elif lengths:
            framing = "length"
        else:
            framing = "close"
        return Response(
            status=status,
            reason=parts[2].decode("latin-1") if len(parts) > 2 else "",
            version=parts[0].decode(),
            headers=headers,
            framing=framing,
            raw_head=raw,
            head_at=time.monotonic(),
        )

    def pieces(self, head):
        """The body's bytes as they come. A body that ends early raises Closed."""
        if head.framing == "length":
            left = int(head.headers.get("content-length"))
            while left > 0:
                piece = self.reader.some()
                piece, self.reader.buffer = piece[:left], piece[left:] + self.reader.buffer
                left -= len(piece)
                yield piece
        elif head.framing == "chunked":
            while True:
                line = self.reader.until(b"\r\n")[:-2]
                if not line or any(c not in b"0123456789abcdefABCDEF" for c in line):
                    raise BadResponse(f"bad chunk size {line!r}")
                size = int(line, 16)
                if size == 0:
                    raw = b""
                    while not raw.endswith(b"\r\n\r\n") and raw != b"\r\n":
                        raw += self.reader.until(b"\r\n")
                    head.trailers = parse_fields(raw, "trailers")
                    return
                chunk = self.reader.exactly(size)
                if self.reader.exactly(2) != b"\r\n":
                    raise BadResponse("no CRLF after a chunk")
                head.chunks.append(chunk)
                yield chunk
        elif head.framing == "close":
            while True:
                try:
                    yield self.reader.some()
                except Closed as closed:
                    if closed.was_reset:
                        raise
                    return

    def response(self, method="POST"):
        head = self.head(method)
        for piece in self.pieces(head):
            head.body += piece
        return head

    def is_closed(self, within_s=5.0):
        """True when the peer closes the connection in time, having sent nothing more."""
        self.deadline(within_s)
        try:
            self.reader.some()
        except Closed:
            return True
        except TimeoutError:
            return False
        return False


def ask(port, method, path, body=None, headers=(), key=None, **connection):
    """One request on a connection of its own."""
    with Client(port, **connection) as client:
        return client.ask(method, path, body, headers, key)
