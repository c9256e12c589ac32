"""A CONNECT proxy that remembers what it was asked for."""

import socket
import threading

from .listener import Listener
from .rawhttp import Closed, Reader, parse_fields


class Proxy(Listener):
    def __init__(self, refuse_with=None, send_to=None):
        """refuse_with: a status line to answer instead; send_to: (host, port) for every CONNECT."""
        self.refuse_with = refuse_with
        self.send_to = send_to
        self.asked = []  # (target, headers)
        super().__init__()

    def serve(self, sock):
        with sock:
            reader = Reader(sock)
            try:
                raw = reader.until(b"\r\n\r\n")
            except (Closed, OSError):
                return
            line, _, fields = raw.partition(b"\r\n")
            method, target, _ = line.decode("latin-1").split(" ")
            self.asked.append((method, target, parse_fields(fields, "proxy request")))
            if method != "CONNECT" or self.refuse_with:
                status = self.refuse_with or "405 Method Not Allowed"
                sock.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                return
            host, _, port = target.rpartition(":")
            try:
                there = socket.create_connection(self.send_to or (host.strip("[]"), int(port)), 10)
            except OSError:
                sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with there:
                sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                if reader.buffer:
                    there.sendall(reader.buffer)
                sock.settimeout(60)
                back = threading.Thread(target=pump, args=(there, sock), daemon=True)
                back.start()
                pump(sock, there)
                back.join(10)


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for sock, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        try:
            sock.shutdown(how)
        except OSError:
            pass
