"""A provider fails before anything was sent: another answers, and the client cannot tell."""

import json
import time

import pytest

from harness import model, sdk
from harness.sse import messages
from harness.upstream import PeerGone
from harness.weir import config, patience, provider, virtual_key

CHAT = {"messages": [{"role": "user", "content": "world"}]}
KEY_HEADER = {"Authorization": f"Bearer {sdk.KEY}"}


# --- how a provider fails ---


def status(code):
    def fail(behind, call):
        headers = {"Content-Type": "application/json"} | behind.error_headers(code)
        call.reply(code, behind.error(code), headers)

    return fail


def reset_at_once(behind, call):
    call.reset()


def close_at_once(behind, call):
    call.close()


def empty_stream(behind, call):
    call.reply(200, b"", {"Content-Type": behind.stream_type}, "chunked")


def half_a_head(behind, call):
    call.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    call.close()


def not_http(behind, call):
    call.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    call.close()


def silence(behind, call):
    call.wait_hang_up(30)


def html_page(behind, call):
    call.reply(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})


FAULTS = {
    "429": status(429),
    "500": status(500),
    "503": status(503),
    "401": status(401),
    "404": status(404),
    "reset": reset_at_once,
    "close": close_at_once,
    "half a head": half_a_head,
    "no HTTP": not_http,
    "silence": silence,
    "HTML": html_page,
}


class Failing:
    """A provider of a dialect that fails so long as `fault` is set."""

    def __init__(self, kind, fault=None):
        self.behind, self.fault, self.calls = kind(), fault, 0
        self.gone = 0

    def __call__(self, call):
        self.calls += 1
        try:
            if self.fault is not None:
                self.fault(self.behind, call)
            else:
                self.behind(call)
        except PeerGone:
            self.gone += 1
            raise


def row(upstream, kind, **more):
    return provider(
        upstream.url,
        dialect=kind.dialect,
        paths=dict(kind.paths),
        auth={"kind": "bearer"},
        quirks={"reasoning_field": "reasoning_content"},
        **more,
    )


def keys():
    key = virtual_key("py", value=sdk.KEY)
    key["aws"] = {"access_key_id": "AKIAWEIRTEST00000001", "secret_access_key": "weir-test-secret"}
    return [key]


def route(*targets, **more):
    return {"strategy": "priority", "targets": list(targets), **more}




def ms(milliseconds):
    """A time of the config that slow builds are given more of."""
    return f"{int(milliseconds * patience())}ms"


QUICK = {"backoff": "5ms", "breaker": {"failures": 0}, "timeouts": {"first_byte": ms(700)}}


@pytest.fixture
def two(make_weir, make_upstream):
    """(weir, first provider, second provider) behind the route "r"."""

    def make(first, second=None, fault=None, routes=None, **routing):
        a, b = Failing(first, fault), Failing(second or first)
        rows = {
            "a": row(make_upstream(a), first),
            "b": row(make_upstream(b), second or first),
        }
        routes = routes or {"r": route("a/m", "b/m")}
        settings = config(rows, keys=keys(), routes=routes, routing=QUICK | routing)
        return make_weir(settings), a, b

    return make


def post(weir, model_name="r", headers=None, **more):
    body = CHAT | {"model": model_name} | more
    return weir.chat(body, headers=KEY_HEADER | (headers or {}))


def client_of(kind, weir, name="r"):
    client = kind(weir, name)
    client.model = name
    return client


# --- every dialect ---


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)
def test_the_second_provider_answers_for_the_first(two, kind, fault):
    weir, a, b = two(kind, fault=FAULTS[fault])
    client = client_of(next(s for s in sdk.SDKS if s.name == kind.dialect), weir)
    for how in ("ask", "stream"):
        assert getattr(client, how)("world").text == "Hello world!"
    # Who was told to wait, or whose key was refused, is not asked a second time.
    assert (a.calls, b.calls) == (1 if fault in ("401", "429") else 2, 2)


@pytest.mark.parametrize("client", sdk.SDKS, ids=lambda s: s.name)
@pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)
def test_the_second_may_speak_another_dialect(two, client, kind):
    first = next(m for m in model.MODELS if m.dialect == client.name)
    weir, a, b = two(first, kind, fault=FAULTS["503"])
    for how in ("ask", "stream"):
        assert getattr(client_of(client, weir), how)("world").text == "Hello world!"
    assert (a.calls, b.calls) == (2, 2)


@pytest.mark.parametrize("kind", model.MODELS, ids=lambda m: m.dialect)
def test_an_empty_stream_is_a_failure(two, kind):
    weir, a, b = two(kind, fault=empty_stream)
    client = client_of(next(s for s in sdk.SDKS if s.name == kind.dialect), weir)
    assert client.stream("world").text == "Hello world!"
    assert (a.calls, b.calls) == (1, 1)


