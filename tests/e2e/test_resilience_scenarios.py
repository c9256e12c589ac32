"""What has gone wrong elsewhere, one small test each; ids are those of the list of scenarios."""

import json
import socket
import ssl
import threading
import time
from datetime import datetime

import pytest

from harness import model, sdk, sse
from harness.certs import Authority
from harness.weir import config, patience, provider, virtual_key, wait_until

from .test_continuation import TEXT, Breaking, going_on
from .test_failover import Failing, keys, post, row, status

KEY_HEADER = {"Authorization": f"Bearer {sdk.KEY}"}
CALM = {"backoff": "5ms", "breaker": {"failures": 0}, "retries": 2}


@pytest.fixture
def behind(make_weir, make_upstream):
    """(weir, provider, provider ...) a, b, c of one dialect, behind the routes."""

    def make(routes, count=2, kind=model.OpenAIChat, more=None, **routing):
        names = "abcdef"[:count]
        providers = [Failing(kind) for _ in names]
        rows = {n: row(make_upstream(p), kind) for n, p in zip(names, providers, strict=True)}
        settings = config(rows, keys=keys(), routes=routes, routing=CALM | routing)
        return make_weir(settings | (more or {})), *providers

    return make


def target_of(got):
    assert got.status == 200, got.body
    return got.headers.get("x-weir-target")


def at_limit(behind, call, reset="60s"):
    """Answers well, and says that this was the last one for a while."""
    headers = {"x-ratelimit-limit-requests": "1", "x-ratelimit-remaining-requests": "0",
               "x-ratelimit-reset-requests": reset}  # fmt: skip
    asked = behind.read(json.loads(call.request.body), call.request.target)
    call.reply(200, behind.whole(behind.decide(asked, {})), headers)


# --- L-01, B-01: an error before any content is no beginning ---

OPENINGS = {
    model.OpenAIChat: sse.chunk(""),
    model.OpenAIResponses: b"".join(
        b"event: response.%s\ndata: %s\n\n"
        % (
            name,
            json.dumps(
                {
                    "type": "response." + name.decode(),
                    "sequence_number": n,
                    "response": {"id": "resp_1", "object": "response", "status": "in_progress",
                                 "model": "m", "output": []},
                }  # fmt: skip
            ).encode(),
        )
        for n, name in enumerate((b"created", b"in_progress"))
    ),
    model.Anthropic: b"event: message_start\ndata: "
    + json.dumps(
        {"type": "message_start",
         "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                     "content": [], "stop_reason": None, "stop_sequence": None,
                     "usage": {"input_tokens": 3, "output_tokens": 1}}}  # fmt: skip
    ).encode()
    + b'\n\nevent: ping\ndata: {"type":"ping"}\n\n',
}
ERROR_EVENTS = {
    model.OpenAIChat: b'data: {"error":{"message":"Rate limit","type":"requests","code":'
    b'"rate_limit_exceeded"}}\n\n',
    model.OpenAIResponses: b'event: error\ndata: {"type":"error","sequence_number":2,'
    b'"code":"insufficient_quota","message":"You exceeded your quota."}\n\n',
    model.Anthropic: b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
    b'"message":"Overloaded"}}\n\n',
}


@pytest.mark.parametrize("end", ["error event", "reset", "end"])
@pytest.mark.parametrize("kind", OPENINGS, ids=lambda m: m.dialect)
def test_L01_B01_what_breaks_before_any_content_never_shows(behind, kind, end):
    def broken(behind, call):
        call.start(200, {"Content-Type": "text/event-stream"})
        call.write(OPENINGS[kind])
        if end == "reset":
            call.reset()
            return
        if end == "error event":
            call.write(ERROR_EVENTS[kind])
        call.end()

    weir, a, b = behind({"r": ["a/m", "b/m"]}, kind=kind)
    a.fault = broken
    client = next(s for s in sdk.SDKS if s.name == kind.dialect)(weir, "r")
    client.model = "r"
    assert client.stream("world").text == "Hello world!"
    assert (a.calls, b.calls) == (1, 1)


# --- L-03, L-18, L-19, C3: what is tried again, and when ---


