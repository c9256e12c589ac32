"""The commands of weir."""

import hashlib
import re
import time

import pytest

from harness.weir import Weir, patience, run

pytestmark = pytest.mark.http1("no requests")


def test_version():
    for command in (["version"], ["--version"]):
        done = run(*command)
        assert done.returncode == 0
        assert re.search(r"\d+\.\d+\.\d+", done.stdout)


def test_help_names_every_command_and_explains_each():
    done = run("help")
    assert done.returncode == 0
    for command in ("run", "check", "config", "keys", "version"):
        assert command in done.stdout
        more = run("help", command)
        assert more.returncode == 0 and command in more.stdout
        assert run(command, "--help").returncode == 0
    assert "--print-port" in run("help", "run").stdout


@pytest.mark.parametrize(
    "args",
    [["nonsense"], ["run", "--nonsense"], ["check"], ["config", "nonsense"], ["help", "nonsense"],
     ["run", "--listen"], ["run", "--threads", "many"], ["run", "--config"], ["keys"]],
)  # fmt: skip
def test_a_wrong_command_line_says_what_is_right(args):
    done = run(*args)
    assert done.returncode not in (0, None) and done.returncode > 0
    assert done.stderr.strip()


def test_a_misspelt_command_gets_a_suggestion():
    assert "check" in run("chekc", "x").stderr


def test_keys_hash():
    expected = "sha256:" + hashlib.sha256(b"wk-secret-0001").hexdigest()
    done = run("keys", "hash", stdin="wk-secret-0001\n")
    assert done.returncode == 0 and expected in done.stdout
    assert "wk-secret-0001" not in done.stdout + done.stderr


def test_keys_can_be_made(make_weir, upstream):
    from harness.weir import config, provider, virtual_key

    done = run("keys", "hash", "--generate")
    assert done.returncode == 0
    found = re.search(r"sha256:[0-9a-f]{64}", done.stdout + done.stderr)
    rest = (done.stdout + done.stderr).replace(found[0], "")
    key = max(re.findall(r"[A-Za-z0-9_-]{16,}", rest), key=len)
    assert hashlib.sha256(key.encode()).hexdigest() == found[0][7:]
    weir = make_weir(config({"up": provider(upstream)}, keys=[virtual_key("made", hash=found[0])]))
    assert weir.chat({"model": "up/m", "messages": []}).status == 401
    assert weir.chat({"model": "up/m", "messages": []}, key=key).status == 200


def test_listen_and_threads_on_the_command_line_win(make_weir, upstream):
    from harness.weir import config, provider

    weir = make_weir(
        config({"up": provider(upstream)}, listen=["127.0.0.1:1"], threads=1),
        args=["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0", "--threads", "2"],
    )
    assert weir.port > 1
    assert weir.get("/healthz").status == 200


def test_a_port_that_is_taken_is_an_error(make_weir, upstream):
    done = run("run", "--listen", f"127.0.0.1:{upstream.port}")
    assert done.returncode != 0
    assert str(upstream.port) in done.stderr


@pytest.mark.sizes
def test_a_short_run_is_short(tmp_path):
    """Start, one answer, end: quick enough for one instance a test."""
    best = 10.0
    for _ in range(5):
        started = time.monotonic()
        weir = Weir(None, folder=tmp_path, args=["--listen", "127.0.0.1:0"], ready=False)
        assert weir.get("/healthz").status == 200
        best = min(best, time.monotonic() - started)
        weir.stop()
    assert best < 0.5 * patience()  # promised: 50 ms; the machine is shared


def test_the_last_of_its_output_is_not_lost(make_weir, upstream):
    from harness.weir import config, provider

    weir = make_weir(config({"up": provider(upstream)}))
    for _ in range(50):
        weir.chat({"model": "up/m", "messages": []})
    weir.stop()
    assert len(weir.log_entries(operation="chat")) == 50
