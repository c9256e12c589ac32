"""Reloads and upgrades in the shapes that operators' tools give them."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pytest
import yaml

from harness.rawhttp import Client
from harness.weir import binary, clean_environment, config, patience, provider, run, wait_until

CHAT = {"model": "up/m", "messages": []}


def generation(weir):
    return weir.metric("weir_config_generation")


def alive(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class Taken:
    """A process that took over: no child of ours, ended by its pid file."""

    def __init__(self, pid_file):
        self.file = pathlib.Path(pid_file)

    @property
    def pid(self):
        return int(self.file.read_text())

    def end(self):
        try:
            pid = self.pid
        except (OSError, ValueError):
            return
        if alive(pid):
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not alive(pid), 20 * patience(), "the end of the last process")


@pytest.fixture
def taken(tmp_path):
    process = Taken(tmp_path / "weir.pid")
    yield process
    process.end()


# --- the files of a config ---


def test_kubernetes_swaps_a_link_above_the_files(make_weir, upstream, tmp_path):
    def version(name, **more):
        folder = tmp_path / "mount" / name
        folder.mkdir(parents=True)
        settings = config({"up": provider(upstream, api_key={"file": "key"})}, **more)
        (folder / "weir.yaml").write_text(yaml.safe_dump(settings))
        (folder / "key").write_text(f"sk-{name}")
        (folder / "key").chmod(0o600)

    mount = tmp_path / "mount"
    version("..one")
    (mount / "..data").symlink_to("..one")
    for name in ("weir.yaml", "key"):
        (mount / name).symlink_to(f"..data/{name}")
    weir = make_weir(None, args=["--config", str(mount / "weir.yaml")])
    assert weir.chat(CHAT).status == 200
    version("..two")
    (mount / "..data_tmp").symlink_to("..two")
    (mount / "..data_tmp").rename(mount / "..data")

    def is_new():
        weir.chat(CHAT)
        return upstream.requests[-1].headers.get("authorization") == "Bearer sk-..two"

    wait_until(is_new, 10 * patience(), "the second version")


def test_a_file_that_goes_away_changes_nothing(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}))
    text = weir.config_path.read_text()
    aside = weir.config_path.with_suffix(".old")
    weir.config_path.rename(aside)
    assert weir.chat(CHAT).status == 200
    # An editor that keeps a copy: the old file goes aside, then a new one is written.
    weir.config_path.write_text(text + "models: {fast: up/m}\n")
    wait_until(lambda: weir.chat(CHAT | {"model": "fast"}).status == 200, 10 * patience())


def test_a_missing_secret_is_taken_as_soon_as_it_is_there(make_weir, upstream, tmp_path):
    weir = make_weir(config({"up": provider(upstream)}))
    secret = tmp_path / "late"
    weir.write_config(config({"up": provider(upstream, api_key={"file": str(secret)})}))
    wait_until(lambda: "cannot read" in weir.stderr(), 10 * patience(), "the message")
    assert weir.chat(CHAT).status == 200
    secret.write_text("sk-late")
    secret.chmod(0o600)

    def is_new():
        weir.chat(CHAT)
        return upstream.requests[-1].headers.get("authorization") == "Bearer sk-late"

    wait_until(is_new, 10 * patience(), "the secret")


def test_an_address_that_cannot_be_had_refuses_the_whole_reload(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}))
    before = generation(weir)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        weir.write_config(
            config({"new": provider(upstream)}, listen=["127.0.0.1:0", f"127.0.0.1:{port}"])
        )
        wait_until(lambda: f"127.0.0.1:{port}" in weir.stderr(), 10 * patience(), "the message")
        wait_until(lambda: "was refused" in weir.stderr(), 10 * patience(), "the refusal")
        assert generation(weir) == before
        assert weir.chat(CHAT).status == 200


def test_what_needs_a_restart_is_said(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}))
    weir.write_config(config({"up": provider(upstream)}, threads=3, pool={"idle_total": 7}))
    wait_until(lambda: "pool.idle_total takes effect" in weir.stderr(), 10 * patience())
    assert "threads takes effect" in weir.stderr()


def test_the_access_log_moves_and_is_opened_anew(make_weir, upstream, tmp_path):
    weir = make_weir(config({"up": provider(upstream)}))
    log = tmp_path / "access.log"
    weir.write_config(config({"up": provider(upstream)}, log={"access": str(log)}))
    wait_until(lambda: weir.chat(CHAT).status == 200 and log.exists() and log.read_text(),
               10 * patience(), "the log file")  # fmt: skip
    log.rename(tmp_path / "access.log.1")
    weir.signal(signal.SIGUSR1)
    wait_until(lambda: weir.chat(CHAT).status == 200 and log.exists() and log.read_text(),
               10 * patience(), "the new log file")  # fmt: skip


# --- the pid file and upgrades ---


def test_the_pid_file_is_there_when_weir_is_and_goes_with_it(make_weir, upstream, tmp_path):
    path = tmp_path / "pid"
    weir = make_weir(config({"up": provider(upstream)}), args=["--pid-file", str(path)])
    assert int(path.read_text()) == weir.process.pid
    weir.stop()
    assert not path.exists()


def test_a_pid_file_that_cannot_be_written_is_an_error():
    done = run("run", "--listen", "127.0.0.1:0", "--pid-file", "/no/such/folder/pid")
    assert done.returncode != 0 and "/no/such/folder/pid" in done.stderr


def test_the_upgrade_command_waits_for_the_successor(make_weir, upstream, taken):
    weir = make_weir(config({"up": provider(upstream)}), args=["--pid-file", str(taken.file)])
    first = weir.process.pid
    pids = [first]
    for _ in range(3):  # a successor has a successor
        done = run("upgrade", "--pid-file", str(taken.file), timeout=60)
        assert done.returncode == 0, done.stderr
        pids.append(taken.pid)
        with Client(weir.port) as client:
            assert client.chat(CHAT).status == 200
        wait_until(lambda: not alive(pids[-2]) or pids[-2] == first, 20 * patience())
    assert len(set(pids)) == 4
    assert weir.wait_exit(20 * patience()) == 0
    assert taken.pid == pids[-1]  # the old ones left the file alone


def test_a_successor_may_have_other_threads(make_weir, upstream, taken):
    settings = config({"up": provider(upstream)}, threads=1)
    weir = make_weir(settings, args=["--pid-file", str(taken.file)])
    for threads in (4, 2):
        weir.write_config(settings | {"threads": threads})
        done = run("upgrade", "--pid-file", str(taken.file), timeout=60)
        assert done.returncode == 0, done.stderr
        clients = [Client(weir.port) for _ in range(12)]
        for client in clients:
            assert client.chat(CHAT).status == 200
            client.close()
    assert weir.wait_exit(20 * patience()) == 0


def test_an_upgrade_follows_the_link_that_weir_was_started_by(upstream, taken, tmp_path):
    """releases/1, releases/2 and a link to the current one: the new release is what is run."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(binary(), tmp_path / name / "weir")
    link = tmp_path / "current"
    link.symlink_to("one")
    path = tmp_path / "weir.yaml"
    path.write_text(yaml.safe_dump(config({"up": provider(upstream)})))
    process = subprocess.Popen(
        [str(link / "weir"), "run", "--config", str(path), "--print-port", "--pid-file",
         str(taken.file)],
        env=clean_environment(WEIR_ALLOW_CORE="1"), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = int(process.stdout.readline())
        fresh = tmp_path / "fresh"
        fresh.symlink_to("two")
        fresh.rename(link)
        assert run("upgrade", "--pid-file", str(taken.file), timeout=60).returncode == 0
        assert process.wait(20 * patience()) == 0
        assert os.readlink(f"/proc/{taken.pid}/exe") == str(tmp_path / "two" / "weir")
        with Client(port) as client:
            assert client.chat(CHAT).status == 200
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def test_an_upgrade_that_fails_is_told(make_weir, upstream, taken):
    weir = make_weir(config({"up": provider(upstream)}), args=["--pid-file", str(taken.file)])
    weir.config_path.write_text("lissten: []\n")
    weir.signal(signal.SIGUSR2)
    wait_until(lambda: "going on as before" in weir.stderr(), 20 * patience(), "the message")
    assert taken.pid == weir.process.pid
    assert weir.chat(CHAT).status == 200
    weir.stop()


def test_nobody_to_upgrade(tmp_path):
    assert run("upgrade").returncode == 2
    assert run("upgrade", "--pid-file", str(tmp_path / "none")).returncode == 1
    assert run("upgrade", "0").returncode == 2
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert run("upgrade", "--pid", str(gone.pid)).returncode == 1
