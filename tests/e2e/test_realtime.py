"""Sessions of realtime models: a client's WebSocket joined to a provider's."""

import json
import os
import signal
import socket as sockets
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness.certs import Authority
from harness.sockets import PATIENCE_S, SocketUpstream, session
from harness.weir import config, provider, virtual_key, wait_until

pytestmark = pytest.mark.http1("an upgrade of HTTP/1.1")

KEY = "wk-realtime-client-key"


@pytest.fixture
def make_provider():
    made = []

    def make(*args, **more):
        made.append(SocketUpstream(*args, **more))
        return made[-1]

    yield make
    for upstream in made:
        upstream.stop()


@pytest.fixture
def realtime(make_weir, make_provider):
    """(weir, provider) with one session provider named up."""

    def make(handler=None, subprotocols=None, keys=(), **more):
        upstream = make_provider(handler, subprotocols=subprotocols)
        settings = config({"up": provider(upstream.url + "/v1")}, **more)
        if keys:
            settings["keys"] = list(keys)
        return make_weir(settings), upstream

    return make


# --- messages ---


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_cross_unaltered(realtime, compression):
    weir, upstream = realtime()
    texts = ["", "x", "hällo €" * 20, "a" * 125, "b" * 126, "c" * 65535, "d" * 65536, "é" * 300000]
    with session(weir, compression=compression) as s:
        for text in texts:
            s.send(text)
            assert s.recv(PATIENCE_S) == text
            s.send(text.encode())
            assert s.recv(PATIENCE_S) == text.encode()
        s.send(iter(["in ", "", "three"]))  # fragments
        assert s.recv(PATIENCE_S) == "in three"
    extensions = upstream.requests[0].headers.get("Sec-WebSocket-Extensions")
    assert (extensions is None) == (compression is None)
    entry = weir.log_entries(1, operation="realtime")[0]
    assert (entry["status"], entry["outcome"]) == (101, "ok")


def test_both_directions_flow_at_once(realtime):
    """Neither waits for the other: the provider sends on while it reads nothing."""
    go = threading.Event()

    def handler(socket):
        for _ in range(200):
            socket.send("x" * 10000)
        go.wait(PATIENCE_S)
        for message in socket:
            socket.send(message)

    weir, _ = realtime(handler)
    with session(weir, max_queue=None) as s:
        for i in range(100):
            s.send("y" * 10000)
        for _ in range(200):
            assert len(s.recv(PATIENCE_S)) == 10000
        go.set()
        for _ in range(100):
            assert s.recv(PATIENCE_S) == "y" * 10000


def test_both_directions_flow_at_once_over_tls(make_weir, make_provider, tmp_path):
    """The provider's side: one task reads a TLS connection while another writes it."""

    def handler(socket):
        writer = threading.Thread(target=lambda: [socket.send("x" * 50000) for _ in range(200)])
        writer.start()
        for message in socket:
            socket.send(message)
        writer.join(PATIENCE_S)

    authority = Authority(tmp_path / "ca")
    upstream = make_provider(handler, ssl=authority.server_context("IP:127.0.0.1"))
    row = provider(upstream.url.replace("http:", "https:") + "/v1")
    row["tls"] = {"ca_file": str(authority.cert)}
    weir = make_weir(config({"up": row}))
    with session(weir, max_queue=None) as s:
        sender = threading.Thread(target=lambda: [s.send("y" * 50000) for _ in range(200)])
        sender.start()
        got = [s.recv(PATIENCE_S) for _ in range(400)]
        sender.join(PATIENCE_S)
    assert got.count("x" * 50000) == got.count("y" * 50000) == 200


def test_a_pings_answer_is_the_providers(realtime):
    weir, _ = realtime()
    with session(weir, ping_interval=None) as s:
        assert s.ping(b"sign of life").wait(PATIENCE_S)


