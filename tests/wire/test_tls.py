"""TLS to clients and to providers."""

import socket
import ssl
import threading
import time

import pytest

from harness import hosts, sse
from harness.certs import Authority
from harness.rawhttp import Client
from harness.upstream import chat, stream
from harness.weir import config, patience, provider

CHAT = {"model": "up/m", "messages": []}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "somebody else")


# --- providers ---


def secure(make_weir, upstream, authority, **more):
    tls = {"ca_file": str(authority.cert)} | more.pop("tls", {})
    return make_weir(config({"up": provider(upstream, tls=tls, **more)}))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_provider_behind_tls(make_weir, make_upstream, authority, rng, version):
    context = authority.server_context("IP:127.0.0.1")
    context.minimum_version = context.maximum_version = version
    body = sse.chat_stream(["x" * 5000] * 50)
    upstream = make_upstream(stream(body, rng=rng), tls=context)
    weir = secure(make_weir, upstream, authority)
    for _ in range(3):
        assert weir.chat(CHAT | {"stream": True}).body == body
    assert upstream.connections <= 2  # reused per thread


def test_the_name_is_sent_and_checked(make_weir, make_upstream, authority, tmp_path):
    context = authority.server_context("DNS:api.example.test", name="named")
    seen = []
    context.sni_callback = lambda sock, name, ctx: seen.append(name)
    upstream = make_upstream(chat(), tls=context)
    weir = make_weir(
        config(
            {
                "up": provider(
                    f"https://api.example.test:{upstream.port}/v1",
                    allow_private=True,
                    tls={"ca_file": str(authority.cert)},
                )
            }
        ),
        wrapper=hosts.wrapper(tmp_path, api__example__test="127.0.0.1"),
    )
    assert weir.chat(CHAT).status == 200
    assert seen == ["api.example.test"]
    assert upstream.only_request().headers.get("host") == f"api.example.test:{upstream.port}"


@pytest.mark.parametrize(
    ("names", "is_right"),
    [
        (["DNS:localhost"], True),
        (["DNS:*.localhost"], False),
        (["DNS:otherhost"], False),
        (["IP:127.0.0.1"], False),
        ([], False),
    ],
)
def test_a_certificate_for_another_name_is_refused(
    make_weir, make_upstream, authority, names, is_right
):
    upstream = make_upstream(tls=authority.server_context(*names, name="localhost"))
    weir = secure(make_weir, f"https://localhost:{upstream.port}/v1", authority)
    got = weir.chat(CHAT)
    if is_right:
        assert got.status == 200
        return
    assert got.status == 502 and got.error["code"] == "upstream_tls"
    assert "certificate" in got.error["message"].lower()
    assert upstream.requests == []


def test_an_unknown_authority_is_refused(make_weir, make_upstream, authority, stranger):
    upstream = make_upstream(tls=stranger.server_context("IP:127.0.0.1"))
    for row in (provider(upstream, tls={"ca_file": str(authority.cert)}), provider(upstream)):
        got = make_weir(config({"up": row})).chat(CHAT)
        assert got.status == 502 and got.error["code"] == "upstream_tls"
    assert upstream.requests == []


def test_an_expired_certificate_is_refused(make_weir, make_upstream, authority):
    try:
        context = authority.server_context("IP:127.0.0.1", name="expired", days="-1")
    except Exception:  # noqa: BLE001 - some openssl versions refuse to make one
        pytest.skip("this openssl makes no expired certificates")
    upstream = make_upstream(tls=context)
    got = secure(make_weir, upstream, authority).chat(CHAT)
    assert got.status == 502 and got.error["code"] == "upstream_tls"
    assert upstream.requests == []


def test_a_client_certificate_is_presented(make_weir, make_upstream, authority):
    context = authority.server_context("IP:127.0.0.1", name="mutual", client_ca=authority.cert)
    upstream = make_upstream(tls=context)
    cert, key = authority.issue("weir-client", "DNS:weir")
    weir = secure(make_weir, upstream, authority, tls={"cert_file": cert, "key_file": key})
    assert weir.chat(CHAT).status == 200
    subject = dict(pair[0] for pair in upstream.only_request().peer_certificate["subject"])
    assert subject["commonName"] == "weir-client"
    # Without one, no.
    assert secure(make_weir, upstream, authority).chat(CHAT).status == 502