def test_L03_no_fallback_means_none_in_the_middle_either(make_weir, make_upstream):
    a, b = Breaking(model.OpenAIChat, "reset", 12), Failing(going_on(model.OpenAIChat))
    rows = {n: row(make_upstream(p), model.OpenAIChat) for n, p in (("a", a), ("b", b))}
    routing = CALM | {"mid_stream": "continue"}
    weir = make_weir(config(rows, keys=keys(), routes={"r": ["a/m", "b/m"]}, routing=routing))
    got = post(weir, headers={"x-weir-fallback": "off"}, stream=True)
    assert TEXT.startswith(sse.text_of(got.body)) and b'"error"' in got.body
    assert b.calls == 0


def test_L18_a_single_target_that_was_throttled_once_is_asked_again(behind):
    weir, a, b = behind({"r": ["a/m"]}, retries=0, breaker={"failures": 3})
    a.fault = status(429)
    got = post(weir)
    assert got.status == 429 and got.error_message
    a.fault = None
    wait_until(lambda: post(weir).status == 200, 15 * patience(), "the target's return")


def test_L18_a_refusal_of_weirs_own_is_no_failure_of_a_provider(behind):
    weir, a, b = behind({"r": ["a/m"]}, breaker={"failures": 2, "open": "60s"})
    for _ in range(6):
        assert post(weir, "r", fallbacks=["nowhere/m"]).status == 400
    assert post(weir).status == 200


def test_L18_who_is_told_that_nothing_is_left_is_told_why(behind):
    def throttled(behind, call):
        call.reply(429, {"error": {"message": "Daily quota", "type": "requests"}},
                   {"Retry-After": "3000"})  # fmt: skip

    weir, a, b = behind({"r": ["a/m", "b/m"]})
    a.fault = b.fault = throttled
    assert post(weir).error_message == "Daily quota"
    got = post(weir)
    assert got.status in (429, 503) and "/m" in got.error_message
    assert 2900 < int(got.headers.get("retry-after")) <= 3000
    assert (a.calls, b.calls) == (1, 1)


def test_L19_retry_after_is_kept_where_there_is_no_other(behind):
    def later(behind, call):
        call.reply(429, {"error": {"message": "Later", "type": "requests"}}, {"Retry-After": "1"})
        a.fault = None

    weir, a, b = behind({"r": ["a/m"], "two": ["a/m", "b/m"]})
    a.fault = later
    begin = time.monotonic()
    assert target_of(post(weir)) == "a/m" and a.calls == 2
    assert time.monotonic() - begin >= 1
    a.fault = later
    begin = time.monotonic()
    assert target_of(post(weir, "two")) == "b/m"
    assert time.monotonic() - begin < 0.9 * patience()


@pytest.mark.parametrize("code", [429, 503])
def test_C3_without_retry_after_the_next_is_used_and_the_first_rests(behind, code):
    weir, a, b = behind({"r": ["a/m", "b/m"]}, breaker={"failures": 1, "open": "30s"})
    a.fault = lambda behind, call: call.reply(code, {"error": {"message": "No", "type": "x"}})
    for _ in range(8):
        assert target_of(post(weir)) == "b/m"
    assert a.calls <= 2


# --- S9, C4: each deadline by itself, of a route ---


def timeouts(**more):
    return {"r": {"targets": ["a/m", "b/m"], "timeouts": more}}


def test_S9_first_byte_of_a_route(behind):
    weir, a, b = behind(timeouts(first_byte="200ms"))
    a.fault = lambda behind, call: call.wait_hang_up()
    begin = time.monotonic()
    assert target_of(post(weir)) == "b/m"
    assert 0.2 <= time.monotonic() - begin < 3 * patience()


def test_S9_total_of_a_route_bounds_all_attempts(behind):
    weir, a, b = behind(timeouts(total="600ms", first_byte="400ms"))
    a.fault = b.fault = lambda behind, call: call.wait_hang_up()
    begin = time.monotonic()
    assert post(weir).status == 504
    assert 0.5 < time.monotonic() - begin < 3 * patience()


