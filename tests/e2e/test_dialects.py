"""What weir itself says and does in each dialect: keys, errors, lists, counts, notes, kept answers."""

import json

import boto3
import botocore.config
import botocore.exceptions
import openai
import pytest

from harness import model, sdk, sse
from harness.rawhttp import ask
from harness.upstream import Upstream, answer
from harness.weir import config, provider, virtual_key

KEY = "wk-dialects-0001"
AWS = {"access_key_id": "AKIAWEIRTEST00000001", "secret_access_key": "weir-test-secret"}
SAY = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def models():
    made = {m.dialect: (m(), None) for m in model.MODELS}
    made = {name: (handler, Upstream(handler)) for name, (handler, _) in made.items()}
    yield made
    for _, upstream in made.values():
        upstream.stop()


def rows(models, **more):
    return {
        f"my-{name}": provider(
            upstream.url, dialect=name, paths=handler.paths, auth={"kind": "bearer"}, **more
        )
        for name, (handler, upstream) in models.items()
    }


@pytest.fixture
def gateway(make_weir, models):
    key = virtual_key("one", value=KEY)
    key["aws"] = AWS
    return make_weir(config(rows(models), keys=[key]))


@pytest.fixture
def open_gateway(make_weir, models):
    return make_weir(config(rows(models), responses={"store": "1MiB"}))


# (dialect, path, body, where the words of an error stand)
ENDPOINTS = [
    ("openai_chat", "/v1/chat/completions", SAY | {"model": "M"}, ["error", "message"]),
    ("openai_responses", "/v1/responses", {"model": "M", "input": "hi"}, ["error", "message"]),
    ("anthropic", "/v1/messages", SAY | {"model": "M", "max_tokens": 9}, ["error", "message"]),
    ("gemini", "/v1beta/models/M:generateContent", {"contents": []}, ["error", "message"]),
    ("gemini", "/v1beta/models/M:streamGenerateContent", {"contents": []}, ["error", "message"]),
    ("bedrock", "/model/M/converse", {"messages": []}, ["message"]),
    ("bedrock", "/model/M/invoke", SAY | {"anthropic_version": "bedrock-2023-05-31"}, ["message"]),
    ("cohere", "/v2/chat", SAY | {"model": "M"}, ["message"]),
]


def words_of(got, place):
    value = got.json()
    for name in place:
        value = value[name]
    return value


@pytest.mark.parametrize(("dialect", "path", "body", "place"), ENDPOINTS)
def test_D3_no_key_wrong_key_unknown_model_in_the_dialects_own_words(
    gateway, dialect, path, body, place
):
    got = ask(gateway.port, "POST", path, body)
    assert got.status == 401 and "API key" in words_of(got, place), got.body
    got = ask(gateway.port, "POST", path, body, key="wk-wrong-000000")
    assert got.status == 401 and words_of(got, place)
    got = ask(gateway.port, "POST", path, body, key=KEY)
    assert got.status == 404 and "`M`" in words_of(got, place), got.body
    got = ask(gateway.port, "POST", path, b"{", key=KEY)
    assert got.status == 400 and words_of(got, place)
    if dialect == "anthropic":
        assert got.json()["type"] == "error"
    if dialect == "gemini":
        assert got.json()["error"]["status"] == "INVALID_ARGUMENT"
    if dialect == "bedrock":
        assert got.headers.get("x-amzn-errortype") == "ValidationException"
    assert gateway.log_entries(4, path=path)


@pytest.mark.parametrize(
    ("header", "path"),
    [
        ("x-api-key", "/v1/messages"),
        ("x-goog-api-key", "/v1beta/models/my-openai_chat%2Fm:generateContent"),
        ("api-key", "/openai/deployments/my-openai_chat%2Fm/chat/completions"),
    ],
)
def test_each_sdks_carrier_of_the_key_is_taken(gateway, header, path):
    body = SAY | {"model": "my-openai_chat/m", "max_tokens": 9}
    if "v1beta" in path:
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert ask(gateway.port, "POST", path, body, {header: KEY}).status == 200


def test_a_key_in_the_query_is_taken_and_reaches_no_log_and_no_provider(gateway, models):
    path = f"/v1beta/models/my-gemini%2Fm:generateContent?key={KEY}"
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert ask(gateway.port, "POST", path, body).status == 200
    assert ask(gateway.port, "POST", f"/v1/chat/completions?key={KEY}", SAY).status == 401
    gateway.log_entries(2, operation="chat")
    assert KEY not in "".join(gateway.lines) and KEY not in gateway.stderr()
    request = models["gemini"][1].only_request()
    assert KEY.encode() not in request.raw_head


