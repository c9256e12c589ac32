"""Many requests over one WebSocket: GET /v1/ws."""

import base64
import http.server
import json
import shutil
import signal
import socket as sockets
import subprocess
import threading

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness import node, sse
from harness.certs import Authority
from harness.recordings import ROOT
from harness.sockets import PATIENCE_S, session
from harness.upstream import CHAT_ANSWER, chat
from harness.weir import config, patience, provider, virtual_key, wait_until

pytestmark = pytest.mark.http1("the client and its sockets speak HTTP/1")

KEY, OTHER_KEY = "wk-bridge-0001", "wk-bridge-0002"
CHAT = "/v1/chat/completions"
WORDS = ("One", " two", " three", " four", " five")
BODY = sse.chat_stream(WORDS)
EVENTS = len(sse.split(BODY))


def ask(**more):
    return {"model": "up/m", "messages": [{"role": "user", "content": "hi"}]} | more


def parsed(data):
    """As the data of an event comes in a message."""
    return json.loads(data) if data.startswith(b"{") else data.decode()


class Gated:
    """Streams a body event by event, as far as the model name's gate is open. weir keeps the first
    event, which says nothing yet, until the second has come."""

    def __init__(self):
        self.allowed = {}
        self.changed = threading.Condition()
        self.gone = []  # models whose client hung up

    def allow(self, model, count=10**9):
        with self.changed:
            self.allowed[model] = count
            self.changed.notify_all()

    def __call__(self, call):
        model = call.request.json()["model"]
        call.start_stream()
        try:
            for n, event in enumerate(sse.split(BODY)):
                with self.changed:
                    while not self.changed.wait_for(
                        lambda n=n: self.allowed.get(model, 0) > n, 0.05
                    ):
                        call.sleep(0.02)
                call.write(event.raw)
            call.end()
        except BaseException:
            self.gone.append(model)
            raise


class Bridge:
    """A socket, and what came for each of its requests."""

    def __init__(self, weir, key=KEY, **more):
        self.socket = session(weir, "/v1/ws", key=key, max_size=None, **more)
        self.seen = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, **message):
        self.socket.send(json.dumps(message))

    def read(self):
        message = json.loads(self.socket.recv(PATIENCE_S))
        self.seen.setdefault(message.get("id"), []).append(message)
        return message

    def until(self, condition):
        while not condition():
            self.read()

    def of(self, id_):
        return self.seen.get(id_, [])

    def data(self, id_):
        return [m for m in self.of(id_) if "data" in m]

    def wait_data(self, id_, count):
        self.until(lambda: len(self.data(id_)) >= count)

    def whole(self, id_):
        """All messages of a request until its end."""
        self.until(lambda: any("end" in m for m in self.of(id_)))
        return self.of(id_)


@pytest.fixture
def gates(upstream):
    upstream.handler = Gated()
    return upstream.handler


@pytest.fixture
def make(make_weir, upstream):
    def start(**more):
        keys = [virtual_key("one", value=KEY), virtual_key("other", value=OTHER_KEY)]
        return make_weir(config({"up": provider(upstream)}, keys=keys, **more))

    return start


# --- requests ---


def test_a_stream_comes_event_by_event(make, upstream):
    upstream.handler = chat(WORDS)
    weir = make()
    with Bridge(weir) as b:
        b.say(id="a", path=CHAT, method="POST", body=ask(stream=True))
        first, *events, last = b.whole("a")
    assert first["status"] == 200
    assert first["headers"]["content-type"].startswith("text/event-stream")
    assert first["headers"]["x-weir-target"] == "up/m"
    assert [e["data"] for e in events] == [
        parsed(data) for data in sse.messages(sse.chat_stream(WORDS))
    ]
    assert last == {"id": "a", "end": "complete"}
    request = upstream.only_request()
    assert request.json() == ask(model="m", stream=True) | (
        {"stream_options": request.json()["stream_options"]}
    )
    assert KEY not in str(request.headers)
    (entry,) = weir.log_entries(1, operation="chat")
    assert (entry["key"], entry["status"], entry["outcome"]) == ("one", 200, "ok")
    (entry,) = weir.log_entries(1, operation="ws")
    assert (entry["key"], entry["status"], entry["outcome"]) == ("one", 101, "ok")


