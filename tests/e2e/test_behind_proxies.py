"""Tokens pass one by one through the servers that people put in front of weir.

The servers run what the pages of docs/behind print, so that what a reader copies is what was run.
"""

import base64
import hashlib
import json
import re
import textwrap
import time

import pytest

from harness import sse
from harness.certs import Authority
from harness.fronts import (
    FRONTS,
    PAGES,
    Apache,
    BareNginx,
    Curl,
    Envoy,
    HAProxy,
    Nginx,
    PlainHAProxy,
    Varnish,
)
from harness.rawhttp import Closed, Reader
from harness.upstream import PeerGone, chat
from harness.weir import config, patience, provider, run

pytestmark = pytest.mark.http1("the proxies say what is spoken")

CHAT = "/v1/chat/completions"
GAP_S = 0.05
EVENTS = 20
NEAR_S = 0.02  # how late a token may be, and how far a gap at the client from the provider's
TRIES = 5  # a busy machine delays an event once in a while; a buffer does it every time

VERSIONS = [
    pytest.param(front, version, id=f"{front.__name__}-{version}")
    for front in FRONTS
    for version in ("http1.1", "http2")
    if front is not BareNginx or version == "http1.1"
] + [pytest.param(PlainHAProxy, "http1.1", id="PlainHAProxy-http1.1")]


class Paced:
    """A provider that sends a token every GAP_S, and remembers when."""

    def __init__(self):
        self.sent = {}  # the request's text -> times

    def __call__(self, call):
        sent = self.sent[call.request.json()["messages"][0]["content"]] = []
        call.start_stream()
        for number in range(EVENTS):
            if number:
                call.sleep(GAP_S)
            sent.append(time.monotonic())
            call.write(sse.chunk(f" token{number}"))
        call.write(sse.chunk(finish="stop") + sse.DONE)
        call.end()


class NoFront:
    """weir itself, where a front would be."""

    def __init__(self, weir):
        self.url = weir.url

    def curl(self):
        return []


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def make_front(tmp_path_factory, authority):
    yield from _fronts(tmp_path_factory, authority)


@pytest.fixture(scope="module")
def make_shared_front(tmp_path_factory, authority):
    yield from _fronts(tmp_path_factory, authority)


def _fronts(folders, authority):
    made = []

    def make(kind, behind, **more):
        made.append(kind(folders.mktemp(kind.__name__), behind, authority, **more))
        return made[-1]

    yield make
    for front in made:
        front.stop()


@pytest.fixture(scope="module")
def behind(make_shared_upstream, make_shared_weir, make_shared_front):
    """Fronts as their pages have them, each made once, before one weir before one provider."""

    class Behind:
        upstream = make_shared_upstream()
        weir = make_shared_weir(patient_config(upstream, "500ms"))

        def __init__(self):
            self.fronts = {}

        def front(self, kind):
            if kind not in self.fronts:
                self.fronts[kind] = make_shared_front(kind, self.weir.port)
            self.upstream.clear()
            return self.fronts[kind]

    return Behind()


def patient_config(upstream, heartbeat):
    routing = config()["routing"] | {"early_head": heartbeat}
    return config({"up": provider(upstream)}, routing=routing, timeouts={"heartbeat": heartbeat})


def ask(front, *args, text="Go on."):
    body = {"model": "up/m", "stream": True, "messages": [{"role": "user", "content": text}]}
    answer = Curl(front, CHAT, json.dumps(body).encode(), *args)
    answer.text = text
    return answer


def arrivals(answer):
    """When each token arrived."""
    return [at for at, event in answer.events if re.search(rb'"content":" token\d+"', event)]


def gaps(times):
    return [b - a for a, b in zip(times, times[1:])]


def worst(paced, answer):
    """By how much a token came late, or after another gap than the provider made, at the most."""
    code, said = answer.finish()
    assert code == 0, f"curl: {said} {answer.body!r}"
    assert answer.status_line.split()[1] == "200", answer.status_line
    assert sse.messages(answer.body)[-1] == b"[DONE]"
    there, sent = arrivals(answer), paced.sent[answer.text]
    assert len(there) == len(sent) == EVENTS, answer.body
    late = [a - b for a, b in zip(there, sent)]
    return max(late + [abs(a - b) for a, b in zip(gaps(there), gaps(sent))])