def event(type_, **more):
    return json.dumps({"type": type_, **more})


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_tokens_and_times_are_noticed(realtime, compression):
    """An answer that is interrupted, and one that is not; nothing of them is changed."""
    usage = {
        "total_tokens": 150,
        "input_tokens": 100,
        "output_tokens": 50,
        "input_token_details": {"text_tokens": 40, "audio_tokens": 60, "cached_tokens": 20},
        "output_token_details": {"text_tokens": 10, "audio_tokens": 40},
    }

    def handler(socket):
        socket.send(event("session.created", session={"model": "gpt-realtime-2025"}))
        for _ in range(2):
            assert json.loads(socket.recv())["type"] == "response.create"
            socket.send(event("response.created"))
            socket.send(event("response.output_audio.delta", delta="AAAA"))
            assert json.loads(socket.recv())["type"] == "response.cancel"
            socket.send(event("response.output_audio.delta", delta="AAAA"))
            socket.send(event("response.done", response={"usage": usage}))
        socket.recv()

    weir, _ = realtime(handler)
    with session(weir, compression=compression) as s:
        assert json.loads(s.recv(PATIENCE_S))["type"] == "session.created"
        for _ in range(2):
            s.send(event("response.create"))
            assert s.recv(PATIENCE_S) == event("response.created")
            s.recv(PATIENCE_S)
            s.send(event("response.cancel"))
            s.recv(PATIENCE_S)
            assert json.loads(s.recv(PATIENCE_S))["response"]["usage"] == usage
    entry = weir.log_entries(1, operation="realtime")[0]
    assert entry["response_model"] == "gpt-realtime-2025"
    assert (entry["input_tokens"], entry["output_tokens"]) == (200, 100)
    assert (entry["audio_input_tokens"], entry["audio_output_tokens"]) == (120, 80)
    target = {"provider": "up", "model": "m"}
    assert weir.metric("weir_realtime_barge_in_seconds_count", **target) == 2
    assert weir.metric("weir_realtime_first_audio_seconds_count", **target) == 2
    assert weir.metric("weir_realtime_first_text_seconds_count", **target) == 0
    first = {"gen_ai_operation_name": "realtime", "gen_ai_request_model": "m"}
    assert weir.metric("gen_ai_server_time_to_first_token_seconds_count", **first) == 2


# --- the handshake ---


def test_the_provider_gets_its_own_credential(realtime):
    weir, upstream = realtime(keys=[virtual_key("me", KEY)])
    with session(weir, key=KEY, headers={"OpenAI-Beta": "realtime=v1"}) as s:
        s.send("hi")
        assert s.recv(PATIENCE_S) == "hi"
        assert s.response.headers["x-weir-target"] == "up/m"
    request = upstream.requests[0]
    assert request.path == "/v1/realtime?model=m"
    assert request.headers["Authorization"] == "Bearer sk-upstream-secret"
    assert request.headers["OpenAI-Beta"] == "realtime=v1"
    assert KEY not in str(request.headers)


def test_a_browsers_key_is_a_subprotocol_that_goes_no_further(realtime):
    weir, upstream = realtime(subprotocols=["realtime"], keys=[virtual_key("me", KEY)])
    offered = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1"]
    with session(weir, subprotocols=offered) as s:
        assert s.subprotocol == "realtime"
        s.send("hi")
        assert s.recv(PATIENCE_S) == "hi"
    request = upstream.requests[0]
    assert request.headers["Sec-WebSocket-Protocol"] == "realtime, openai-beta.realtime-v1"
    assert KEY not in str(request.headers)
    entry = weir.log_entries(1, operation="realtime")[0]
    assert entry["key"] == "me"
    assert KEY not in "".join(weir.lines) + weir.stderr()


def test_azures_clients_say_key_and_deployment_in_the_query(realtime):
    weir, upstream = realtime(keys=[virtual_key("me", KEY)])
    path = f"/openai/realtime?api-version=2025-04-01-preview&deployment=up/m&api-key={KEY}&intent=x"
    with session(weir, path) as s:
        s.send("hi")
        assert s.recv(PATIENCE_S) == "hi"
    assert upstream.requests[0].path == "/v1/realtime?model=m&intent=x"
    assert KEY not in "".join(weir.lines)