def test_an_answer_that_is_no_stream_comes_as_text(make, upstream):
    upstream.handler = chat()
    long = {**CHAT_ANSWER, "filler": "é€😀" * 40000}
    with Bridge(make()) as b:
        b.say(id=7, path=CHAT, body=ask())
        assert json.loads("".join(m["data"] for m in b.whole(7)[1:-1])) == CHAT_ANSWER
        upstream.handler = lambda call: call.reply(200, long)
        b.say(id="long", path=CHAT, body=ask())
        pieces = b.whole("long")[1:-1]
        assert len(pieces) > 5
        assert json.loads("".join(m["data"] for m in pieces)) == long
        b.say(id="get", path="/v1/models", method="GET")
        assert json.loads(b.whole("get")[1]["data"])["object"] == "list"


def test_bytes_come_in_base64(make, upstream):
    """Bedrock's clients read frames, which are no text."""
    upstream.handler = chat(WORDS)
    body = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    with Bridge(make()) as b:
        b.say(id="a", path="/model/up%2Fm/converse-stream", body=body)
        first, *pieces, last = b.whole("a")
    assert first["headers"]["content-type"] == "application/vnd.amazon.eventstream"
    frames = b"".join(base64.b64decode(m["base64"]) for m in pieces)
    assert int.from_bytes(frames[:4], "big") <= len(frames)
    assert b"messageStop" in frames
    assert last["end"] == "complete"


def test_events_of_other_dialects_keep_their_names(make, upstream):
    upstream.handler = chat(WORDS)
    with Bridge(make()) as b:
        b.say(id="a", path="/v1/messages", body=ask(stream=True, max_tokens=9))
        events = b.whole("a")[1:-1]
    assert events[0]["event"] == events[0]["data"]["type"] == "message_start"
    assert events[-1]["event"] == "message_stop"


def test_refusals_are_answers(make, upstream):
    weir = make()
    with Bridge(weir) as b:
        for id_, path, body, status in (
            ("path", "/v1/nowhere", {}, 404),
            ("body", CHAT, ["no object"], 400),
            ("method", CHAT, None, 405),
            ("self", "/v1/ws", None, 426),
        ):
            b.say(id=id_, path=path, **({"body": body} if body is not None else {}))
            first, *rest = b.whole(id_)
            assert first["status"] == status, id_
            assert json.loads(rest[0]["data"])["error"]["message"]
            assert rest[-1]["end"] == "complete"
    assert upstream.requests == []


def test_headers_and_keys_are_each_requests_own(make, upstream):
    upstream.handler = chat()
    weir = make()
    with Bridge(weir) as b:
        b.say(id=1, path=CHAT, body=ask(), headers={"Authorization": f"Bearer {OTHER_KEY}"})
        b.say(id=2, path=CHAT, body=ask(), headers={"x-api-key": "wk-unknown"})
        b.say(id=3, path=CHAT, body=ask(), headers={"OpenAI-Organization": "org-1"})
        assert [b.whole(i)[0]["status"] for i in (1, 2, 3)] == [200, 401, 200]
    assert {e["key"] for e in weir.log_entries(3, operation="chat") if "key" in e} == {
        "one",
        "other",
    }


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("no JSON", ""),
        ("[]", ""),
        ("{}", '"id"'),
        ('{"id":"x"}', '"path"'),
        ('{"id":"' + "x" * 65 + '","path":"/"}', '"id"'),
        ('{"id":1,"path":"no-slash"}', '"path"'),
        ('{"id":1,"path":"/a b"}', '"path"'),
        ('{"id":1,"path":"/v1/models","method":"BREW"}', '"method"'),
        ('{"id":1,"path":"/v1/models","headers":{"a b":"c"}}', '"headers"'),
        ('{"id":1,"path":"/v1/models","headers":{"a":"b\\r\\nc: d"}}', '"headers"'),
        ('{"id":1,"path":"/v1/models","headers":[]}', '"headers"'),
        ('{"id":1,"path":"/v1/models","credit":-1}', '"credit"'),
        ('{"id":1,"path":"/v1/models","path":"/v1/ws"}', "more than once"),
    ],
)
def test_messages_that_say_nothing_are_told(make, message, words):
    with Bridge(make()) as b:
        b.socket.send(message)
        error = b.read()["error"]
        assert error["code"] == "invalid_message"
        assert words in error["message"]
        b.say(id="next", path="/v1/models")
        assert b.whole("next")[0]["status"] == 200


