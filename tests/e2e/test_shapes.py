"""The shapes that weir must always carry (tests/data/openai_chat), cut at every offset."""

import pytest

from harness import sse
from harness.rawhttp import Client
from harness.recordings import ROOT
from harness.weir import config, provider

FOLDER = ROOT / "tests" / "data" / "openai_chat"
STREAMS = sorted(p.name for p in FOLDER.glob("*.sse"))
ERRORS = sorted(p.name for p in FOLDER.glob("error_*.json"))


@pytest.fixture(scope="module")
def source(make_shared_upstream):
    return make_shared_upstream()


@pytest.fixture(scope="module")
def gateway(make_shared_weir, source):
    return make_shared_weir(config({"up": provider(source)}))


def expected(name, body):
    """What the client must get of it; for broken ones the beginning."""
    if name == "no_done.sse":
        return body + sse.DONE, True
    if name == "truncated.sse":
        return b"".join(e.raw for e in sse.split(body)[:-1]), False
    return body, True


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_at_every_offset_arrives_as_it_was(gateway, source, name):
    body = (FOLDER / name).read_bytes()
    wanted, is_exact = expected(name, body)
    offset = 0

    def two_writes(call):
        call.start_stream()
        call.write(body[:offset])
        call.write(body[offset:])
        call.end()

    source.handler = two_writes
    request = {"model": "up/m", "messages": [], "stream": True,
               "stream_options": {"include_usage": True}}  # fmt: skip
    with Client(gateway.port) as client:
        for offset in range(len(body) + 1):
            got = client.chat(request)
            assert got.status == 200
            if is_exact:
                assert got.body == wanted, f"cut at {offset}"
            else:
                assert got.body.startswith(wanted), f"cut at {offset}"
                assert b'"error"' in got.body and sse.DONE not in got.body


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_error_keeps_its_bytes(gateway, source, name, is_stream):
    body, status = (FOLDER / name).read_bytes(), int(name[6:9])
    source.handler = lambda call: call.reply(status, body, {"Retry-After": "2"})
    with Client(gateway.port) as client:
        got = client.chat({"model": "up/m", "messages": [], "stream": is_stream})
    assert (got.status, got.body, got.headers.get("retry-after")) == (status, body, "2")


def test_a_whole_answer_keeps_its_bytes(gateway, source):
    body = (FOLDER / "whole.json").read_bytes()
    source.handler = lambda call: call.reply(200, body)
    with Client(gateway.port) as client:
        assert client.chat({"model": "up/m", "messages": []}).body == body