@pytest.mark.parametrize(
    ("path", "key", "status", "code"),
    [
        ("/v1/realtime?model=up/m", None, 401, "missing_api_key"),
        ("/v1/realtime?model=up/m", "wrong", 401, "invalid_api_key"),
        ("/v1/realtime", KEY, 400, "invalid_body"),
        ("/v1/realtime?model=sim/echo", KEY, 400, "operation_not_offered"),
    ],
)
def test_refusals_are_http_answers(realtime, path, key, status, code):
    weir, upstream = realtime(keys=[virtual_key("me", KEY)])
    with pytest.raises(InvalidStatus) as caught:
        session(weir, path, key=key)
    assert caught.value.response.status_code == status
    assert json.loads(caught.value.response.body)["error"]["code"] == code
    assert upstream.requests == []


def test_an_ordinary_request_is_told_what_this_is(realtime):
    weir, _ = realtime()
    got = weir.get("/v1/realtime?model=up/m")
    assert got.status == 426
    assert "WebSocket" in got.error_message
    assert got.headers.get("sec-websocket-version") == "13"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost.evil.example:8080", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("http://localhost:3000", 101),
        ("http://127.0.0.1:3000", 101),
        ("http://[::1]:3000", 101),
    ],
)
def test_pages_of_other_sites_need_a_key(realtime, origin, status):
    """Browsers let any page open a socket to this machine: without keys nobody else would ask."""
    weir, _ = realtime()
    if status == 101:
        session(weir, origin=origin).close()
        return
    with pytest.raises(InvalidStatus) as caught:
        session(weir, origin=origin)
    assert caught.value.response.status_code == status
    assert json.loads(caught.value.response.body)["error"]["code"] == "foreign_origin"


def test_pages_of_other_sites_with_a_key_are_served(realtime):
    weir, _ = realtime(keys=[virtual_key("me", KEY)])
    session(weir, key=KEY, origin="https://app.example").close()


def test_a_key_has_so_many_sessions_at_once(realtime):
    weir, _ = realtime(
        keys=[virtual_key("me", KEY), virtual_key("you", KEY + "2")],
        realtime={"sessions_per_key": 2},
    )
    with session(weir, key=KEY) as first, session(weir, key=KEY), session(weir, key=KEY + "2"):
        with pytest.raises(InvalidStatus) as caught:
            session(weir, key=KEY)
        assert caught.value.response.status_code == 429
        assert json.loads(caught.value.response.body)["error"]["code"] == "too_many_sessions"
        first.close()
        weir.log_entries(1, operation="realtime", status=101)
        with session(weir, key=KEY) as another:
            another.send("hi")
            assert another.recv(PATIENCE_S) == "hi"


# --- attempts ---


def test_another_target_is_tried_before_the_session(make_weir, make_provider):
    broken, good = make_provider(), make_provider()
    broken.refuse = (503, json.dumps({"error": {"message": "overloaded"}}))
    settings = config({"a": provider(broken.url + "/v1"), "b": provider(good.url + "/v1")})
    settings["routing"]["retries"] = 2
    settings["routes"] = {"r": {"targets": ["a/m", "b/n"], "strategy": "priority"}}
    weir = make_weir(settings)
    with session(weir, "/v1/realtime?model=r") as s:
        s.send("hi")
        assert s.recv(PATIENCE_S) == "hi"
        assert s.response.headers["x-weir-target"] == "b/n"
    assert len(broken.requests) == 1
    assert good.requests[0].path == "/v1/realtime?model=n"


def test_the_last_refusal_is_the_clients(realtime):
    weir, upstream = realtime()
    body = json.dumps({"error": {"message": "no such model", "code": "model_not_found"}})
    upstream.refuse = (404, body)
    with pytest.raises(InvalidStatus) as caught:
        session(weir)
    assert caught.value.response.status_code == 404
    assert json.loads(caught.value.response.body)["error"]["message"] == "no such model"


