"""The official OpenAI SDK for Python through weir: against a mock that others wrote, against
recorded traffic, and against providers that misbehave."""

import asyncio
import json

import openai
import pytest

from harness import recordings, sse
from harness.node import Script
from harness.upstream import answer, chat, in_turn, stream
from harness.weir import config, provider, virtual_key

KEY = "wk-python-00001"


def make_client(weir, kind=openai.OpenAI, **more):
    more = {"max_retries": 0, "api_key": KEY, "timeout": 20} | more
    return kind(base_url=f"{weir.url}/v1", **more)


def say(content, **more):
    return {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": content}], **more}


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    script = Script("aimock-server.mjs", tmp_path_factory.mktemp("node"))
    assert script.first_line.startswith("http://"), script.first_line
    yield script.first_line
    script.stop()


@pytest.fixture(scope="module")
def through_mock(make_shared_weir, mock):
    return make_shared_weir(
        config(
            {"openai": provider(f"{mock}/v1"), "other": provider("http://127.0.0.1:1/v1")},
            keys=[virtual_key("py", value=KEY)],
        )
    )


@pytest.fixture
def client(through_mock):
    with make_client(through_mock) as client:
        yield client


@pytest.fixture
def gateway(make_weir, upstream):
    return make_weir(config({"openai": provider(upstream)}, keys=[virtual_key("py", value=KEY)]))


def test_an_answer(client):
    got = client.chat.completions.create(**say("hello"))
    assert got.choices[0].message.content == "Hi there! Grüße 🌊"
    assert got.usage.total_tokens > 0


def test_the_raw_response_has_weirs_and_the_providers_headers(client):
    raw = client.chat.completions.with_raw_response.create(**say("hello"))
    assert raw.headers["x-weir-request-id"].startswith("req_")
    assert raw.headers["x-weir-target"] == "openai/gpt-4o"
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.parse().choices[0].finish_reason == "stop"


def test_a_stream(client):
    with client.chat.completions.create(**say("hello", stream=True)) as chunks:
        parts = [c.choices[0].delta.content or "" for c in chunks]
    assert "".join(parts) == "Hi there! Grüße 🌊"


def test_a_stream_with_usage(client):
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(**say("hello", stream=True, stream_options=options))
    )
    assert [bool(c.usage) for c in chunks].count(True) == 1
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0


def test_async_streams_side_by_side(through_mock):
    async def one(client, word):
        text = ""
        async for chunk in await client.chat.completions.create(**say(word, stream=True)):
            text += chunk.choices[0].delta.content or ""
        return text

    async def all_of_them():
        async with make_client(through_mock, openai.AsyncOpenAI) as client:
            return await asyncio.gather(*[one(client, w) for w in ["hello", "long"] * 20])

    texts = asyncio.run(all_of_them())
    assert texts == ["Hi there! Grüße 🌊", ("word " * 400).strip()] * 20


def test_tools(client):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {}}}]
    got = client.chat.completions.create(**say("weather", tools=tools))
    call = got.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    again = client.chat.completions.create(
        model="openai/gpt-4o",
        tools=tools,
        messages=[
            {"role": "user", "content": "weather"},
            got.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ],
    )
    assert again.choices[0].message.content == "It is sunny in Paris."


def test_streamed_tools_by_the_sdks_accumulator(client):
    tools = [{"type": "function", "function": {"name": n, "parameters": {}}}
             for n in ("get_weather", "get_time")]  # fmt: skip
    with client.chat.completions.stream(**say("both", tools=tools)) as stream_:
        for _ in stream_:
            pass
        final = stream_.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert [c.function.name for c in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[1].function.arguments) == {"zone": "Europe/Paris"}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("bad", openai.BadRequestError),
        ("who", openai.AuthenticationError),
        ("forbidden", openai.PermissionDeniedError),
        ("limit", openai.RateLimitError),
        ("oops", openai.InternalServerError),
    ],
)
def test_a_providers_error_is_the_sdks_class(client, word, kind, is_stream):
    with pytest.raises(kind, match=f"mock says {word}"):
        client.chat.completions.create(**say(word, stream=is_stream))


def test_weirs_own_errors_are_the_sdks_classes(through_mock, client):
    with pytest.raises(openai.AuthenticationError) as caught:
        make_client(through_mock, api_key="wk-wrong-0000").models.list()
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(**say("hello") | {"model": "nothing"})
    assert caught.value.code == "model_not_found" and caught.value.param in (None, "model")
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body={"messages": []}, cast_to=object)
    assert caught.value.param == "model"