def assert_one_by_one(paced, weir, front, *args):
    """Within some tries every token is there at once, and all gaps are what the provider made. After
    the first try what a busy machine does is measured beside, without the front, and forgiven."""
    found = []
    for turn in range(TRIES):
        beside = ask(NoFront(weir), text="beside") if turn else None
        answer = ask(front, *args)
        came = worst(paced, answer)
        noise = worst(paced, beside) if beside else 0
        if came <= NEAR_S * patience() + noise:
            return answer
        found.append((came, noise))
    pytest.fail(f"tokens came late or bunched, by (through the front, without it) {found} s")


@pytest.mark.parametrize("kind, version", VERSIONS)
def test_tokens_arrive_one_by_one(behind, kind, version):
    front = behind.front(kind)
    behind.upstream.handler = paced = Paced()
    told = "--http2-prior-knowledge" if version == "http2" and not front.is_tls else f"--{version}"
    # --compressed: a client that would take a compressed answer, as browsers do.
    answer = assert_one_by_one(paced, behind.weir, front, told, "--compressed")
    assert "content-encoding" not in answer.headers
    assert answer.status_line.split()[0] == {"http1.1": "HTTP/1.1", "http2": "HTTP/2"}[version]
    assert answer.headers["content-type"].startswith("text/event-stream")


# --- what else a server on the way may do to a stream ---

FULL = [f for f in FRONTS if f is not BareNginx]


def test_and_the_test_would_notice_a_buffer(weir, upstream, make_front):
    upstream.handler = paced = Paced()
    front = make_front(BareNginx, weir.port, title="broken")
    assert worst(paced, ask(front)) > 10 * GAP_S  # all of them come at the end


# Compression that somebody switches on for streams as well, in spite of weir's no-transform: {as
# printed: as run}, and what the server then does.
PLAIN, COMPRESSED, HELD = "leaves them plain", "compresses them", "holds them back"
COMPRESSING = [
    (Nginx, {"gzip off;": "gzip on; gzip_types text/event-stream; gzip_proxied any;"}, COMPRESSED),
    (
        HAProxy,
        {
            "backend weir\n": """backend weir
    compression algo gzip
    compression type text/event-stream
"""
        },
        PLAIN,
    ),
    (Apache, {"SetEnv no-gzip 1": ""}, COMPRESSED),
    (
        Varnish,
        {
            "sub vcl_pipe": """sub vcl_backend_response {
    set beresp.do_gzip = true;
}
sub vcl_pipe"""
        },
        HELD,
    ),
    (
        Envoy,
        {
            "http_filters:\n": """http_filters:
                  - name: envoy.filters.http.compressor
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor
                      response_direction_config:
                        common_config:
                          content_type: [text/event-stream]
                      compressor_library:
                        name: gzip
                        typed_config:
                          "@type": type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip
"""
        },
        PLAIN,
    ),
]


@pytest.mark.parametrize("kind, changes, comes_to", COMPRESSING)
def test_what_compression_does_to_tokens(weir, upstream, make_front, kind, changes, comes_to):
    upstream.handler = paced = Paced()
    front = make_front(kind, weir.port, changes=changes)
    if comes_to == HELD:
        assert worst(paced, ask(front, "--compressed")) > 5 * GAP_S
        return
    answer = assert_one_by_one(paced, weir, front, "--compressed")
    assert ("content-encoding" in answer.headers) == (comes_to == COMPRESSED)


CUT_S = 1 if patience() == 1 else 2
CUTS = [
    (Nginx, {"proxy_read_timeout 600s": f"proxy_read_timeout {CUT_S}s"}),
    (
        HAProxy,
        {
            "timeout server 600s": f"timeout server {CUT_S}s",
            "timeout client 600s": f"timeout client {CUT_S}s",
        },
    ),
    (Apache, {"timeout=600": f"timeout={CUT_S}"}),
    (
        Varnish,
        {
            "first_byte_timeout = 600s": f"first_byte_timeout = {CUT_S}s",
            "between_bytes_timeout = 600s": f"between_bytes_timeout = {CUT_S}s",
        },
    ),
    (Envoy, {"stream_idle_timeout: 600s": f"stream_idle_timeout: {CUT_S}s"}),
]


