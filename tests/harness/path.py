"""A reverse proxy that does to streams what bad paths do: all of it is asked for."""

import gzip
import http.client
import socket
import zlib

from .listener import Listener
from .rawhttp import Closed, Reader, parse_fields


class Path(Listener):
    def __init__(
        self,
        port,
        hold_bytes=0,
        hold_all=False,
        hold_start=0,
        gzip_flushes=None,
        drop=(),
        add=(),
        cut_after_s=None,
        refuse_with=None,
    ):
        """In front of 127.0.0.1:port.

        hold_bytes: passes on when so many are together; hold_all: passes on at the end, with a
        Content-Length; hold_start: the same as hold_bytes, but once; gzip_flushes: compresses, and
        flushes after each piece or not; drop: names of headers; add: (name, value) pairs of
        headers that replace those of that name; cut_after_s: ends what is silent for so long;
        refuse_with: a status line in place of all that.
        """
        self.port_behind = port
        self.hold_bytes, self.hold_all, self.hold_start = hold_bytes, hold_all, hold_start
        self.gzip_flushes = gzip_flushes
        self.drop = {name.lower() for name in drop}
        self.add = list(add)
        self.cut_after_s = cut_after_s
        self.refuse_with = refuse_with
        super().__init__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def serve(self, sock):
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = Reader(sock)
            try:
                raw = reader.until(b"\r\n\r\n")
                line, _, fields = raw.partition(b"\r\n")
                method, target, _ = line.decode("latin-1").split(" ")
                headers = parse_fields(fields, "request to the path")
                body = reader.exactly(int(headers.get("content-length") or 0))
                self._answer(sock, method, target, headers, body)
            except (Closed, OSError):
                return  # whoever asked has gone

    def _answer(self, sock, method, target, headers, body):
        if self.refuse_with:
            sock.sendall(f"HTTP/1.1 {self.refuse_with}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        patience = self.cut_after_s or 60
        behind = http.client.HTTPConnection("127.0.0.1", self.port_behind, timeout=patience)
        own = {"host", "content-length", "connection"}
        asked = {name: value for name, value in headers.items if name.lower() not in own}
        behind.request(method, target, body, asked)
        answer = behind.getresponse()
        try:
            Passing(self, sock, answer).run()
        finally:
            behind.close()


class Passing:
    """One answer on its way through."""

    def __init__(self, path, sock, answer):
        self.path, self.sock, self.answer = path, sock, answer
        self.held, self.has_begun = b"", False
        self.encoder = None
        if path.gzip_flushes is not None:
            self.encoder = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)

    def head(self, *more):
        replaced = {name.lower() for name, _ in self.path.add}
        gone = self.path.drop | replaced | {"transfer-encoding", "connection", "content-length"}
        fields = [(n, v) for n, v in self.answer.getheaders() if n.lower() not in gone]
        lines = [f"HTTP/1.1 {self.answer.status} {self.answer.reason}"]
        lines += [f"{name}: {value}" for name, value in [*fields, *self.path.add, *more]]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")

    def chunk(self, data):
        if data:
            self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def encode(self, data):
        if self.encoder is None:
            return data
        out = self.encoder.compress(data)
        return out + self.encoder.flush(zlib.Z_SYNC_FLUSH) if self.path.gzip_flushes else out

    def read(self):
        """The next bytes; None where the path has had enough of the silence."""
        try:
            return self.answer.read1(65536)
        except TimeoutError:
            return None

    def run(self):
        path = self.path
        if path.hold_all:
            whole = self.answer.read()
            more = []
            if self.encoder is not None:
                whole, more = gzip.compress(whole), [("Content-Encoding", "gzip")]
            self.sock.sendall(self.head(("Content-Length", len(whole)), *more) + whole)
            return
        more = [("Content-Encoding", "gzip")] if self.encoder is not None else []
        self.sock.sendall(self.head(("Transfer-Encoding", "chunked"), *more))
        limit = path.hold_bytes or path.hold_start
        while data := self.read():
            self.held += data
            if len(self.held) >= limit:
                self.chunk(self.encode(self.held))
                self.held = b""
                limit = path.hold_bytes
        if data is None:
            return  # cut: no last chunk
        self.chunk(self.encode(self.held))
        if self.encoder is not None:
            self.chunk(self.encoder.flush())
        self.sock.sendall(b"0\r\n\r\n")
