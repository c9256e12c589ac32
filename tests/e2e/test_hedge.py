"""A slow provider is raced by a second one; the client has one answer, and cannot tell which."""

import json
import threading

import pytest

from harness import model, sdk, sse
from harness.rawhttp import ask
from harness.upstream import PeerGone
from harness.weir import config, patience, provider, virtual_key, wait_until

from .test_resume import STREAMS

PATH = "/v1/chat/completions"
CHAT = {"model": "r", "messages": [{"role": "user", "content": "world"}]}


class Racer:
    """A provider that waits for `gate` (None = not at all) before it answers."""

    def __init__(self, kind, gate=None, status=200):
        self.behind, self.gate, self.status = kind(), gate, status
        self.calls = self.gone = 0

    def __call__(self, call):
        self.calls += 1
        try:
            while self.gate is not None and not self.gate.is_set():
                call.sleep(0.01)
        except PeerGone:
            self.gone += 1
            raise
        if self.status != 200:
            headers = {"Content-Type": "application/json"}
            call.reply(self.status, self.behind.error(self.status), headers)
        else:
            self.behind(call)


def row(upstream, kind):
    return provider(
        upstream.url,
        dialect=kind.dialect,
        paths=dict(kind.paths),
        auth={"kind": "bearer"},
        quirks={"reasoning_field": "reasoning_content"},
    )


def keys():
    key = virtual_key("py", value=sdk.KEY)
    key["aws"] = {"access_key_id": "AKIAWEIRTEST00000001", "secret_access_key": "weir-test-secret"}
    return [key]


@pytest.fixture
def race(make_weir, make_upstream):
    """(weir, first, second), the first of which does not answer until its gate is set."""
    gates = []

    def make(kind=model.OpenAIChat, second=None, slow=True, after="100ms", timeouts=None, **more):
        a = Racer(kind, threading.Event() if slow else None)
        b = Racer(second or kind)
        gates.append(a.gate)
        rows = {
            "a": row(make_upstream(a), kind),
            "b": row(make_upstream(b), second or kind),
        }
        routing = {"hedge": {"after": after}, "backoff": "5ms", "breaker": {"failures": 0}}
        routes = {"r": {"strategy": "priority", "targets": ["a/m", "b/m"]}}
        settings = config(rows, keys=keys(), routes=routes, routing=routing | more)
        settings["timeouts"] = timeouts or {}
        return make_weir(settings), a, b

    yield make
    for gate in gates:
        if gate is not None:
            gate.set()


def post(weir, **more):
    return weir.chat(CHAT | more, key=sdk.KEY)


def client_of(kind, weir):
    client = next(s for s in sdk.SDKS if s.name == kind.dialect)(weir, "r")
    client.model = "r"
    return client


def lines_of(weir, got, count):
    return weir.log_entries(count, pair=got.headers.get("x-weir-request-id"))


# --- the second is faster ---


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_target_is_raced_by_the_next(race, stream):
    weir, a, b = race()
    got = post(weir, stream=stream)
    assert got.status == 200 and got.headers.get("x-weir-target") == "b/m"
    assert got.headers.all("x-weir-hedged") == ["true"]
    assert got.headers.all("x-weir-attempts") == ["2"]
    wait_until(lambda: a.gone == 1, what="the slow provider's call is closed")
    assert (a.calls, b.calls) == (1, 1)
    lines = lines_of(weir, got, 2)
    told = next(x for x in lines if x["request_id"] == x["pair"])
    lost = next(x for x in lines if x["request_id"] != x["pair"])
    assert told["hedged"] is True and told["hedge_winner"] == 2 and told["attempts"] == 2
    assert told["provider"] == "b" and told["status"] == 200 and told["outcome"] == "ok"
    assert told["output_tokens"] > 0 and told["model"] == "r" and told["route"] == "r"
    assert lost["provider"] == "a" and lost["outcome"] == "hedge_lost" and "status" not in lost
    assert weir.metric("weir_hedges_total") == weir.metric("weir_hedges_won_total") == 1
    assert weir.metric("weir_requests_total", operation="chat") == 1


def test_the_slow_one_is_not_taken_for_a_failing_one(race):
    """Its breaker would open at the first failure."""
    weir, a, b = race(breaker={"failures": 1})
    for n in range(1, 4):
        assert post(weir).headers.get("x-weir-target") == "b/m"
        assert a.calls == n


@pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)
def test_every_dialect_through_a_hedge(race, kind):
    weir, a, b = race(kind)
    client = client_of(kind, weir)
    for how in ("ask", "stream"):
        assert getattr(client, how)("world").text == "Hello world!"
    assert (a.calls, b.calls) == (2, 2)


def raw_stream(weir, name="openai_chat"):
    path, body = STREAMS[name]
    body = body if "/M" in path else body | {"model": "r"}
    return ask(weir.port, "POST", path.replace("/M", "/r", 1), body, key=sdk.KEY)