def test_plain_http_where_tls_was_expected_is_an_error(make_weir):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_in_plain():
            sock, _ = listener.accept()
            sock.recv(1000)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            sock.close()

        threading.Thread(target=answer_in_plain, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        got = make_weir(config({"up": provider(url)})).chat(CHAT)
    assert got.status == 502 and got.error["code"] == "upstream_tls"


def test_C4_a_handshake_that_stalls_times_out_and_the_next_works(
    make_weir, make_upstream, authority
):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        good = make_upstream(tls=authority.server_context("IP:127.0.0.1"))
        weir = make_weir(
            config(
                {
                    "stuck": provider(f"https://127.0.0.1:{silent.getsockname()[1]}/v1"),
                    "up": provider(good, tls={"ca_file": str(authority.cert)}),
                },
                timeouts={"tls": "300ms"},
            )
        )
        started = time.monotonic()
        got = weir.chat(CHAT | {"model": "stuck/m"})
        assert got.status == 504 and got.error["code"] == "upstream_timeout"
        assert 0.25 < time.monotonic() - started < 3 * patience()  # connecting had its own time
        assert weir.chat(CHAT).status == 200


def test_a_stream_cut_without_close_notify_is_no_whole_stream(make_weir, make_upstream, authority):
    def cut_off(call):
        call.start_stream("close")
        call.write(sse.chunk("half"))
        plain = socket.socket(fileno=call.sock.detach())  # the TLS layer says nothing more
        plain.shutdown(socket.SHUT_RDWR)
        plain.close()
        call.is_open = False

    upstream = make_upstream(cut_off, tls=authority.server_context("IP:127.0.0.1"))
    got = secure(make_weir, upstream, authority).chat(CHAT | {"stream": True})
    assert sse.DONE not in got.body
    assert b'"error"' in got.body


# --- clients ---


@pytest.fixture
def tls_weir(make_weir, make_upstream, authority):
    def start(**tls):
        cert, key = authority.issue("gateway", "DNS:localhost", "IP:127.0.0.1")
        listener = {"address": "127.0.0.1:0", "tls": {"cert_file": cert, "key_file": key, **tls}}
        settings = config({"up": provider(make_upstream(chat()))}, listen=[listener])
        return make_weir(settings, ready=False)

    return start


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_tls_listener(tls_weir, authority, version):
    weir = tls_weir()
    context = authority.client_context()
    context.minimum_version = context.maximum_version = version
    for name in ("localhost", "127.0.0.1"):
        with Client(weir.port, tls=context, server_hostname=name) as client:
            for _ in range(3):
                assert sse.text_of(client.chat(CHAT | {"stream": True}).body) == "Hello there."
            assert client.chat({"model": "up/m", "pad": "x" * 300000}).status == 200


def test_alpn_offers_http_1_1(tls_weir, authority):
    weir = tls_weir()
    context = authority.client_context()
    context.set_alpn_protocols(["http/1.1"])
    with Client(weir.port, tls=context, server_hostname="localhost") as client:
        assert client.sock.selected_alpn_protocol() == "http/1.1"
        assert client.chat(CHAT).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_protocols_are_refused(tls_weir, authority):
    weir = tls_weir()
    context = authority.client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Client(weir.port, tls=context, server_hostname="localhost")


def test_client_certificates_can_be_demanded(tls_weir, authority, stranger):
    weir = tls_weir(client_ca_file=str(authority.cert))
    good = authority.client_context(*authority.issue("client", "DNS:client"))
    with Client(weir.port, tls=good, server_hostname="localhost") as client:
        assert client.chat(CHAT).status == 200
    cert, key = stranger.issue("client", "DNS:client")
    for context in (authority.client_context(), authority.client_context(cert, key)):
        with pytest.raises((ssl.SSLError, OSError, Exception)) as caught:  # noqa: B017
            with Client(weir.port, tls=context, server_hostname="localhost") as client:
                client.chat(CHAT)
        assert not isinstance(caught.value, (AssertionError, TimeoutError))


def test_plain_http_on_a_tls_port_harms_nobody(tls_weir, authority):
    weir = tls_weir()
    with Client(weir.port) as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.is_closed() or client.reader.buffer
    with Client(weir.port) as client:
        client.send(bytes(range(256)) * 10)
    with Client(weir.port, tls=authority.client_context(), server_hostname="localhost") as client:
        assert client.chat(CHAT).status == 200


def test_sessions_are_resumed(tls_weir, authority):
    weir = tls_weir()
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session, resumed = None, []
    for _ in range(6):
        plain = socket.create_connection(("127.0.0.1", weir.port))
        sock = context.wrap_socket(plain, server_hostname="localhost", session=session)
        resumed.append(sock.session_reused)
        session = sock.session
        sock.close()
    assert resumed[0] is False and all(resumed[1:])  # whichever thread took it


def test_a_renewed_certificate_is_served_after_a_reload(tls_weir, authority):
    import signal

    from harness.weir import wait_until

    weir = tls_weir()

    def serial():
        with Client(weir.port, tls=authority.client_context(), server_hostname="localhost") as c:
            return c.sock.getpeercert()["serialNumber"]

    before = serial()
    authority.issue("gateway", "DNS:localhost", "IP:127.0.0.1")  # the same file names
    weir.signal(signal.SIGHUP)
    wait_until(lambda: serial() != before, what="the new certificate")


def test_a_bad_certificate_file_is_refused_at_the_start(authority, tmp_path):
    from harness.weir import run

    path = tmp_path / "weir.yaml"
    path.write_text(
        "listen:\n  - address: 127.0.0.1:0\n"
        f"    tls: {{cert_file: {authority.cert}, key_file: {path}}}\n"
    )
    done = run("run", "--config", str(path))
    assert done.returncode != 0 and "weir.yaml" in done.stderr
