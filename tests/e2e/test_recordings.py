"""Recorded provider traffic through weir: what the client gets is what the provider sent.

The provider is played by a server that cuts each answer at random places into separate writes, in a
framing chosen at random. The seed is in the report's first lines.
"""

import json
import re

import pytest

from harness import recordings, sse
from harness.rawhttp import Client
from harness.weir import config, provider

CHAT_APIS = (
    "openai.chat", "azure.chat", "groq.chat", "mistral.chat", "openrouter.chat", "deepseek.chat",
    "xai.chat", "zai.chat", "together.chat", "cerebras.chat", "huggingface.chat",
    "perplexity.chat", "vllm.chat", "llamacpp.chat", "ollama.chat", "moonshot.chat",
    "alibaba.chat", "vercel-gateway.chat", "github-copilot.chat", "openai.completions",
)  # fmt: skip

# Ollama's own API is another format than its OpenAI-compatible one.
EXCHANGES = [
    r
    for r in recordings.load(*CHAT_APIS)
    if r.path.partition("?")[0].endswith(("/chat/completions", "/completions"))
]
STREAMS = [
    r
    for r in EXCHANGES
    if r.is_stream and r.response_headers["content-type"].startswith("text/event-stream")
]

pytestmark = pytest.mark.skipif(
    not EXCHANGES, reason=f"no recorded traffic in {recordings.folder()}"
)

# Hop-by-hop, or the sender's own; everything else of a provider's head reaches the client.
NOT_RELAYED = {
    "date", "server", "strict-transport-security", "set-cookie", "alt-svc", "expect-ct", "nel",
    "report-to", "content-length", "transfer-encoding", "connection",
}  # fmt: skip
# A stream leaves with weir's own word on caching, so that no hop holds it back.
SET_BY_WEIR = {"cache-control", "x-accel-buffering"}


def name_of(api):
    return api.partition(".")[0]


@pytest.fixture(scope="module")
def replay(make_shared_upstream):
    return make_shared_upstream()


@pytest.fixture(scope="module")
def gateway(make_shared_weir, replay):
    providers = {
        name_of(api): provider(
            f"{replay.url}/{name_of(api)}",
            auth={"kind": "bearer"},
            paths={"chat": "/chat/completions", "completions": "/completions"},
        )
        for api in CHAT_APIS
    }
    return make_shared_weir(config(providers))


@pytest.fixture(autouse=True)
def forget(replay):
    replay.clear()


def client_request(recording, drop_stream_options=False):
    """(body the client sends, body the provider must get, was a stream asked for).

    The client asks for `provider/model`; everything else is the recorded text.
    """
    body = recording.request_body
    model = recording.model or "some-model"
    if body is None or not body.startswith(b"{") or b'"model"' not in body:
        body = json.dumps({"model": model, "messages": [], "stream": recording.is_stream}).encode()
    if drop_stream_options:
        value = json.loads(body)
        value.pop("stream_options", None)
        body = json.dumps(value, ensure_ascii=False).encode()
    asked = json.loads(body)
    upstream_model = json.dumps(asked["model"])
    pattern = re.compile(rb'("model"\s*:\s*)' + re.escape(upstream_model.encode()))
    sent, count = pattern.subn(
        lambda m: m[1] + json.dumps(f"{name_of(recording.api)}/{asked['model']}").encode(), body, 1
    )
    assert count == 1, f"no model in {body[:200]!r}"
    return sent, body, bool(asked.get("stream"))


def inserted(before, after):
    """The one run of bytes that was put into `before` to make `after`."""
    assert len(after) > len(before)
    start = 0
    while start < len(before) and before[start] == after[start]:
        start += 1
    end = start + len(after) - len(before)
    while after[:start] + after[end:] != before:
        start -= 1
        end -= 1
        assert start >= 0, f"{after!r} is not {before!r} with one insertion"
    return after[start:end]


def ask(gateway, recording, body):
    path = "/v1/completions" if recording.api.endswith(".completions") else "/v1/chat/completions"
    with Client(gateway.port) as client:
        return client.ask("POST", path, body)


def check_request(replay, recording, sent, expected, is_stream):
    """The provider got the client's bytes. Returns whether weir asked for usage of its own."""
    request = replay.only_request()
    got = request.body
    assert request.headers.get("authorization") == "Bearer sk-upstream-secret"
    if got == expected:
        return False
    assert is_stream, f"{got!r} is not {expected!r}"
    options = json.loads(expected).get("stream_options")
    extra = inserted(expected, got)
    assert b"include_usage" in extra, extra
    assert json.loads(got)["stream_options"] == (options or {}) | {"include_usage": True}
    return True