def test_ids_and_the_number_of_requests_are_bounded(make, gates):
    with Bridge(make(bridge={"requests": 2})) as b:
        for id_ in ("a", "b"):
            b.say(id=id_, path=CHAT, body=ask(model=f"up/{id_}", stream=True))
        b.say(id="a", path=CHAT, body=ask())
        assert b.read()["error"]["code"] == "id_in_use"
        b.say(id="c", path=CHAT, body=ask())
        b.until(lambda: b.of("c"))
        assert b.of("c")[0]["error"]["code"] == "too_many_requests"
        gates.allow("a")
        assert b.whole("a")[-1]["end"] == "complete"
        b.say(id="d", path="/v1/models")
        assert b.whole("d")[0]["status"] == 200


# --- many at once ---


def test_none_waits_for_another(make, gates):
    with Bridge(make()) as b:
        for id_ in ("slow", "fast"):
            b.say(id=id_, path=CHAT, body=ask(model=f"up/{id_}", stream=True))
        gates.allow("slow", 2)
        b.wait_data("slow", 2)
        gates.allow("fast")
        assert len(b.whole("fast")) == EVENTS + 2
        assert len(b.data("slow")) == 2
        gates.allow("slow")
        assert len(b.whole("slow")) == EVENTS + 2


def test_one_is_stopped_at_once_and_the_others_go_on(make, gates):
    weir = make()
    with Bridge(weir) as b:
        for id_ in ("a", "b"):
            b.say(id=id_, path=CHAT, body=ask(model=f"up/{id_}", stream=True))
            gates.allow(id_, 2)
            b.wait_data(id_, 2)
        b.say(id="a", cancel=True)
        assert b.whole("a")[-1] == {"id": "a", "end": "cancelled"}
        wait_until(lambda: gates.gone == ["a"], patience() * 5, "the provider hears of it")
        b.say(id="a", cancel=True)  # once more: it has ended, and that is no mistake
        b.say(id="a", path="/v1/models")
        gates.allow("b")
        assert b.whole("b")[-1]["end"] == "complete"
        b.until(lambda: any(m.get("status") == 200 for m in b.of("a")[-3:]))
    entry = next(e for e in weir.log_entries(2, operation="chat") if e["upstream_model"] == "a")
    assert entry["outcome"] == "client_gone"


def test_a_stream_without_credit_waits_alone(make, gates):
    with Bridge(make()) as b:
        for id_, credit in (("slow", 2), ("none", 0)):
            b.say(
                id=id_, path=CHAT, credit=credit, body=ask(model=f"up/{id_}", stream=True)
            )
            gates.allow(id_)
        b.say(id="free", path=CHAT, body=ask(model="up/free", stream=True))
        gates.allow("free")
        assert len(b.whole("free")) == EVENTS + 2
        b.wait_data("slow", 2)
        b.say(id="probe", path="/v1/models")
        b.whole("probe")
        assert (len(b.data("slow")), len(b.data("none"))) == (2, 0)
        b.say(id="slow", credit=1)
        b.wait_data("slow", 3)
        b.say(id="probe", path="/v1/models")
        b.until(lambda: sum("end" in m for m in b.of("probe")) == 2)
        assert len(b.data("slow")) == 3
        b.say(id="slow", credit=1000)
        b.say(id="none", credit=1000)
        assert len(b.whole("slow")) == len(b.whole("none")) == EVENTS + 2


def test_a_client_that_gives_no_credit_is_cut_off_in_time(make, gates):
    with Bridge(make(timeouts={"client_stall": "300ms"})) as b:
        b.say(id="a", path=CHAT, credit=1, body=ask(model="up/a", stream=True))
        gates.allow("a")
        assert b.whole("a")[-1]["end"] == "cut"
        b.say(id="next", path="/v1/models")
        assert b.whole("next")[0]["status"] == 200


