"""Connections to providers: reused, retried once when it is free, guarded, and proxied."""

import socket
import time

import pytest

from harness import hosts, sse
from harness.certs import Authority
from harness.proxy import Proxy
from harness.upstream import CHAT_ANSWER, answer, chat, in_turn
from harness.weir import config, patience, provider, wait_until

CHAT = {"model": "up/m", "messages": []}


def single(make_weir, upstream, **more):
    """One thread, so one pool."""
    return make_weir(config({"up": provider(upstream)}, threads=1, **more))


def test_connections_are_reused(make_weir, upstream):
    weir = single(make_weir, upstream)
    for _ in range(20):
        assert weir.chat(CHAT).status == 200  # a new client connection each
    assert upstream.connections == 1
    assert [r.turn for r in upstream.requests] == list(range(1, 21))
    assert weir.metric("weir_upstream_connections_reused_total") == 19
    assert weir.log_entries(20, operation="chat")[-1]["upstream_reused"] is True


def test_streams_and_errors_leave_the_connection_usable(make_weir, upstream):
    upstream.handler = in_turn(
        chat(), answer({"error": {"message": "x"}}, 429), chat(), answer(CHAT_ANSWER)
    )
    weir = single(make_weir, upstream)
    for _ in range(4):
        weir.chat(CHAT | {"stream": True})
        # [DONE] ends a stream for the client, the upstream's last chunk comes a moment later.
        wait_until(lambda: weir.metric("weir_upstream_connections", state="idle") == 1)
    assert upstream.connections == 1


@pytest.mark.parametrize("why", ["says close", "http/1.0", "body until close", "unread rest"])
def test_a_connection_that_may_not_be_reused_is_not(make_weir, upstream, why):
    def handle(call):
        if why == "says close":
            call.send(call.head(200, [("Connection", "close")], "length", 2) + b"{}")
        elif why == "http/1.0":
            call.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        elif why == "body until close":
            call.start(200, {"Content-Type": "application/json"}, "close")
            call.send(b"{}")
            call.close()
        else:
            call.send(call.head(200, [], "length", 2) + b"{}{extra bytes}")

    upstream.handler = handle
    weir = single(make_weir, upstream)
    for _ in range(3):
        got = weir.chat(CHAT)
        assert got.status == 200 and got.body == b"{}"
    assert upstream.connections == 3


def test_idle_connections_are_given_back_after_their_time(make_weir, upstream):
    weir = single(make_weir, upstream, pool={"idle_timeout": "200ms"})
    weir.chat(CHAT)
    upstream.wait(lambda u: not u._sockets, 10 * patience(), "the idle connection's end")
    assert weir.chat(CHAT).status == 200
    assert upstream.connections == 2


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_reused_connection_that_dies_unanswered_is_retried_once_free(make_weir, upstream, how):
    """The provider's keep-alive ran out just as the request was sent: no client notices."""

    def dies_on_second(call):
        if call.request.turn == 2 and call.request.connection == 1:
            getattr(call, how)()
        else:
            call.reply(200, CHAT_ANSWER)

    upstream.handler = dies_on_second
    weir = single(make_weir, upstream)
    assert weir.chat(CHAT).status == 200
    got = weir.chat(CHAT)
    assert got.status == 200
    assert len(upstream.requests) == 3
    first, second = upstream.requests[1:]
    assert first.body == second.body and second.connection == 2
    assert weir.metric("weir_upstream_free_retries_total") == 1
    assert got.headers.get("x-weir-attempts") == "1"  # no attempt was paid for


def test_a_reused_connection_closed_while_idle_is_not_even_tried(make_weir, upstream):
    upstream.handler = lambda call: (call.reply(200, CHAT_ANSWER), call.close())
    weir = single(make_weir, upstream)
    for _ in range(5):
        assert weir.chat(CHAT).status == 200
    assert len(upstream.requests) == 5


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_new_connection_that_dies_is_not_retried(make_weir, upstream, how):
    upstream.handler = lambda call: getattr(call, how)()
    weir = single(make_weir, upstream)
    assert weir.chat(CHAT).status == 502
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("how", ["close", "reset"])
def test_after_the_first_byte_nothing_is_sent_again(make_weir, upstream, how):
    def dies_after_a_byte(call):
        if call.request.turn == 1 and call.request.connection == 1:
            call.reply(200, CHAT_ANSWER)
        else:
            call.send(b"HTTP/1.1 2")
            getattr(call, how)()

    upstream.handler = dies_after_a_byte
    weir = single(make_weir, upstream)
    assert weir.chat(CHAT).status == 200
    assert weir.chat(CHAT).status == 502
    assert len(upstream.requests) == 2