def kind_of(name):
    return next(m for m in model.MODELS if m.dialect == name)


@pytest.mark.parametrize("name", [*(m.dialect for m in model.MODELS), "gemini_array"])
def test_the_bytes_of_a_hedged_stream_are_unaltered(race, name):
    weir, a, b = race(kind_of(name.removesuffix("_array")))
    hedged = raw_stream(weir, name)
    a.gate.set()
    plain = raw_stream(weir, name)
    assert hedged.headers.get("x-weir-target") == "b/m"
    assert plain.headers.get("x-weir-target") == "a/m"
    assert hedged.headers.get("content-type") == plain.headers.get("content-type")
    assert hedged.body == plain.body and b"three" in plain.body


def test_the_second_may_speak_another_dialect(race):
    weir, a, b = race(model.OpenAIChat, model.Anthropic)
    client = client_of(model.OpenAIChat, weir)
    assert client.stream("world").text == "Hello world!"
    assert (a.calls, b.calls) == (1, 1)


# --- the first is ---


@pytest.mark.parametrize("stream", [False, True])
def test_a_fast_target_is_alone(race, stream):
    weir, a, b = race(slow=False, after="20s")
    got = post(weir, stream=stream)
    assert got.status == 200 and got.headers.get("x-weir-target") == "a/m"
    assert "x-weir-hedged" not in got.headers
    assert got.headers.all("x-weir-attempts") == ["1"]
    (line,) = weir.log_entries(1, request_id=got.headers.get("x-weir-request-id"))
    assert "hedged" not in line and "pair" not in line and line["attempts"] == 1
    assert (a.calls, b.calls) == (1, 0)
    assert weir.metric("weir_hedges_total") == 0


def test_the_first_may_win_late(race):
    weir, a, b = race()
    b.gate = threading.Event()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(post(weir)))
    asking.start()
    wait_until(lambda: b.calls == 1, what="the second provider is asked")
    a.gate.set()
    asking.join(10)
    b.gate.set()
    (got,) = answers
    assert got.headers.get("x-weir-target") == "a/m"
    told = next(x for x in lines_of(weir, got, 2) if x["request_id"] == x["pair"])
    assert told["hedge_winner"] == 1 and told["provider"] == "a"
    assert b.gone == 1


# --- failures ---


@pytest.mark.parametrize("stream", [False, True])
def test_a_first_that_fails_is_answered_for_at_once(race, stream):
    weir, a, b = race(slow=False, after="20s")
    a.status = 503
    got = post(weir, stream=stream)
    assert got.status == 200 and got.headers.get("x-weir-target") == "b/m"
    assert (a.calls, b.calls) == (1, 1)
    (line,) = weir.log_entries(1, request_id=got.headers.get("x-weir-request-id"))
    assert "hedged" not in line and line["failed"][0]["status"] == 503


def test_a_second_that_fails_is_waited_out(race):
    weir, a, b = race()
    b.status = 500
    answers = []
    asking = threading.Thread(target=lambda: answers.append(post(weir)))
    asking.start()
    wait_until(lambda: b.calls == 1, what="the second provider is asked")
    a.gate.set()
    asking.join(10)
    (got,) = answers
    assert got.status == 200 and got.headers.get("x-weir-target") == "a/m"
    assert weir.log_entries(1, provider="b", upstream_status=500)


@pytest.mark.parametrize("stream", [False, True])
def test_both_fail_and_one_error_is_told(race, stream):
    weir, a, b = race(retries=0)
    a.status, b.status = 503, 500
    b.gate = threading.Event()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(post(weir, stream=stream)))
    asking.start()
    wait_until(lambda: b.calls == 1, what="the second provider is asked")
    a.gate.set()
    b.gate.set()
    asking.join(10)
    (got,) = answers
    assert got.status in (500, 503)
    assert got.json()["error"]["message"] == "It failed."
    assert (a.calls, b.calls) == (1, 1)
    assert weir.metric("weir_requests_total", operation="chat") == 1
    assert post(weir, model="b/m").status == 500  # the gateway is well


def test_a_clients_fault_is_told_at_once(race):
    def refuse(call):
        call.reply(400, {"error": {"message": "No.", "type": "invalid_request_error"}})

    weir, a, b = race(slow=False, after="20s")
    a.behind = refuse
    assert post(weir).status == 400
    assert (a.calls, b.calls) == (1, 0)


def test_hedges_are_taken_from_the_budget(race):
    """None is left once they win nothing: the first five a minute are free."""
    weir, a, b = race(retry_budget=0)
    a.gate.set()
    assert post(weir).status == 200
    a.gate.clear()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(post(weir)))
    asking.start()
    wait_until(lambda: a.calls == 2, what="the first provider is asked")
    asking.join(0.4)
    a.gate.set()
    asking.join(10)
    assert answers[0].headers.get("x-weir-target") == "a/m"
    assert b.calls == 0


# --- what is sent before either has answered ---