@pytest.mark.sizes
def test_a_socket_that_nobody_reads_holds_a_bounded_amount(make, upstream):
    words = ["x" * 20000] * 400
    upstream.handler = chat(words)
    weir = make()
    weir.chat(ask(), key=KEY)
    before = weir.rss_bytes()
    with Bridge(weir, max_queue=1) as b:
        for id_ in range(8):
            b.say(id=id_, path=CHAT, body=ask(stream=True))
        b.until(lambda: len(b.seen) == 8)
        most = max(weir.rss_bytes() for _ in range(20))
        for id_ in range(8):
            assert len(b.whole(id_)) == len(words) + 2 + len(sse.split(sse.chat_stream([])))
    assert most - before < 40 << 20


def test_a_socket_over_tls_carries_much_both_ways(make_weir, upstream, tmp_path):
    """One task reads the connection while another writes it."""
    words = ["x" * 20000] * 30
    upstream.handler = chat(words)
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("gateway", "IP:127.0.0.1")
    listener = {"address": "127.0.0.1:0", "tls": {"cert_file": cert, "key_file": key}}
    settings = config({"up": provider(upstream)}, listen=[listener])
    settings["keys"] = [virtual_key("one", value=KEY)]
    weir = make_weir(settings, ready=False)
    url = f"wss://127.0.0.1:{weir.port}/v1/ws"
    more = {"legacy": True, "max_size": None, "proxy": None, "open_timeout": PATIENCE_S}
    with connect(
        url,
        ssl=authority.client_context(),
        additional_headers={"Authorization": f"Bearer {KEY}"},
        **more,
    ) as socket:
        ends = 0
        for id_ in range(20):
            body = ask(stream=True, filler="y" * 200000)
            socket.send(json.dumps({"id": id_, "path": CHAT, "body": body}))
        while ends < 20:
            ends += json.loads(socket.recv(PATIENCE_S)).get("end") == "complete"
    assert sum(r.json()["filler"] == "y" * 200000 for r in upstream.requests) == 20


# --- a socket that breaks ---


@pytest.mark.parametrize("last", [2, 4])
def test_streams_go_on_after_a_broken_socket(make, gates, last):
    weir = make()
    b = Bridge(weir)
    b.say(id="a", path=CHAT, resume=True, body=ask(model="up/a", stream=True))
    gates.allow("a", last)
    b.wait_data("a", last)
    assert [m["seq"] for m in b.data("a")] == list(range(1, last + 1))
    stream_id = b.of("a")[0]["headers"]["x-weir-stream-id"]
    b.socket.socket.shutdown(2)
    got = [m["data"] for m in b.data("a")]
    with Bridge(weir) as c:
        gates.allow("a")
        c.say(id="again", resume=stream_id, after=last)
        messages = c.whole("again")
        assert messages[0]["status"] == 200
        assert [m["seq"] for m in messages[1:-1]] == list(range(last + 1, EVENTS + 1))
        assert messages[-1]["end"] == "complete"
        got += [m["data"] for m in messages[1:-1]]
        c.say(id="all", resume=stream_id, after=EVENTS)
        assert c.whole("all")[0]["status"] == 204
        c.say(id="unknown", resume="stm_" + "0" * 32, after=1)
        assert c.whole("unknown")[0]["status"] == 404
    assert got == [parsed(data) for data in sse.messages(BODY)]


def test_a_broken_socket_ends_its_requests(make, gates):
    weir = make()
    before = weir.fds()
    for _ in range(3):
        b = Bridge(weir)
        for id_ in ("a", "b"):
            gates.allow(id_, 2)
            b.say(id=id_, path=CHAT, body=ask(model=f"up/{id_}", stream=True))
            b.wait_data(id_, 2)
        b.socket.socket.shutdown(2)
    wait_until(lambda: len(gates.gone) == 6, patience() * 5, "the providers hear of it")
    assert [e["outcome"] for e in weir.log_entries(6, operation="chat")] == ["client_gone"] * 6
    assert [e["outcome"] for e in weir.log_entries(3, operation="ws")] == ["client_gone"] * 3
    wait_until(lambda: weir.fds() <= before + 1, patience() * 5, "descriptors given back")