def thinking(call):
    """A provider that is silent for longer than the server waits, before and after a token."""
    call.sleep(1.6 * CUT_S)
    call.start_stream()
    call.write(sse.chunk("Well,"))
    call.sleep(1.6 * CUT_S)
    call.write(sse.chunk(" yes.") + sse.chunk(finish="stop") + sse.DONE)
    call.end()


@pytest.mark.parametrize("kind, changes", CUTS)
def test_heartbeats_keep_a_silent_stream_open(make_weir, upstream, make_front, kind, changes):
    upstream.handler = thinking
    weir = make_weir(patient_config(upstream, "300ms"))
    answer = ask(make_front(kind, weir.port, changes=changes))
    code, said = answer.finish()
    assert code == 0, said
    assert sse.text_of(answer.body) == "Well, yes."
    assert b"heartbeat" in answer.body


@pytest.mark.parametrize("kind, changes", CUTS)
def test_and_without_them_it_is_cut(make_weir, upstream, make_front, kind, changes):
    upstream.handler = thinking
    weir = make_weir(patient_config(upstream, "0s"))
    answer = ask(make_front(kind, weir.port, changes=changes))
    answer.finish()
    assert b"[DONE]" not in answer.body


@pytest.mark.parametrize("moment", ["while tokens come", "while the model thinks"])
@pytest.mark.parametrize("kind", FRONTS)
def test_a_client_that_leaves_is_noticed(behind, kind, moment):
    front = behind.front(kind)
    gone = []

    def talk(call):
        try:
            call.start_stream()
            call.write(sse.chunk(" token0"))
            for number in range(1, 1000):
                call.sleep(GAP_S if moment == "while tokens come" else 60)
                call.write(sse.chunk(f" token{number}"))
        except PeerGone:
            gone.append(time.monotonic())
            raise

    behind.upstream.handler = talk
    answer = ask(front)
    answer.wait_events(1)
    answer.close()
    behind.upstream.wait(lambda u: gone, 10 * patience(), "the provider's call being given up")


@pytest.mark.parametrize("kind", FULL)
def test_a_large_request_passes(behind, kind):
    front = behind.front(kind)
    behind.upstream.handler = chat()
    text = "word " * 600_000
    answer = ask(front, text=text)
    code, said = answer.finish()
    assert (code, answer.status_line.split()[1]) == (0, "200"), said + answer.body.decode()
    assert behind.upstream.only_request().json()["messages"][0]["content"] == text


# --- WebSocket ---


def accept_of(key):
    """What a server must answer to Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()


def echo(call):
    """Stands where weir would: upgrades, and sends back every byte."""
    headers = call.request.headers
    if headers.get("upgrade") is None:
        call.reply(200)  # a health check
        return
    assert headers.get("upgrade").lower() == "websocket"
    assert headers.get("connection").lower() == "upgrade"
    call.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept_of(headers.get("sec-websocket-key")).encode()
    )
    try:
        while True:
            call.send(call.reader.some())
    except Closed:
        call.close()


@pytest.mark.parametrize("kind", FULL)
def test_a_websocket_passes(upstream, make_front, kind):
    upstream.handler = echo
    front = make_front(kind, upstream.port)
    with front.connect() as sock:
        reader = Reader(sock)
        sock.sendall(
            b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: weir.example.com\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = reader.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert b"s3pplmbitxaq9kygzzhzrbk+xoo=" in head.lower()
        for number in range(10):
            # A masked text frame of 5 bytes, mask 0.
            frame = b"\x81\x85\0\0\0\0" + b"msg%02d" % number
            sock.sendall(frame)
            assert reader.exactly(len(frame)) == frame


# --- what the pages say about weir's own settings ---


def settings_of_weir():
    fence = re.compile(r"^ *```yaml\n( *# weir\.yaml.*?)^ *```$", re.M | re.S)
    return [
        pytest.param(textwrap.dedent(block), id=page.name)
        for page in sorted(PAGES.glob("*.md"))
        for block in fence.findall(page.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("block", settings_of_weir())
def test_the_settings_of_weir_are_right(block, tmp_path):
    path = tmp_path / "weir.yaml"
    path.write_text(block, encoding="utf-8")
    done = run("check", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