def test_the_free_retry_happens_once_not_for_ever(make_weir, upstream):
    def only_first(call):
        if call.request.connection == 1 and call.request.turn == 1:
            call.reply(200, CHAT_ANSWER)
        else:
            call.close()

    upstream.handler = only_first
    weir = single(make_weir, upstream)
    assert weir.chat(CHAT).status == 200
    assert weir.chat(CHAT).status == 502
    assert len(upstream.requests) == 3


def test_L21_connections_in_use_survive_a_small_pool(make_weir, upstream):
    upstream.handler = chat(["w"] * 20, gap_s=0.01)
    weir = single(make_weir, upstream, pool={"idle_per_provider": 1, "idle_timeout": "10ms"})
    clients = [weir.client() for _ in range(20)]
    for client in clients:
        client.send(client.build("POST", "/v1/chat/completions",
                                 b'{"model":"up/m","messages":[],"stream":true}'))  # fmt: skip
    for client in clients:
        assert sse.text_of(client.response().body) == "w" * 20
        client.close()


def test_happy_eyeballs_a_dead_first_address_costs_little(make_weir, upstream, tmp_path):
    """::1 refuses, 127.0.0.1 answers: the name works."""
    weir = make_weir(
        config({"up": provider(f"http://two.example.test:{upstream.port}/v1", allow_private=True)}),
        wrapper=hosts.wrapper(tmp_path, two__example__test="::1 127.0.0.1"),
    )
    started = time.monotonic()
    assert weir.chat(CHAT).status == 200
    assert time.monotonic() - started < 2 * patience()


# --- where weir may connect to ---


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.170.2/v2/credentials",
        "http://[fe80::1]/v1",
        "http://[fd00:ec2::254]/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://[::ffff:a9fe:a9fe]/v1",
        "http://0.0.0.0:1/v1",
    ],
)
def test_X1_L27_metadata_and_link_local_addresses_are_never_dialled(make_weir, url):
    weir = make_weir(config({"up": provider(url, allow_private=True)}))
    started = time.monotonic()
    got = weir.chat(CHAT)
    assert got.status == 502 and got.error["code"] == "upstream_address_forbidden"
    assert time.monotonic() - started < 2 * patience()  # refused, not tried and timed out


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "100.64.0.1", "::1",
                "fc00::1", "::ffff:10.0.0.1"]
)  # fmt: skip
def test_X1_a_name_that_leads_to_a_private_address_is_not_followed(
    make_weir, upstream, tmp_path, address
):
    weir = make_weir(
        config({"up": provider(f"http://rebound.example.test:{upstream.port}/v1")}),
        wrapper=hosts.wrapper(tmp_path, rebound__example__test=address),
    )
    got = weir.chat(CHAT)
    assert got.status == 502 and got.error["code"] == "upstream_address_forbidden"
    assert "allow_private" in got.error["message"]
    assert upstream.connections == 0


def test_X1_unless_it_is_allowed(make_weir, upstream, tmp_path):
    weir = make_weir(
        config(
            {"up": provider(f"http://here.example.test:{upstream.port}/v1", allow_private=True)}
        ),
        wrapper=hosts.wrapper(tmp_path, here__example__test="127.0.0.1"),
    )
    assert weir.chat(CHAT).status == 200


def test_X1_link_local_not_even_when_allowed(make_weir, tmp_path):
    weir = make_weir(
        config({"up": provider("http://meta.example.test/v1", allow_private=True)}),
        wrapper=hosts.wrapper(tmp_path, meta__example__test="169.254.169.254"),
    )
    got = weir.chat(CHAT)
    assert got.status == 502 and got.error["code"] == "upstream_address_forbidden"


def test_L27_a_clients_body_cannot_choose_the_host(weir, upstream, make_upstream):
    evil = make_upstream()
    body = {"model": "up/m", "messages": [], "api_base": evil.url, "base_url": evil.url,
            "metadata": {"api_base": evil.url}, "extra_body": {"base_url": evil.url}}  # fmt: skip
    headers = {"x-base-url": evil.url, "x-portkey-custom-host": evil.url, "Host": "evil.example"}
    assert weir.chat(body, headers).status == 200
    assert evil.connections == 0 and len(upstream.requests) == 1
    assert upstream.requests[0].headers.get("host") == f"127.0.0.1:{upstream.port}"


