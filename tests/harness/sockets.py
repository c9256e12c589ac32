"""A provider of realtime sessions (WebSocket), and clients of them through weir."""

import threading

from websockets.sync.client import connect
from websockets.sync.server import serve

PATIENCE_S = 20.0


class SocketUpstream:
    """Serves each session with `handler(socket)`; `refuse` = (status, body) turns all away."""

    def __init__(self, handler=None, subprotocols=None, **more):
        self.handler = handler or echo
        self.refuse = None
        self.requests = []  # heads of the handshakes
        self.closed = []  # (code, reason) of each session's end, as the provider saw it
        self._server = serve(
            self._run,
            "127.0.0.1",
            0,
            process_request=self._process,
            subprotocols=subprotocols,
            **more,
        )
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _process(self, socket, request):
        self.requests.append(request)
        if self.refuse is None:
            return None
        status, body = self.refuse
        answer = socket.respond(status, body)
        del answer.headers["Content-Type"]
        answer.headers["Content-Type"] = "application/json"
        return answer

    def _run(self, socket):
        try:
            self.handler(socket)
        finally:
            socket.close()
            self.closed.append((socket.close_code, socket.close_reason))

    def stop(self):
        self._server.shutdown()
        self._thread.join(PATIENCE_S)


def echo(socket):
    for message in socket:
        socket.send(message)


def session(weir, path="/v1/realtime?model=up/m", key=None, headers=(), **more):
    """An open socket through weir."""
    told = dict(headers)
    if key is not None:
        told["Authorization"] = f"Bearer {key}"
    more.setdefault("open_timeout", PATIENCE_S)
    more.setdefault("close_timeout", PATIENCE_S)
    more.setdefault("proxy", None)
    more.setdefault("legacy", True)  # the socket itself, not only a context manager
    return connect(f"ws://127.0.0.1:{weir.port}{path}", additional_headers=told, **more)
