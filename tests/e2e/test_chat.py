"""A chat through weir: what the provider is asked, and what the client gets."""

import json

import pytest

from harness import sse
from harness.upstream import CHAT_ANSWER, answer, chat, stream
from harness.weir import alias, config, provider


def test_an_answer_comes_back_as_it_is(weir, upstream):
    body = b'{"id":"x",  "choices": [ ],\n "big": 12345678901234567890.10, "u":"\\u00e9"}'
    upstream.handler = answer(body)
    got = weir.chat({"model": "up/m", "messages": []})
    assert (got.status, got.body) == (200, body)
    assert got.headers.get("content-type") == "application/json"
    assert got.headers.get("x-weir-target") == "up/m"
    assert got.headers.get("x-weir-attempts") == "1"
    assert int(got.headers.get("x-weir-overhead-us")) >= 0


def test_completions_go_to_their_own_path(weir, upstream):
    got = weir.client().ask("POST", "/v1/completions", {"model": "up/m", "prompt": "Hi"})
    assert got.status == 200
    assert upstream.only_request().target == "/v1/completions"
    assert upstream.only_request().json() == {"model": "m", "prompt": "Hi"}


@pytest.mark.parametrize(
    ("before", "model", "after"),
    [
        (b'{"model":', b'"up/m"', b',"messages":[],"temperature":0.7,"seed":-1,"u":9007199254740993}'),
        (b'{ "seed" : 18446744073709551616,\n\t"messages":[] , "model" : ', b'"up/m"', b' ,"z":1e-7 }'),
        (b'{"a":[{"model":"inner"}],"model":', b'"up/m"', b',"messages":["\\ud83d\\ude00\\u0000"]}'),
        (b'{"model":', b'"up\\/m"', b',"messages":[],"unknown":{"model":"up/m"},"x":null}'),
        (b'{"messages":[],"logit_bias":{"50256":-100},"model":', b'"\\u0075p/m"', b"}"),
        (b'  {"model":', b'"up/m"', b',"messages":[]}\r\n '),
        ('{"messages":[{"content":"Grüße 🌊"}],"model":'.encode(), b'"up/m"', b"}"),
    ],
)  # fmt: skip
def test_C15_the_request_reaches_the_provider_byte_for_byte(weir, upstream, before, model, after):
    """Only the model's name is another: numbers, key order, spaces and escapes stay."""
    assert weir.chat(before + model + after).status == 200
    assert upstream.only_request().body == before + b'"m"' + after


def test_L12_what_the_client_left_out_is_not_sent_as_null(weir, upstream):
    weir.chat({"model": "up/m", "messages": [], "stop": None})
    assert upstream.only_request().json() == {"model": "m", "messages": [], "stop": None}


def test_X3_the_client_cannot_replace_the_providers_credential(weir, upstream):
    headers = {
        "Authorization": "Bearer sk-of-the-client",
        "api-key": "sk-of-the-client",
        "x-api-key": "sk-of-the-client",
        "Cookie": "session=secret",
        "X-Internal-Token": "secret",
        "X-Forwarded-For": "10.1.2.3",
    }
    assert weir.chat({"model": "up/m", "messages": []}, headers).status == 200
    request = upstream.only_request()
    assert request.headers.all("authorization") == ["Bearer sk-upstream-secret"]
    assert b"of-the-client" not in request.raw_head and b"session" not in request.raw_head
    assert "x-internal-token" not in request.headers


def test_the_provider_is_asked_for_plain_bytes(weir, upstream):
    weir.chat({"model": "up/m", "messages": []}, {"Accept-Encoding": "gzip, br"})
    request = upstream.only_request()
    assert request.headers.get("accept-encoding", "identity") == "identity"
    assert request.headers.get("host") == f"127.0.0.1:{upstream.port}"
    assert request.headers.get("content-type") == "application/json"
    assert request.headers.get("content-length") == str(len(request.body))


