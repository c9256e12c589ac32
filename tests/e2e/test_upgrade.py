"""A new binary takes over: not one connection is refused, not one answer is cut."""

import os
import pathlib
import signal
import threading
import time

import pytest

from harness import sse
from harness.rawhttp import Client, Closed
from harness.upstream import chat
from harness.weir import config, patience, provider, run, wait_until

pytestmark = pytest.mark.http1("the bridge goes on listening")

STREAM = {"model": "up/m", "messages": [], "stream": True}


def children_of(pid):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            fields = stat.rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def listener_pids(port):
    """Processes that hold a listening socket on that port of 127.0.0.1."""
    wanted = f"0100007F:{port:04X}"
    inodes = set()
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == wanted and fields[3] == "0A":
            inodes.add(f"socket:[{fields[9]}]")
    pids = set()
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            for fd in (entry / "fd").iterdir():
                if os.readlink(fd) in inodes:
                    pids.add(int(entry.name))
        except OSError:
            continue
    return pids


@pytest.fixture
def cleanup():
    """Ends the process that took over: it is no child that the harness knows."""
    ports = []
    yield ports
    for port in ports:
        for pid in listener_pids(port):
            if pid != os.getpid():
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda p=port: not listener_pids(p), 20, "the new process's end")


def upgrade(weir, how):
    if how == "signal":
        weir.signal(signal.SIGUSR2)
    else:
        done = run("upgrade", str(weir.process.pid))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("how", ["signal", "command"])
def test_not_one_connection_is_refused_while_upgrading_under_load(
    make_weir, upstream, cleanup, how
):
    upstream.handler = chat(["a", "b", "c"], gap_s=0.001)
    weir = make_weir(config({"up": provider(upstream)}))
    cleanup.append(weir.port)
    is_over = threading.Event()
    failures, done = [], []

    def load():
        while not is_over.is_set():
            try:
                with Client(weir.port) as client:  # a new connection each time
                    got = client.chat(STREAM)
                if got.status != 200 or sse.text_of(got.body) != "abc":
                    failures.append((got.status, got.body))
                done.append(time.monotonic())
            except (OSError, Closed, TimeoutError) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(done) > 50)
        old = weir.process.pid
        upgrade(weir, how)
        wait_until(lambda: listener_pids(weir.port) and old not in listener_pids(weir.port),
                   20 * patience(), "the new process")  # fmt: skip
        assert weir.wait_exit(20 * patience()) == 0  # the old one went, having finished its work
        count = len(done)
        wait_until(lambda: len(done) > count + 50, what="answers of the new process")
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30 * patience())
    assert failures == []


def test_a_running_stream_is_finished_by_the_old_process(make_weir, upstream, cleanup):
    may_end = threading.Event()

    def slow(call):
        call.start_stream()
        call.write(sse.chunk("begun"))
        may_end.wait(30)
        call.write(sse.chunk(" and ended") + sse.chunk(finish="stop") + sse.DONE)
        call.end()

    upstream.handler = slow
    weir = make_weir(config({"up": provider(upstream)}, timeouts={"drain": "30s"}))
    cleanup.append(weir.port)
    with weir.client() as client:
        client.send(client.build("POST", "/v1/chat/completions",
                                 b'{"model":"up/m","messages":[],"stream":true}'))  # fmt: skip
        head = client.head()
        weir.signal(signal.SIGUSR2)
        wait_until(
            lambda: listener_pids(weir.port)
            and weir.process.pid not in listener_pids(weir.port), 20 * patience()
        )  # fmt: skip
        with Client(weir.port) as other:
            assert other.ask("GET", "/readyz").status == 200
        may_end.set()
        assert sse.text_of(b"".join(client.pieces(head))) == "begun and ended"
    assert weir.wait_exit(20 * patience()) == 0


def test_a_new_process_that_cannot_start_leaves_the_old_one_alone(make_weir, upstream, cleanup):
    weir = make_weir(config({"up": provider(upstream)}))
    cleanup.append(weir.port)
    weir.write_config("providers: [broken\n")
    weir.signal(signal.SIGUSR2)
    wait_until(lambda: "weir.yaml" in weir.stderr(), 20 * patience(), "the message")
    wait_until(lambda: not children_of(weir.process.pid), 20 * patience(), "the child's end")
    for _ in range(5):
        assert weir.chat({"model": "up/m", "messages": []}).status == 200
    assert listener_pids(weir.port) == {weir.process.pid}
    weir.stop()