# --- ends ---


def test_the_clients_close_code_reaches_the_provider(realtime):
    weir, upstream = realtime()
    s = session(weir)
    s.close(4001, "enough €")
    wait_until(lambda: upstream.closed, what="the provider's end")
    assert upstream.closed == [(4001, "enough €")]


def test_the_providers_close_code_reaches_the_client(realtime):
    weir, _ = realtime(lambda socket: socket.close(4008, "budget"))
    with session(weir) as s, pytest.raises(ConnectionClosed) as caught:
        s.recv(PATIENCE_S)
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4008, "budget")
    assert weir.log_entries(1, operation="realtime")[0]["outcome"] == "ok"


def cut(socket):
    """Ends the connection under a WebSocket without a word."""
    socket.socket.shutdown(sockets.SHUT_RDWR)


def test_a_lost_provider_is_told_as_one(realtime):
    def handler(socket):
        socket.recv()
        cut(socket)

    weir, _ = realtime(handler)
    with session(weir) as s, pytest.raises(ConnectionClosed) as caught:
        s.send("go")
        s.recv(PATIENCE_S)
    assert caught.value.rcvd.code == 1014
    entry = weir.log_entries(1, operation="realtime")[0]
    assert (entry["outcome"], entry["error"]) == ("stream_broken", "upstream_lost")


def test_a_lost_client_ends_the_providers_session(realtime):
    weir, upstream = realtime()
    s = session(weir)
    s.send("hi")
    s.recv(PATIENCE_S)
    cut(s)
    wait_until(lambda: upstream.closed, what="the provider's end")
    assert upstream.closed[0][0] == 1001
    assert weir.log_entries(1, operation="realtime")[0]["outcome"] == "client_gone"


def test_a_message_beyond_the_limit_ends_the_session(realtime):
    weir, upstream = realtime(realtime={"message": "2KiB"})
    s = session(weir, compression=None)
    with pytest.raises(ConnectionClosed) as caught:
        s.send("x" * 3000)
        s.recv(PATIENCE_S)
    assert caught.value.rcvd.code == 1009
    wait_until(lambda: upstream.closed, what="the provider's end")
    assert upstream.closed[0][0] == 1001


def test_an_idle_session_ends(realtime):
    weir, upstream = realtime(realtime={"idle": "300ms", "ping": "100ms"})
    with session(weir) as s, pytest.raises(ConnectionClosed) as caught:
        s.recv(PATIENCE_S)
    assert caught.value.rcvd.code == 1001
    assert "idle" in caught.value.rcvd.reason
    wait_until(lambda: upstream.closed, what="the provider's end")


def test_a_session_has_a_time_limit(realtime):
    def handler(socket):
        while True:
            socket.send("tick")
            time.sleep(0.02)

    weir, _ = realtime(handler, realtime={"session": "300ms"})
    with session(weir) as s, pytest.raises(ConnectionClosed) as caught:
        while True:
            s.recv(PATIENCE_S)
    assert caught.value.rcvd.code == 1001
    assert "time limit" in caught.value.rcvd.reason