def test_S9_connect_of_a_route(make_weir, make_upstream):
    """A listener whose queue is full: the kernel answers nobody."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
        waiting.append(sock)
    rows = {
        "a": provider(f"http://127.0.0.1:{full.getsockname()[1]}/v1"),
        "b": provider(make_upstream()),
    }
    weir = make_weir(config(rows, keys=keys(), routes=timeouts(connect="300ms"), routing=CALM))
    begin = time.monotonic()
    assert target_of(post(weir)) == "b/m"
    assert 0.3 <= time.monotonic() - begin < 4 * patience()
    for sock in [*waiting, full]:
        sock.close()


@pytest.mark.parametrize("mid_stream", ["continue", "terminate"])
def test_S9_stall_of_a_route_continues_or_ends_the_stream(make_weir, make_upstream, mid_stream):
    a, b = Breaking(model.OpenAIChat, "stall", 12), Failing(going_on(model.OpenAIChat))
    rows = {n: row(make_upstream(p), model.OpenAIChat) for n, p in (("a", a), ("b", b))}
    routes = {"r": {"targets": ["a/m", "b/m"], "timeouts": {"stall": "300ms"},
                    "mid_stream": mid_stream}}  # fmt: skip
    weir = make_weir(config(rows, keys=keys(), routes=routes, routing=CALM))
    begin = time.monotonic()
    got = post(weir, stream=True)
    assert 0.3 <= time.monotonic() - begin < 5 * patience()
    if mid_stream == "continue":
        assert sse.text_of(got.body) == TEXT and b.calls == 1
    else:
        assert sse.text_of(got.body) != TEXT and b'"error"' in got.body and b.calls == 0


def test_C4_a_handshake_that_stalls_fails_over_and_the_pool_recovers(
    make_weir, make_upstream, tmp_path
):
    authority = Authority(tmp_path)
    context = authority.server_context("IP:127.0.0.1", name="up")
    stalls = threading.Event()
    stalls.set()

    class Door:
        """Lets the handshake begin when it is told to."""

        def wrap_socket(self, sock, **more):
            while stalls.is_set():
                if not sock.recv(1, socket.MSG_PEEK):
                    raise ssl.SSLError("gone")
                time.sleep(0.02)
            return context.wrap_socket(sock, **more)

    up = make_upstream(tls=Door())
    rows = {
        "a": provider(up, tls={"ca_file": str(authority.cert)}),
        "b": provider(make_upstream()),
    }
    weir = make_weir(config(rows, keys=keys(), routes=timeouts(connect="300ms"), routing=CALM))
    assert target_of(post(weir)) == "b/m"
    stalls.clear()
    wait_until(lambda: target_of(post(weir)) == "a/m", 10 * patience(), "the pool's recovery")


# --- slow clients ---


@pytest.mark.parametrize("kind", [model.OpenAIChat, model.Anthropic], ids=lambda m: m.dialect)
def test_a_client_that_reads_nothing_is_cut_off_and_its_call_with_it(make_weir, make_upstream, kind):
    def flood(call):
        call.start_stream()
        word = "x" * 8000
        if kind is model.OpenAIChat:
            event = sse.chunk(word)
        else:
            call.write(OPENINGS[kind] + b'event: content_block_start\ndata: {"type":'
                       b'"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
                       b"\n\n")  # fmt: skip
            event = (b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
                     b'"delta":{"type":"text_delta","text":"%s"}}\n\n' % word.encode())  # fmt: skip
        while True:
            call.write(event)

    up = make_upstream(flood)
    rows = {"a": row(up, kind)}
    weir = make_weir(config(rows, keys=keys(), timeouts={"client_stall": "700ms"}, routes={"r": ["a/m"]}))
    body = {"model": "r", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    with weir.client(receive_buffer=4096) as client:
        client.send(client.build("POST", "/v1/chat/completions", json.dumps(body).encode(), KEY_HEADER))
        assert client.head().status == 200
        begin = time.monotonic()
        up.wait(lambda u: u.in_progress == 0, 20 * patience(), "the upstream call's end")
        assert time.monotonic() - begin > 0.4
    (line,) = weir.log_entries(1, operation="chat")
    assert line["outcome"] in ("client_gone", "client_stalled")
    assert weir.metric("weir_upstream_cancelled_total") == 1


# --- limits ---


def test_a_key_at_its_limit_is_passed_over_before_it_fails(make_weir, make_upstream):
    seen = []

    def handle(call):
        seen.append(call.request.headers.get("authorization"))
        at_limit(model.OpenAIChat(), call) if "first" in seen[-1] else model.OpenAIChat()(call)

    pool = [{"name": n, "api_key": f"sk-upstream-{n}"} for n in ("first", "second")]
    rows = {"a": {"dialect": "openai_chat", "base_url": make_upstream(handle).url, "keys": pool,
                  "paths": model.OpenAIChat.paths}}  # fmt: skip
    weir = make_weir(config(rows, keys=keys(), routing=CALM))
    for _ in range(20):
        assert post(weir, "a/m").status == 200
    assert seen.count("Bearer sk-upstream-first") == 1


def test_a_target_at_its_limit_goes_behind_the_others(behind):
    weir, a, b = behind({"r": ["a/m", "b/m"]})
    a.fault = at_limit
    assert target_of(post(weir)) == "a/m"
    for _ in range(5):
        assert target_of(post(weir)) == "b/m"
    assert a.calls == 1


def limited(mode, *targets, **more):
    return {"r": {"targets": list(targets), "when_limited": mode, **more}}


def test_when_limited_wait_waits_though_another_is_there(behind):
    weir, a, b = behind(limited("wait", "a/m", "b/m"), more={"threads": 1})
    a.fault = lambda behind, call: at_limit(behind, call, "800ms")
    assert target_of(post(weir)) == "a/m"
    begin = time.monotonic()
    assert target_of(post(weir)) == "a/m"
    assert time.monotonic() - begin > 0.4 and b.calls == 0
    assert weir.metric("weir_limit_waits_total") == 1


def test_when_limited_wait_waits_where_there_is_no_other(behind):
    weir, a, b = behind(limited("wait", "a/m"), more={"threads": 1})
    a.fault = lambda behind, call: at_limit(behind, call, "800ms")
    assert target_of(post(weir)) == "a/m"
    begin = time.monotonic()
    assert target_of(post(weir)) == "a/m"
    assert time.monotonic() - begin > 0.4


def test_when_limited_next_asks_the_only_target_all_the_same(behind):
    """Where there is nothing to choose from, the provider says itself whether it has more."""
    weir, a, b = behind(limited("next", "a/m"))
    a.fault = at_limit
    assert [target_of(post(weir)) for _ in range(3)] == ["a/m"] * 3


def test_when_limited_fail_is_a_429_with_retry_after(behind):
    def throttled(behind, call):
        call.reply(429, {"error": {"message": "Later", "type": "x"}}, {"Retry-After": "60"})

    weir, a, b = behind(limited("fail", "a/m", "b/m"))
    a.fault = b.fault = throttled
    post(weir)
    got = post(weir)
    assert got.status == 429 and 50 <= int(got.headers.get("retry-after")) <= 60
    assert "limit" in got.error_message and (a.calls, b.calls) == (1, 1)


def asked_at(entry):
    """When the provider was asked, in seconds."""
    begun = datetime.fromisoformat(entry["time"]).timestamp()
    return begun + (entry["duration_ms"] - entry["upstream_ms"]) / 1000


def test_the_queue_is_first_come_first_served_and_bounded(behind):
    """An answer uses the key up for a while; those who wait are served in the order they came."""
    queue = {"length": 4, "wait": "30s"}
    weir, a, b = behind(limited("wait", "a/m", queue=queue), more={"threads": 1})
    arrived, answers, threads = [], {}, []

    def handle(behind, call):
        arrived.append(json.loads(call.request.body)["user"])
        at_limit(behind, call, "900ms")

    a.fault = handle
    assert post(weir, user="0").status == 200
    for n in range(1, 5):
        one = threading.Thread(target=lambda n=n: answers.update({n: post(weir, user=str(n))}))
        one.start()
        threads.append(one)
        wait_until(
            lambda n=n: weir.metric("weir_limit_waits_total") == n, 20, "its place in the queue"
        )
    got = post(weir, user="5")
    assert got.status == 429, "the queue has four places"
    for one in threads:
        one.join(40)
    assert {n: got.status for n, got in answers.items()} == dict.fromkeys(range(1, 5), 200)
    # On their way to the provider they may overtake each other: when weir let them go counts.
    assert sorted(arrived) == ["0", "1", "2", "3", "4"]
    logged = {e["request_id"]: e for e in weir.log_entries(6, operation="chat")}
    sent = [asked_at(logged[answers[n].headers.get("x-weir-request-id")]) for n in range(1, 5)]
    assert all(b > a - 0.002 for a, b in zip(sent, sent[1:], strict=False)), sent
    served = [e["duration_ms"] for e in logged.values() if e["outcome"] == "ok"]
    assert sum(ms > 500 for ms in served) == 4, served


# --- parameters of a target ---

CLIENT = {"messages": [{"role": "user", "content": "world"}], "temperature": 0.9}


def asked_of(provider_):
    return provider_.behind.asked[-1][1]


def test_parameters_of_a_target_reach_the_provider(behind):
    target = {"target": "a/m", "override": {"temperature": 0.1, "metadata.tier": "x"},
              "defaults": {"max_tokens": 77, "temperature": 0.5, "seed": 3}}  # fmt: skip
    weir, a, b = behind({"r": [target]})
    assert weir.chat(CLIENT | {"model": "r", "seed": 9}, KEY_HEADER).status == 200
    got = asked_of(a)
    assert got["temperature"] == 0.1 and got["max_tokens"] == 77 and got["seed"] == 9
    assert got["metadata"] == {"tier": "x"} and got["messages"] == CLIENT["messages"]


def test_parameters_are_the_targets_own_also_where_it_is_translated(make_weir, make_upstream):
    a, b = Failing(model.OpenAIChat, status(503)), Failing(model.Gemini)
    rows = {"a": row(make_upstream(a), model.OpenAIChat), "b": row(make_upstream(b), model.Gemini)}
    targets = [
        {"target": "a/m", "override": {"temperature": 0.2}},
        {"target": "b/m", "override": {"generationConfig.temperature": 0.3},
         "defaults": {"generationConfig.maxOutputTokens": 55}},
    ]  # fmt: skip
    weir = make_weir(config(rows, keys=keys(), routes={"r": targets}, routing=CALM))
    assert weir.chat(CLIENT | {"model": "r"}, KEY_HEADER).status == 200
    got = asked_of(b)["generationConfig"]
    assert got["temperature"] == 0.3 and got["maxOutputTokens"] == 55


# --- R10, conditions ---


def test_R10_conditions_pin_and_leave_out_a_provider(behind):
    routes = {
        "r": {
            "strategy": "conditional",
            "targets": [
                {"target": "a/m", "when": {"headers.x-ignore": {"$ne": "a"}, "metadata.plan": "free"}},
                {"target": "b/m", "when": {"$or": [{"headers.x-pin": "b"}, {"key.team": "gold"}]}},
                {"target": "c/m"},
            ],
        }
    }
    gold = virtual_key("gold", value="wk-gold-0123456789", team="gold")
    weir, *_ = behind(routes, 3, more={"keys": [*keys(), gold]})
    free = {"metadata": {"plan": "free"}}
    assert target_of(post(weir)) == "c/m"
    assert target_of(post(weir, **free)) == "a/m"
    assert target_of(post(weir, headers={"x-ignore": "a"}, **free)) == "c/m"
    assert target_of(post(weir, headers={"x-pin": "b"})) == "b/m"
    assert target_of(weir.chat(CLIENT | {"model": "r"}, key="wk-gold-0123456789")) == "b/m"


def test_no_condition_holds_is_told(behind):
    weir, *_ = behind({"r": [{"target": "a/m", "when": {"metadata.plan": "gold"}}]})
    got = post(weir)
    assert got.status == 400 and "condition" in got.error_message


# --- R1: who is asked ---

SESSIONS = [f"session-{n}" for n in range(12)]


@pytest.mark.parametrize("strategy", ["sticky", "hash"])
def test_R1_a_session_stays_with_its_host_unless_that_is_ill(behind, strategy):
    routes = {"r": {"strategy": strategy, "targets": ["a/m", "b/m", "c/m"], "load_percent": 10000}}
    weir, *providers = behind(routes, 3, breaker={"failures": 1, "open": "300ms"})

    def home(session):
        return target_of(post(weir, headers={"x-weir-session": session}))

    homes = {s: home(s) for s in SESSIONS}
    assert len(set(homes.values())) > 1
    for _ in range(3):
        assert {s: home(s) for s in SESSIONS} == homes
    ill = homes[SESSIONS[0]]
    providers["abc".index(ill[0])].fault = status(500)
    while_ill = {s: home(s) for s in SESSIONS}
    assert all((while_ill[s] == homes[s]) == (homes[s] != ill) for s in SESSIONS)
    providers["abc".index(ill[0])].fault = None
    wait_until(lambda: {s: home(s) for s in SESSIONS} == homes, 10 * patience(), "their return")


def test_a_session_may_be_named_in_the_body(behind):
    routes = {"r": {"strategy": "sticky", "targets": ["a/m", "b/m", "c/m"]}}
    weir, *_ = behind(routes, 3)
    for n in range(5):
        homes = {target_of(post(weir, metadata={"session_id": f"s{n}"})) for _ in range(4)}
        assert len(homes) == 1


# --- strategies ---


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("retries", [0, 3])
def test_round_robin_over_two_alternates_also_with_failover_on(behind, retries, threads):
    routes = {"r": {"strategy": "round_robin", "targets": ["a/m", "b/m"], "retries": retries}}
    weir, *_ = behind(routes, more={"threads": threads})
    seen = [target_of(post(weir)) for _ in range(20)]
    assert all(x != y for x, y in zip(seen, seen[1:], strict=False)), seen


def test_round_robin_goes_on_in_turn_while_one_fails(behind):
    routes = {"r": {"strategy": "round_robin", "targets": ["a/m", "b/m", "c/m"]}}
    weir, a, b, c = behind(routes, 3)
    b.fault = status(500)
    seen = [target_of(post(weir)) for _ in range(30)]
    assert seen.count("b/m") == 0 and 8 <= seen.count("a/m") <= 22


def test_weighted_draws_by_weight(behind):
    targets = [{"target": "a/m", "weight": 9}, {"target": "b/m"}, {"target": "c/m", "weight": 0}]
    weir, *_ = behind({"r": {"strategy": "weighted", "targets": targets}}, 3)
    seen = [target_of(post(weir)) for _ in range(120)]
    assert 85 <= seen.count("a/m") <= 119 and seen.count("c/m") == 0


def test_least_busy_goes_where_nobody_waits(behind):
    weir, a, b = behind({"r": {"strategy": "least_busy", "targets": ["a/m", "b/m"]}})
    free = threading.Event()
    first = threading.Lock()

    def hold(behind, call):
        if first.acquire(blocking=False):
            free.wait(30)
        behind(call)

    a.fault = b.fault = hold
    busy = []
    one = threading.Thread(target=lambda: busy.append(target_of(post(weir))))
    one.start()
    wait_until(lambda: a.calls + b.calls == 1, 10, "the call that is held")
    seen = {target_of(post(weir)) for _ in range(6)}
    free.set()
    one.join(20)
    assert len(seen) == 1 and seen != set(busy)


def test_routes_nest(behind):
    routes = {
        "inner": {"strategy": "round_robin", "targets": ["b/m", "c/m"]},
        "r": {"strategy": "priority", "targets": ["a/m", "inner"]},
    }
    weir, a, b, c = behind(routes, 3)
    assert target_of(post(weir)) == "a/m"
    a.fault = status(503)
    seen = [target_of(post(weir)) for _ in range(8)]
    assert seen.count("b/m") == seen.count("c/m") == 4


def test_floor_is_the_cheapest_and_nitro_the_fastest(behind):
    prices = [{"provider": "a", "model": "m", "input": 9, "output": 9},
              {"provider": "b", "model": "m", "input": 5, "output": 5},
              {"provider": "c", "model": "m", "input": 1, "output": 1}]  # fmt: skip
    weir, a, b, c = behind({"r": ["a/m", "b/m", "c/m"]}, 3, more={"prices": prices})
    for provider_, seconds in ((a, 0.25), (b, 0.0), (c, 0.15)):
        provider_.fault = lambda behind, call, s=seconds: (call.sleep(s), behind(call))
    assert target_of(post(weir)) == "a/m"
    assert target_of(post(weir, "r:floor")) == "c/m"
    for name in ("a/m", "b/m", "c/m"):
        for _ in range(4):
            post(weir, name)
    assert target_of(post(weir, "r:nitro")) == "b/m"


# --- C24: many routes ---


def test_C24_ten_thousand_routes_load_and_reload_and_a_bad_one_is_refused_as_a_whole(behind):
    routes = {f"route-{n}": ["a/m", "b/m"] for n in range(10_000)}
    weir, a, b = behind(routes)
    failures, is_over = [], threading.Event()

    def ask_on():
        while not is_over.is_set():
            if (got := post(weir, "route-7")).status != 200:
                failures.append(got.body)

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        text = weir.config_path.read_text()
        weir.write_config(text.replace("route-9999:", "route-new:"))
        weir.signal(1)
        wait_until(lambda: post(weir, "route-new").status == 200, 20 * patience(), "the reload")
        weir.write_config(text.replace("route-5000:\n  - a/m", "route-5000:\n  - nowhere/m"))
        weir.signal(1)
        wait_until(lambda: "nowhere" in weir.stderr(), 20 * patience(), "the refusal")
        assert post(weir, "route-new").status == 200
    finally:
        is_over.set()
        asking.join(20)
    assert failures == []
    said = next(line for line in weir.stderr().splitlines() if "nowhere" in line)
    assert "route-5000" in said and any(c.isdigit() for c in said.partition("yaml")[2][:8])
