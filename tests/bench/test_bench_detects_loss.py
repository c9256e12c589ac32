"""The bench's own tools: the load generator must notice whatever is wrong with an answer, and must
not be disturbed by where the bytes are cut."""

import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KIND = os.environ.get("WEIR_BUILD", "release")


@pytest.fixture(scope="module")
def programs():
    """The folder with the mock and the load generator, built."""
    build = os.environ.get("BUILD") or ("build" if KIND == "release" else f"build-{KIND}")
    folder = ROOT / build / "bench"
    if "BUILD" not in os.environ:
        subprocess.run([ROOT / "scripts" / "build", KIND, "bench-programs"], check=True)
    assert (folder / "mock").exists() and (folder / "load").exists()
    return folder


class Mock:
    def __init__(self, folder):
        self.process = subprocess.Popen([folder / "mock"], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.load_program = folder / "load"

    def load(self, *options, port=None):
        """Runs the load generator; returns its exit status and its figures."""
        done = subprocess.run(
            [self.load_program, "--target", f"127.0.0.1:{port or self.port}", *options],
            stdout=subprocess.PIPE, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout.splitlines()[-1])

    def stats(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=10) as answer:
            return json.load(answer)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def mock(programs):
    started = Mock(programs)
    yield started
    started.stop()


def until(condition, limit_s=10):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


class Relay(threading.Thread):
    """A proxy that cuts what it carries at random places. It serves one connection."""

    def __init__(self, upstream_port, rng):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.upstream_port = upstream_port
        self.rng = rng

    def pump(self, source, sink):
        sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := source.recv(65536):
                while data:
                    cut = self.rng.choice([1, 2, 3, 7, 50, 259, 1000])
                    sink.sendall(data[:cut])
                    data = data[cut:]
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side is gone: the load generator has all it wants

    def run(self):
        client, _ = self.listener.accept()
        upstream = socket.create_connection(("127.0.0.1", self.upstream_port))
        with self.listener, client, upstream:
            forth = threading.Thread(target=self.pump, args=(client, upstream), daemon=True)
            forth.start()
            self.pump(upstream, client)
            client.close()
            forth.join(10)


STREAM_FAULTS = [
    ("7drop", "lost"), ("0drop", "lost"), ("19drop", "lost"), ("7dup", "doubled"),
    ("7swap", "reordered"), ("7corrupt", "corrupt"), ("7foreign", "foreign"), ("7cut", "unended"),
    ("nodone", "unended"), ("noend", "unended"),
]


@pytest.mark.parametrize("pace", ["0us", "200us"])
@pytest.mark.parametrize("word, kind", STREAM_FAULTS)
def test_a_damaged_stream_fails_the_run(mock, word, kind, pace):
    status, figures = mock.load("--stream", "--model", f"bench-20tok-{pace}-{word}", "--requests",
                                "3", "--timeout-ms", "5000")
    assert status == 1
    assert figures["faults"][kind] >= 1, figures
    assert figures["first_fault"]


@pytest.mark.parametrize("word, kind", [("corrupt", "corrupt"), ("cut", "unended")])
def test_a_damaged_answer_fails_the_run(mock, word, kind):
    status, figures = mock.load("--model", f"bench-2000b-1{word}", "--requests", "3")
    assert status == 1
    assert figures["faults"][kind] >= 1, figures


def test_a_refusal_fails_the_run(mock):
    status, figures = mock.load("--path", "/v1/elsewhere", "--requests", "1")
    assert status == 1
    assert figures["faults"]["status"] == 1
    assert "404" in figures["first_fault"]


def test_a_dead_upstream_fails_the_run(mock):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    status, figures = mock.load("--requests", "1", port=port)
    assert status == 1
    assert figures["errors"] == 1


def test_silence_fails_the_run(mock):
    status, figures = mock.load("--stream", "--model", "bench-3tok-hold", "--requests", "1",
                                "--timeout-ms", "300")
    assert status == 1
    assert figures["faults"]["timeout"] == 1


class AnthropicMock(threading.Thread):
    """Answers as a gateway in front of the mock does for clients of Anthropic's dialect, and makes
    the mistake that it is told to make. It serves one connection and one request at a time."""

    TOKENS = 20

    def __init__(self, mistake=None):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.mistake = mistake
        self.heads = []

    def events(self, body, token_text):
        mark, nonce, _ = body["metadata"]["user_id"].split(".")
        assert mark == "bench" and body["max_tokens"] > 0
        usage = {"input_tokens": 257, "cache_creation_input_tokens": 0,
                 "cache_read_input_tokens": 0,
                 "cache_creation": {"ephemeral_5m_input_tokens": 0,
                                    "ephemeral_1h_input_tokens": 0},
                 "output_tokens": 0}
        start = {"type": "message_start", "message": {
            "id": f"chatcmpl-{nonce}", "type": "message", "role": "assistant",
            "model": body["model"], "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": usage}}
        tokens = [{"type": "content_block_delta", "index": 0,
                   "delta": {"type": "text_delta", "text": token_text(number, nonce)}}
                  for number in range(self.TOKENS)]
        opening = [start, {"type": "content_block_start", "index": 0,
                           "content_block": {"type": "text", "text": ""}}]
        closing = [{"type": "content_block_stop", "index": 0},
                   {"type": "message_delta",
                    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                    "usage": dict(usage, output_tokens=self.TOKENS)},
                   {"type": "message_stop"}]
        if self.mistake:
            self.mistake(opening, tokens, closing)
        return opening + [{"type": "ping"}] + tokens + closing

    def run(self):
        client, _ = self.listener.accept()
        with self.listener, client, client.makefile("rb") as lines:
            while head := lines.readline():
                self.heads.append(head.decode())
                length = 0
                while (line := lines.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = json.loads(lines.read(length))
                events = self.events(body, lambda number, nonce:
                                     f" t{number:07}" + self.padding(body["model"], number, nonce))
                for event in events:
                    text = json.dumps(event, separators=(",", ":"))
                    data = f"event: {event['type']}\ndata: {text}\n\n".encode()
                    if event is events[0]:
                        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                       b"Transfer-Encoding: chunked\r\n\r\n")
                    client.sendall(b"%x\r\n%s\r\n" % (len(data), data))
                client.sendall(b"0\r\n\r\n")

    @staticmethod
    def padding(model, number, nonce):
        """What the mock would have put behind the number to make its own event 400 bytes long."""
        own = ('data: {"id":"chatcmpl-' + nonce + '","object":"chat.completion.chunk",'
               '"created":1754000000,"model":"' + model + '","system_fingerprint":"fp_'
               + 16 * "0" + '","choices":[{"index":0,"delta":{'
               + ('"role":"assistant",' if number == 0 else "")
               + '"content":" t0000000"},"finish_reason":null}]}\n\n')
        return (nonce * 25)[:400 - len(own)]


def change_text(tokens, number, text):
    tokens[number]["delta"]["text"] = text(tokens[number]["delta"]["text"])


ANTHROPIC_FAULTS = {
    "a lost token": (lambda o, t, c: t.pop(7), "lost"),
    "a lost first token": (lambda o, t, c: t.pop(0), "lost"),
    "a lost last token": (lambda o, t, c: t.pop(), "lost"),
    "a token twice": (lambda o, t, c: t.insert(7, t[7]), "doubled"),
    "two tokens swapped": (lambda o, t, c: t.insert(8, t.pop(7)), "reordered"),
    "a longer token": (lambda o, t, c: change_text(t, 7, lambda text: text + "x"), "corrupt"),
    "another's token": (lambda o, t, c: change_text(
        t, 7, lambda text: text[:9] + "g" + text[10:]), "foreign"),
    "another's stream": (lambda o, t, c: o[0]["message"].update(id="chatcmpl-0"), "corrupt"),
    "no start": (lambda o, t, c: o.clear(), "lost"),
    "no end of the block": (lambda o, t, c: c.pop(0), "lost"),
    "no reason to stop": (lambda o, t, c: c.pop(1), "lost"),
    "no end": (lambda o, t, c: c.pop(), "unended"),
    "another reason": (lambda o, t, c: c[1]["delta"].update(stop_reason="max_tokens"), "corrupt"),
    "another count": (lambda o, t, c: c[1]["usage"].update(output_tokens=19), "corrupt"),
}


def load_anthropic(programs, mistake, requests):
    answering = AnthropicMock(mistake)
    answering.start()
    done = subprocess.run(
        [programs / "load", "--target", f"127.0.0.1:{answering.port}", "--dialect", "anthropic",
         "--stream", "--model", "bench-20tok-400ev", "--requests", str(requests),
         "--timeout-ms", "5000"], stdout=subprocess.PIPE, timeout=60, check=False)
    answering.join(10)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), answering