def test_a_peer_that_gives_no_sign_of_life_is_gone(realtime):
    """The client's kernel holds the connection open, but nobody reads there."""
    weir, upstream = realtime(realtime={"ping": "200ms"})
    head = (
        "GET /v1/realtime?model=up/m HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with sockets.create_connection(("127.0.0.1", weir.port)) as mute:
        mute.sendall(head.encode())
        assert mute.recv(12) == b"HTTP/1.1 101"
        wait_until(lambda: upstream.closed, PATIENCE_S, "the provider's end")
    assert weir.log_entries(1, operation="realtime")[0]["outcome"] == "client_gone"


def test_living_but_silent_peers_stay(realtime):
    """websockets answers pings by itself: the session outlives many intervals."""
    weir, upstream = realtime(realtime={"ping": "50ms"})
    with session(weir) as s:
        time.sleep(0.5)
        s.send("still here")
        assert s.recv(PATIENCE_S) == "still here"
    assert len(upstream.requests) == 1


def test_a_shutdown_says_goodbye(realtime):
    weir, upstream = realtime(timeouts={"drain": "200ms"})
    s = session(weir)
    weir.signal(signal.SIGTERM)
    with pytest.raises(ConnectionClosed) as caught:
        s.recv(PATIENCE_S)
    assert caught.value.rcvd.code == 1001
    assert "shutting down" in caught.value.rcvd.reason
    wait_until(lambda: upstream.closed, what="the provider's end")


def test_broken_frames_are_told_and_go_no_further(realtime):
    weir, upstream = realtime()
    s = session(weir)
    s.socket.sendall(b"\x81\x05Hello")  # not masked
    with pytest.raises(ConnectionClosed) as caught:
        s.recv(PATIENCE_S)
    assert caught.value.rcvd.code == 1002
    wait_until(lambda: upstream.closed, what="the provider's end")
    assert upstream.closed[0][0] == 1001


def test_sessions_leave_nothing_behind(realtime):
    weir, upstream = realtime()
    before = weir.fds()
    for round_ in range(3):
        opened = [session(weir) for _ in range(20)]
        for i, s in enumerate(opened):
            s.send(str(i))
        for i, s in enumerate(opened):
            assert s.recv(PATIENCE_S) == str(i)
            if i % 3 == 0:
                cut(s)
            s.close()
        wait_until(lambda: len(upstream.closed) == 20 * (round_ + 1), PATIENCE_S, "the ends")
        weir.log_entries(20 * (round_ + 1), operation="realtime")
    wait_until(lambda: weir.fds() <= before + 1, what="descriptors given back")


# --- Gemini: the first message names the model ---

LIVE = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"


@pytest.fixture
def live(make_weir, make_provider):
    def make(handlers=(None,), keys=(), **more):
        upstreams = [make_provider(handler) for handler in handlers]
        rows = {
            f"g{i}": provider(
                up.url, dialect="gemini", auth={"kind": "header", "name": "x-goog-api-key"}
            )
            for i, up in enumerate(upstreams)
        }
        settings = config(rows, **more)
        settings["routing"]["retries"] = 2
        settings["routes"] = {
            "r": {"targets": [f"{name}/gemini-live" for name in rows], "strategy": "priority"}
        }
        if keys:
            settings["keys"] = list(keys)
        return make_weir(settings), upstreams

    return make


def setup(model, **more):
    return json.dumps({"setup": {"model": model, **more}})


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_live_session_goes_where_its_setup_says(live, as_bytes):
    weir, (upstream,) = live(keys=[virtual_key("me", KEY)])
    first = setup("models/r", generationConfig={"responseModalities": ["AUDIO"]})
    with session(weir, f"{LIVE}?key={KEY}") as s:
        s.ping().wait(PATIENCE_S)
        s.send(first.encode() if as_bytes else first)
        got = s.recv(PATIENCE_S)
        assert isinstance(got, bytes) == as_bytes
        assert json.loads(got) == {
            "setup": {
                "model": "models/gemini-live",
                "generationConfig": {"responseModalities": ["AUDIO"]},
            }
        }
        s.send("more")
        assert s.recv(PATIENCE_S) == "more"
    request = upstream.requests[0]
    assert request.path == LIVE
    assert request.headers["x-goog-api-key"] == "sk-upstream-secret"
    assert KEY not in str(request.headers) + "".join(weir.lines)
    entry = weir.log_entries(1, operation="live")[0]
    assert (entry["model"], entry["provider"], entry["outcome"]) == ("r", "g0", "ok")


def test_messages_behind_the_setup_are_not_lost(live):
    weir, _ = live()
    with session(weir, LIVE) as s:
        s.send(iter(['{"setup":{"mod', 'el":"models/r"}}']))
        for i in range(50):
            s.send(str(i))
        assert json.loads(s.recv(PATIENCE_S)) == {"setup": {"model": "models/gemini-live"}}
        assert [s.recv(PATIENCE_S) for _ in range(50)] == [str(i) for i in range(50)]


def test_a_live_session_tries_another_target(live):
    weir, (broken, good) = live(handlers=(None, None))
    broken.refuse = (503, json.dumps({"error": {"message": "overloaded"}}))
    with session(weir, LIVE) as s:
        s.send(setup("models/r"))
        s.recv(PATIENCE_S)
    assert len(broken.requests) == len(good.requests) == 1
    assert weir.log_entries(1, operation="live")[0]["provider"] == "g1"


@pytest.mark.parametrize(
    ("first", "code", "words"),
    [
        ("no JSON", 1008, "first message"),
        ("{}", 1008, "first message"),
        (setup("models/unknown-model"), 1008, "unknown-model"),
        ("x" * (2 << 20), 1009, "limit"),
    ],
)
def test_a_bad_setup_is_refused_by_a_close_frame(live, first, code, words):
    weir, upstreams = live(handlers=(None, None))
    with session(weir, LIVE, compression=None) as s, pytest.raises(ConnectionClosed) as caught:
        s.send(first)
        s.recv(PATIENCE_S)
    assert caught.value.rcvd.code == code
    assert words in caught.value.rcvd.reason
    assert all(not up.requests for up in upstreams)
    assert weir.log_entries(1, operation="live")[0]["outcome"] == "client_error"


def test_targets_that_all_refuse_are_told_by_a_close_frame(live):
    weir, (upstream,) = live()
    upstream.refuse = (503, json.dumps({"error": {"message": "overloaded"}}))
    with session(weir, LIVE) as s, pytest.raises(ConnectionClosed) as caught:
        s.send(setup("models/r"))
        s.recv(PATIENCE_S)
    assert caught.value.rcvd.code == 1014
    assert "g0 answered 503" in caught.value.rcvd.reason


def test_a_client_that_leaves_before_its_setup_leaves_nothing(live):
    weir, _ = live()
    before = weir.fds()
    for leave in (cut, lambda s: s.close()):
        s = session(weir, LIVE)
        leave(s)
    entries = weir.log_entries(2, operation="live")
    assert [e["outcome"] for e in entries] == ["client_gone"] * 2
    wait_until(lambda: weir.fds() <= before + 1, what="descriptors given back")


def test_vertex_ai_is_told_the_whole_name_of_the_model(make_weir, make_provider):
    upstream = make_provider()
    path = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
    row = provider(
        upstream.url,
        dialect="gemini",
        variant="vertex",
        project="p-1",
        location="europe-west4",
        paths={"live": path},
    )
    weir = make_weir(config({"vertex": row}))
    asked = "projects/mine/locations/us-central1/publishers/google/models/vertex/gemini-live"
    with session(weir, path) as s:
        s.send(setup(asked))
        told = json.loads(s.recv(PATIENCE_S))
    name = "projects/p-1/locations/europe-west4/publishers/google/models/gemini-live"
    assert told == {"setup": {"model": name}}
    assert upstream.requests[0].path == path


# --- sessions without a model ---


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("intent=transcription", "?intent=transcription"),
        ("call_id=rtc_1", "?call_id=rtc_1"),
        ("intent=transcription&provider=up", "?intent=transcription"),
    ],
)
def test_sessions_that_name_no_model_go_to_the_provider(realtime, query, told):
    weir, upstream = realtime(keys=[virtual_key("me", KEY, models=["up/*"])])
    with session(weir, "/v1/realtime?" + query, key=KEY) as s:
        s.send("hi")
        assert s.recv(PATIENCE_S) == "hi"
    assert upstream.requests[0].path == "/v1/realtime" + told
    name = "up/call" if "call_id" in query else "up/transcription"
    assert weir.log_entries(1, operation="realtime")[0]["model"] == name


