"""Compressed request bodies: undone within limits, and never a bomb."""

import functools
import gzip
import json
import zlib

import brotli
import pytest
import zstandard

from harness.weir import config, provider

PATH = "/v1/chat/completions"
BODY = json.dumps({"model": "up/m", "messages": [{"role": "user", "content": "Grüße 🌊 " * 999}]},
                  ensure_ascii=False).encode()  # fmt: skip

ENCODERS = {
    "gzip": functools.partial(gzip.compress, compresslevel=5),
    "x-gzip": gzip.compress,
    "br": functools.partial(brotli.compress, quality=3),
    "zstd": zstandard.ZstdCompressor().compress,
}


def post(weir, body, encoding, **headers):
    with weir.client() as client:
        return client.ask("POST", PATH, body, {"Content-Encoding": encoding, **headers})


@pytest.mark.parametrize("encoding", [*ENCODERS, "identity", "GZIP"])
def test_a_compressed_body_is_understood(weir, upstream, encoding):
    encode = ENCODERS.get(encoding.lower(), bytes)
    assert post(weir, encode(BODY), encoding).status == 200
    request = upstream.only_request()
    assert request.body == BODY.replace(b'"up/m"', b'"m"')
    assert "content-encoding" not in request.headers


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_a_compressed_body_in_chunks(weir, upstream, encoding, rng):
    from harness.upstream import cut

    data = ENCODERS[encoding](BODY)
    with weir.client() as client:
        client.send(client.build("POST", PATH, None, {"Transfer-Encoding": "chunked",
                                                      "Content-Encoding": encoding}))  # fmt: skip
        for piece in cut(data, rng, 20):
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        assert client.response().status == 200
        assert client.ask("GET", "/healthz").status == 200  # in step
    assert upstream.only_request().json()["messages"] == json.loads(BODY)["messages"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_a_bomb_is_a_413_and_costs_no_memory(make_weir, upstream, encoding):
    weir = make_weir(config({"up": provider(upstream)}, limits={"request_body": "1MiB"}))
    weir.chat(b'{"model":"up/m"}')
    upstream.clear()
    before = weir.rss_bytes()
    bomb = ENCODERS[encoding](bytes(128 << 20))
    assert len(bomb) < 1 << 20
    got = post(weir, bomb, encoding)
    assert got.status == 413 and "1048576" in got.error["message"]
    assert weir.rss_bytes() - before < 64 << 20
    assert upstream.requests == []


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "tail"])
def test_a_damaged_body_is_a_400(weir, upstream, encoding, damage):
    whole = ENCODERS[encoding](BODY)
    body = {
        "cut": whole[: len(whole) // 2],
        "garbage": b"\x00\x01garbage" * 20,
        "empty": b"",
        "tail": whole + b"more",
    }[damage]
    got = post(weir, body, encoding)
    assert got.status in (400, 415), got.body
    assert got.error["type"] == "invalid_request_error"
    assert upstream.requests == []


@pytest.mark.parametrize("encoding", ["compress", "snappy", "gzip, br", "gzip, gzip", "chunked"])
def test_an_encoding_that_weir_does_not_speak_is_a_415_that_says_which(weir, upstream, encoding):
    got = post(weir, gzip.compress(BODY), encoding)
    assert got.status == 415
    for known in ("gzip", "br", "zstd"):
        assert known in got.error["message"]
    assert upstream.requests == []


def test_deflate_is_understood_or_refused_but_never_taken_for_text(weir, upstream):
    got = post(weir, zlib.compress(BODY), "deflate")
    assert got.status in (200, 415)
    if got.status == 200:
        assert upstream.only_request().body == BODY.replace(b'"up/m"', b'"m"')


def test_a_provider_that_compresses_unasked_is_passed_on_as_it_is(weir, upstream):
    body = gzip.compress(b'{"id":"x"}')
    upstream.handler = lambda call: call.reply(200, body, {"Content-Encoding": "gzip"})
    got = weir.chat(b'{"model":"up/m","messages":[]}')
    assert got.status == 200
    assert got.headers.get("content-encoding") == "gzip" and got.body == body