def expected_stream(recording, weir_asked_for_usage):
    """(the bytes the client must get, or their beginning; whether the stream ended in order)."""
    events = sse.split(recording.response_body)
    kept = [e for e in events if not (weir_asked_for_usage and e.is_usage_only)]
    body = b"".join(e.raw for e in kept)
    is_whole = any(e.is_done for e in kept) or name_of(recording.api) == "perplexity"
    return body, is_whole


def check_headers(recording, answer):
    for name, value in recording.response_headers.items():
        if name in NOT_RELAYED or (recording.is_stream and name in SET_BY_WEIR):
            continue
        assert answer.headers.get(name) == value, name
    assert re.fullmatch(r"req_\w+", answer.headers.get("x-weir-request-id"))
    assert answer.headers.get("x-weir-target") is not None


@pytest.mark.parametrize("recording", EXCHANGES, ids=str)
def test_recorded_exchange_comes_through_byte_for_byte(gateway, replay, rng, recording):
    framing = rng.choice(["length", "chunked", "close"])
    replay.handler = lambda call: call.reply(
        recording.status, recording.response_body, recording.response_headers, framing, rng
    )
    sent, expected, is_stream = client_request(recording)
    answer = ask(gateway, recording, sent)
    asked_for_usage = check_request(replay, recording, sent, expected, is_stream)

    check_headers(recording, answer)
    if recording not in STREAMS:
        assert answer.status == recording.status
        assert answer.body == recording.response_body
        return
    assert answer.status == 200
    assert answer.framing == "chunked"
    assert "no-transform" in answer.headers.get("cache-control")
    assert answer.headers.get("x-accel-buffering") == "no"
    body, is_whole = expected_stream(recording, asked_for_usage)
    if is_whole:
        assert answer.body == body
        return
    # The recorded stream broke: all whole events, and then an error that every SDK understands.
    events = sse.split(recording.response_body)
    if "error" in events[-1].name.decode() or b'"error"' in events[-1].data:
        assert answer.body == body
        return
    whole = b"".join(e.raw for e in events if e.raw.endswith(b"\n\n"))
    assert answer.body.startswith(whole)
    got = sse.messages(answer.body)
    assert json.loads(got[-1])["error"]["message"]
    assert b"[DONE]" not in got
    for data in got:
        json.loads(data)  # no half event was passed off as a whole one


@pytest.mark.parametrize("recording", [r for r in STREAMS if "stream_usage" in r.features], ids=str)
def test_D9_usage_that_the_client_did_not_ask_for_stays_with_weir(gateway, replay, rng, recording):
    """weir asks for usage, books it, and removes just that chunk."""
    replay.handler = lambda call: call.reply(
        recording.status, recording.response_body, recording.response_headers, "chunked", rng
    )
    sent, expected, is_stream = client_request(recording, drop_stream_options=True)
    answer = ask(gateway, recording, sent)
    asked_for_usage = check_request(replay, recording, sent, expected, is_stream)
    body, is_whole = expected_stream(recording, asked_for_usage)
    if is_whole:
        assert answer.body == body
    if asked_for_usage:
        assert not any(e.is_usage_only for e in sse.split(answer.body))
    entry = gateway.log_entries(1, request_id=answer.headers.get("x-weir-request-id"))[0]
    usages = [
        e.json()["usage"]
        for e in sse.split(recording.response_body)
        if e.data.startswith(b"{") and e.data.endswith(b"}") and e.json().get("usage")
    ]
    if usages:
        assert entry["input_tokens"] == usages[-1]["prompt_tokens"]
        wanted = {usages[-1]["completion_tokens"]}
        reasoning = (usages[-1].get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
        if name_of(recording.api) == "xai":  # tells reasoning beside completion tokens
            wanted = {usages[-1]["completion_tokens"] + reasoning}
        assert entry["output_tokens"] in wanted


def test_every_recorded_stream_at_once(gateway, replay, rng):
    """All streams at the same time on few connections: nobody gets another's bytes."""
    from concurrent.futures import ThreadPoolExecutor

    # A request's answer is found by the nonce in its model name.
    answers = {f"nonce-{i}": r for i, r in enumerate(STREAMS * 2)}

    def handle(call):
        recording = answers[call.request.json()["model"]]
        call.reply(200, recording.response_body, recording.response_headers, "chunked", rng)

    replay.handler = handle

    def one(item):
        nonce, recording = item
        body = {"model": f"openai/{nonce}", "messages": [], "stream": True,
                "stream_options": {"include_usage": True}}  # fmt: skip
        with Client(gateway.port) as client:
            answer = client.chat(body)
        whole = b"".join(
            e.raw for e in sse.split(recording.response_body) if e.raw.endswith(b"\n\n")
        )
        return answer.status == 200 and answer.body.startswith(whole), str(recording)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(one, answers.items()))
    assert [name for is_right, name in results if not is_right] == []
