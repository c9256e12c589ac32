"""HTTP/1.1 on one side, HTTP/2 on the other: the same tests say the same of both versions.

`Front` stands between a test's clients, whatever they speak it with, and a weir: each of their
connections becomes one of HTTP/2 (prior knowledge). `serve_h2` does the same for an upstream that
is written for HTTP/1.1: each stream becomes a connection to it, over a socket pair. Who gives up a
connection gives up the stream, and the other way round. Nothing is repaired: what cannot be carried
over ends the connection.
"""

import os
import select
import socket
import ssl
import struct
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"}
QUEUE_BYTES = 64 * 1024  # what waits for a window before no more is read


def is_asked_for():
    """Whether the tests run over HTTP/2."""
    return os.environ.get("WEIR_TEST_HTTP") == "2"


def readable(sockets, seconds):
    """Those that have something to read; by poll, for there may be thousands of descriptors."""
    by_fd = {sock.fileno(): sock for sock in sockets}
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll(seconds * 1000)]


class Http1:
    """The messages of one direction of an HTTP/1.1 connection, as they come in."""

    def __init__(self):
        self.buffer = b""
        self.state = "head"
        self.left = 0
        self.method = "POST"  # of the request that is answered

    def feed(self, data):
        self.buffer += data
        events = []
        while (event := self._next()) is not None:
            if event:
                events.append(event)
        return events

    def eof(self):
        """What the end of the connection means."""
        if self.state == "close":
            self.state = "head"
            return [("end", [])]
        return [] if self.state == "head" and not self.buffer else [("cut", None)]

    def _line(self):
        line, mark, rest = self.buffer.partition(b"\r\n")
        if not mark:
            return None
        self.buffer = rest
        return line

    def _next(self):
        """An event, () for one without meaning, or None: more is needed."""
        if self.state == "head":
            return self._head()
        if self.state == "size":
            line = self._line()
            if line is None:
                return None
            self.left = int(line, 16)
            self.state, self.fields = ("chunk", []) if self.left else ("trailers", [])
            return ()
        if self.state == "trailers":
            line = self._line()
            if line is None:
                return None
            if line:
                self.fields.append(pair(line))
                return ()
            self.state = "head"
            return ("end", self.fields)
        if self.state == "after":
            if len(self.buffer) < 2:
                return None
            self.buffer, self.state = self.buffer[2:], "size"
            return ()
        return self._data()

    def _data(self):
        if self.state == "close":
            data, self.buffer = self.buffer, b""
            return ("data", data) if data else None
        if self.state == "length" and self.left == 0:
            self.state = "head"
            return ("end", [])
        data, self.buffer = self.buffer[: self.left], self.buffer[self.left :]
        if not data:
            return None
        self.left -= len(data)
        if self.state == "chunk" and self.left == 0:
            self.state = "after"
        return ("data", data)

    def _head(self):
        raw, mark, rest = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return None
        self.buffer = rest
        first, *lines = raw.split(b"\r\n")
        fields = [pair(line) for line in lines]
        have = dict(fields)
        is_answer = first.startswith(b"HTTP/")
        status = int(first.split()[1]) if is_answer else 0
        if is_answer and status < 200:
            return ("head", (first, fields))
        self.state, self.left = "length", int(have.get("content-length", 0))
        if is_answer and (self.method == "HEAD" or status in (204, 304)):
            self.left = 0
        elif "transfer-encoding" in have:
            self.state = "size"
        elif is_answer and "content-length" not in have:
            self.state = "close"
        return ("head", (first, fields))


def pair(line):
    name, colon, value = line.partition(b":")
    if not colon:
        raise ValueError(f"no field: {line!r}")
    return name.decode("latin-1").lower(), value.strip().decode("latin-1")


def carried(fields):
    return [(n, v) for n, v in fields if n not in HOP_BY_HOP and n != "host"]


def close(sock, with_reset=False):
    try:
        if with_reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