def test_models(client):
    ids = [m.id for m in client.models.list()]
    assert "openai/gpt-4o" in ids
    assert client.chat.completions.create(**say("hello") | {"model": ids[0]}).choices


def test_completions(gateway, upstream):
    reply = {"id": "c", "object": "text_completion", "created": 1, "model": "m",
             "choices": [{"index": 0, "text": "there", "finish_reason": "stop", "logprobs": None}]}  # fmt: skip
    upstream.handler = answer(reply)
    got = make_client(gateway).completions.create(model="openai/m", prompt="hi")
    assert got.choices[0].text == "there"


def test_L19_the_sdk_retries_when_the_provider_said(gateway, upstream):
    upstream.handler = in_turn(
        answer({"error": {"message": "slow down"}}, 429, {"retry-after-ms": "300"}), chat()
    )
    got = make_client(gateway, max_retries=2).chat.completions.create(**say("x"))
    assert got.choices[0].message.content == "Hello there."
    first, second = upstream.requests
    assert second.received_at - first.received_at >= 0.3


@pytest.mark.parametrize("is_stream", [False, True])
def test_no_connection_is_an_error_of_the_server(make_weir, make_upstream, is_stream):
    gone = make_upstream()
    gone.stop()
    weir = make_weir(config({"openai": provider(gone)}))
    with pytest.raises(openai.InternalServerError, match="openai"):
        make_client(weir).chat.completions.create(**say("x", stream=is_stream))


@pytest.mark.parametrize("how", ["reset", "close", "end"])
def test_C19_a_broken_stream_raises_after_the_delivered_words(gateway, upstream, how):
    def broken(call):
        call.start_stream()
        call.write(sse.chunk("one "))
        call.write(sse.chunk("two"))
        getattr(call, how)()

    upstream.handler = broken
    text = ""
    with pytest.raises(openai.APIError) as caught:
        for chunk in make_client(gateway).chat.completions.create(**say("x", stream=True)):
            text += chunk.choices[0].delta.content or ""
    assert text == "one two"
    assert "openai" in str(caught.value)
    assert len(upstream.requests) == 1


def test_an_error_event_in_the_stream_raises(gateway, upstream):
    upstream.handler = stream(sse.chunk("a") + sse.event({"error": {"message": "engine on fire"}}))
    with pytest.raises(openai.APIError, match="engine on fire"):
        list(make_client(gateway).chat.completions.create(**say("x", stream=True)))


def test_S10_leaving_the_stream_early_ends_the_upstream_call(gateway, upstream):
    upstream.handler = chat(["w "] * 1000, gap_s=0.02)
    with make_client(gateway) as client:
        chunks = client.chat.completions.create(**say("x", stream=True))
        for i, _ in enumerate(chunks):
            if i == 3:
                break
        chunks.close()
        upstream.wait(lambda u: u.in_progress == 0, what="the upstream call's end")


def test_heartbeats_do_not_show(make_weir, upstream):
    upstream.handler = chat(["a", "b"], gap_s=0.2)
    weir = make_weir(config({"openai": provider(upstream)}, timeouts={"heartbeat": "50ms"}))
    chunks = make_client(weir).chat.completions.create(**say("x", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "ab"
    assert weir.metric("weir_stream_heartbeats_total") > 0


RECORDED = [
    r
    for r in recordings.load("openai.chat")
    if r.status == 200 and r.request_body and not r.features & {"truncated", "spliced"}
]


@pytest.mark.skipif(not RECORDED, reason=f"no recorded traffic in {recordings.folder()}")
@pytest.mark.parametrize("recording", RECORDED, ids=str)
def test_recorded_answers_look_the_same_as_without_weir(gateway, upstream, rng, recording):
    """What the SDK makes of the answer through weir equals what it makes of the answer itself."""
    upstream.handler = lambda call: call.reply(
        200, recording.response_body, recording.response_headers, "chunked", rng
    )
    body = json.loads(recording.request_body)
    direct = openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="x", max_retries=0)

    def collect(client, model):
        request = body | {"model": model}
        got = client.post("/chat/completions", body=request, stream=recording.is_stream,
                          cast_to=openai.types.chat.ChatCompletionChunk if recording.is_stream
                          else openai.types.chat.ChatCompletion,
                          stream_cls=openai.Stream[openai.types.chat.ChatCompletionChunk])  # fmt: skip
        return [c.model_dump() for c in got] if recording.is_stream else got.model_dump()

    wanted = collect(direct, recording.model)
    if recording.is_stream and not (body.get("stream_options") or {}).get("include_usage"):
        wanted = [c for c in wanted if c["choices"] or not c["usage"]]
    assert collect(make_client(gateway), f"openai/{recording.model}") == wanted
