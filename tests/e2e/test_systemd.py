"""systemd's two protocols, played by a small launcher: sockets handed over, and word when ready."""

import os
import signal
import socket
import sys

import pytest

from harness.rawhttp import Client
from harness.weir import Weir, config, patience, provider, wait_until

pytestmark = pytest.mark.http1("no requests")

# Like systemd: LISTEN_PID is the process itself, the sockets are descriptors 3 and up.
LAUNCHER = """
import os, sys
fds = [int(f) for f in sys.argv[1].split(",")]
for i, fd in enumerate(fds):
    os.dup2(fd, 100 + i)
for i in range(len(fds)):
    os.dup2(100 + i, 3 + i, True)
os.closerange(3 + len(fds), 200)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(fds))
os.execv(sys.argv[2], sys.argv[2:])
"""
CHAT = {"model": "up/m", "messages": []}


@pytest.fixture
def notify(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        path = str(tmp_path / "notify")
        sock.bind(path)
        sock.settimeout(20)
        yield sock, path


def words(sock):
    return sock.recv(4096).decode().split("\n")


def until(sock, word):
    for _ in range(20):
        if word in (got := words(sock)):
            return got
    raise AssertionError(f"{word} was not said")


def launch(make_weir, settings, sockets, env=None):
    for sock in sockets:
        os.set_inheritable(sock.fileno(), True)
    numbers = ",".join(str(s.fileno()) for s in sockets)
    return make_weir(
        settings,
        wrapper=[sys.executable, "-c", LAUNCHER, numbers],
        pass_fds=[s.fileno() for s in sockets],
        env=env,
        ready=False,
    )


def test_sockets_that_are_handed_over_are_served(make_weir, upstream):
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        settings = config({"up": provider(upstream)})
        del settings["listen"]
        launch(make_weir, settings, [one, two])
        for sock in (one, two):
            with Client(sock.getsockname()[1]) as client:
                assert client.chat(CHAT).status == 200


def test_who_connected_before_the_start_is_served(make_weir, upstream):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        early = Client(sock.getsockname()[1])
        early.send(early.build("POST", "/v1/chat/completions", b'{"model":"up/m","messages":[]}'))
        settings = config({"up": provider(upstream)})
        del settings["listen"]
        launch(make_weir, settings, [sock])
        assert early.response().status == 200
        early.close()


def test_a_handed_over_socket_for_everyone_needs_keys_too(tmp_path, upstream):
    with socket.create_server(("0.0.0.0", 0)) as sock:
        settings = config({"up": provider(upstream)})
        del settings["listen"]
        os.set_inheritable(sock.fileno(), True)
        with pytest.raises(AssertionError, match="keys"):
            Weir(settings, folder=tmp_path, pass_fds=[sock.fileno()], ready=False,
                 wrapper=[sys.executable, "-c", LAUNCHER, str(sock.fileno())])  # fmt: skip


def test_readiness_reload_and_end_are_told(make_weir, upstream, notify):
    sock, path = notify
    weir = make_weir(config({"up": provider(upstream)}), env={"NOTIFY_SOCKET": path})
    assert "READY=1" in until(sock, "READY=1")
    weir.signal(signal.SIGHUP)
    until(sock, "RELOADING=1")
    until(sock, "READY=1")
    weir.signal(signal.SIGTERM)
    until(sock, "STOPPING=1")
    assert weir.wait_exit(20 * patience()) == 0


def test_an_abstract_notify_socket_works_too(make_weir, upstream):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"weir-test-{os.getpid()}"
        sock.bind("\0" + name)
        sock.settimeout(20)
        make_weir(config({"up": provider(upstream)}), env={"NOTIFY_SOCKET": "@" + name})
        until(sock, "READY=1")


def test_listen_variables_of_another_process_are_not_taken(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}), env={"LISTEN_PID": "1", "LISTEN_FDS": "2"})
    wait_until(lambda: weir.chat(CHAT).status == 200)