# --- the socket ---


def test_a_socket_needs_a_key(make):
    weir = make()
    for key in (None, "wk-unknown"):
        with pytest.raises(InvalidStatus) as caught:
            Bridge(weir, key=key)
        assert caught.value.response.status_code == 401
    got = weir.get("/v1/ws", key=KEY)
    assert got.status == 426 and "WebSocket" in got.error_message


def test_a_browsers_key_is_a_subprotocol(make):
    weir = make()
    offered = ["weir.v1", f"openai-insecure-api-key.{KEY}"]
    with Bridge(weir, key=None, subprotocols=offered) as b:
        assert b.socket.subprotocol == "weir.v1"
        b.say(id=1, path="/v1/models")
        assert b.whole(1)[0]["status"] == 200
    assert KEY not in "".join(weir.lines) + weir.stderr()


def closed(b):
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            b.read()
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_a_message_beyond_the_limit_ends_the_socket(make):
    with Bridge(make(bridge={"message": "4KiB"})) as b:
        b.say(id="a", path=CHAT, body=ask(filler="x" * 5000))
        code, reason = closed(b)
    assert code == 1009 and "bridge.message" in reason


def test_an_idle_socket_ends_and_a_busy_one_does_not(make, gates):
    weir = make(bridge={"idle": "300ms"})
    with Bridge(weir) as busy, Bridge(weir) as idle:
        busy.say(id="a", path=CHAT, body=ask(model="up/a", stream=True))
        assert closed(idle)[0] == 1001
        gates.allow("a")
        assert busy.whole("a")[-1]["end"] == "complete"
        assert "idle" in closed(busy)[1]


