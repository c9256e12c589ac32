"""weir without a config file: the environment says what there is."""

import pytest

from harness.upstream import chat
from harness.weir import run

pytestmark = pytest.mark.http1("no requests")

LISTEN = ["--listen", "127.0.0.1:0"]
CHAT = {"model": "openai/gpt-4o", "messages": []}


def start(make_weir, **env):
    return make_weir(None, env=env, args=LISTEN)


def test_a_key_and_a_base_url_are_enough(make_weir, upstream):
    weir = start(make_weir, OPENAI_API_KEY="sk-env", OPENAI_BASE_URL=f"{upstream.url}/v1")
    assert weir.chat(CHAT).status == 200
    request = upstream.only_request()
    assert request.target == "/v1/chat/completions"
    assert request.headers.get("authorization") == "Bearer sk-env"
    assert request.json()["model"] == "gpt-4o"


def test_a_base_url_with_a_slash_at_its_end(make_weir, upstream):
    weir = start(make_weir, OPENAI_API_KEY="sk-env", OPENAI_BASE_URL=f"{upstream.url}/v1/")
    assert weir.chat(CHAT).status == 200
    assert upstream.only_request().target == "/v1/chat/completions"


def test_other_providers_of_the_catalogue(make_weir, upstream):
    weir = start(make_weir, GROQ_API_KEY="sk-g", MISTRAL_API_KEY="sk-m",
                 GROQ_BASE_URL=f"{upstream.url}/openai/v1",
                 MISTRAL_BASE_URL=f"{upstream.url}/mistral/v1")  # fmt: skip
    upstream.handler = chat()
    for model in ("groq/llama-3", "mistral/small"):
        got = weir.chat({"model": model, "messages": [], "stream": True})
        assert got.status == 200
    assert [r.headers.get("authorization") for r in upstream.requests] == [
        "Bearer sk-g", "Bearer sk-m"]  # fmt: skip


@pytest.mark.parametrize("form", ["127.0.0.1:{port}", "http://127.0.0.1:{port}"])
def test_ollama_needs_no_key(make_weir, upstream, form):
    weir = start(make_weir, OLLAMA_HOST=form.format(port=upstream.port))
    assert weir.chat({"model": "ollama/llama3", "messages": []}).status == 200
    request = upstream.only_request()
    assert request.target == "/v1/chat/completions"
    assert "authorization" not in request.headers


def test_weir_keys_guard_the_gateway(make_weir, upstream):
    weir = start(make_weir, OPENAI_API_KEY="sk-env", OPENAI_BASE_URL=f"{upstream.url}/v1",
                 WEIR_KEYS="wk-first-0001, team=wk-second-0001")  # fmt: skip
    assert weir.chat(CHAT).status == 401
    assert weir.chat(CHAT, key="wk-first-0001").status == 200
    assert weir.chat(CHAT, key="wk-second-0001").status == 200
    assert weir.log_entries(1, key="team")[0]["status"] == 200


def test_only_what_was_given_is_there(make_weir):
    weir = start(make_weir)
    got = weir.chat(CHAT)
    assert got.status == 404 and got.error["code"] == "model_not_found"
    assert weir.get("/readyz").status == 200  # the simulated provider is


def test_a_bad_variable_is_refused_by_name():
    done = run("run", *LISTEN, env={"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": "ftp://x"})
    assert done.returncode != 0 and "OPENAI_BASE_URL" in done.stderr
    done = run("run", *LISTEN, env={"WEIR_KEYS": "short"})
    assert done.returncode != 0 and "WEIR_KEYS" in done.stderr and "short" not in done.stderr
    done = run("run", env={"WEIR_LISTEN": "nowhere"})
    assert done.returncode != 0 and "WEIR_LISTEN" in done.stderr


def test_a_key_with_a_line_end_is_refused(make_weir, upstream):
    done = run("run", *LISTEN, env={"OPENAI_API_KEY": "sk-a\r\nX-Evil: 1"})
    assert done.returncode != 0 and "sk-a" not in done.stderr