def test_headers_that_sdks_send_reach_the_provider(weir, upstream):
    passed = {
        "User-Agent": "OpenAI/Python 1.2.3",
        "OpenAI-Beta": "assistants=v2",
        "X-Stainless-Lang": "python",
        "Idempotency-Key": "abc",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    weir.chat({"model": "up/m", "messages": []}, passed)
    request = upstream.only_request()
    for name, value in passed.items():
        assert request.headers.get(name) == value


@pytest.mark.parametrize("request_ids", [[], [""], ["same", "same"], ["a", "b", "a"]])
def test_C13_odd_request_ids_harm_nobody(weir, request_ids):
    headers = [("x-request-id", value) for value in request_ids]
    got = weir.chat({"model": "up/m", "messages": []}, headers)
    assert got.status == 200
    assert got.headers.get("x-weir-request-id").startswith("req_")


def test_request_ids_of_weir_are_its_own_and_unique(weir):
    seen = set()
    for _ in range(20):
        got = weir.chat({"model": "up/m", "messages": []}, {"x-weir-request-id": "forged"})
        seen.add(got.headers.get("x-weir-request-id"))
    assert len(seen) == 20 and "forged" not in seen


def test_X6_a_4_mib_vision_body_is_taken_by_default(weir, upstream):
    image = "data:image/png;base64," + "A" * (4 << 20)
    body = json.dumps(
        {"messages": [{"role": "user", "content": [{"type": "image_url",
         "image_url": {"url": image}}]}], "model": "up/m"}
    ).encode()  # fmt: skip
    assert weir.chat(body).status == 200
    assert upstream.only_request().body == body.replace(b'"up/m"', b'"m"')


def test_C1_a_20_mb_request_and_a_20_mb_answer_pass(weir, upstream):
    big = b'{"model":"m","pad":"' + b"x" * (20 << 20) + b'"}'
    upstream.handler = answer(big)
    got = weir.chat(big.replace(b'"m"', b'"up/m"', 1))
    assert got.status == 200 and got.body == big
    assert upstream.only_request().body == big


def test_what_is_wrong_further_inside_is_for_the_provider_to_say(weir, upstream):
    upstream.handler = answer({"error": {"message": "bad stream_options"}}, 400)
    body = b'{"model":"m","messages":["\xff\xfe"],"stream":true,"stream_options":7}'
    got = weir.chat(body.replace(b'"m"', b'"up/m"'))
    assert got.status == 400 and got.error_message == "bad stream_options"
    assert upstream.only_request().body == body


# --- names ---


def test_models_are_found_by_provider_alias_and_bare_name(make_weir, upstream, make_upstream):
    other = make_upstream(answer(CHAT_ANSWER | {"model": "other"}))
    weir = make_weir(
        config(
            {
                "up": provider(upstream, models=["alpha", "shared"]),
                "other": provider(other, models=["beta-*", "shared"]),
            },
            models={"fast": alias("up/alpha"), "org/fast": alias("other/beta-1")},
        )
    )

    def target(name):
        return weir.chat({"model": name, "messages": []}).headers.get("x-weir-target")

    assert target("up/anything/with/slashes") == "up/anything/with/slashes"
    assert target("fast") == "up/alpha"
    assert target("org/fast") == "other/beta-1"
    assert target("alpha") == "up/alpha"
    assert target("beta-7") == "other/beta-7"
    assert [r.json()["model"] for r in upstream.requests] == [
        "anything/with/slashes", "alpha", "alpha"]  # fmt: skip
    got = weir.chat({"model": "shared", "messages": []})
    assert got.status == 400
    assert "up/shared" in got.error["message"] and "other/shared" in got.error["message"]
    got = weir.chat({"model": "nobody-has-it", "messages": []})
    assert got.status == 404
    assert got.error["code"] == "model_not_found" and "nobody-has-it" in got.error["message"]


# --- streams ---


def test_a_stream_comes_as_it_was_sent_and_tokens_come_one_by_one(weir, upstream):
    opening, *events = [e.raw for e in sse.split(sse.chat_stream(["one", "two", "three"]))]
    # The role alone is no answer yet: it comes along with the first word (B-01).
    events[0] = opening + events[0]
    may_go_on = []

    def handle(call):
        import threading

        gate = threading.Semaphore(0)
        may_go_on.append(gate)
        call.start_stream()
        for event in events:
            call.write(event)
            gate.acquire(timeout=10)
        call.end()

    upstream.handler = handle
    with weir.client() as client:
        client.send(client.build("POST", "/v1/chat/completions",
                                 b'{"model":"up/m","messages":[],"stream":true}'))  # fmt: skip
        head = client.head()
        assert head.headers.get("content-type") == "text/event-stream"
        assert head.headers.get("cache-control") == "no-cache, no-transform"
        assert head.headers.get("x-accel-buffering") == "no"
        pieces = client.pieces(head)
        for event in events:
            # The provider waits until this event has arrived: nothing is held back.
            got = b""
            while len(got) < len(event):
                got += next(pieces)
            assert got == event
            may_go_on[0].release()
        assert list(pieces) == []


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
def test_S1_C18_any_legal_stream_in_any_cut_arrives_whole(weir, upstream, rng, line_end, framing):
    """Comments, CR/LF/CRLF, multi-line data, unknown fields, a BOM, cuts inside everything."""
    parts = [
        b": OPENROUTER PROCESSING\n\n", b":\n\n", b": keep-alive\n",
        sse.chunk("Gr\u00fc\u00dfe \U0001f30a"), b"id: 7\nevent: message\nretry: 10\n",
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\ndata: \"two lines\"}}]}\n\n",
        b"unknown: field\n", sse.chunk("x" * 70000), b"\n\n", sse.chunk(finish="stop"), sse.DONE,
    ]  # fmt: skip
    body = b"\xef\xbb\xbf" + b"".join(parts).replace(b"\n", line_end)
    upstream.handler = stream(body, framing, rng=rng)
    got = weir.chat({"model": "up/m", "messages": [], "stream": True})
    assert got.status == 200 and got.body == body


def test_C18_a_1_mb_line_passes(weir, upstream, rng):
    body = sse.chunk("y" * (1 << 20)) + sse.chunk(finish="stop") + sse.DONE
    upstream.handler = stream(body, rng=rng)
    assert weir.chat({"model": "up/m", "messages": [], "stream": True}).body == body


def test_C18_an_event_without_its_empty_line_is_not_lost(weir, upstream):
    body = sse.chunk("a") + sse.chunk(finish="stop") + b"data: [DONE]"
    upstream.handler = stream(body, "close")
    got = weir.chat({"model": "up/m", "messages": [], "stream": True})
    assert got.body.startswith(body) and got.body[len(body) :].strip(b"\n") == b""
    assert [e.data for e in sse.split(got.body) if e.is_done] == [b"[DONE]"]


def test_D9_no_usage_chunk_unless_the_client_asked(weir, upstream):
    upstream.handler = chat(usage=(11, 4))
    body = {"model": "up/m", "messages": [], "stream": True}
    events = sse.split(weir.chat(body).body)
    assert not any(e.is_usage_only for e in events)
    assert upstream.only_request().json()["stream_options"] == {"include_usage": True}
    assert sse.text_of(b"".join(e.raw for e in events)) == "Hello there."
    assert events[-1].is_done
    entry = weir.log_entries(1, operation="chat")[0]
    assert (entry["input_tokens"], entry["output_tokens"]) == (11, 4)

    upstream.clear()
    events = sse.split(weir.chat(body | {"stream_options": {"include_usage": True}}).body)
    usage = [e.json() for e in events if e.is_usage_only]
    assert len(usage) == 1 and usage[0]["usage"]["prompt_tokens"] == 11


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b'"stream_options":{}', {"include_usage": True}),
        (b'"stream_options":null', {"include_usage": True}),
        (b'"stream_options":{"include_usage":false}', {"include_usage": True}),
        (b'"stream_options":{"include_obfuscation":false}',
         {"include_obfuscation": False, "include_usage": True}),
        (b'"stream_options" : { "include_usage" : false , "x" : 1 }',
         {"include_usage": True, "x": 1}),
    ],
)  # fmt: skip
def test_D9_other_stream_options_stay(weir, upstream, options, expected):
    upstream.handler = chat()
    body = b'{"model":"up/m","stream":true,' + options + b',"messages":[]}'
    got = weir.chat(body)
    assert got.status == 200
    assert upstream.only_request().json()["stream_options"] == expected
    assert not any(e.is_usage_only for e in sse.split(got.body))