# --- whatever a provider speaks ---


def test_a_providers_own_path_is_passed_through(realtime, make_weir, make_provider):
    upstream = make_provider(subprotocols=["voice"])
    row = provider(upstream.url, passthrough=["/v1/listen", "/v1/speak*"])
    key = virtual_key("me", KEY, models=["deep/v1/listen", "deep/v2*", "deep/v1/speak*"])
    weir = make_weir(config({"deep": row}, keys=[key]))
    path = "/passthrough/deep/v1/listen?encoding=linear16&model=nova&channel=1"
    with session(weir, path, key=KEY, subprotocols=["voice"]) as s:
        s.send(b"\x00\x01\xff")
        assert s.recv(PATIENCE_S) == b"\x00\x01\xff"
        s.send("not JSON")
        assert s.recv(PATIENCE_S) == "not JSON"
        assert s.subprotocol == "voice"
    request = upstream.requests[0]
    assert request.path == "/v1/listen?encoding=linear16&model=nova&channel=1"
    assert request.headers["Authorization"] == "Bearer sk-upstream-secret"
    entry = weir.log_entries(1, operation="passthrough")[0]
    assert (entry["model"], entry["outcome"]) == ("deep/v1/listen", "ok")
    assert weir.metric("weir_observer_errors_total") == 0
    for other, status in (
        ("deep/v2/listen", 400),  # not the provider's
        ("deep/v1/other", 403),  # not the key's
        ("deep/v1/speak/../admin", 400),
        ("deep/v1/speak/%2e%2e/admin", 400),
        ("nobody/v1/listen", 404),
    ):
        with pytest.raises(InvalidStatus) as caught:
            session(weir, "/passthrough/" + other, key=KEY)
        assert caught.value.response.status_code in (status, 403), other
    assert len(upstream.requests) == 1


