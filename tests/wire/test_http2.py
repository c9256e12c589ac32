"""HTTP/2 to clients and to providers, spoken by clients that know nothing else."""

import json

import httpx
import openai
import pytest

from harness import sse
from harness.certs import Authority
from harness.h2client import H2Client
from harness.upstream import CHAT_ANSWER, chat
from harness.weir import config, is_sanitized, patience, provider, wait_until

PATH = "/v1/chat/completions"
JSON = (("content-type", "application/json"),)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def ask(client, **more):
    body = {"model": "up/m", "messages": [], **more}
    return client.post(PATH, json.dumps(body).encode(), JSON)


@pytest.fixture
def counting_upstream(make_upstream):
    """Streams the number that it is asked for, ten times."""

    def handle(call):
        number = call.request.json()["user"]
        call.start_stream()
        for i in range(10):
            call.write(sse.split(sse.chat_stream([f"{number}.{i} "], None))[1].raw)
            call.sleep(0.02)
        call.write(sse.DONE)
        call.end()

    return make_upstream(handle)


@pytest.mark.timeout(300)
def test_many_streams_on_few_connections_lose_nothing(make_weir, counting_upstream):
    weir = make_weir(config({"up": provider(counting_upstream)}))
    connections, streams = (4, 25) if is_sanitized() else (10, 100)
    clients = [H2Client(weir.port, timeout=60) for _ in range(connections)]
    asked = {}
    for turn in range(streams):
        for at, client in enumerate(clients):
            asked[at, ask(client, stream=True, user=f"u{at}-{turn}")] = f"u{at}-{turn}"
    for (at, stream), user in asked.items():
        client = clients[at]
        client.wait(lambda s=stream, c=client: c.answers[s].is_over, seconds=120)
        answer = client.answers[stream]
        assert answer.status == 200 and answer.reset is None
        assert sse.text_of(answer.body) == "".join(f"{user}.{i} " for i in range(10))
    for client in clients:
        client.close()


def test_a_stream_that_is_given_up_ends_its_call_and_no_other(make_weir, make_upstream):
    upstream = make_upstream(lambda call: (call.start_stream(), call.wait_hang_up(60)))
    weir = make_weir(config({"up": provider(upstream)}))
    with H2Client(weir.port) as client:
        first, second = ask(client, stream=True), ask(client, stream=True)
        upstream.wait(lambda u: u.in_progress == 2, 10 * patience(), "two calls")
        client.reset(first)
        upstream.wait(lambda u: u.in_progress == 1, 10 * patience(), "one call less")
        assert not client.answers[second].is_over
        assert client.ask("/healthz").status == 200
    upstream.wait(lambda u: u.in_progress == 0, 10 * patience(), "no call")


def test_errors_are_worded_as_over_http1(weir):
    with H2Client(weir.port) as client:
        answer = client.answer(client.post(PATH, b"{", JSON))
        assert answer.status == 400 and json.loads(answer.body)["error"]["message"]
        assert answer.headers["content-type"] == "application/json"
        assert client.ask("/nonsense").status == 404
        assert client.ask(PATH).status == 405


def secure_weir(make_weir, authority, upstream, **more):
    cert, key = authority.issue("front", "IP:127.0.0.1")
    listen = [{"address": "127.0.0.1:0", "tls": {"cert_file": cert, "key_file": key}}]
    return make_weir(config({"up": provider(upstream, **more)}, listen=listen), ready=False)


def test_an_sdk_over_tls(make_weir, make_upstream, authority):
    upstream = make_upstream(chat())
    weir = secure_weir(make_weir, authority, upstream)
    versions = []
    with httpx.Client(
        http2=True,
        verify=authority.client_context(),
        event_hooks={"response": [lambda r: versions.append(r.http_version)]},
    ) as http:
        url = f"https://127.0.0.1:{weir.port}"
        wait_until(lambda: http.get(f"{url}/readyz").status_code == 200, 30, "readiness")
        sdk = openai.OpenAI(base_url=f"{url}/v1", api_key="x", http_client=http, max_retries=0)
        said = sdk.chat.completions.create(model="up/m", messages=[])
        assert said.choices[0].message.content == "Hello there."
        stream = sdk.chat.completions.create(model="up/m", messages=[], stream=True)
        parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(parts) == "Hello there."
        with pytest.raises(openai.NotFoundError):
            sdk.post("/nonsense", cast_to=object)
    assert set(versions) == {"HTTP/2"}


@pytest.mark.parametrize("wish,offers,speaks", [
    ("auto", ["h2", "http/1.1"], "h2"),
    ("auto", ["http/1.1"], "http/1.1"),
    ("auto", [], None),
    ("off", ["h2", "http/1.1"], "http/1.1"),
    ("always", ["h2"], "h2"),
])  # fmt: skip
def test_tls_decides_what_a_provider_is_asked_with(
    make_weir, make_upstream, authority, wish, offers, speaks
):
    context = authority.server_context("IP:127.0.0.1")
    if offers:
        context.set_alpn_protocols(offers)
    heard = []
    upstream = make_upstream(chat(), tls=context)
    upstream.on_secure = lambda sock: heard.append(sock.selected_alpn_protocol())
    weir = make_weir(
        config({"up": provider(upstream, http2=wish, tls={"ca_file": str(authority.cert)})})
    )
    for is_stream in (False, True):
        got = weir.chat({"model": "up/m", "messages": [], "stream": is_stream})
        assert got.status == 200
        assert is_stream or got.json() == CHAT_ANSWER | {"model": "m"}
    assert set(heard) == {speaks}


def test_calls_share_a_connection_to_a_provider(make_weir, make_upstream, authority):
    context = authority.server_context("IP:127.0.0.1")
    context.set_alpn_protocols(["h2"])
    upstream = make_upstream(lambda call: (call.start_stream(), call.wait_hang_up(60)), tls=context)
    weir = make_weir(
        config({"up": provider(upstream, tls={"ca_file": str(authority.cert)})}, threads=1)
    )
    with H2Client(weir.port) as client:
        for _ in range(40):
            ask(client, stream=True)
        upstream.wait(lambda u: u.in_progress == 40, 20 * patience(), "40 calls")
        assert upstream.connections == 1


def test_a_provider_that_speaks_only_http1_is_not_lost_by_the_wish(make_weir, make_upstream):
    """Without TLS nothing can be agreed on: `always` is taken at its word, and the error says so."""
    upstream = make_upstream(chat())
    weir = make_weir(config({"up": provider(f"http://127.0.0.1:{upstream.port}/v1", http2="always")}))
    got = weir.chat({"model": "up/m", "messages": []})
    assert got.status == 502
    upstream.complaints.clear()
