"""weir probe: what a path does to the streams of a weir behind it."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading

import pytest

from harness.certs import Authority
from harness.path import Path
from harness.weir import alias, config, patience, provider, run, virtual_key, wait_until

pytestmark = pytest.mark.http1("asks by HTTP/1.1")

FAULT = 3
ONE_BY_ONE = {"smooth", "uneven"}  # a machine that is busy is uneven at times
KEY = "wk-0123456789abcdef0123456789abcdef"
EVENTS, PACE = 30, "20ms"
SBIN = os.environ.get("PATH", "") + ":/usr/sbin"
NGINX, HAPROXY = (shutil.which(name, path=SBIN) for name in ("nginx", "haproxy"))


@pytest.fixture(scope="module")
def gateway(make_shared_weir):
    return make_shared_weir(config(timeouts={"heartbeat": "300ms"}))


def probe(url, *options, env=None):
    return run("probe", url, *options, env=env, timeout=60 * patience())


def report(url, *options, events=EVENTS, pace=PACE, env=None):
    """(exit status, the report)."""
    done = probe(url, "--json", "--events", str(events), "--pace", pace, *options, env=env)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def faults(told):
    return {finding["trouble"] for finding in told["findings"] if finding["is_fault"]}


def words(told):
    return " | ".join(finding["text"] for finding in told["findings"])


def mends(told, trouble):
    found = [f["mend"] for f in told["findings"] if f["trouble"] == trouble and f["is_fault"]]
    return [(mend["hop"], mend["setting"]) for mend in found[0]]


# --- a path that does nothing ---


def test_weir_itself_streams(gateway):
    status, told = report(gateway.url)
    assert (status, told["streams"]) == (0, True), told
    assert told["flow"] in ONE_BY_ONE
    assert told["events"] == {"asked": EVENTS, "came": EVENTS, "missing": 0}
    assert not faults(told) and told["hops"] == []
    numbers = [event[0] for event in told["timeline"]]
    assert numbers == list(range(1, EVENTS + 1))
    assert all(sent >= 20 * i for i, (_, sent, _, _) in enumerate(told["timeline"]))


def test_a_path_that_passes_on_is_good(gateway):
    with Path(gateway.port) as path:
        for url in (path.url, f"{path.url}/", f"{path.url}/v1", f"{path.url}/v1/chat/completions"):
            status, told = report(url, events=8)
            assert status == 0 and told["url"] == f"{path.url}/v1/chat/completions", told


def test_the_picture_shows_it(gateway):
    done = probe(gateway.url, "--events", "20", "--pace", "20ms")
    assert done.returncode == 0, done.stdout
    assert re.search(r"sent \|[ .2-9]{20}\|\n  came \|[ .2-9]{20}\|", done.stdout), done.stdout
    assert "Streams come through, event by event." in done.stdout
    with Path(gateway.port, hold_all=True) as path:
        done = probe(path.url, "--events", "20", "--pace", "20ms")
    assert done.returncode == FAULT
    assert f"came |{' ' * 19}#|" in done.stdout
    assert "FAULT    The path holds the answer back until its end" in done.stdout
    assert "This path spoils streams." in done.stdout


# --- paths that hold back ---


def test_a_buffer_is_seen(gateway):
    with Path(gateway.port, hold_all=True) as path:
        status, told = report(path.url)
    assert (status, told["flow"], told["streams"]) == (FAULT, "whole", False)
    assert "Content-Length" in words(told)
    assert told["late_ms"]["worst"] >= 20 * (EVENTS - 1) * 0.9


def test_bunches_are_measured(gateway):
    with Path(gateway.port, hold_bytes=2048) as path:
        status, told = report(path.url)
    assert (status, told["flow"]) == (FAULT, "bunched"), told
    assert 2048 <= told["bunches"]["bytes"] <= 2048 + 600
    assert told["bunches"]["largest"] >= 2048 // 400


def test_a_beginning_that_is_held_back_is_told_from_bunches(gateway):
    with Path(gateway.port, hold_start=3000) as path:
        status, told = report(path.url)
    assert (status, told["flow"]) == (FAULT, "held_start"), told


# --- compression ---


def test_a_compressor_that_waits_for_a_block_is_a_fault(gateway):
    with Path(gateway.port, gzip_flushes=False) as path:
        status, told = report(path.url)
    assert (status, told["events"]["came"]) == (FAULT, EVENTS)
    assert faults(told) >= {"compresses", "buffers"}


def test_a_compressor_that_flushes_is_worth_a_note(gateway):
    with Path(gateway.port, gzip_flushes=True) as path:
        status, told = report(path.url)
    assert status == 0 and told["flow"] in ONE_BY_ONE, told
    assert "Content-Encoding: gzip" in words(told)


# --- headers ---


def test_headers_that_are_gone_are_told(gateway):
    with Path(gateway.port, drop=["X-Accel-Buffering", "Cache-Control"]) as path:
        status, told = report(path.url)
    assert status == 0
    assert "X-Accel-Buffering is gone" in words(told) and "Cache-Control is gone" in words(told)


def test_another_content_type_is_a_fault(gateway):
    with Path(gateway.port, add=[("Content-Type", "text/plain")]) as path:
        status, told = report(path.url)
    assert (status, faults(told)) == (FAULT, {"rewrites"})
    assert told["flow"] in ONE_BY_ONE


def test_hops_are_named_with_the_setting_that_mends_it(gateway):
    signs = [("Via", "1.1 varnish"), ("X-Varnish", "7"), ("CF-Ray", "8f-FRA"), ("Server", "nginx")]
    with Path(gateway.port, hold_bytes=2048, add=signs) as path:
        status, told = report(path.url)
        text = probe(path.url, "--events", "20", "--pace", "20ms").stdout
    assert status == FAULT
    assert [hop["name"] for hop in told["hops"]] == ["Varnish", "Cloudflare", "nginx"]
    settings = dict(mends(told, "buffers"))
    assert "beresp.do_stream" in settings["Varnish"] and "proxy_buffering off" in settings["nginx"]
    assert "weir > Varnish (Via: 1.1 varnish) > Cloudflare" in text
    assert "-> nginx: proxy_buffering off" in text


# --- silence ---


def test_heartbeats_carry_a_stream_over_a_silence(gateway):
    with Path(gateway.port, cut_after_s=1.5 * patience()) as path:
        idle_s = 2.5 * patience()
        status, told = report(path.url, "--idle", f"{int(idle_s * 1000)}ms")
    assert (status, told["end"]) == (0, "whole"), told
    assert told["silence"]["heartbeats"] >= 3
    assert told["silence"]["longest_ms"] < 1000 * idle_s


def test_a_silence_that_is_cut_is_told_with_its_length(make_weir):
    weir = make_weir(config(timeouts={"heartbeat": "0s"}))
    with Path(weir.port, cut_after_s=1.0) as path:
        status, told = report(path.url, "--idle", "20s")
    assert (status, told["end"], faults(told)) == (FAULT, "cut", {"cuts"}), told
    assert told["events"]["missing"] == 1 and told["flow"] in ONE_BY_ONE
    silent_ms = told["end_ms"] - told["timeline"][-1][2]
    assert 900 <= silent_ms < 1000 + 3000 * patience()
    assert f"cut after {silent_ms / 1000:.1f} s without a byte" in words(told)


def test_weir_giving_up_is_not_the_paths_fault(make_weir):
    weir = make_weir(config(timeouts={"stall": "300ms"}))
    done = probe(weir.url, "--events", "5", "--idle", "20s")
    assert done.returncode == 1
    assert "weir ended the stream with an error." in done.stdout and "end  " in done.stdout


# --- nothing to judge ---


def test_a_key_is_needed_where_keys_are_and_is_never_shown(make_weir, upstream):
    """Real providers and keys: the self-test stream is a model like others."""
    weir = make_weir(
        config(
            {"up": provider(upstream)},
            keys=[
                virtual_key("tests", KEY),
                virtual_key("narrow", KEY[::-1] + "00", models=["up/*"]),
            ],
        )
    )
    done = probe(weir.url, "--events", "8", "--pace", "10ms")
    assert done.returncode == 1 and "HTTP 401" in done.stdout, done.stdout
    for options, env in ((["--key", KEY], {}), ([], {"WEIR_PROBE_KEY": KEY})):
        done = probe(weir.url, "--events", "8", "--pace", "10ms", *options, env=env)
        assert done.returncode == 0, done.stdout
        assert KEY not in done.stdout + done.stderr
    done = probe(weir.url, "--events", "8", "--key", KEY[::-1] + "00")
    assert done.returncode == 1 and "sim/probe" in done.stdout, done.stdout
    assert not upstream.requests


def test_another_name_for_the_stream_may_be_given(make_weir):
    weir = make_weir(config(models={"selftest": alias("sim/probe?tokens=6&pace=5ms")}))
    done = probe(weir.url, "--json", "--model", "selftest")
    told = json.loads(done.stdout)
    assert done.returncode == 0, told
    assert told["events"] == {"asked": 0, "came": 6, "missing": 0}


def test_an_answer_that_is_no_self_test_stream_is_told(make_weir, gateway):
    done = probe(gateway.url, "--model", "sim/echo")
    assert done.returncode == 1 and "no self-test stream" in done.stdout
    weir = make_weir(config(providers={"sim": {"enabled": False}}), ready=False)
    done = probe(weir.url)
    assert done.returncode == 1 and "HTTP 404" in done.stdout
    with Path(gateway.port, refuse_with="301 Moved Permanently") as path:
        assert "HTTP 301" in probe(path.url).stdout


def test_nobody_there_is_one_line_on_stderr():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = probe(f"http://127.0.0.1:{port}")
    assert done.returncode == 1 and done.stdout == ""
    assert "Connection refused" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ftp://x"], "http://"),
        (["http://"], "host"),
        (["http://user:secret@127.0.0.1"], "--key"),
        (["http://127.0.0.1:99999"], "port"),
        (["http://127.0.0.1/?a=b"], "?"),
        (["http://127.0.0.1", "--pace", "fast"], "--pace"),
        (["http://127.0.0.1", "--idle", "-1s"], "--idle"),
        (["http://127.0.0.1", "--events", "10001"], "10000"),
        (["http://127.0.0.1", "--header", "no header"], "NAME:VALUE"),
        (["http://127.0.0.1", "--key", "a\nb"], "key"),
        (["https://127.0.0.1", "--ca-file", "/nowhere.pem"], "/nowhere.pem"),
    ],
)
def test_what_cannot_be_asked_is_explained(arguments, says):
    done = run("probe", *arguments)
    assert done.returncode != 0 and says in done.stderr, done.stderr
    assert "secret" not in done.stderr


# --- TLS ---


def test_certificates_are_verified(gateway, tmp_path):
    authority = Authority(tmp_path)
    context = authority.server_context("IP:127.0.0.1")
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"

    def serve():
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=relay, args=(raw,), daemon=True).start()

    def relay(raw):
        try:
            with context.wrap_socket(raw, server_side=True) as sock:
                with socket.create_connection(("127.0.0.1", gateway.port), 10) as there:
                    for each in (sock, there):
                        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.settimeout(10)
                    there.sendall(sock.recv(65536))
                    while data := there.recv(65536):
                        sock.sendall(data)
        except OSError:
            pass  # who did not trust us has gone

    threading.Thread(target=serve, daemon=True).start()
    done = probe(url, "--events", "8", "--pace", "10ms")
    assert done.returncode == 1 and "certificate" in done.stderr.lower(), done.stderr
    done = probe(url, "--events", "8", "--pace", "10ms", "--ca-file", str(authority.cert))
    assert done.returncode == 0, done.stdout + done.stderr
    listener.close()


# --- nginx ---


@pytest.fixture
def make_nginx(tmp_path):
    if NGINX is None:
        pytest.skip("nginx is not installed")
    running = []

    def make(gateway, *lines):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        folder = tmp_path / f"nginx-{port}"
        folder.mkdir()
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"""
            daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
            events {{}}
            http {{
                access_log off;
                {temporary}
                server {{
                    listen 127.0.0.1:{port};
                    location / {{ proxy_pass http://127.0.0.1:{gateway.port}; {" ".join(lines)} }}
                }}
            }}
            """
        )
        process = subprocess.Popen(
            [NGINX, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        running.append(process)

        def is_up():
            with socket.create_connection(("127.0.0.1", port), 1):
                return True

        wait_until(is_up, 20, "nginx")
        return f"http://127.0.0.1:{port}"

    yield make
    for process in running:
        process.terminate()
        process.wait(20)


def test_nginx_as_it_comes_streams_because_weir_asks_it_to(gateway, make_nginx):
    """Its buffering is on by default: X-Accel-Buffering switches it off."""
    status, told = report(make_nginx(gateway))
    assert status == 0 and told["flow"] in ONE_BY_ONE, told
    assert [hop["name"] for hop in told["hops"]] == ["nginx"]
    assert "nginx takes it out as it obeys it" in words(told)


def test_nginx_that_ignores_weirs_wish_is_caught(gateway, make_nginx):
    url = make_nginx(gateway, "proxy_ignore_headers X-Accel-Buffering;", "gzip on;",
                     "gzip_types *;", "gzip_proxied any;", "gzip_http_version 1.0;")  # fmt: skip
    status, told = report(url)
    assert status == FAULT, told
    assert faults(told) == {"buffers", "compresses"}
    assert dict(mends(told, "buffers"))["nginx"].startswith("proxy_buffering off;")
    assert "gzip_types" in dict(mends(told, "compresses"))["nginx"]


def test_nginx_that_waits_too_short_is_caught(make_weir, make_nginx):
    weir = make_weir(config(timeouts={"heartbeat": "0s"}))
    url = make_nginx(weir, "proxy_read_timeout 1s;")
    status, told = report(url, "--idle", "20s", events=8)
    assert (status, told["end"], faults(told)) == (FAULT, "cut", {"cuts"}), told
    assert "proxy_read_timeout" in dict(mends(told, "cuts"))["nginx"]


# --- HAProxy ---


@pytest.mark.parametrize("has_no_delay", [True, False])
def test_haproxy_is_told_to_send_what_it_has(gateway, tmp_path, has_no_delay):
    """It names itself in no header; without the option it waits 200 ms for full packets."""
    if HAPROXY is None:
        pytest.skip("haproxy is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 9s\n"
        + (" option http-no-delay\n" if has_no_delay else "")
        + f"listen weir\n bind 127.0.0.1:{port}\n server weir 127.0.0.1:{gateway.port}\n"
    )
    process = subprocess.Popen(
        [HAPROXY, "-f", str(tmp_path / "haproxy.cfg")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:

        def is_up():
            with socket.create_connection(("127.0.0.1", port), 1):
                return True

        wait_until(is_up, 20, "HAProxy")
        status, told = report(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)
    if has_no_delay:
        assert status == 0 and told["flow"] in ONE_BY_ONE, told
    elif status == FAULT:  # other versions and kernels may do without the option
        assert faults(told) == {"buffers"}
        assert "option http-no-delay" in mends(told, "buffers")[0][1]
