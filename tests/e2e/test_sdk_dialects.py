"""Every vendor's SDK for Python as a client, a model of every dialect behind weir: 36 pairs."""

import pytest

from harness import model, sdk
from harness.upstream import Upstream
from harness.weir import config, provider, virtual_key

PAIRS = [(s, m) for s in sdk.SDKS for m in model.MODELS]


def name_of(value):
    return getattr(value, "name", None) or value.dialect


@pytest.fixture(scope="module")
def models():
    made = {m.dialect: m() for m in model.MODELS}
    upstreams = {name: Upstream(handler) for name, handler in made.items()}
    yield made, upstreams
    for upstream in upstreams.values():
        upstream.stop()


@pytest.fixture(scope="module")
def gateway(make_shared_weir, models):
    made, upstreams = models
    rows = {
        name: provider(
            upstreams[name].url,
            dialect=name,
            paths=made[name].paths,
            auth={"kind": "bearer"},
            quirks={"reasoning_field": "reasoning_content"},
        )
        for name in made
    }
    key = virtual_key("py", value=sdk.KEY)
    key["aws"] = {
        "access_key_id": "AKIAWEIRTEST00000001",
        "secret_access_key": "weir-test-secret",
    }
    return make_shared_weir(config(rows, keys=[key]))


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{name_of(pair[0])}-to-{name_of(pair[1])}")
def pair(request, gateway, models):
    """(the SDK at weir, the model behind it)"""
    client, behind = request.param
    models[0][behind.dialect].asked.clear()
    return client(gateway, behind.dialect), models[0][behind.dialect]


ask_both_ways = pytest.mark.parametrize("how", ["ask", "stream"])


def check_usage(answer):
    assert (answer.input_tokens, answer.output_tokens) == (
        model.USAGE["input"],
        model.USAGE["output"],
    )


@ask_both_ways
def test_text(pair, how):
    client, behind = pair
    answer = getattr(client, how)("Grüße 🌊 “world”")
    assert answer.text == "Hello Grüße 🌊 “world”!"
    assert answer.finish == client.finishes["stop"]
    check_usage(answer)
    assert behind.asked[-1][0].system == "Be brief."


@ask_both_ways
def test_an_image_arrives(pair, how):
    client, _ = pair
    assert getattr(client, how)("look", "image").text == f"I see image/png, {len(sdk.PNG)} bytes."


@ask_both_ways
def test_a_document_arrives(pair, how):
    client, behind = pair
    if "cohere" in (client.name, behind.dialect):
        pytest.skip("Cohere's chat takes no PDF")
    answer = getattr(client, how)("read", "document")
    assert answer.text == f"I read application/pdf, {len(sdk.PDF)} bytes."


@ask_both_ways
def test_a_tool_is_called(pair, how):
    client, _ = pair
    answer = getattr(client, how)("weather", "tools")
    assert [(name, arguments) for _, name, arguments in answer.calls] == [
        (sdk.TOOL, model.ARGUMENTS)
    ]
    assert answer.finish == client.finishes["call"]
    check_usage(answer)


@ask_both_ways
def test_two_calls_at_once(pair, how):
    client, _ = pair
    answer = getattr(client, how)("both", "tools")
    assert [arguments for _, _, arguments in answer.calls] == [model.ARGUMENTS] * 2
    ids = [id_ for id_, _, _ in answer.calls]
    assert ids[0] != ids[1] or ids == [None, None]


@pytest.mark.parametrize("text", ["weather", "both"])
def test_a_loop_with_a_tool(pair, text):
    client, behind = pair
    results = ["It is sunny.", "It rains."][: 2 if text == "both" else 1]
    assert client.tool_loop(text, results).text == f"The tool said: {results[-1]}"
    assert behind.asked[-1][0].results == results


@ask_both_ways
def test_structured_output(pair, how):
    client, behind = pair
    import json

    answer = getattr(client, how)("Paris", "structured")
    assert json.loads(answer.text) == model.STRUCTURED
    assert answer.finish == client.finishes["stop"]


@ask_both_ways
def test_thinking(pair, how):
    client, behind = pair
    answer = getattr(client, how)("think", "thinking")
    assert answer.text == "I have thought."
    assert answer.thought == model.THOUGHT
    assert behind.asked[-1][0].wants_thinking


@ask_both_ways
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_an_error_is_the_sdks_own(pair, how, status):
    client, _ = pair
    with pytest.raises(client.error) as caught:
        getattr(client, how)(f"fail {status}")
    assert client.status_of(caught.value) == status
    assert "It failed." in str(caught.value)