class Wire:
    """One HTTP/2 connection and what waits for its windows."""

    def __init__(self, sock, is_client):
        self.sock = sock
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=is_client,
                header_encoding="latin-1",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        # A GOAWAY is no end: what runs goes on.
        machine, states = self.h2.state_machine, h2.connection.ConnectionState
        goaway = h2.connection.ConnectionInputs.RECV_GOAWAY
        machine._transitions = dict(machine._transitions)
        for state in (states.IDLE, states.CLIENT_OPEN, states.SERVER_OPEN):
            machine._transitions[(state, goaway)] = (None, state)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.waiting = {}  # stream -> [bytes, trailers or None, is ended]
        self.push()

    def push(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def receive(self):
        """The events of what came; None at the end of the connection."""
        try:
            data = self.sock.recv(65536)
        except ssl.SSLWantReadError:
            return []
        except OSError:
            data = b""
        if not data:
            return None
        events = self.h2.receive_data(data)
        for stream in list(self.waiting):
            self.drain(stream)
        self.push()
        return events

    def send(self, stream, data=b"", trailers=None, ends=False):
        entry = self.waiting.setdefault(stream, [b"", None, False])
        entry[0] += data
        entry[1] = trailers or entry[1]
        entry[2] = entry[2] or ends
        self.drain(stream)
        self.push()

    def drain(self, stream):
        entry = self.waiting[stream]
        try:
            while entry[0]:
                room = self.h2.local_flow_control_window(stream)
                room = min(room, self.h2.max_outbound_frame_size, len(entry[0]))
                if room <= 0:
                    return
                is_last = entry[2] and not entry[1] and room == len(entry[0])
                self.h2.send_data(stream, entry[0][:room], end_stream=is_last)
                entry[0] = entry[0][room:]
                if is_last:
                    entry[2] = False
            if entry[2] and entry[1]:
                self.h2.send_headers(stream, entry[1], end_stream=True)
            elif entry[2]:
                self.h2.end_stream(stream)
        except (h2.exceptions.ProtocolError, KeyError):
            pass  # the stream has ended meanwhile
        del self.waiting[stream]

    def is_full(self, stream):
        return stream in self.waiting and len(self.waiting[stream][0]) > QUEUE_BYTES

    def reset(self, stream, code=h2.errors.ErrorCodes.CANCEL):
        self.waiting.pop(stream, None)
        try:
            self.h2.reset_stream(stream, code)
            self.push()
        except (h2.exceptions.ProtocolError, OSError):
            pass

    def took(self, event):
        if event.flow_controlled_length:
            try:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.push()
            except h2.exceptions.ProtocolError:
                pass

    def has_pending(self):
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0


# --- in front of a weir ---


class Front:
    """Takes HTTP/1.1 on a port of its own and speaks HTTP/2 to `port`."""

    def __init__(self, port, scheme="http"):
        self.target = port
        self.scheme = scheme
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        close(self.listener)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            up = socket.create_connection(("127.0.0.1", self.target), timeout=20)
        except OSError:
            close(sock, with_reset=True)
            return
        up.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up.settimeout(60)
        sock.settimeout(60)
        try:
            FrontConnection(sock, Wire(up, True), self.scheme).run()
        except (OSError, ValueError, h2.exceptions.ProtocolError):
            pass
        close(sock)
        close(up)


class FrontConnection:
    def __init__(self, down, wire, scheme):
        self.down = down
        self.wire = wire
        self.scheme = scheme
        self.requests = Http1()
        self.stream = None  # of the request that is under way
        self.is_chunked = False
        self.closes = False
        self.has_head = False
        self.early = b""  # of requests that follow in a pipeline

    def run(self):
        while True:
            watched = [self.wire.sock]
            if self.stream is None or not self.wire.is_full(self.stream):
                watched.append(self.down)
            ready = readable(watched, 120)
            if self.down in ready and not self.take_request_bytes():
                return
            if self.wire.sock in ready:
                events = self.wire.receive()
                if events is None or not all([self.take_answer(e) for e in events]):
                    return
            elif not ready:
                return

    def take_request_bytes(self):
        try:
            data = self.down.recv(65536)
        except OSError:
            data = b""
        if not data:
            if self.stream is not None:
                self.wire.reset(self.stream)
            return False
        if self.stream is not None and self.requests.state == "head":
            self.early += data
            return True
        return self.take_request_events(data)

    def take_request_events(self, data):
        for kind, what in self.requests.feed(data):
            if kind == "head":
                self.begin(*what)
            elif kind == "data":
                self.wire.send(self.stream, what)
            elif kind == "end" and self.is_sending:
                self.wire.send(self.stream, trailers=what, ends=True)
        return True

    def begin(self, first, fields):
        method, target, _ = first.decode("latin-1").split(" ")
        self.stream = self.wire.h2.get_next_available_stream_id()
        self.method, self.has_head = method, False
        have = dict(fields)
        self.closes = "close" in have.get("connection", "")
        self.is_sending = "transfer-encoding" in have or have.get("content-length", "0") != "0"
        pseudo = [(":method", method), (":scheme", self.scheme),
                  (":authority", have.get("host", "")), (":path", target)]  # fmt: skip
        self.wire.h2.send_headers(
            self.stream, pseudo + carried(fields), end_stream=not self.is_sending
        )
        self.wire.push()

    def take_answer(self, event):
        """False when the connection has no more use."""
        if isinstance(event, h2.events.ConnectionTerminated):
            self.closes = True
            return self.stream is not None
        if getattr(event, "stream_id", None) != self.stream or self.stream is None:
            return True
        if isinstance(event, h2.events.InformationalResponseReceived):
            self.down.sendall(b"HTTP/1.1 %s Interim\r\n\r\n" % dict(event.headers)[":status"].encode())
        elif isinstance(event, h2.events.ResponseReceived):
            self.send_head(event)
        elif isinstance(event, h2.events.DataReceived):
            if event.data:
                frame = b"%x\r\n%s\r\n" % (len(event.data), event.data)
                self.down.sendall(frame if self.is_chunked else event.data)
            self.wire.took(event)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers = event.headers
        elif isinstance(event, h2.events.StreamReset):
            return False
        elif isinstance(event, h2.events.StreamEnded):
            return self.end_answer()
        return True

    def send_head(self, event):
        fields = [(n, v) for n, v in event.headers if not n.startswith(":")]
        status = dict(event.headers)[":status"]
        has_body = status not in ("204", "304") and self.method != "HEAD"
        self.is_chunked = has_body and "content-length" not in dict(fields)
        self.trailers = []
        self.has_head = True
        if self.is_chunked:
            fields.append(("transfer-encoding", "chunked"))
        if self.closes:
            fields.append(("connection", "close"))
        lines = [f"HTTP/1.1 {status} -", *(f"{n}: {v}" for n, v in fields)]
        self.down.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def end_answer(self):
        if self.is_chunked:
            lines = "".join(f"{n}: {v}\r\n" for n, v in self.trailers)
            self.down.sendall(b"0\r\n" + lines.encode("latin-1") + b"\r\n")
        self.stream = None
        if self.closes or self.requests.state != "head":
            return False
        data, self.early = self.early, b""
        return self.take_request_events(data) if data else True


# --- in front of an upstream ---


class Stream:
    def __init__(self, number, sock, method):
        self.number = number
        self.sock = sock
        self.answer = Http1()
        self.answer.method = method
        self.has_length = False
        self.is_over = False


class BackConnection:
    """Streams of one connection of HTTP/2, each as a connection to `serve(sock, turn)`."""

    def __init__(self, sock, serve):
        self.wire = Wire(sock, False)
        self.serve = serve
        self.streams = {}
        self.turns = 0

    def run(self):
        try:
            while True:
                watched = {s.sock: s for s in self.streams.values()
                           if not self.wire.is_full(s.number)}  # fmt: skip
                wait = 0 if self.wire.has_pending() else 120
                ready = readable([self.wire.sock, *watched], wait)
                for sock in ready:
                    if sock in watched:
                        self.take_answer(watched[sock])
                if self.wire.sock in ready or wait == 0:
                    events = self.wire.receive()
                    if events is None:
                        return
                    for event in events:
                        self.take_request(event)
        finally:
            for stream in self.streams.values():
                close(stream.sock)

    def take_request(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.begin(event)
            return
        stream = self.streams.get(getattr(event, "stream_id", None))
        try:
            if isinstance(event, h2.events.DataReceived):
                if stream is not None and event.data:
                    data = event.data
                    frame = b"%x\r\n%s\r\n" % (len(data), data)
                    stream.sock.sendall(data if stream.has_length else frame)
                self.wire.took(event)
            elif isinstance(event, h2.events.StreamEnded) and stream is not None:
                if not stream.has_length:
                    stream.sock.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # the upstream's handler has left: told by its end of the pair
        if isinstance(event, h2.events.StreamReset) and stream is not None:
            self.forget(stream)

    def begin(self, event):
        pseudo = {n: v for n, v in event.headers if n.startswith(":")}
        fields = [(n, v) for n, v in event.headers if not n.startswith(":")]
        ours, theirs = socket.socketpair()
        stream = Stream(event.stream_id, ours, pseudo[":method"])
        stream.has_length = "content-length" in dict(fields) or event.stream_ended is not None
        if not stream.has_length:
            fields.append(("transfer-encoding", "chunked"))
        lines = [f"{pseudo[':method']} {pseudo[':path']} HTTP/1.1", f"host: {pseudo[':authority']}"]
        lines += [f"{n}: {v}" for n, v in fields]
        self.streams[stream.number] = stream
        self.turns += 1
        threading.Thread(target=self.serve, args=(theirs, self.turns), daemon=True).start()
        ours.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def forget(self, stream):
        self.streams.pop(stream.number, None)
        self.wire.waiting.pop(stream.number, None)
        close(stream.sock)

    def take_answer(self, stream):
        try:
            data = stream.sock.recv(65536)
        except OSError:
            data = b""
        try:
            events = stream.answer.feed(data) if data else stream.answer.eof()
        except ValueError:
            events = [("cut", None)]
        if not data and not events and not stream.is_over:
            events = [("cut", None)]
        for kind, what in events:
            self.pass_on(stream, kind, what)
        if not data:
            self.forget_when_sent(stream)

    def forget_when_sent(self, stream):
        self.streams.pop(stream.number, None)
        close(stream.sock)

    def pass_on(self, stream, kind, what):
        if stream.is_over:
            return
        if kind == "head":
            status = what[0].split()[1].decode()
            fields = [(":status", status), *carried(what[1])]
            try:
                self.wire.h2.send_headers(stream.number, fields)
                self.wire.push()
            except h2.exceptions.ProtocolError:
                self.forget(stream)
        elif kind == "data":
            self.wire.send(stream.number, what)
        elif kind == "end":
            stream.is_over = True
            self.wire.send(stream.number, trailers=carried(what), ends=True)
        else:
            stream.is_over = True
            self.wire.reset(stream.number, h2.errors.ErrorCodes.INTERNAL_ERROR)


def begins_h2(sock):
    """Whether a connection begins with the preface; plain sockets only."""
    return sock.recv(4, socket.MSG_PEEK) == PREFACE[:4]


def serve_h2(sock, serve):
    """Serves the connection to its end: `serve(sock, turn)` in a thread for each stream."""
    try:
        BackConnection(sock, serve).run()
    except h2.exceptions.ProtocolError as error:
        raise ValueError(f"bad HTTP/2: {error}") from error


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