EARLY = {"early_head": "50ms"}
BEATS = {"heartbeat": "50ms"}


def without_comments(body):
    return b"".join(e.raw for e in sse.split(body) if e.has_data)


@pytest.mark.parametrize("second", [False, True], ids=["the first wins", "the second wins"])
@pytest.mark.parametrize("name", [*(m.dialect for m in model.MODELS), "gemini_array"])
def test_the_head_of_a_hedged_stream_leaves_early(race, name, second):
    weir, a, b = race(kind_of(name.removesuffix("_array")), **EARLY, timeouts=BEATS)
    b.gate = threading.Event()
    path, body = STREAMS[name]
    body = json.dumps(body if "/M" in path else body | {"model": "r"}).encode()
    try:
        with weir.client() as peer:
            peer.deadline(30 * patience())
            path = path.replace("/M", "/r", 1)
            peer.send(peer.build("POST", path, body, key=sdk.KEY))
            head = peer.head()  # nobody has answered yet
            assert head.status == 200 and "x-weir-target" not in head.headers
            wait_until(lambda: b.calls == 1, 10 * patience(), "the second provider is asked")
            if name in ("openai_chat", "openai_responses", "anthropic", "cohere"):
                assert b": heartbeat" in next(peer.pieces(head))
            (b if second else a).gate.set()
            got = b"".join(peer.pieces(head))
    finally:
        a.gate.set()
        b.gate.set()
    plain = raw_stream(weir, name)
    assert head.headers.get("content-type") == plain.headers.get("content-type")
    if name in ("bedrock", "gemini_array"):
        assert got.strip(b"\n") == plain.body
    else:
        assert without_comments(got) == without_comments(plain.body)
    told = weir.log_entries(1, hedged=True, hedge_winner=2 if second else 1)[0]
    assert told["outcome"] == "ok" and told["attempts"] == 2


@pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)
def test_when_both_fail_after_an_early_head_the_stream_says_so(race, kind):
    weir, a, b = race(kind, retries=0, **EARLY)
    a.status, b.status = 503, 500
    b.gate = threading.Event()
    failures = []

    def read():
        try:
            answer = client_of(kind, weir).stream("world")
            assert answer.text or answer.calls, "an end without an answer"
        except Exception as error:  # noqa: BLE001 - each SDK has its own
            failures.append(error)

    asking = threading.Thread(target=read)
    asking.start()
    wait_until(lambda: b.calls == 1, 10 * patience(), "the second provider is asked")
    a.gate.set()
    b.gate.set()
    asking.join(20 * patience())
    assert len(failures) == 1
    told = next(x for x in weir.log_entries(2, operation="chat") if x["request_id"] == x["pair"])
    assert told["outcome"] == "upstream_error"
    assert weir.metric("weir_requests_total", operation="chat") == 1


def test_an_error_after_an_early_head_keeps_its_words(race):
    weir, a, b = race(retries=0, **EARLY)
    a.status, b.status = 503, 500
    answers = []
    asking = threading.Thread(target=lambda: answers.append(post(weir, stream=True)))
    asking.start()
    wait_until(lambda: b.calls == 1, 10 * patience(), "the second provider is asked")
    a.gate.set()
    asking.join(20 * patience())
    (got,) = answers
    assert got.status == 200
    (error,) = [json.loads(m) for m in sse.messages(got.body)]
    assert error["error"]["message"] == "It failed."


# --- the client goes, the gateway stops ---


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_ends_both(race, stream):
    weir, a, b = race()
    b.gate = threading.Event()
    with weir.client() as connection:
        body = CHAT | {"stream": stream}
        connection.send(connection.build("POST", PATH, json.dumps(body).encode(), key=sdk.KEY))
        wait_until(lambda: b.calls == 1, what="the second provider is asked")
    wait_until(lambda: (a.gone, b.gone) == (1, 1), what="both calls are closed")
    b.gate.set()
    (line,) = weir.log_entries(1, outcome="client_gone", hedged=True, attempts=2)
    assert line["request_id"] == line["pair"] and "hedge_winner" not in line


def test_a_hedged_request_at_shutdown(race):
    weir, a, b = race()
    b.gate = threading.Event()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(post(weir)))
    asking.start()
    wait_until(lambda: b.calls == 1, what="the second provider is asked")
    weir.signal(15)
    a.gate.set()
    asking.join(20)
    b.gate.set()
    assert answers[0].status == 200 and answers[0].headers.get("x-weir-target") == "a/m"
    assert weir.wait_exit() == 0


# --- a measured delay ---


def test_a_percentile_is_not_known_at_first(race):
    weir, a, b = race(slow=False, hedge={"percentile": 95})
    for _ in range(30):
        assert post(weir, stream=True).headers.get("x-weir-target") == "a/m"
    assert b.calls <= 8  # those that were slower than nineteen of twenty before
    a.gate = threading.Event()
    got = post(weir, stream=True)
    a.gate.set()
    assert got.headers.get("x-weir-target") == "b/m"