def test_a_provider_that_refuses_stream_options_is_not_sent_them(make_weir, upstream):
    upstream.handler = chat()
    weir = make_weir(config({"up": provider(upstream, quirks={"stream_usage": "no_option"})}))
    body = b'{"model":"m","messages":[],"stream":true}'
    weir.chat(body.replace(b'"m"', b'"up/m"'))
    assert upstream.only_request().body == body


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls", "eos", "new"])
@pytest.mark.parametrize("is_stream", [True, False])
def test_B06_every_finish_reason_reaches_the_client(weir, upstream, reason, is_stream):
    if is_stream:
        upstream.handler = stream(sse.chunk("a") + sse.chunk(finish=reason) + sse.DONE)
    else:
        choice = CHAT_ANSWER["choices"][0] | {"finish_reason": reason}
        upstream.handler = answer(CHAT_ANSWER | {"choices": [choice]})
    got = weir.chat({"model": "up/m", "messages": [], "stream": is_stream})
    assert got.status == 200 and f'"{reason}"'.encode() in got.body
    assert weir.log_entries(1, operation="chat")[0]["finish_reason"] == reason


def test_S12_tool_calls_in_parallel_and_after_the_finish_come_as_sent(weir, upstream, rng):
    def call(index, arguments, **more):
        part = {"index": index, "function": {"arguments": arguments}} | more
        return sse.chunk(delta={"tool_calls": [part]})

    body = b"".join(
        [
            call(0, "", id="a", type="function"),
            call(1, "", id="b", type="function"),
            call(0, '{"x":'),
            call(1, "{}"),
            sse.chunk(finish="tool_calls"),
            call(0, "1}"),
            sse.DONE,
        ]
    )
    upstream.handler = stream(body, rng=rng)
    assert weir.chat({"model": "up/m", "messages": [], "stream": True}).body == body