def test_a_client_without_a_sign_of_life_is_gone(make, gates):
    """Its kernel holds the connection open, but nobody answers pings there."""
    weir = make(bridge={"ping": "200ms"})
    gates.allow("a", 2)
    head = (
        "GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Authorization: Bearer {KEY}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    message = json.dumps({"id": 1, "path": CHAT, "body": ask(model="up/a", stream=True)}).encode()
    frame = b"\x81\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message
    with sockets.create_connection(("127.0.0.1", weir.port)) as mute:
        mute.sendall(head.encode() + frame)
        wait_until(lambda: gates.gone == ["a"], PATIENCE_S, "the request ends")
    assert weir.log_entries(1, operation="ws")[0]["outcome"] == "client_gone"


def test_a_shutdown_tells_every_request(make, gates):
    weir = make(timeouts={"drain": "300ms"})
    with Bridge(weir) as busy, Bridge(weir) as idle:
        for id_ in ("a", "b"):
            busy.say(id=id_, path=CHAT, credit=2, body=ask(model=f"up/{id_}", stream=True))
            gates.allow(id_, 2)
            busy.wait_data(id_, 2)
        weir.signal(signal.SIGTERM)
        assert closed(idle) == (1001, "the gateway is shutting down")
        busy.say(id="late", path=CHAT, body=ask())
        assert closed(busy) == (1001, "the gateway is shutting down")
        for id_ in ("a", "b"):
            assert "end" in busy.of(id_)[-1]
            assert "shutting down" in json.dumps(busy.of(id_))
        assert busy.of("late")[0]["error"]["code"] == "shutting_down"
    assert weir.wait_exit(PATIENCE_S) == 0


def test_a_drained_socket_closes_after_its_last_answer(make, gates):
    weir = make(timeouts={"drain": "60s"})
    with Bridge(weir) as b:
        b.say(id="a", path=CHAT, body=ask(model="up/a", stream=True))
        gates.allow("a", 2)
        b.wait_data("a", 2)
        weir.signal(signal.SIGTERM)
        wait_until(lambda: weir_is_draining(weir), PATIENCE_S, "the drain")
        gates.allow("a")
        assert b.whole("a")[-1]["end"] == "complete"
        assert closed(b)[0] == 1001
    assert weir.wait_exit(PATIENCE_S) == 0


def weir_is_draining(weir):
    try:
        return weir.get("/readyz").status == 503
    except OSError:
        return True


# --- the client of the documentation ---

CLIENT = ROOT / "docs" / "weir-ws.js"
SCRIPT = """
const weir = new WeirSocket(url, { key, window: 2, WebSocket: Socket });
const streamed = async (model, resume) => {
  let text = "";
  const body = { model, stream: true, messages: [] };
  for await (const m of weir.request("/v1/chat/completions", body, { resume })) {
    text += m.data?.choices?.[0]?.delta?.content ?? "";
    if (resume && text === "One") weir.socket.close();
  }
  return text;
};
const whole = weir.request("/v1/models");
const stopped = weir.request("/v1/chat/completions", { model: "up/held", stream: true, messages: [] });
const first = (async () => { for await (const m of stopped) return m.data.object; })();
const texts = [await streamed("up/a")], seen = await first;
texts.push(await streamed("up/b", true)); // in two sockets
const wrong = await weir.request("/v1/nowhere").head;
const result = { texts, models: JSON.parse(await whole.text()).object, first: seen,
                 wrong: wrong.status };
"""


def check_client(result, gates, upstream):
    assert result["texts"] == ["One two three four five"] * 2
    assert (result["models"], result["wrong"]) == ("list", 404)
    assert result["first"] == "chat.completion.chunk"
    wait_until(lambda: "held" in gates.gone, PATIENCE_S, "what was left ends")
    models = [r.json()["model"] for r in upstream.requests if r.body]
    assert sorted(models) == ["a", "b", "held"]


def open_gates(gates):
    gates.allow("a")
    gates.allow("b")
    gates.allow("held", 2)


def test_the_documented_client_is_short():
    assert len(CLIENT.read_text().splitlines()) <= 60


def test_the_documented_client_runs_in_node(make, gates, upstream, tmp_path):
    weir = make()
    folder = node.prepare(tmp_path)
    shutil.copy(CLIENT, folder / "weir-ws.mjs")
    script = folder / "bridge.mjs"
    script.write_text(
        'import { WeirSocket } from "./weir-ws.mjs";\nimport Socket from "ws";\n'
        f"const url = 'ws://127.0.0.1:{weir.port}/v1/ws', key = '{KEY}';\n{SCRIPT}\n"
        "console.log(JSON.stringify(result));\nweir.socket.close();\n"
    )
    open_gates(gates)
    done = subprocess.run(
        ["node", str(script)], capture_output=True, text=True, timeout=patience() * 30
    )
    assert done.returncode == 0, done.stderr
    check_client(json.loads(done.stdout), gates, upstream)


class Page(http.server.BaseHTTPRequestHandler):
    """Gives a browser the client and a script, and takes what the script found."""

    def do_GET(self):  # noqa: N802
        type_, body = self.server.files.get(self.path, ("text/plain", None))
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", type_)
        self.end_headers()
        self.wfile.write((body or "").encode())

    def do_POST(self):  # noqa: N802
        self.server.result = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.found.set()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    return None


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed (package chromium)")
def test_the_documented_client_runs_in_a_browser(make, gates, upstream, tmp_path):
    weir = make()
    open_gates(gates)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.found = threading.Event()
    page = f"""<!doctype html><script type="module">
const tell = (what) => fetch("/found", {{ method: "POST", body: JSON.stringify(what) }});
try {{
  const {{ WeirSocket }} = await import("/weir-ws.js");
  const url = 'ws://127.0.0.1:{weir.port}/v1/ws', key = '{KEY}', Socket = WebSocket;
  {SCRIPT}
  await tell(result);
}} catch (e) {{ await tell({{ error: String(e) }}); }}
</script>"""
    server.files = {
        "/": ("text/html", page),
        "/weir-ws.js": ("text/javascript", CLIENT.read_text()),
    }
    threading.Thread(target=server.serve_forever, daemon=True).start()
    process = subprocess.Popen(
        [browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", f"--user-data-dir={tmp_path}/profile", "--remote-debugging-port=0",
         f"http://127.0.0.1:{server.server_port}/"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert server.found.wait(patience() * 60), "the browser found nothing"
        result = json.loads(server.result)
        assert "error" not in result, result
        check_client(result, gates, upstream)
    finally:
        process.terminate()
        process.wait(20)
        server.shutdown()
