"""Recorded traffic of every dialect but OpenAI chat (test_recordings.py) through weir, client and
provider of the same dialect: what the client gets is what the provider sent, whatever the framing.
"""

import json
import re
import urllib.parse

import pytest

from harness import recordings, sse
from harness.rawhttp import Client
from harness.weir import config, provider

# folder of recordings -> provider's row. Paths are those of the catalogue, under the replay's URL.
ROWS = {
    "my-anthropic": {"dialect": "anthropic", "paths": {"chat": "/v1/messages"}},
    "my-vertex-anthropic": {
        "dialect": "anthropic", "variant": "vertex",
        "paths": {"chat": "/{model}:rawPredict", "chat_stream": "/{model}:streamRawPredict"},
    },
    "my-bedrock-anthropic": {
        "dialect": "anthropic", "variant": "bedrock",
        "paths": {"chat": "/model/{model}/invoke",
                  "chat_stream": "/model/{model}/invoke-with-response-stream"},
    },
    "my-gemini": {
        "dialect": "gemini",
        "paths": {"chat": "/v1beta/models/{model}:generateContent",
                  "chat_stream": "/v1beta/models/{model}:streamGenerateContent?alt=sse"},
    },
    "my-bedrock": {
        "dialect": "bedrock",
        "paths": {"chat": "/model/{model}/converse", "chat_stream": "/model/{model}/converse-stream"},
    },
    "my-cohere": {"dialect": "cohere", "paths": {"chat": "/v2/chat"}},
    "my-responses": {"dialect": "openai_responses", "paths": {"chat": "/v1/responses"}},
}  # fmt: skip

VERTEX = "/v1/projects/p/locations/l/publishers"

# recordings -> (row, path that the client asks, with {model}; the model stands in the path)
APIS = {
    "anthropic.messages": ("my-anthropic", "/v1/messages"),
    "vertex.rawPredict": ("my-vertex-anthropic", VERTEX + "/anthropic/models/{model}:rawPredict"),
    "vertex.streamRawPredict": (
        "my-vertex-anthropic", VERTEX + "/anthropic/models/{model}:streamRawPredict"),
    "bedrock.invoke": ("my-bedrock-anthropic", "/model/{model}/invoke"),
    "bedrock.invoke-stream": (
        "my-bedrock-anthropic", "/model/{model}/invoke-with-response-stream"),
    "gemini.generateContent": ("my-gemini", "/v1beta/models/{model}:generateContent"),
    "gemini.streamGenerateContent": (
        "my-gemini", "/v1beta/models/{model}:streamGenerateContent?alt=sse"),
    "vertex.generateContent": ("my-gemini", VERTEX + "/google/models/{model}:generateContent"),
    "vertex.streamGenerateContent": (
        "my-gemini", VERTEX + "/google/models/{model}:streamGenerateContent?alt=sse"),
    "bedrock.converse": ("my-bedrock", "/model/{model}/converse"),
    "bedrock.converse-stream": ("my-bedrock", "/model/{model}/converse-stream"),
    "cohere.chat": ("my-cohere", "/v2/chat"),
    "openai.responses": ("my-responses", "/v1/responses"),
    "azure.responses": ("my-responses", "/openai/responses?api-version=2025-04-01-preview"),
    "xai.responses": ("my-responses", "/v1/responses"),
    "deepseek.responses": ("my-responses", "/v1/responses"),
    "github-copilot.responses": ("my-responses", "/v1/responses"),
    "bedrock-mantle.responses": ("my-responses", "/openai/v1/responses"),
}  # fmt: skip


def is_of_claude(recording):
    """Invoke carries the bodies of many vendors' models; Anthropic's Messages are served."""
    if not recording.api.startswith("bedrock.invoke"):
        return True
    return "anthropic" in recording.path and b'"messages"' in (recording.request_body or b"")


EXCHANGES = [r for r in recordings.load(*APIS) if is_of_claude(r)]

pytestmark = pytest.mark.skipif(
    not EXCHANGES, reason=f"no recorded traffic in {recordings.folder()}"
)


