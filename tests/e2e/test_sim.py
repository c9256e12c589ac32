"""The simulated provider: a model without a model, for first steps, documents and tests."""

import json
import time

import openai
import pytest

from harness import sdk, sse
from harness.weir import config, patience, wait_until

ASK = [{"role": "user", "content": "Say: Grüße an alle 🌊 !"}]


@pytest.fixture(scope="module")
def gateway(make_shared_weir):
    return make_shared_weir(config(timeouts={"stall": "500ms", "heartbeat": "100ms"}))


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0) as client:
        yield client


def chat(gateway, model, **more):
    return gateway.chat({"model": model, "messages": ASK, **more})


def test_weir_alone_answers(make_weir):
    """The very first step: no config, no key."""
    weir = make_weir(None, args=["--listen", "127.0.0.1:0"])
    got = chat(weir, "sim/echo?pace=0")
    assert got.status == 200
    assert got.json()["choices"][0]["message"]["content"] == ASK[0]["content"]


def test_every_answer_says_that_it_is_simulated(gateway):
    for is_stream in (False, True):
        got = chat(gateway, "sim/echo?pace=0", stream=is_stream)
        assert got.headers.get("x-weir-simulated") == "true"
        assert got.headers.get("x-weir-target").startswith("sim/echo")
        values = [got.json()] if not is_stream else [
            json.loads(d) for d in sse.messages(got.body) if d != b"[DONE]"]  # fmt: skip
        for value in values:
            assert "sim" in value["model"] and "sim" in value["system_fingerprint"]
    wait_until(lambda: any(e.get("simulated") for e in gateway.log_entries(operation="chat")))


def test_the_same_request_gives_the_same_bytes(gateway):
    for model in ("sim/lorem?pace=0", "sim/story?pace=0", "sim/echo?pace=0"):
        first, again = (chat(gateway, model, stream=True).body for _ in range(2))
        assert first == again
        other = chat(gateway, model, stream=True, temperature=1).body
        assert sse.text_of(other) == sse.text_of(first)


@pytest.mark.parametrize("model", ["echo", "lorem", "story"])
def test_streamed_and_whole_are_the_same_words(gateway, model):
    whole = chat(gateway, f"sim/{model}?pace=0").json()["choices"][0]["message"]["content"]
    body = chat(gateway, f"sim/{model}?pace=0", stream=True).body
    assert whole and sse.text_of(body) == whole
    assert sse.messages(body)[-1] == b"[DONE]"
    assert sse.messages(body).count(b"[DONE]") == 1


def test_length_pace_and_delay(gateway):
    got = chat(gateway, "sim/lorem?tokens=20&pace=10ms&delay=100ms", stream=True)
    words = [d for d in sse.messages(got.body) if b'"content":"' in d and b'"content":""' not in d]
    assert len(words) == 20
    entry = gateway.log_entries(1, request_id=got.headers.get("x-weir-request-id"))[0]
    assert entry["ttft_ms"] >= 99 and entry["duration_ms"] >= 100 + 19 * 10 - 5
    assert entry["output_tokens"] == 20
    started = time.monotonic()
    assert len(sse.text_of(chat(gateway, "sim/lorem?tokens=3000&pace=0", stream=True).body)) > 9000
    assert time.monotonic() - started < 5


def test_max_tokens_and_stop(gateway):
    got = chat(gateway, "sim/lorem?pace=0", max_tokens=3).json()["choices"][0]
    assert got["message"]["content"] == "Lorem ipsum dolor" and got["finish_reason"] == "length"
    got = chat(gateway, "sim/lorem?pace=0", stop=["sit"]).json()["choices"][0]
    assert got["message"]["content"].rstrip() == "Lorem ipsum dolor"
    assert got["finish_reason"] == "stop"


def test_usage_adds_up(client):
    chunks = list(client.chat.completions.create(
        model="sim/lorem?tokens=7&pace=0", messages=ASK, stream=True,
        stream_options={"include_usage": True}))  # fmt: skip
    usage = chunks[-1].usage
    assert usage.completion_tokens == 7 and usage.prompt_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_several_choices(client):
    got = client.chat.completions.create(model="sim/lorem?pace=0", messages=ASK, n=3)
    assert [c.index for c in got.choices] == [0, 1, 2]