# --- signatures ---


def bedrock(gateway, **more):
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=gateway.url,
        config=botocore.config.Config(retries={"max_attempts": 0}),
        **{
            "aws_access_key_id": AWS["access_key_id"],
            "aws_secret_access_key": AWS["secret_access_key"],
        }
        | more,
    )


def converse(client):
    return client.converse(
        modelId="my-bedrock/m", messages=[{"role": "user", "content": [{"text": "hi"}]}]
    )


def test_a_signed_request_is_let_in(gateway, models):
    assert converse(bedrock(gateway))["output"]["message"]["content"] == [{"text": "Hello hi!"}]
    # The provider gets its own credential and nothing of the client's signature.
    request = models["bedrock"][1].only_request()
    assert request.headers.get("authorization") == "Bearer sk-upstream-secret"
    assert request.headers.get("x-amz-date") is None


@pytest.mark.parametrize(
    "wrong",
    [{"aws_secret_access_key": "another"}, {"aws_access_key_id": "AKIANOBODYKNOWSTHIS1"}],
)
def test_a_wrong_signature_is_refused(gateway, wrong):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        converse(bedrock(gateway, **wrong))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize("what", ["body", "time"])
def test_an_altered_or_old_signature_is_refused(gateway, what):
    client = bedrock(gateway)

    def alter(request, **_):
        if what == "body":
            request.body = request.body.replace(b"hi", b"ho")

    def skew(request, **_):
        request.context["timestamp"] = "20200101T000000Z"

    event = "before-send.bedrock-runtime.Converse" if what == "body" else None
    if event:
        client.meta.events.register(event, alter)
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            converse(client)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        return
    old = {
        "X-Amz-Date": "20200101T000000Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAWEIRTEST00000001/20200101/us-east-1/"
        "bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
    }
    got = ask(gateway.port, "POST", "/model/my-bedrock%2Fm/converse", {"messages": []}, old)
    assert got.status == 403 and got.json()["message"]


# --- lists, capabilities, counts ---


def test_lists_of_models_in_each_vendors_form(make_weir, make_upstream):
    row = provider("http://127.0.0.1:1/v1", models=["one", "two"])
    gateway = make_weir(config({"up": row}))

    def of_up(items, name):
        return [i[name] for i in items if "up/" in i[name]]

    assert of_up(gateway.get("/v1/models").json()["data"], "id") == ["up/one", "up/two"]
    version = {"anthropic-version": "2023-06-01"}
    listed = gateway.get("/v1/models", headers=version).json()
    assert of_up(listed["data"], "id") == ["up/one", "up/two"]
    assert {m["type"] for m in listed["data"]} == {"model"} and listed["has_more"] is False
    listed = gateway.get("/v1beta/models").json()["models"]
    assert of_up(listed, "name") == ["models/up/one", "models/up/two"]
    assert gateway.get("/v1beta/models/up/one").json()["name"] == "models/up/one"
    assert gateway.get("/v1/models/up%2Fone", headers=version).json()["id"] == "up/one"


def test_capabilities_are_told_beforehand(open_gateway):
    got = open_gateway.get("/v1/weir/capabilities?model=my-anthropic%2Fclaude-sonnet-4-5")
    said = got.json()
    assert (said["provider"], said["dialect"]) == ("my-anthropic", "anthropic")
    assert said["takes"]["images"] is True and said["takes"]["logprobs"] in (False, None)
    assert said["max_output_tokens"] >= 32000
    assert open_gateway.get("/v1/weir/capabilities").status == 400
    assert open_gateway.get("/v1/weir/capabilities?model=nothing").status == 404