@pytest.fixture(scope="module")
def replay(make_shared_upstream):
    return make_shared_upstream()


@pytest.fixture(scope="module")
def gateway(make_shared_weir, replay):
    rows = {name: provider(f"{replay.url}/{name}", auth={"kind": "bearer"}, **row) for name, row in ROWS.items()}
    return make_shared_weir(config(rows))


@pytest.fixture(autouse=True)
def forget(replay):
    replay.clear()


def has_model_in_body(row):
    return "{model}" not in ROWS[row]["paths"]["chat"]


def client_request(recording, row):
    """(path, body the client sends, body the provider must get)."""
    body = recording.request_body
    model = recording.model or "some-model"
    if not body or not body.startswith(b"{"):
        body = b'{"messages":[],"contents":[],"input":"x"}'
    path = APIS[recording.api][1]
    if not has_model_in_body(row):
        return path.replace("{model}", urllib.parse.quote(f"{row}/{model}", safe="")), body, body
    value = json.loads(body)
    if "model" not in value:
        body = json.dumps({"model": model, **value}).encode()
        value["model"] = model
    name = json.dumps(value["model"])
    pattern = re.compile(rb'("model"\s*:\s*)' + re.escape(name.encode()))
    sent, count = pattern.subn(
        lambda m: m[1] + json.dumps(f"{row}/{value['model']}").encode(), body, 1
    )
    assert count == 1
    return path, sent, body


def is_streamed(recording):
    kind = recording.response_headers.get("content-type", "")
    return recording.status == 200 and kind.startswith(
        ("text/event-stream", "application/vnd.amazon.eventstream")
    )


def is_broken(recording):
    return bool({"truncated", "midstream_error", "sse_raw_json_tail"} & recording.features)


AFTER_THE_END = b"event: data\ndata: [DONE]\n\n"


@pytest.mark.parametrize("recording", EXCHANGES, ids=str)
def test_recorded_exchange_of_the_dialect_comes_through(gateway, replay, rng, recording):
    row = APIS[recording.api][0]
    framing = rng.choice(["length", "chunked", "close"])
    replay.handler = lambda call: call.reply(
        recording.status, recording.response_body, recording.response_headers, framing, rng
    )
    path, sent, expected = client_request(recording, row)
    with Client(gateway.port) as client:
        answer = client.ask("POST", path, sent)

    request = replay.only_request()
    assert request.headers.get("authorization") == "Bearer sk-upstream-secret"
    assert request.body == expected
    if not is_streamed(recording):
        if recording.status >= 400 or "error" not in json.loads(recording.response_body):
            assert (answer.status, answer.body) == (recording.status, recording.response_body)
        return
    if is_broken(recording):
        # All that was whole, and then words: or the provider's own error as the whole answer.
        assert answer.body or answer.status >= 400
        return
    assert answer.status == 200
    # What a proxy of the recording put behind the last event may come too late.
    assert recording.response_body.removesuffix(AFTER_THE_END) == (
        answer.body.removesuffix(AFTER_THE_END)
    )
    assert answer.headers.get("x-accel-buffering") == "no"


@pytest.mark.parametrize(
    "recording",
    [r for r in EXCHANGES if r.api == "gemini.streamGenerateContent" and is_streamed(r)],
    ids=str,
)
def test_gemini_without_alt_sse_is_an_array_of_the_same_chunks(gateway, replay, rng, recording):
    replay.handler = lambda call: call.reply(
        recording.status, recording.response_body, recording.response_headers, "chunked", rng
    )
    path, sent, _ = client_request(recording, "my-gemini")
    with Client(gateway.port) as client:
        answer = client.ask("POST", path.replace("?alt=sse", ""), sent)
    assert replay.only_request().target.endswith("alt=sse")
    if is_broken(recording):
        return
    assert answer.headers.get("content-type").startswith("application/json")
    chunks = [json.loads(data) for data in sse.messages(recording.response_body)]
    assert json.loads(answer.body) == chunks