# --- S3: an error inside a 200 ---


def error_in_200(behind, call):
    error = {"error": {"message": "Overloaded", "type": "overloaded_error", "code": 503}}
    if json.loads(call.request.body).get("stream"):
        body = b"data: " + json.dumps(error).encode() + b"\n\n"
        call.reply(200, body, {"Content-Type": "text/event-stream"}, "chunked")
    else:
        call.reply(200, error)


@pytest.mark.parametrize("stream", [False, True])
def test_S3_an_error_in_a_200_is_seen_in_time(two, stream):
    weir, a, b = two(model.OpenAIChat, fault=error_in_200)
    got = post(weir, stream=stream)
    assert got.status == 200 and b"Overloaded" not in got.body
    assert (a.calls, b.calls) == (1, 1)


def error_after_the_role(behind, call):
    call.start_stream()
    role = {"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]}
    call.write(b"data: " + json.dumps(role).encode() + b"\n\n")
    call.write(b'data: {"error":{"message":"Overloaded","type":"overloaded_error"}}\n\n')
    call.end()


def test_an_error_after_an_opening_is_seen_in_time(two):
    weir, a, b = two(model.OpenAIChat, fault=error_after_the_role)
    got = post(weir, stream=True)
    assert got.status == 200 and b"Overloaded" not in got.body
    starts = [m for m in messages(got.body) if b'"role"' in m]
    assert len(starts) == 1


# --- what is the client's own fault is told at once ---


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_fault_of_the_client_is_not_tried_elsewhere(two, code):
    def refuse(behind, call):
        call.reply(code, {"error": {"message": "No.", "type": "invalid_request_error"}})

    weir, a, b = two(model.OpenAIChat, fault=refuse)
    assert post(weir).status == code
    assert (a.calls, b.calls) == (1, 0)


def test_the_last_error_is_told_in_the_providers_words(two):
    weir, a, b = two(model.OpenAIChat, fault=status(500))
    b.fault = status(429)
    got = post(weir)
    assert got.status == 500
    assert got.json()["error"]["message"] == "It failed."
    assert got.headers.get("x-weir-attempts") == "3"
    assert got.headers.get("x-weir-failed") == "a/m;500;transient, b/m;429;throttled"


# --- R9: what happened is told ---


def test_R9_what_happened_is_told(two):
    weir, a, b = two(model.OpenAIChat, fault=status(429))
    got = post(weir)
    assert got.headers.get("x-weir-route") == "r"
    assert got.headers.get("x-weir-target") == "b/m"
    assert got.headers.get("x-weir-attempts") == "2"
    (line,) = weir.log_entries(1, request_id=got.headers.get("x-weir-request-id"))
    assert line["route"] == "r" and line["provider"] == "b" and line["attempts"] == 2
    assert line["failed"] == [{"target": "a/m", "status": 429, "reason": "throttled"}]


# --- the client's word ---


def test_a_client_may_want_no_fallback(two):
    weir, a, b = two(model.OpenAIChat, fault=status(503))
    assert post(weir, headers={"x-weir-fallback": "off"}).status == 503
    assert b.calls == 0


def test_a_list_of_the_request(two):
    weir, a, b = two(model.OpenAIChat, fault=status(503))
    got = post(weir, "a/m", fallbacks=["b/other"])
    assert got.status == 200 and got.headers.get("x-weir-target") == "b/other"
    assert "fallbacks" not in json.dumps([body for _, body, _ in b.behind.asked])
    got = post(weir, "a/m", fallbacks=[{"model": "b/third"}])
    assert got.headers.get("x-weir-target") == "b/third"


@pytest.mark.parametrize("bad", ["b/m", [1], [{"x": 1}], ["a"] * 20, {"b": 1}])
def test_a_list_that_is_none_is_refused(two, bad):
    weir, a, b = two(model.OpenAIChat)
    got = post(weir, "a/m", fallbacks=bad)
    assert got.status == 400 and "fallbacks" in got.json()["error"]["message"]


def test_a_fallback_that_does_not_exist_is_told(two):
    weir, a, b = two(model.OpenAIChat)
    got = post(weir, "a/m", fallbacks=["nowhere/m"])
    assert got.status == 400 and "nowhere/m" in got.json()["error"]["message"]


# --- special fallbacks ---


def too_long(behind, call):
    error = {"message": "This model's maximum context length is 8192 tokens.",
             "type": "invalid_request_error", "param": "messages",
             "code": "context_length_exceeded"}  # fmt: skip
    call.reply(400, {"error": error})


def filtered(behind, call):
    error = {"message": "The response was filtered due to the prompt triggering Azure OpenAI's "
             "content management policy.", "type": None, "param": "prompt",
             "code": "content_filter", "status": 400}  # fmt: skip
    call.reply(400, {"error": error})


@pytest.mark.parametrize(
    "fault, which", [(too_long, "context_window"), (filtered, "content_policy")]
)
def test_fallbacks_for_a_reason(two, fault, which):
    routes = {
        "r": {"targets": ["a/m"], "fallbacks": {which: ["b/long"], "general": ["b/other"]}},
        "plain": {"targets": ["a/m"], "fallbacks": {"general": ["b/other"]}},
    }
    weir, a, b = two(model.OpenAIChat, fault=fault, routes=routes)
    got = post(weir)
    assert got.status == 200 and got.headers.get("x-weir-target") == "b/long"
    assert post(weir, "plain").status == 400


def test_general_fallbacks_come_last(two):
    routes = {"r": {"targets": ["a/m"], "fallbacks": ["b/m"], "retries": 1}}
    weir, a, b = two(model.OpenAIChat, fault=status(500), routes=routes)
    assert post(weir).headers.get("x-weir-target") == "b/m"
    assert (a.calls, b.calls) == (2, 1)


# --- keys ---


def test_R4_a_key_that_is_refused_is_left_alone(make_weir, make_upstream):
    seen = []

    def handle(call):
        seen.append(call.request.headers.get("authorization"))
        if seen[-1] == "Bearer sk-upstream-bad":
            call.reply(401, {"error": {"message": "Incorrect API key", "type": "x"}})
        else:
            model.OpenAIChat()(call)

    pool = [{"name": "bad", "api_key": "sk-upstream-bad"},
            {"name": "good", "api_key": "sk-upstream-good"}]  # fmt: skip
    rows = {"a": {"dialect": "openai_chat", "base_url": f"{make_upstream(handle).url}", "keys": pool,
                  "paths": model.OpenAIChat.paths}}  # fmt: skip
    weir = make_weir(config(rows, keys=keys(), routing=QUICK, threads=1))
    for _ in range(12):
        assert post(weir, "a/m").status == 200
    assert seen.count("Bearer sk-upstream-bad") <= 1
    assert seen.count("Bearer sk-upstream-good") == 12


def test_R3_a_throttled_target_rests_as_long_as_it_said(two):
    def throttled(behind, call):
        error = {"error": {"message": "Rate limit", "type": "requests", "code": "rate_limit_exceeded"}}
        call.reply(429, error, {"Retry-After": "120"})

    weir, a, b = two(model.OpenAIChat, fault=throttled)
    for _ in range(10):
        assert post(weir).headers.get("x-weir-target") == "b/m"
    assert a.calls <= 2  # one for each thread at most


# --- breakers ---


def test_a_breaker_costs_nothing_while_it_is_open(two):
    breaker = {"failures": 3, "open": "1s"}
    weir, a, b = two(model.OpenAIChat, fault=status(500), breaker=breaker)
    for _ in range(20):
        assert post(weir).status == 200
    opened_at = a.calls
    assert opened_at == 3
    a.fault = None
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and post(weir).headers.get("x-weir-target") != "a/m":
        time.sleep(0.05)
    assert post(weir).headers.get("x-weir-target") == "a/m"


def test_R6_all_are_down_and_nobody_waits(two):
    weir, a, b = two(model.OpenAIChat, fault=status(500), breaker={"failures": 2, "open": "60s"})
    b.fault = status(500)
    for _ in range(8):
        begin = time.monotonic()
        got = post(weir)
        assert got.status in (500, 503)
        assert time.monotonic() - begin < 5
    assert got.json()["error"]["message"]


# --- retries ---


def test_a_single_target_is_tried_again(two):
    weir, a, b = two(model.OpenAIChat)
    answers = [status(503), reset_at_once]

    def fail_twice(behind, call):
        if answers:
            answers.pop(0)(behind, call)
        else:
            behind(call)

    a.fault = fail_twice
    assert post(weir, "a/m").status == 200
    assert a.calls == 3


def test_retry_after_beyond_the_deadline_is_told(two):
    def later(behind, call):
        call.reply(503, {"error": {"message": "Later", "type": "server_error"}}, {"Retry-After": "60"})

    weir, a, b = two(model.OpenAIChat, fault=later)
    begin = time.monotonic()
    got = post(weir, "a/m")
    assert got.status == 503 and got.headers.get("retry-after") == "60"
    assert time.monotonic() - begin < 10


def test_routes_are_among_the_models(two):
    weir, a, b = two(model.OpenAIChat)
    got = weir.get("/v1/models", headers=KEY_HEADER)
    assert "r" in [m["id"] for m in got.json()["data"]]