def test_L27_a_redirect_is_not_followed(weir, upstream, make_upstream):
    evil = make_upstream()
    upstream.handler = answer(b'{"error":{"message":"moved"}}', 302, {"Location": evil.url + "/v1"})
    got = weir.chat(CHAT)
    assert got.status in (302, 502)
    assert evil.connections == 0


# --- proxies ---


@pytest.fixture
def proxy():
    made = Proxy()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_https_proxy_of_the_environment(make_weir, make_upstream, authority, proxy, variable):
    """The provider's name goes to the proxy unresolved; TLS is spoken through it."""
    upstream = make_upstream(chat(), tls=authority.server_context("DNS:api.example.test"))
    proxy.send_to = ("127.0.0.1", upstream.port)
    weir = make_weir(
        config(
            {"up": provider("https://api.example.test/v1", tls={"ca_file": str(authority.cert)})}
        ),
        env={variable: proxy.url},
    )
    assert sse.text_of(weir.chat(CHAT | {"stream": True}).body) == "Hello there."
    method, target, headers = proxy.asked[0]
    assert (method, target) == ("CONNECT", "api.example.test:443")
    assert headers.get("host") == "api.example.test:443"
    assert "authorization" not in headers
    assert upstream.only_request().headers.get("authorization") == "Bearer sk-upstream-secret"


def test_a_proxy_with_a_password(make_weir, make_upstream, authority, proxy):
    upstream = make_upstream(tls=authority.server_context("DNS:api.example.test"))
    proxy.send_to = ("127.0.0.1", upstream.port)
    url = proxy.url.replace("http://", "http://user:p%40ss@")
    weir = make_weir(
        config({"up": provider("https://api.example.test/v1", proxy=url,
                               tls={"ca_file": str(authority.cert)})})
    )  # fmt: skip
    assert weir.chat(CHAT).status == 200
    import base64

    expected = "Basic " + base64.b64encode(b"user:p@ss").decode()
    assert proxy.asked[0][2].get("proxy-authorization") == expected
    assert b"ss" not in (upstream.only_request().headers.get("proxy-authorization") or "").encode()


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "10.0.0.0/8,127.0.0.0/8", "x, 127.0.0.1"])
def test_no_proxy_goes_directly(make_weir, make_upstream, authority, proxy, no_proxy):
    upstream = make_upstream(tls=authority.server_context("IP:127.0.0.1"))
    weir = make_weir(
        config({"up": provider(upstream, tls={"ca_file": str(authority.cert)})}),
        env={"HTTPS_PROXY": proxy.url, "NO_PROXY": no_proxy},
    )
    assert weir.chat(CHAT).status == 200
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("no_proxy", "is_direct"),
    [("example.test", True), (".example.test", True), ("ample.test", False), ("other.test", False)],
)
def test_no_proxy_by_name(
    make_weir, make_upstream, authority, proxy, tmp_path, no_proxy, is_direct
):
    upstream = make_upstream(tls=authority.server_context("DNS:api.example.test"))
    proxy.send_to = ("127.0.0.1", upstream.port)
    weir = make_weir(
        config({"up": provider(f"https://api.example.test:{upstream.port}/v1", allow_private=True,
                               tls={"ca_file": str(authority.cert)})}),
        env={"HTTPS_PROXY": proxy.url, "NO_PROXY": no_proxy},
        wrapper=hosts.wrapper(tmp_path, api__example__test="127.0.0.1"),
    )  # fmt: skip
    assert weir.chat(CHAT).status == 200
    assert (proxy.asked == []) == is_direct


def test_a_proxy_that_refuses_is_an_error_that_says_so(make_weir, proxy):
    proxy.refuse_with = "407 Proxy Authentication Required"
    weir = make_weir(config({"up": provider("https://api.example.test/v1", proxy=proxy.url)}))
    got = weir.chat(CHAT)
    assert got.status == 502 and "407" in got.error["message"]
    assert proxy.url not in got.error["message"] or "@" not in got.error["message"]


def test_a_proxy_that_is_not_there(make_weir):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    weir = make_weir(
        config({"up": provider("https://api.example.test/v1", proxy=f"http://127.0.0.1:{port}")})
    )
    got = weir.chat(CHAT)
    assert got.status == 502 and got.error["code"] == "upstream_unreachable"


def test_the_pool_keeps_no_connection_that_the_provider_closed(make_weir, upstream):
    upstream.handler = lambda call: (call.reply(200, CHAT_ANSWER), call.close())
    weir = single(make_weir, upstream)
    for _ in range(10):
        weir.chat(CHAT)
    fds = weir.fds()
    for _ in range(30):
        weir.chat(CHAT)
    wait_until(lambda: weir.fds() <= fds + 2, what="closed descriptors")