# --- what ends a session from outside ---


def talk_until_closed(s):
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            s.send("hi")
            s.recv(PATIENCE_S)
            time.sleep(0.02)
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_a_session_ends_when_its_key_is_taken_away(make_weir, make_provider):
    upstream = make_provider()
    settings = config({"up": provider(upstream.url + "/v1")})
    settings["keys"] = [virtual_key("me", KEY), virtual_key("you", KEY + "2")]
    weir = make_weir(settings)
    with session(weir, key=KEY) as mine, session(weir, key=KEY + "2") as yours:
        settings["keys"][0]["models"] = ["other/*"]
        weir.write_config(settings)
        weir.signal(signal.SIGHUP)
        code, reason = talk_until_closed(mine)
        assert code == 1008 and "may not be used" in reason
        yours.send("hi")
        assert yours.recv(PATIENCE_S) == "hi"
    wait_until(lambda: len(upstream.closed) == 2, PATIENCE_S, "the provider's ends")
    assert (1001, "the gateway has ended the session") in upstream.closed
    (entry,) = weir.log_entries(1, operation="realtime", key="me")
    assert (entry["outcome"], entry["error"]) == ("client_error", "policy")


def test_a_silent_session_ends_with_its_key(realtime):
    import datetime

    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    expires = end.strftime("%Y-%m-%dT%H:%M:%SZ")
    weir, _ = realtime(keys=[virtual_key("me", KEY, expires=expires)])
    with session(weir, key=KEY) as s, pytest.raises(ConnectionClosed) as caught:
        s.recv(PATIENCE_S)
    assert caught.value.rcvd.code == 1008
    assert "expired" in caught.value.rcvd.reason


def test_a_session_ends_when_its_tokens_are_used(realtime):
    usage = {"input_tokens": 30, "output_tokens": 30, "total_tokens": 60}

    def handler(socket):
        for _ in socket:
            socket.send(event("response.done", response={"usage": usage}))

    weir, _ = realtime(handler, realtime={"session_tokens": 100})
    with session(weir) as s:
        answers = 0
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                s.send(event("response.create"))
                s.recv(PATIENCE_S)
                answers += 1
    assert answers == 2, "the answer that reaches the bound is delivered"
    assert caught.value.rcvd.code == 1008
    assert "realtime.session_tokens" in caught.value.rcvd.reason