def test_an_answer_to_a_stream_request_may_be_plain_json(weir, upstream):
    upstream.handler = answer(CHAT_ANSWER)
    got = weir.chat({"model": "up/m", "messages": [], "stream": True})
    assert got.status == 200 and got.json() == CHAT_ANSWER


# --- what is wrong with a request ---


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", ""),
        (b"nonsense", ""),
        (b'{"model":"up/m","messages":[]', ""),
        (b'{"model":"up/m","messages":[]}}', ""),
        (b'[{"model":"up/m"}]', "object"),
        (b'{"messages":[]}', "model"),
        (b'{"model":7,"messages":[]}', "model"),
        (b'{"model":"","messages":[]}', "model"),
        (b'{"model":"up/m","stream":"yes","messages":[]}', "stream"),
        (b'{"model":"up/m","model":"sim/m","messages":[]}', "model"),
    ],
)
def test_a_broken_body_gets_a_400_that_says_why(weir, upstream, body, word):
    got = weir.chat(body)
    assert got.status == 400, got.body
    assert got.error["type"] == "invalid_request_error"
    assert word in got.error["message"]
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("POST", "/v1/nonsense", 404, None),
        ("GET", "/", 404, None),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("DELETE", "/v1/chat/completions", 405, "POST"),
        ("POST", "/v1/models", 405, "GET, HEAD"),
        ("PUT", "/healthz", 405, "GET, HEAD"),
        ("POST", "/V1/Chat/Completions", 404, None),
        ("POST", "//v1/chat/completions", 404, None),
        ("POST", "/v1/chat/completions/", 404, None),
        ("POST", "/v1/%63hat/completions", 404, None),
    ],
)
def test_D1_unknown_paths_and_wrong_verbs(weir, upstream, method, path, status, allow):
    got = weir.client().ask(method, path, b"{}" if method in ("POST", "PUT") else None)
    assert got.status == status
    assert got.headers.get("allow") == allow
    assert got.error["type"] == "invalid_request_error"
    assert upstream.requests == []


def test_probes_need_no_key_and_say_what_is(weir):
    assert weir.get("/healthz").json()["status"] == "ok"
    assert weir.get("/readyz").json()["status"] == "ready"
