"""The vendors' SDKs for Node.js as clients, a model of every dialect behind weir."""

import json
import subprocess

import pytest

from harness import model, node, sdk
from harness.upstream import Upstream
from harness.weir import config, provider, virtual_key

SDKS = {
    "openai_chat": {"stop": "stop", "call": "tool_calls"},
    "anthropic": {"stop": "end_turn", "call": "tool_use"},
    "gemini": {"stop": "STOP", "call": "STOP"},
    "bedrock": {"stop": "end_turn", "call": "tool_use"},
}


@pytest.fixture(scope="module")
def gateway(make_shared_weir):
    upstreams = {m.dialect: (m, Upstream(m())) for m in model.MODELS}
    rows = {
        name: provider(
            upstream.url, dialect=name, paths=made.paths, auth={"kind": "bearer"}
        )
        for name, (made, upstream) in upstreams.items()
    }
    key = virtual_key("js", value=sdk.KEY)
    key["aws"] = {
        "access_key_id": "AKIAWEIRTEST00000001",
        "secret_access_key": "weir-test-secret",
    }
    yield make_shared_weir(config(rows, keys=[key]))
    for _, upstream in upstreams.values():
        upstream.stop()


@pytest.fixture(scope="module")
def answers(gateway, tmp_path_factory):
    """What an SDK got from a model; asked once for all tests."""
    known = {}
    script = node.prepare(tmp_path_factory.mktemp("node")) / "sdk-client.mjs"

    def get(name, dialect):
        if (name, dialect) not in known:
            done = subprocess.run(
                ["node", str(script), name, gateway.url, f"{dialect}/claude-sonnet-4-5", sdk.KEY],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            known[name, dialect] = json.loads(done.stdout)
        return known[name, dialect]

    return get


@pytest.mark.parametrize("dialect", [m.dialect for m in model.MODELS])
@pytest.mark.parametrize("name", SDKS)
def test_the_sdk_gets_its_own_dialect(answers, name, dialect):
    got = answers(name, dialect)
    for how in ("", " streamed"):
        text = got["text" + how]
        assert text.get("text") == "Hello Grüße 🌊!", text
        assert text["finish"] == SDKS[name]["stop"]
        assert (text["input"], text["output"]) == (model.USAGE["input"], model.USAGE["output"])
        assert got["image" + how].get("text") == f"I see image/png, {len(sdk.PNG)} bytes."
        call = got["tools" + how]
        assert [c[1:] for c in call.get("calls", [call])] == [[sdk.TOOL, model.ARGUMENTS]]
        assert call["finish"] == SDKS[name]["call"]
        assert len(got["both" + how].get("calls", [])) == 2, got["both" + how]
        assert json.loads(got["structured" + how].get("text", "null")) == model.STRUCTURED
        error = got["error" + how]["error"]
        assert error["status"] == 429 and "It failed." in error["message"], error
    assert got["loop"].get("text") == "The tool said: It is sunny.", got["loop"]
