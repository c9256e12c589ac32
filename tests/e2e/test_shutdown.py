"""The end of a process: requests are finished, or told that they are not."""

import json
import signal
import threading
import time

import pytest

from harness import sse
from harness.rawhttp import Client, Closed
from harness.upstream import chat
from harness.weir import config, patience, provider, wait_until

STREAM = {"model": "up/m", "messages": [], "stream": True}


def gateway(make_weir, upstream, **timeouts):
    return make_weir(config({"up": provider(upstream)}, timeouts=timeouts))


def begin_stream(weir):
    client = weir.client()
    client.send(client.build("POST", "/v1/chat/completions", json.dumps(STREAM).encode()))
    return client, client.head()


@pytest.mark.http1("the bridge goes on listening")
def test_sigterm_lets_a_stream_end_and_takes_no_new_connection(make_weir, upstream):
    may_end = threading.Event()

    def slow(call):
        call.start_stream()
        call.write(sse.chunk("begun"))
        may_end.wait(20)
        call.write(sse.chunk(" and ended") + sse.chunk(finish="stop") + sse.DONE)
        call.end()

    upstream.handler = slow
    weir = gateway(make_weir, upstream, drain="20s")
    client, head = begin_stream(weir)
    idle = weir.client()
    weir.signal(signal.SIGTERM)

    def is_refused():
        try:
            with Client(weir.port):
                return False
        except ConnectionRefusedError:
            return True

    wait_until(is_refused, what="the end of listening")
    assert idle.is_closed()
    assert weir.process.poll() is None
    may_end.set()
    assert sse.text_of(b"".join(client.pieces(head))) == "begun and ended"
    assert weir.wait_exit() == 0


def test_an_answer_that_runs_over_the_drain_time_ends_with_an_error_event(make_weir, upstream):
    upstream.handler = chat(["w"] * 10000, gap_s=0.02)
    weir = gateway(make_weir, upstream, drain="300ms")
    client, head = begin_stream(weir)
    pieces = client.pieces(head)
    next(pieces)
    started = time.monotonic()
    weir.signal(signal.SIGTERM)
    rest = b"".join(pieces)  # framed to its end
    error = json.loads(sse.messages(rest)[-1])["error"]
    assert error["code"] == "shutting_down" and error["message"]
    assert sse.DONE not in rest
    assert weir.wait_exit() == 0
    assert time.monotonic() - started < 5 * patience()
    upstream.wait(lambda u: u.in_progress == 0, what="the upstream call's end")


def test_a_request_that_waits_for_its_answer_is_told(make_weir, upstream):
    upstream.handler = lambda call: call.wait_hang_up()
    weir = gateway(make_weir, upstream, drain="200ms")
    with weir.client() as client:
        body = json.dumps(STREAM | {"stream": False}).encode()
        client.send(client.build("POST", "/v1/chat/completions", body))
        upstream.wait(lambda u: u.in_progress == 1)
        weir.signal(signal.SIGTERM)
        got = client.response()
    assert got.status == 503
    assert got.error["code"] == "shutting_down" and got.headers.get("retry-after")
    assert weir.wait_exit() == 0


def test_a_keep_alive_connection_learns_that_it_ends(make_weir, upstream):
    may_end = threading.Event()

    def wait(call):
        may_end.wait(20)
        call.reply(200, b"{}")

    upstream.handler = wait
    weir = gateway(make_weir, upstream)
    with weir.client() as client:
        client.send(client.build("POST", "/v1/chat/completions", b'{"model":"up/m"}'))
        upstream.wait(lambda u: u.in_progress == 1)
        weir.signal(signal.SIGTERM)
        wait_until(lambda: refuses(weir.port), what="the end of listening")
        may_end.set()
        got = client.response()
        assert got.status == 200 and got.headers.get("connection") == "close"
        assert client.is_closed()
    assert weir.wait_exit() == 0


def refuses(port):
    try:
        Client(port).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_weir_ends_at_once(weir, number):
    with weir.client() as client:
        client.ask("GET", "/healthz")
        started = time.monotonic()
        weir.signal(number)
        assert weir.wait_exit() == 0
        assert time.monotonic() - started < 2 * patience()


def test_a_second_signal_does_not_wait(make_weir, upstream):
    upstream.handler = lambda call: call.wait_hang_up()
    weir = gateway(make_weir, upstream, drain="60s")
    client, _ = None, None
    client = weir.client()
    client.send(client.build("POST", "/v1/chat/completions", json.dumps(STREAM).encode()))
    upstream.wait(lambda u: u.in_progress == 1)
    weir.signal(signal.SIGTERM)
    wait_until(lambda: refuses(weir.port), what="the end of listening")
    assert weir.process.poll() is None
    weir.signal(signal.SIGTERM)
    weir.wait_exit(10 * patience())
    with pytest.raises((Closed, OSError)):
        client.deadline(5)
        while True:
            client.reader.some()


def test_nothing_is_cut_when_ended_under_load(make_weir, upstream):
    """Every answer that was begun is whole; connections end between answers, never in one."""
    upstream.handler = chat(["a", "b", "c"], gap_s=0.002)
    weir = gateway(make_weir, upstream, drain="20s")
    broken, whole = [], []

    def load():
        try:
            while True:
                with Client(weir.port) as client:
                    while True:
                        client.send(
                            client.build(
                                "POST", "/v1/chat/completions", json.dumps(STREAM).encode()
                            )
                        )
                        try:
                            head = client.head()
                        except Closed as closed:
                            if closed.had:
                                broken.append(closed.had)
                            break  # closed between two answers: a client asks again elsewhere
                        got = b"".join(client.pieces(head))
                        if head.status == 200 and sse.text_of(got) != "abc":
                            broken.append(got)
                        whole.append(1)
                        if head.headers.get("connection") == "close":
                            break
        except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
            return
        except Closed as closed:
            broken.append(closed.had)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(whole) > 100, 30)
    weir.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30 * patience())
    assert weir.wait_exit() == 0
    assert broken == []
