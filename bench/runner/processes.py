"""Starts processes so that none outlives the bench, whatever happens to it."""
import atexit
import ctypes
import os
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_alive = []


class BenchError(Exception):
    """Something that keeps a measurement from being made; its text is for the reader."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, core, **arguments):
    """Starts a command on one core, as leader of its own group; it ends when the bench ends."""

    def before_exec():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, {core})

    process = subprocess.Popen(command, preexec_fn=before_exec, start_new_session=True,
                               **arguments)
    _alive.append(process)
    return process


def end(process, patience_s=5):
    """Ends a process and its group, kindly at first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    if process in _alive:
        _alive.remove(process)


def end_all():
    for process in list(_alive):
        end(process, patience_s=1)


def end_on_signals():
    """A signal that ends the bench ends what it started."""
    atexit.register(end_all)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda got, _frame: os._exit((end_all(), 128 + got)[1]))


def wait_until(condition, limit_s, what):
    """Waits until the condition gives something true, and returns that."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {limit_s} s")
        time.sleep(0.01)