@pytest.mark.parametrize("fault", ANTHROPIC_FAULTS)
def test_a_damaged_stream_in_the_anthropic_form_fails_the_run(programs, fault):
    mistake, kind = ANTHROPIC_FAULTS[fault]
    status, figures, _ = load_anthropic(programs, mistake, 1)
    assert status == 1
    assert figures["faults"][kind] >= 1, figures


def test_an_orderly_run_in_the_anthropic_form_passes(programs):
    status, figures, answering = load_anthropic(programs, None, 3)
    assert (status, figures["first_fault"]) == (0, "")
    assert (figures["requests"], figures["tokens"], figures["comments"]) == (3, 60, 3)
    assert answering.heads == ["POST /v1/messages HTTP/1.1\r\n"] * 3


@pytest.mark.parametrize("options", [
    [], ["--prompt", "300000"], ["--model", "bench-100000b"],
    ["--stream", "--model", "bench-300tok"],
    ["--stream", "--include-usage", "--model", "bench-30tok-1ms"],
])
def test_an_orderly_run_passes_wherever_it_is_cut(mock, options):
    rng = random.Random(f"{options}")
    relay = Relay(mock.port, rng)
    relay.start()
    status, figures = mock.load("--requests", "5", *options, port=relay.port)
    assert (status, figures["first_fault"]) == (0, "")
    assert figures["requests"] == 5
    relay.join(10)


