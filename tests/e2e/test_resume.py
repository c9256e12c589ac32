"""Clients that come back for the rest of a stream, and requests that are sent twice."""

import http.server
import json
import re
import subprocess
import threading
import time

import pytest

from harness import model, node, sse
from harness.rawhttp import Client, Closed, ask
from harness.upstream import CHAT_ANSWER, Upstream, answer, chat, in_turn
from harness.weir import config, is_sanitized, patience, provider, virtual_key, wait_until

KEY, OTHER_KEY = "wk-resume-0001", "wk-resume-0002"
RESUME = {"x-weir-resume": "true"}
ASK = {"model": "up/m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
WORDS = ("One", " two", " three", " four", " five")
BODY = sse.chat_stream(WORDS)
EVENTS = len(sse.split(BODY))
ID_LINE = re.compile(rb"^id: (\d+)\n", re.M)


class Gated:
    """Streams a body event by event, no further than it is let."""

    def __init__(self, body=BODY, allowed=10**9):
        self.events = sse.split(body)
        self.allowed = allowed
        self.changed = threading.Condition()

    def allow(self, count):
        with self.changed:
            self.allowed = count
            self.changed.notify_all()

    def __call__(self, call):
        call.start_stream()
        for n, event in enumerate(self.events):
            with self.changed:
                assert self.changed.wait_for(lambda n=n: self.allowed > n, 60)
            call.write(event.raw)
        call.end()


def keyed(upstream, **more):
    keys = [virtual_key("one", value=KEY), virtual_key("other", value=OTHER_KEY)]
    return config({"up": provider(upstream)}, keys=keys, **more)


@pytest.fixture
def gateway(make_weir, upstream):
    upstream.handler = Gated()
    return make_weir(keyed(upstream))


def begin(port, body=None, headers=None, key=KEY, path="/v1/chat/completions"):
    """Sends the request and reads the head."""
    client = Client(port)
    data = json.dumps(body or ASK).encode()
    client.send(client.build("POST", path, data, RESUME if headers is None else headers, key))
    return client, client.head()


def read_events(client, head, count):
    """The first `count` events."""
    got = b""
    for piece in client.pieces(head):
        got += piece
        if len(sse.messages(got)) >= count:
            return got
    return got


def come_back(port, stream_id, last=None, key=KEY, query=""):
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    return ask(port, "GET", f"/v1/streams/{stream_id}{query}", headers=headers, key=key)


def tail_of(body, n):
    """What follows the event n."""
    return b"".join(e.raw for e in sse.split(body)[n:])


# --- coming back ---


def test_a_stream_that_is_resumable_has_an_id_and_numbers_its_events(gateway, upstream):
    got = gateway.chat(ASK, RESUME, KEY)
    assert got.status == 200
    assert re.fullmatch(r"stm_[0-9a-f]{32}", got.headers.get("x-weir-stream-id"))
    assert [int(n) for n in ID_LINE.findall(got.body)] == list(range(1, EVENTS + 1))
    assert ID_LINE.sub(b"", got.body) == BODY
    assert upstream.only_request().json()["model"] == "m"
    (entry,) = gateway.log_entries(1, operation="chat")
    assert entry["status"] == 200 and entry["outcome"] == "ok"
    wait_until(
        lambda: gateway.metric("weir_requests_total", operation="chat") == 1, 10, "one request"
    )


def test_a_stream_that_nobody_asked_to_resume_is_as_it_was(gateway):
    got = gateway.chat(ASK, key=KEY)
    assert got.body == BODY
    assert "x-weir-stream-id" not in got.headers


@pytest.mark.parametrize("last", range(2, EVENTS + 1))
def test_a_client_that_is_killed_gets_the_rest_byte_for_byte(make_weir, upstream, last):
    """At every event, while the provider is still talking."""
    upstream.handler = Gated(allowed=last)
    weir = make_weir(keyed(upstream))
    client, head = begin(weir.port)
    first = read_events(client, head, last)
    client.reset()
    stream_id = head.headers.get("x-weir-stream-id")
    answers = []
    reader = threading.Thread(
        target=lambda: answers.append(come_back(weir.port, stream_id, last))
    )
    if last < EVENTS:
        reader.start()
        upstream.handler.allow(EVENTS)
        reader.join()
        assert answers[0].status == 200
        assert answers[0].headers.get("content-type") == "text/event-stream"
        assert answers[0].headers.get("x-weir-stream-id") == stream_id
        whole = first + answers[0].body
    else:
        whole = first
    assert ID_LINE.sub(b"", whole) == BODY
    assert come_back(weir.port, stream_id).body == whole
    assert len(upstream.requests) == 1
    assert weir.log_entries(1, operation="chat")[0]["outcome"] == "ok"


def test_a_finished_stream_is_replayed_from_anywhere(gateway, upstream):
    got = gateway.chat(ASK, RESUME, KEY)
    stream_id = got.headers.get("x-weir-stream-id")
    for n in range(EVENTS):
        again = come_back(gateway.port, stream_id, n)
        assert (again.status, again.body) == (200, tail_of(got.body, n))
        assert come_back(gateway.port, stream_id, query=f"?last_event_id={n}").body == again.body
    assert come_back(gateway.port, stream_id).body == got.body
    end = come_back(gateway.port, stream_id, EVENTS)
    assert (end.status, end.body) == (204, b"")
    assert len(upstream.requests) == 1


def test_many_may_read_a_stream_at_once_while_it_runs(make_weir, upstream):
    upstream.handler = Gated(allowed=3)
    weir = make_weir(keyed(upstream, threads=2))
    client, head = begin(weir.port)
    stream_id = head.headers.get("x-weir-stream-id")
    answers = {}

    def read(n):
        answers[n] = come_back(weir.port, stream_id, n % 4)

    readers = [threading.Thread(target=read, args=(n,)) for n in range(16)]
    for reader in readers:
        reader.start()
    for allowed in range(3, EVENTS + 1):
        upstream.handler.allow(allowed)
    for piece in client.pieces(head):
        head.body += piece
    for reader in readers:
        reader.join()
    assert ID_LINE.sub(b"", head.body) == BODY
    for n in range(16):
        assert answers[n].body == tail_of(head.body, n % 4), n


def test_it_is_there_for_its_own_key_only(gateway):
    stream_id = gateway.chat(ASK, RESUME, KEY).headers.get("x-weir-stream-id")
    for path_id, key in ((stream_id, OTHER_KEY), ("stm_" + "0" * 32, KEY), ("x", KEY)):
        got = come_back(gateway.port, path_id, 1, key)
        assert got.status == 404 and got.error["code"] == "stream_not_found"
    assert come_back(gateway.port, stream_id, 1, "wk-unknown").status == 401


def test_a_number_that_it_does_not_have_is_refused(gateway):
    stream_id = gateway.chat(ASK, RESUME, KEY).headers.get("x-weir-stream-id")
    got = come_back(gateway.port, stream_id, EVENTS + 1)
    assert got.status == 416 and got.error["code"] == "event_out_of_range"
    assert f"1 to {EVENTS}" in got.error_message
    got = come_back(gateway.port, stream_id, "abc")
    assert got.status == 400 and "Last-Event-ID" in got.error_message


def test_what_is_past_its_time_is_gone(make_weir, upstream):
    upstream.handler = Gated()
    weir = make_weir(keyed(upstream, journal={"ttl": "1s"}))
    stream_id = weir.chat(ASK, RESUME, KEY).headers.get("x-weir-stream-id")
    assert come_back(weir.port, stream_id).status == 200
    wait_until(lambda: come_back(weir.port, stream_id).status == 410, 10, "the end of its time")
    got = come_back(weir.port, stream_id)
    assert got.error["code"] == "stream_gone" and "journal.ttl" in got.error_message
    assert come_back(weir.port, stream_id, key=OTHER_KEY).status == 404


def test_what_nobody_comes_back_for_is_given_up(make_weir, upstream):
    gated = upstream.handler = Gated(allowed=3)
    gated.events += sse.split(b"".join(sse.chunk(f"{n}") for n in range(2000)))
    weir = make_weir(keyed(upstream, routing={"resume_grace": "1s"}))
    client, head = begin(weir.port)
    read_events(client, head, 3)
    client.reset()
    stream_id = head.headers.get("x-weir-stream-id")
    wait_until(lambda: come_back(weir.port, stream_id, 9999).status == 410, 15, "giving up")
    assert "resume_grace" in come_back(weir.port, stream_id).error_message
    assert weir.log_entries(1, operation="chat")[0]["outcome"] == "client_gone"
    assert gone(weir, "unread") == 1
    gated.allow(10**9)


def gone(weir, reason):
    return weir.metric("weir_journal_gone_total", reason=reason)


def test_the_metrics_tell_what_is_held_and_what_became_of_the_rest(make_weir, upstream):
    body = sse.chat_stream(["x" * 1000] * 300)
    gated = upstream.handler = Gated(body, allowed=3)
    limits = {"total": "1MiB", "bytes": "512KiB", "ttl": "1h"}
    weir = make_weir(keyed(upstream, journal=limits))
    assert weir.metric("weir_journal_bytes") == 0
    client, head = begin(weir.port)
    read_events(client, head, 3)
    assert weir.metric("weir_journal_streams", state="running") == 1
    assert 0 < weir.metric("weir_journal_bytes") < weir.metric("weir_journal_bytes_max") == 2**20
    gated.allow(10**9)
    assert b"[DONE]" in b"".join(client.pieces(head))
    for _ in range(5):
        assert weir.chat(ASK, RESUME, KEY).status == 200
    wait_until(lambda: weir.metric("weir_journal_streams", state="running") == 0, 10, "their end")
    held = weir.metric("weir_journal_streams", state="ended")
    assert 0 < held < 6 and gone(weir, "room") == 6 - held
    assert weir.metric("weir_journal_bytes") <= 2**20
    assert gone(weir, "expired") == gone(weir, "unread") == 0


def test_the_policy_decides(make_weir, upstream):
    upstream.handler = Gated()
    weir = make_weir(keyed(upstream, routing={"resume": "always"}))
    assert "x-weir-stream-id" in weir.chat(ASK, key=KEY).headers
    weir = make_weir(keyed(upstream, routing={"resume": "never"}))
    got = weir.chat(ASK, RESUME, KEY)
    assert "x-weir-stream-id" not in got.headers and got.body == BODY


def test_a_resumable_request_is_one_turn_of_its_route(make_weir, make_upstream):
    """Its plan is made once: two targets in turn get half of the requests each."""
    one, two = make_upstream(Gated()), make_upstream(Gated())
    route = {"strategy": "round_robin", "targets": ["one/m", "two/m"], "resume": "always"}
    rows = {"one": provider(one), "two": provider(two)}
    keys = [virtual_key("one", value=KEY)]
    weir = make_weir(config(rows, keys=keys, threads=1, routes={"both": route}))
    for _ in range(6):
        got = weir.chat(ASK | {"model": "both"}, key=KEY)
        assert got.status == 200 and "x-weir-stream-id" in got.headers
    assert (len(one.requests), len(two.requests)) == (3, 3)


def test_events_that_are_not_kept_any_more_are_told(make_weir, upstream):
    body = sse.chat_stream([f" {n:04}" + "x" * 500 for n in range(400)])
    upstream.handler = Gated(body)
    weir = make_weir(keyed(upstream, journal={"bytes": "64KiB"}))
    got = weir.chat(ASK, RESUME, KEY)
    assert ID_LINE.sub(b"", got.body) == body
    count = len(sse.split(body))
    stream_id = got.headers.get("x-weir-stream-id")
    dropped = come_back(weir.port, stream_id, 1)
    assert dropped.status == 410 and "journal.bytes" in dropped.error_message
    kept = come_back(weir.port, stream_id, count - 20)
    assert kept.body == tail_of(got.body, count - 20)


def test_a_reader_that_stands_still_holds_the_provider_back(make_weir, upstream):
    """Nothing is lost: the journal does not overwrite what a reader has not got."""
    body = sse.chat_stream([f" {n:05}" + "x" * 2000 for n in range(4000)])
    upstream.handler = lambda call: call.reply(
        200, body, [("Content-Type", "text/event-stream")], "chunked"
    )
    weir = make_weir(keyed(upstream, journal={"bytes": "64KiB"}))
    client = Client(weir.port, receive_buffer=4096)
    client.send(client.build("POST", "/v1/chat/completions", json.dumps(ASK).encode(), RESUME, KEY))
    head = client.head()
    time.sleep(0.3)  # lets the buffers on the way fill up; the outcome does not hang on it
    client.deadline(60 * patience())
    for piece in client.pieces(head):
        head.body += piece
    assert ID_LINE.sub(b"", head.body) == body


def test_a_broken_stream_is_replayed_with_its_error(make_weir, upstream):
    def handle(call):
        call.start_stream()
        call.write(b"".join(e.raw for e in sse.split(BODY)[:4]))
        call.reset()

    upstream.handler = handle
    weir = make_weir(keyed(upstream, routing={"mid_stream": "terminate", "retries": 0}))
    got = weir.chat(ASK, RESUME, KEY)
    assert sse.messages(got.body)[-1].startswith(b'{"error"')
    stream_id = got.headers.get("x-weir-stream-id")
    assert come_back(weir.port, stream_id, 2).body == tail_of(got.body, 2)
    assert len(weir.log_entries(1, operation="chat")) == 1


def test_a_shutdown_is_told_in_the_stream(make_weir, upstream):
    upstream.handler = Gated(allowed=3)
    weir = make_weir(keyed(upstream, timeouts={"drain": "1s"}))
    client, head = begin(weir.port)
    got = read_events(client, head, 3)
    weir.signal(15)
    client.deadline(20)
    rest = client.reader.rest()
    assert b"shutting down" in rest and b"id: 4\n" in rest, (got, rest)
    upstream.handler.allow(EVENTS)


# --- EventSource ---


def run_eventsource(folder, url):
    folder = node.prepare(folder)
    if not (folder / "node_modules" / "eventsource").exists():
        pytest.skip("the npm package eventsource is not installed")
    done = subprocess.run(
        ["node", "eventsource.mjs", url, KEY],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_eventsource_reads_a_stream_to_its_end_and_stops(gateway, tmp_path):
    stream_id = gateway.chat(ASK, RESUME, KEY).headers.get("x-weir-stream-id")
    told = run_eventsource(tmp_path, f"{gateway.url}/v1/streams/{stream_id}?last_event_id=2")
    assert told[-1] == {"closed": 204}
    assert [e["id"] for e in told[:-1]] == [str(n) for n in range(3, EVENTS + 1)]
    assert [e["data"].encode() for e in told[:-1]] == sse.messages(BODY)[2:]


class Cutter(http.server.BaseHTTPRequestHandler):
    """Stands between an EventSource and weir: lets one event pass, then breaks the connection."""

    weir_port = 0
    asked = []

    def do_GET(self):
        headers = {n: v for n, v in self.headers.items() if n.lower() in ("authorization",)}
        last = self.headers.get("Last-Event-ID")
        self.asked.append(last)
        if last:
            headers["Last-Event-ID"] = last
        with Client(self.weir_port) as client:
            client.send(client.build("GET", self.path, headers=headers))
            head = client.head("GET")
            self.send_response(head.status)
            self.send_header("Content-Type", head.headers.get("content-type") or "text/plain")
            self.end_headers()
            if head.status != 200:
                return
            first = sse.split(read_events(client, head, 1))[0]
            self.wfile.write(b"retry: 1\n\n" + first.raw)

    def log_message(self, *_):
        pass


def test_an_eventsource_that_is_cut_off_at_every_event_misses_none(gateway, tmp_path):
    stream_id = gateway.chat(ASK, RESUME, KEY).headers.get("x-weir-stream-id")
    handler = type("Handler", (Cutter,), {"weir_port": gateway.port, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/v1/streams/{stream_id}"
        told = run_eventsource(tmp_path, url)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert told[-1] == {"closed": 204}
    assert [e["data"].encode() for e in told[:-1]] == sse.messages(BODY)
    assert handler.asked == [None] + [str(n) for n in range(1, EVENTS + 1)]


# --- the dialects ---

SAY = [{"role": "user", "content": "one two three"}]
PARTS = [{"role": "user", "parts": [{"text": "one two three"}]}]
STREAMS = {
    "openai_chat": ("/v1/chat/completions", {"messages": SAY, "stream": True}),
    "openai_responses": ("/v1/responses", {"input": "one two three", "stream": True}),
    "anthropic": ("/v1/messages", {"messages": SAY, "max_tokens": 99, "stream": True}),
    "gemini": ("/v1beta/models/M:streamGenerateContent?alt=sse", {"contents": PARTS}),
    "gemini_array": ("/v1beta/models/M:streamGenerateContent", {"contents": PARTS}),
    "bedrock": (
        "/model/M/converse-stream",
        {"messages": [{"role": "user", "content": [{"text": "one two three"}]}]},
    ),
    "bedrock_invoke": (
        "/model/M/invoke-with-response-stream",
        {"messages": SAY, "max_tokens": 99, "anthropic_version": "bedrock-2023-05-31"},
    ),
    "cohere": ("/v2/chat", {"messages": SAY, "stream": True}),
}


def cut_frames(body):
    """AWS's frames: each tells its length."""
    frames = []
    while body:
        size = int.from_bytes(body[:4], "big")
        frames.append(body[:size])
        body = body[size:]
    return frames


def cut_array(body):
    """The elements with what stands before them; the closing bracket is none."""
    decoder, cuts, at = json.JSONDecoder(), [], body.index(b"{")
    text = body.decode()
    begin = 0
    while at >= 0:
        _, end = decoder.raw_decode(text, at)
        cuts.append(text[begin:end].encode())
        begin, at = end, text.find("{", end)
    return [*cuts[:-1], cuts[-1] + text[begin:].encode()] if cuts else []


@pytest.mark.parametrize("provider_dialect", ["openai_chat", "anthropic"])
@pytest.mark.parametrize("name", STREAMS)
def test_every_dialects_streams_can_be_resumed(make_weir, name, provider_dialect):
    handler = next(m for m in model.MODELS if m.dialect == provider_dialect)()
    path, body = STREAMS[name]
    target = "up%2Fm" if "/M" in path else "up/m"
    with Upstream(handler) as upstream:
        row = provider(
            upstream.url, dialect=provider_dialect, paths=handler.paths, auth={"kind": "bearer"}
        )
        keys = [virtual_key("one", value=KEY)]
        weir = make_weir(config({"up": row}, keys=keys))
        if "/M" in path:
            path = path.replace("M", target, 1)
        else:
            body = body | {"model": target}
        got = ask(weir.port, "POST", path, body, RESUME, KEY)
        assert got.status == 200, got.body
        plain = ask(weir.port, "POST", path, body, key=KEY)
        stream_id = got.headers.get("x-weir-stream-id")
        if name.startswith("bedrock"):
            events = cut_frames(got.body)
        elif name == "gemini_array":
            events = cut_array(got.body)
            assert len(json.loads(got.body)) == len(json.loads(plain.body)) == len(events)
        else:
            events = [e.raw for e in sse.split(got.body)]
            assert len(ID_LINE.findall(got.body)) == len(events) == len(sse.split(plain.body))
        assert len(events) > 3
        for n in range(len(events)):
            again = come_back(weir.port, stream_id, n)
            assert again.status == 200
            assert again.headers.get("content-type") == got.headers.get("content-type")
            assert again.body == b"".join(events[n:]), n
        assert come_back(weir.port, stream_id, len(events)).status in (204, 200)
        assert come_back(weir.port, stream_id, len(events) + 1).status == 416
        assert len(upstream.requests) == 2
        weir.stop()


# --- Idempotency-Key ---


def once(key):
    return {"Idempotency-Key": key}


@pytest.mark.parametrize("is_stream", [True, False])
def test_the_same_request_twice_is_one_call(make_weir, upstream, is_stream):
    gate = threading.Event()

    def handle(call):
        assert gate.wait(60)
        chat(WORDS)(call)

    upstream.handler = handle
    weir = make_weir(keyed(upstream))
    body = ASK | {"stream": is_stream}
    answers = []

    def send():
        answers.append(weir.chat(body, once("k1"), KEY))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    upstream.wait(lambda u: u.requests)
    gate.set()
    for thread in threads:
        thread.join()
    answers.append(weir.chat(body, once("k1"), KEY))
    assert {a.status for a in answers} == {200}
    assert len({a.body for a in answers}) == 1
    if is_stream:
        assert answers[0].body == BODY  # no ids: nobody asked for them
    assert len(upstream.requests) == 1
    replays = [a.headers.get("x-weir-idempotent-replay") for a in answers]
    assert replays.count("true") == len(answers) - 1 and replays[-1] == "true"
    assert len({a.headers.get("x-weir-request-id") for a in answers}) == 1
    # Another key of the client, or another client, is another request.
    assert "x-weir-idempotent-replay" not in weir.chat(body, once("k2"), KEY).headers
    assert "x-weir-idempotent-replay" not in weir.chat(body, once("k1"), OTHER_KEY).headers
    assert len(upstream.requests) == 3


def test_a_client_that_lost_its_answer_gets_it_by_asking_again(make_weir, upstream):
    upstream.handler = Gated(allowed=3)
    weir = make_weir(keyed(upstream))
    client, head = begin(weir.port, headers=once("again"))
    read_events(client, head, 3)
    client.reset()
    upstream.handler.allow(EVENTS)
    got = weir.chat(ASK, once("again"), KEY)
    assert got.body == BODY and got.headers.get("x-weir-idempotent-replay") == "true"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/v1/chat/completions", ASK, ("error", "message")),
        ("/v1/messages", ASK | {"max_tokens": 9}, ("error", "message")),
        ("/v2/chat", ASK, ("message",)),
    ],
)
def test_a_key_of_another_request_is_refused(gateway, path, body, place):
    assert ask(gateway.port, "POST", path, body, once("k"), KEY).status == 200
    got = ask(gateway.port, "POST", path, body | {"temperature": 0.5}, once("k"), KEY)
    assert got.status == 422
    words = got.json()
    for name in place:
        words = words[name]
    assert "Idempotency-Key" in words


@pytest.mark.parametrize("status", [429, 500, 503])
def test_failures_are_not_kept(make_weir, upstream, status):
    failure = answer({"error": {"message": "no", "type": "x", "code": "y"}}, status)
    upstream.handler = in_turn(failure, answer(CHAT_ANSWER))
    weir = make_weir(keyed(upstream, routing={"retries": 0}))
    body = ASK | {"stream": False}
    assert weir.chat(body, once("k"), KEY).status == status
    got = weir.chat(body, once("k"), KEY)
    assert got.status == 200 and "x-weir-idempotent-replay" not in got.headers


def test_a_clients_own_fault_is_kept(make_weir, upstream):
    fault = {"error": {"message": "bad temperature", "type": "invalid_request_error", "code": None}}
    upstream.handler = answer(fault, 400)
    weir = make_weir(keyed(upstream))
    body = ASK | {"stream": False}
    first, second = (weir.chat(body, once("k"), KEY) for _ in range(2))
    assert first.status == second.status == 400 and first.body == second.body
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("value", ["", "x" * 256])
def test_a_key_of_no_use_is_refused(gateway, value):
    got = gateway.chat(ASK, once(value), KEY)
    assert got.status == 400 and "Idempotency-Key" in got.error_message


def test_a_large_answer_is_repeated(make_weir, upstream):
    text = "x" * 700_000
    upstream.handler = answer(CHAT_ANSWER | {"padding": text})
    weir = make_weir(keyed(upstream))
    body = ASK | {"stream": False}
    first, second = (weir.chat(body, once("k"), KEY) for _ in range(2))
    assert first.body == second.body and text in first.json()["padding"]
    assert first.headers.get("content-length") == second.headers.get("content-length")
    assert len(upstream.requests) == 1


# --- many ---


def in_threads(count, jobs, run):
    """run(job) for every job, `count` at a time; what went wrong."""
    wrong, left, lock = [], list(jobs), threading.Lock()

    def work():
        while True:
            with lock:
                if not left:
                    return
                job = left.pop(0)
            try:
                run(job)
            except (AssertionError, Closed, OSError, TimeoutError) as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def settled_rss(weir):
    """Once it does not grow any more."""
    samples = [0]

    def has_settled():
        samples.append(weir.rss_bytes())
        time.sleep(0.2)
        return samples[-1] - samples[-2] < 1 << 20

    wait_until(has_settled, 30, "memory that does not grow")
    return samples[-1]


@pytest.mark.http1("what a shared connection brings cannot wait in the kernel")
def test_a_thousand_streams_without_readers_stay_within_the_bound(make_weir, upstream):
    """Three times as much as may be kept: the providers wait, and nothing is lost."""
    body = sse.chat_stream(["x" * 1000] * 300, done=False)
    raw = [e.raw for e in sse.split(body)]
    first, middle, last = b"".join(raw[:3]), b"".join(raw[3:-1]), raw[-1]
    count, total = (100, 10) if is_sanitized() else (1000, 100)
    everybody_left, everybody_read = threading.Event(), threading.Event()

    def handle(call):
        call.start_stream()
        call.write(first)
        assert everybody_left.wait(120)
        call.write(middle)
        # A stream that has ended may be forgotten to make room.
        assert everybody_read.wait(120)
        call.write(last + sse.DONE)
        call.end()

    upstream.handler = handle
    weir = make_weir(
        keyed(upstream, journal={"total": f"{total}MiB"}, timeouts={"heartbeat": "5m"}))
    before, ids = weir.rss_bytes(), {}

    def leave(n):
        client, head = begin(weir.port)
        read_events(client, head, 3)
        client.reset()
        ids[n] = head.headers.get("x-weir-stream-id")

    def read_again(n):
        with Client(weir.port) as client:
            headers = {"Last-Event-ID": "3"}
            client.send(client.build("GET", f"/v1/streams/{ids[n]}", headers=headers, key=KEY))
            parts = [first]
            head = client.head("GET")
            for piece in client.pieces(head):
                assert head.status == 200, (n, head.status, piece[-150:])
                parts.append(piece)
                if b"id: %d\n" % (len(raw) - 1) in piece:
                    break
        assert ID_LINE.sub(b"", b"".join(parts)) == first + middle

    try:
        assert not in_threads(50, range(count), leave)
        assert len(upstream.requests) == count
        everybody_left.set()
        grown = settled_rss(weir) - before
        if not is_sanitized():
            # 300 MiB are waiting; beside what is kept each has its task and its connection.
            assert grown < (total << 20) + count * 48 * 1024, grown
        assert not in_threads(50, range(count), read_again)
    finally:
        everybody_left.set()
        everybody_read.set()
    entries = weir.log_entries(count, 30, operation="chat")
    assert [e for e in entries if e["outcome"] != "ok"] == []


def test_a_thousand_streams_with_readers_all_arrive(make_weir, upstream):
    body = sse.chat_stream(["x" * 1000] * 40)
    count = 200 if is_sanitized() else 1000
    upstream.handler = lambda call: call.reply(
        200, body, [("Content-Type", "text/event-stream")], "chunked"
    )
    weir = make_weir(keyed(upstream, journal={"total": "4MiB"}))

    def run(_):
        got = weir.chat(ASK, RESUME, KEY)
        assert got.status == 200 and ID_LINE.sub(b"", got.body) == body

    assert not in_threads(250, range(count), run)
    assert len(weir.log_entries(count, 30, operation="chat")) == count
