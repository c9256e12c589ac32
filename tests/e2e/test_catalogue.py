"""The built-in catalogue against recorded traffic: host, path and credential of each provider.

weir runs with the catalogue's own addresses. A proxy takes every CONNECT, whatever the host, to a
server that holds a certificate for all of them: what arrives is what the provider would have got.
"""

import pytest

from harness import recordings
from harness.certs import Authority
from harness.proxy import Proxy
from harness.upstream import answer
from harness.weir import config

# Where a provider answers under several names, any of them is right.
SAME = {
    "api.together.ai": "api.together.xyz",
    "api.moonshot.ai": "api.moonshot.cn",
    "dashscope.aliyuncs.com": "dashscope-intl.aliyuncs.com",
}
# The same operation under another path at the same host, by the provider's documents.
SAME_PATH = {
    "/v1/chat/completions": "/chat/completions",  # DeepSeek, Perplexity
    "/api/coding/paas/v4/chat/completions": "/api/paas/v4/chat/completions",  # Z.ai's coding plan
    "/together/v1/chat/completions": "/v1/chat/completions",  # one of Hugging Face's backends
}
APIS = (
    "openai.chat", "openai.completions", "groq.chat", "mistral.chat", "openrouter.chat",
    "deepseek.chat", "xai.chat", "zai.chat", "together.chat", "cerebras.chat", "huggingface.chat",
    "perplexity.chat", "moonshot.chat", "alibaba.chat", "vercel-gateway.chat",
    "github-copilot.chat",
)  # fmt: skip
RECORDED = {}
for _recording in recordings.load(*APIS):
    RECORDED.setdefault(_recording.api, _recording)

pytestmark = pytest.mark.skipif(
    not RECORDED, reason=f"no recorded traffic in {recordings.folder()}"
)


def canonical_host(host):
    return SAME.get(host, host)


def canonical_path(path):
    return SAME_PATH.get(path, path)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("api", RECORDED)
def test_a_provider_is_reached_as_its_recorded_clients_reached_it(
    make_weir, make_upstream, authority, api
):
    recording = RECORDED[api]
    name = api.partition(".")[0]
    host = recording.data["request"]["host"]
    names = [f"DNS:{h}" for h in {host, *SAME, *SAME.values()}]
    upstream = make_upstream(answer(b"{}"), tls=authority.server_context(*names, name="all"))
    proxy = Proxy(send_to=("127.0.0.1", upstream.port))
    try:
        row = {"api_key": "sk-test", "tls": {"ca_file": str(authority.cert)}}
        weir = make_weir(config({name: row}), env={"HTTPS_PROXY": proxy.url})
        path = "/v1/completions" if api.endswith(".completions") else "/v1/chat/completions"
        with weir.client() as client:
            got = client.ask("POST", path, {"model": f"{name}/a-model", "messages": []})
        assert got.status == 200, got.body
        asked_host, _, port = proxy.asked[0][1].rpartition(":")
        assert (canonical_host(asked_host), port) == (canonical_host(host), "443")
        request = upstream.only_request()
        assert canonical_path(request.target) == canonical_path(recording.path)
        assert request.headers.get("host") == asked_host
        assert request.headers.get("authorization") == "Bearer sk-test"
        assert request.json()["model"] == "a-model"
    finally:
        proxy.stop()