def test_every_token_of_many_streams_is_counted(mock):
    status, figures = mock.load("--stream", "--model", "bench-40tok-1ms", "--connections", "50",
                                "--requests", "100")
    assert (status, figures["first_fault"]) == (0, "")
    assert figures["tokens"] == 4000
    assert figures["transit_us"]["count"] == 4000
    assert figures["gap_us"]["count"] == 3900


def test_open_loop_keeps_its_rate(mock):
    status, figures = mock.load("--rate", "500", "--even", "--requests", "200")
    assert (status, figures["requests"]) == (0, 200)
    assert figures["seconds"] >= 199 / 500


def test_mock_counts_calls_whose_clients_hang_up(mock):
    process = subprocess.Popen(
        [mock.load_program, "--target", f"127.0.0.1:{mock.port}", "--mode", "hangup", "--stream",
         "--connections", "40", "--model", "bench-3tok-hold"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert json.loads(process.stdout.readline()) == {"open": 40}
    assert mock.stats()["in_progress"] == 40
    process.communicate("\n", timeout=20)
    until(lambda: mock.stats()["in_progress"] == 0)
    assert mock.stats()["aborted"] == 40


def test_mock_refuses_a_damaged_prompt(mock):
    body = json.dumps({"model": "bench", "user": "bench.0123456789abcdef.5",
                       "messages": [{"role": "user", "content": "wrong"}]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{mock.port}/v1/chat/completions", body)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 400
    assert b"damaged" in refused.value.read()


def test_mock_frees_held_streams_on_release(mock):
    process = subprocess.Popen(
        [mock.load_program, "--target", f"127.0.0.1:{mock.port}", "--mode", "hold", "--stream",
         "--connections", "40", "--model", "bench-3tok-hold"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert json.loads(process.stdout.readline()) == {"open": 40}
    urllib.request.urlopen(f"http://127.0.0.1:{mock.port}/release", b"", timeout=10).close()
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(output)["tokens"] == 120


def test_added_latency_is_taken_from_the_same_round():
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        from runner import report, rows
    finally:
        sys.path.pop(0)
    row = next(row for row in rows.ROWS if row.name == "latency")
    quantiles = [{"p50_us": 50, "p99_us": 90}, {"p50_us": 1050, "p99_us": 1090}, None]
    direct = [{"p50_us": 20, "p99_us": 30}, {"p50_us": 1020, "p99_us": 1030},
              {"p50_us": 5, "p99_us": 5}]
    double = [{"p50_us": 80, "p99_us": 150}, {"p50_us": 1080, "p99_us": 1150}, None]
    result = report.RowResult(row, {"weir": quantiles, "nginx": double, "direct": direct})
    p50, p99 = row.metrics
    assert result.value("weir", p50) == 30
    assert result.value("weir", p99) == 60
    assert result.ratio(p50) == 0.5
    assert result.is_met(p50) is True
    assert result.is_met(p99) is False


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_a_run_leaves_a_table_a_file_and_no_process_behind(programs, tmp_path):
    out = tmp_path / "result.json"
    done = subprocess.run(
        [ROOT / "bench" / "run", "--quick", "--rounds", "1", "--only", "start,hangup",
         "--contenders", "nginx", "--out", out],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False,
        env=dict(os.environ, BUILD=str(programs.parent)))
    assert done.returncode == 0, done.stdout
    assert "start to first answer" in done.stdout
    assert json.loads(out.read_text())["rows"]["hangup"]["medians"]["nginx"]["left"] == 0
    left = [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")
            if str(programs / "work").encode() in read_quietly(path)]
    assert not left


def read_quietly(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended since it was listed