def test_tokens_are_counted_where_that_can_be_and_estimated_elsewhere(make_weir, make_upstream):
    counting = make_upstream(answer({"input_tokens": 42}))
    gateway = make_weir(
        config(
            {
                "counts": provider(
                    counting.url,
                    dialect="anthropic",
                    paths={"chat": "/v1/messages", "count_tokens": "/v1/messages/count_tokens"},
                ),
                "cannot": provider(counting.url, paths={"chat": "/v1/chat/completions"}),
            }
        )
    )
    body = SAY | {"model": "counts/m"}
    got = ask(gateway.port, "POST", "/v1/messages/count_tokens", body)
    assert got.json() == {"input_tokens": 42} and got.headers.get("x-weir-estimated") is None
    sent = counting.only_request()
    assert sent.path == "/v1/messages/count_tokens" and sent.json()["model"] == "m"
    gemini = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    got = ask(gateway.port, "POST", "/v1beta/models/counts%2Fm:countTokens", gemini)
    assert got.json() == {"totalTokens": 42}
    assert "max_tokens" not in counting.requests[-1].json()
    got = ask(gateway.port, "POST", "/v1/messages/count_tokens", SAY | {"model": "cannot/m"})
    assert got.json()["estimated"] is True and got.json()["input_tokens"] > 0
    assert got.headers.get("x-weir-estimated") == "true"
    long = {"messages": [{"role": "user", "content": "word " * 4000}], "model": "cannot/m"}
    more = ask(gateway.port, "POST", "/v1/messages/count_tokens", long).json()["input_tokens"]
    assert 3000 < more < 8000


# --- what cannot be said ---


def test_what_is_dropped_is_named_or_refused(open_gateway, models):
    body = SAY | {"model": "my-anthropic/claude-sonnet-4-5", "seed": 7, "logit_bias": {"1": 2}}
    got = open_gateway.chat(body)
    assert got.status == 200
    dropped = got.headers.get("x-weir-dropped")
    assert "seed" in dropped and "logit_bias" in dropped
    assert got.headers.get("x-weir-supplied").startswith("max_tokens=")
    sent = models["anthropic"][1].requests[-1].json()
    assert sent["max_tokens"] > 0 and "seed" not in sent
    got = open_gateway.chat(body, {"x-weir-unmappable": "reject"})
    assert got.status == 400 and got.error["code"] == "unmappable"
    assert "seed" in got.error["message"]
    assert len(models["anthropic"][1].requests) == 1


def test_betas_of_a_translated_request_reach_claude_where_it_is(open_gateway, models):
    betas = {"anthropic-beta": "context-1m-2025-08-07,some-new-2030-01-01"}
    got = open_gateway.chat(SAY | {"model": "my-anthropic/claude-sonnet-4-5"}, betas)
    assert got.status == 200 and "beta" not in (got.headers.get("x-weir-dropped") or "")
    sent = models["anthropic"][1].requests[-1]
    assert sent.headers.get("anthropic-beta") == betas["anthropic-beta"]
    assert "anthropic_beta" not in sent.json()
    got = open_gateway.chat(SAY | {"model": "my-bedrock/anthropic.claude-sonnet-4-5-v1:0"}, betas)
    assert got.status == 200
    assert "anthropic-beta: some-new-2030-01-01" in got.headers.get("x-weir-dropped")
    sent = models["bedrock"][1].requests[-1]
    fields = sent.json()["additionalModelRequestFields"]
    assert fields["anthropic_beta"] == ["context-1m-2025-08-07"]
    assert sent.headers.get("anthropic-beta") is None


def test_the_config_can_refuse_too(make_weir, models):
    gateway = make_weir(config(rows(models), unmappable="reject"))
    body = SAY | {"model": "my-cohere/command-a", "logit_bias": {"1": 2}}
    assert gateway.chat(body).status == 400
    assert models["cohere"][1].requests == []


def test_rate_limits_are_told_in_the_clients_headers(make_weir, make_upstream):
    limits = {
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1s",
        "openai-organization": "org-x",
        "x-request-id": "up-1",
    }
    chat = model.OpenAIChat()
    upstream = make_upstream(lambda call: call.reply(200, chat.whole(model.Reply("hi")), limits))
    gateway = make_weir(config({"up": provider(upstream)}))
    body = SAY | {"model": "up/m", "max_tokens": 9}
    got = ask(gateway.port, "POST", "/v1/messages", body)
    assert got.headers.get("anthropic-ratelimit-requests-remaining") == "9"
    assert got.headers.get("anthropic-ratelimit-requests-reset").endswith("Z")
    assert got.headers.get("openai-organization") is None
    assert got.headers.get("x-request-id") == "up-1"


# --- streams that go wrong ---


