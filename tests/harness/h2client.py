"""A client of HTTP/2 that a test can make misbehave: hyper's h2 over a blocking socket."""

import socket
import ssl
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from .weir import patience

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 2, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags=0, stream=0, payload=b""):
    """One frame as it stands on the wire (RFC 9113 section 4.1)."""
    length = len(payload).to_bytes(3, "big")
    return length + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@dataclass
class Answer:
    headers: dict = field(default_factory=dict)
    trailers: dict = field(default_factory=dict)
    interim: list = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int = None

    @property
    def status(self):
        return int(self.headers[":status"])

    @property
    def is_over(self):
        return self.ended or self.reset is not None


def text(headers):
    return {k.decode(): v.decode() for k, v in headers}


class H2Client:
    def __init__(self, port, context=None, window=None, timeout=10):
        """`context`: TLS. `window`: what a stream may bring before it is read (see `credit`)."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
            assert self.socket.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        # A GOAWAY is no end: what runs goes on, and so does this client.
        machine, states = self.h2.state_machine, h2.connection.ConnectionState
        goaway = h2.connection.ConnectionInputs.RECV_GOAWAY
        machine._transitions = dict(machine._transitions)
        for state in (states.IDLE, states.CLIENT_OPEN):
            machine._transitions[(state, goaway)] = (None, state)
        self.gives_credit = window is None
        self.answers = {}
        self.goaways = []  # (last stream id, error code)
        self.settings = None  # of the server
        self.pongs = 0
        self.is_closed = False
        self.h2.initiate_connection()
        if window is not None:
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.push()

    def push(self):
        self.socket.sendall(self.h2.data_to_send())

    def raw(self, data):
        """Bytes that h2 knows nothing of. False when the server has closed."""
        try:
            self.push()
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def head(self, path, method="GET", headers=(), end=True, **pseudo):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", "weir.test"),
                  (":path", path)]  # fmt: skip
        fields += [(f":{k}", v) for k, v in pseudo.items()]
        self.h2.send_headers(stream, [*fields, *headers], end_stream=end)
        self.answers[stream] = Answer()
        self.push()
        return stream

    def send(self, stream, data, end=False):
        """As the server's windows allow."""
        while True:
            room = min(
                self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data)
            )
            if room == 0 and data:
                self.take()
                continue
            data, part = data[room:], data[:room]
            self.h2.send_data(stream, part, end_stream=end and not data)
            self.push()
            if not data:
                return

    def post(self, path, body=b"", headers=()):
        stream = self.head(path, "POST", headers, end=not body)
        if body:
            self.send(stream, body, end=True)
        return stream

    def reset(self, stream, code=h2.errors.ErrorCodes.CANCEL):
        self.h2.reset_stream(stream, code)
        self.push()

    def credit(self, stream, n):
        self.h2.acknowledge_received_data(n, stream)
        self.push()

    def take(self):
        """What comes next; False at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            data = b""
        if not data:
            self.is_closed = True
            return False
        for event in self.h2.receive_data(data):
            self._note(event)
        try:
            self.push()
        except OSError:
            pass  # the end is met by the next recv
        return True

    def _note(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None), Answer())
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = text(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(int(text(event.headers)[":status"]))
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = text(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.gives_credit and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((event.last_stream_id, int(event.error_code)))
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
        elif isinstance(event, h2.events.RemoteSettingsChanged) and self.settings is None:
            self.settings = {int(k): v.new_value for k, v in event.changed_settings.items()}

    def wait(self, condition, seconds=10):
        deadline = time.monotonic() + seconds * patience()
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {self.answers} {self.goaways}"
            assert self.take() or condition(), f"the server closed: {self.answers} {self.goaways}"

    def answer(self, stream):
        self.wait(lambda: self.answers[stream].is_over)
        return self.answers[stream]

    def ask(self, path, method="GET", **more):
        return self.answer(self.head(path, method, **more))

    def wait_closed(self, seconds=10):
        self.socket.settimeout(seconds * patience())
        while self.take():
            pass

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