def test_a_tool_call_and_its_answer(client):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "required": ["city"],
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}}}}}]  # fmt: skip
    with client.chat.completions.stream(model="sim/tool?pace=0", messages=ASK, tools=tools) as s:
        for _ in s:
            pass
        final = s.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    call = final.message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    answer = client.chat.completions.create(
        model="sim/tool?pace=0",
        tools=tools,
        messages=[
            *ASK,
            {"role": "assistant", "tool_calls": [call.model_dump(include={"id", "type", "function"})]},
            {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"},
        ],
    )  # fmt: skip
    assert "sunny, 21 degrees" in answer.choices[0].message.content


def test_structured_output(client):
    schema = {"type": "object", "additionalProperties": False, "required": ["answer", "tags"],
              "properties": {"answer": {"type": "integer", "minimum": 5},
                             "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2}}}  # fmt: skip
    got = client.chat.completions.create(
        model="sim/lorem?pace=0", messages=ASK,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    )  # fmt: skip
    value = json.loads(got.choices[0].message.content)
    assert value["answer"] >= 5 and len(value["tags"]) >= 2


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_an_error_of_any_kind(gateway, status):
    for is_stream in (False, True):
        got = chat(gateway, f"sim/error?error={status}", stream=is_stream)
        assert got.status == status and got.error["message"]
        assert (got.headers.get("retry-after") is not None) == (status in (429, 503))


def test_a_503_without_more_counts_as_a_failure_and_not_as_a_limit(make_weir):
    routes = {"r": {"strategy": "priority", "targets": ["sim/error?error=503", "sim/echo"]}}
    weir = make_weir(config(routes=routes, routing={"retries": 1}))
    assert chat(weir, "r").headers.get("x-weir-target") == "sim/echo"
    (line,) = weir.log_entries(1, operation="chat")
    assert [f["reason"] for f in line["failed"]] == ["transient"]


WAYS_TO_BREAK = ["break=12", "error=503&after=12", "stall=12"]


def broken_story(make_weir, fault, after="sim/story?pace=0", **sim):
    targets = [f"sim/story?pace=0&{fault}", after]
    routes = {"story": {"strategy": "priority", "targets": targets}}
    routing = {"retries": 1, "timeouts": {"stall": f"{int(300 * patience())}ms"}}
    rows = {"sim": sim} if sim else {}
    return make_weir(config(rows, routes=routes, routing=routing))


def whole_story(weir):
    return chat(weir, "sim/story?pace=0").json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("fault", WAYS_TO_BREAK)
@pytest.mark.parametrize("prefill", ["none", "prefix", "continue_final_message"])
def test_a_story_that_breaks_off_is_gone_on_with(make_weir, fault, prefill):
    weir = broken_story(make_weir, fault, quirks={"prefill": prefill})
    got = chat(weir, "story", stream=True)
    assert sse.text_of(got.body) == whole_story(weir) and b": weir failover from=sim/" in got.body
    (line,) = weir.log_entries(1, model="story")
    assert line["outcome"] == "ok" and line["continued"] == 1 and line["attempts"] == 2


@pytest.mark.parametrize("client", sdk.SDKS, ids=lambda s: s.name)
def test_clients_of_every_dialect_can_rehearse_it(make_weir, client):
    weir = broken_story(make_weir, "break=12")
    speaker = client(weir, "story")
    speaker.model = "story"
    assert speaker.stream("Go on.").text == whole_story(weir)
    (line,) = weir.log_entries(1, model="story")
    assert line["continued"] == 1


def test_an_echo_is_gone_on_with_too(make_weir):
    words = " ".join(f"word{n}" for n in range(200))
    targets = ["sim/echo?pace=0&break=150", "sim/echo?pace=0"]
    weir = make_weir(config(routes={"r": {"targets": targets, "strategy": "priority"}},
                            routing={"retries": 1}))  # fmt: skip
    body = {"model": "r", "stream": True, "messages": [{"role": "user", "content": words}]}
    assert sse.text_of(weir.chat(body).body) == words
    assert weir.metric("weir_streams_continued_total") == 1


def test_another_story_does_not_join(make_weir):
    weir = broken_story(make_weir, "break=12", after="sim/lorem?pace=0")
    got = chat(weir, "story", stream=True)
    assert whole_story(weir).startswith(sse.text_of(got.body))
    assert b'"error"' in got.body and b"[DONE]" not in got.body


def test_an_error_inside_the_stream(client):
    text = ""
    with pytest.raises(openai.APIError):
        for chunk in client.chat.completions.create(
            model="sim/error?after=3&pace=0", messages=ASK, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
    assert len(text.split()) == 3


def test_a_stream_that_breaks(gateway):
    got = chat(gateway, "sim/break?break=4&pace=5ms", stream=True)
    assert len(sse.text_of(got.body).split()) == 4
    assert json.loads(sse.messages(got.body)[-1])["error"]["message"]
    assert sse.DONE not in got.body


def test_a_stream_that_stalls(gateway):
    got = chat(gateway, "sim/stall?stall=4&pace=5ms", stream=True)
    assert len(sse.text_of(got.body).split()) == 4
    assert b": heartbeat" in got.body
    assert json.loads(sse.messages(got.body)[-1])["error"]["message"]


@pytest.mark.parametrize(
    "model", ["sim/nothing", "sim/lorem?nonsense=1", "sim/lorem?tokens=-1", "sim/lorem?pace=fast",
              "sim/error?error=200"]
)  # fmt: skip
def test_a_wrong_model_or_option_is_explained(gateway, model):
    got = chat(gateway, model)
    assert got.status in (400, 404) and got.error["param"] == "model"


def test_text_completions(client):
    got = client.completions.create(model="sim/echo?pace=0", prompt="Hello there")
    assert got.choices[0].text == "Hello there" and got.object == "text_completion"
    parts = client.completions.create(model="sim/echo?pace=0", prompt="Hello there", stream=True)
    assert "".join(c.choices[0].text for c in parts if c.choices) == "Hello there"


def test_its_models_are_listed(client):
    ids = {m.id for m in client.models.list()}
    assert {"sim/echo", "sim/lorem", "sim/story", "sim/tool", "sim/error"} <= ids
    assert client.models.retrieve("sim/echo").id in ("echo", "sim/echo")


def test_many_at_once(gateway):
    from concurrent.futures import ThreadPoolExecutor

    def one(i):
        words = f"words of number {i} only"
        got = gateway.chat({"model": "sim/echo?pace=1ms", "stream": True,
                            "messages": [{"role": "user", "content": words}]})  # fmt: skip
        return sse.text_of(got.body) == words

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(one, range(300)))