@pytest.mark.parametrize("client", sdk.SDKS, ids=lambda c: c.name)
def test_D6_C19_a_stream_that_breaks_is_an_error_in_every_sdk(make_weir, make_upstream, client):
    """The first words come, then the connection is gone: no SDK takes that for a whole answer."""
    whole = model.OpenAIChat().stream(model.Reply("one two three"))
    events = [e.raw for e in sse.split(whole)]

    def handle(call):
        call.start_stream()
        call.write(b"".join(events[:3]))
        call.reset()

    gateway = make_weir(config({"up": provider(make_upstream(handle))}))
    it = client(gateway, "up")
    with pytest.raises(Exception):  # noqa: B017 - each SDK has its own, some a RuntimeError
        it.stream("hi")
    assert gateway.log_entries(1, operation="chat")[0]["outcome"] == "stream_broken"


def test_B01_an_error_after_the_opening_is_an_answer_with_a_status(make_weir, make_upstream):
    failed = {"type": "error", "code": "rate_limit_exceeded", "message": "too much", "param": None}
    responses = model.OpenAIResponses()
    created = responses.response("in_progress", [])
    body = model.sse(
        ("response.created", {"type": "response.created", "sequence_number": 0,
                              "response": created}),
        ("response.in_progress", {"type": "response.in_progress", "sequence_number": 1,
                                  "response": created}),
        ("error", failed | {"sequence_number": 2}),
    )  # fmt: skip
    upstream = make_upstream(
        lambda call: call.reply(200, body, {"Content-Type": "text/event-stream"}, "chunked")
    )
    row = provider(upstream.url, dialect="openai_responses", paths=responses.paths)
    gateway = make_weir(config({"up": row}))
    for path, asked in [
        ("/v1/responses", {"model": "up/m", "input": "x", "stream": True}),
        ("/v1/chat/completions", SAY | {"model": "up/m", "stream": True}),
        ("/v1/messages", SAY | {"model": "up/m", "max_tokens": 9, "stream": True}),
    ]:
        got = ask(gateway.port, "POST", path, asked)
        assert got.status == 429, got.body
        assert "too much" in got.json()["error"]["message"]


# --- kept responses ---


def test_a_conversation_goes_on_by_previous_response_id(open_gateway, models):
    with openai.OpenAI(base_url=f"{open_gateway.url}/v1", api_key="x", max_retries=0) as client:
        name = "my-anthropic/claude-sonnet-4-5"
        first = client.responses.create(model=name, input="first")
        assert first.output_text == "Hello first!"
        with client.responses.stream(
            model=name, input="second", previous_response_id=first.id
        ) as events:
            for _ in events:
                pass
            second = events.get_final_response()
        sent = models["anthropic"][1].requests[-1].json()["messages"]
        assert [m["role"] for m in sent] == ["user", "assistant", "user"]
        assert "Hello first!" in json.dumps(sent)
        client.responses.create(model=name, input="third", previous_response_id=second.id)
        assert len(models["anthropic"][1].requests[-1].json()["messages"]) == 5
        assert client.responses.retrieve(first.id).output_text == "Hello first!"
        client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(first.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.create(model=name, input="x", previous_response_id=first.id)


def test_without_a_store_the_client_is_told(gateway):
    body = {"model": "my-anthropic/m", "input": "x", "previous_response_id": "resp_1"}
    got = ask(gateway.port, "POST", "/v1/responses", body, key=KEY)
    assert got.status == 400 and "responses.store" in got.error["message"]


def test_a_kept_response_of_the_provider_is_asked_for_there(make_weir, make_upstream):
    def handle(call):
        known = call.request.path.startswith("/v1/responses/resp_known")
        call.reply(200 if known else 404, {"id": "resp_known"} if known else {"error": {}})

    first, second = make_upstream(answer({"error": {"message": "no"}}, 404)), make_upstream(handle)
    gateway = make_weir(
        config(
            {
                name: provider(
                    up, paths={"chat": "/chat/completions", "responses": "/responses"}
                )
                for name, up in [("a", first), ("b", second)]
            }
        )
    )
    got = gateway.get("/v1/responses/resp_known?include=x")
    assert got.status == 200 and got.json()["id"] == "resp_known"
    assert second.requests[-1].target == "/v1/responses/resp_known?include=x"
    got = ask(gateway.port, "POST", "/v1/responses/resp_known/cancel", b"")
    assert got.status == 200 and second.requests[-1].method == "POST"
    assert gateway.get("/v1/responses/..%2F..%2Fadmin").status == 400
    assert len(first.requests) == 2
