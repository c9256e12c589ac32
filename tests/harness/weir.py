"""One weir process, from its config to its last words."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import yaml
from prometheus_client.parser import text_string_to_metric_families

from . import h2bridge
from .rawhttp import Client, ask
from .recordings import ROOT

START_S = 30.0
SANITIZER_WORDS = re.compile(
    r"(ERROR: AddressSanitizer|ERROR: LeakSanitizer|WARNING: ThreadSanitizer|runtime error: |"
    r"SUMMARY: \w+Sanitizer)"
)


def binary():
    return os.environ.get("WEIR_BIN") or str(ROOT / "build" / "weir")


def is_sanitized():
    """Sanitizers cost time and memory: figures about those two are not asserted then."""
    path = pathlib.Path(binary())
    data = path.read_bytes() if path.is_file() else b""
    return b"__asan_init" in data or b"__tsan_init" in data


def patience():
    """What to multiply deadlines with."""
    told = os.environ.get("WEIR_PATIENCE")
    return float(told) if told else 4.0 if is_sanitized() else 1.0


def clean_environment(**more):
    """The environment of a weir that shall see nothing of the machine's own settings."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    env = {k: v for k, v in os.environ.items() if k in keep or "SAN_OPTIONS" in k}
    env.update(more)
    return env


def run(*args, env=None, cwd=None, stdin=None, timeout=30):
    """A command of weir that ends by itself."""
    return subprocess.run(
        [binary(), *args],
        env=clean_environment(**(env or {})),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


# --- config: the only place that knows the names of the keys ---


def provider(upstream=None, **more):
    """A row of `providers:`. `upstream` is an Upstream or a URL."""
    row = {"api_key": "sk-upstream-secret"}
    if upstream is not None:
        url = upstream if isinstance(upstream, str) else f"{upstream.url}/v1"
        row["base_url"] = url
        if h2bridge.is_asked_for() and not isinstance(upstream, str):
            row["http2"] = "always"
    row.update(more)
    return row


def config(providers=None, **more):
    """A config as a mapping; `more` are further top-level keys."""
    root = {"listen": ["127.0.0.1:0"], "threads": 2, "providers": providers or {}}
    # One attempt, so that a test sees what that one came to.
    root["routing"] = {"retries": 0, "mid_stream": "terminate", "breaker": {"failures": 0}}
    root.update(more)
    return root


def alias(target):
    return {"target": target}


def virtual_key(name, value=None, hash=None, **more):
    row = {"name": name}
    if value is not None:
        row["value"] = value
    if hash is not None:
        row["hash"] = hash
    row.update(more)
    return row


# --- the process ---


class Weir:
    """Started at once; `port` is known when the constructor returns."""

    def __init__(
        self, settings=None, env=None, args=(), folder=None, wrapper=(), pass_fds=(), ready=True
    ):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="weir-test-"))
        self._owns_folder = folder is None
        self.stderr_path = self.folder / f"stderr.{time.monotonic_ns()}"
        self.lines = []  # the access log (stdout after the port)
        self._arrived = threading.Condition()
        command = [*wrapper, binary(), "run"]
        self.config_path = None
        if settings is not None:
            self.config_path = self.folder / "weir.yaml"
            self.write_config(settings)
            command += ["--config", str(self.config_path)]
        command += ["--print-port", *args]
        with open(self.stderr_path, "wb") as stderr:
            self.process = subprocess.Popen(
                command,
                env=clean_environment(**(env or {})),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.folder,
                pass_fds=pass_fds,
            )
        self.port = self._read_port()
        self._front = h2bridge.Front(self.port) if h2bridge.is_asked_for() else None
        if self._front is not None:
            self.port = self._front.port
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if ready:
            self.wait_ready()

    def write_config(self, settings):
        """Replaces the file in one step, so that weir never sees half of it."""
        text = settings if isinstance(settings, str) else yaml.safe_dump(settings, sort_keys=False)
        fresh = self.folder / "fresh.yaml"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.config_path)

    def _read_port(self):
        timer = threading.Timer(START_S, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line.strip().isdigit():
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"weir printed no port but {line!r}; it said:\n{self.stderr()}")
        return int(line)

    def _read_log(self):
        for line in self.process.stdout:
            with self._arrived:
                self.lines.append(line.decode("utf-8"))
                self._arrived.notify_all()

    def wait_ready(self, seconds=START_S):
        wait_until(lambda: self.get("/readyz").status == 200, seconds, "readiness")

    def stderr(self):
        return self.stderr_path.read_text(encoding="utf-8", errors="replace")

    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    # --- talking to it ---

    def client(self, **more):
        return Client(self.port, **more)

    def get(self, path, **more):
        return ask(self.port, "GET", path, **more)

    def chat(self, body, headers=(), key=None):
        return ask(self.port, "POST", "/v1/chat/completions", body, headers, key)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def metrics(self):
        """{(sample name, frozenset of labels): value}."""
        page = self.get("/metrics")
        assert page.status == 200, page.body
        samples = {}
        for family in text_string_to_metric_families(page.body.decode()):
            for sample in family.samples:
                samples[(sample.name, frozenset(sample.labels.items()))] = sample.value
        return samples

    def metric(self, name, **labels):
        """Sum over all series of that name that carry these labels; 0 when there is none."""
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.metrics().items() if n == name and wanted <= have)

    def log_entries(self, count=None, seconds=10.0, **match):
        """Access log lines as objects, those with these members; waits until `count` are there."""

        def found():
            entries = [json.loads(line) for line in self.lines]
            return [e for e in entries if all(e.get(k) == v for k, v in match.items())]

        if count is None:
            return found()
        with self._arrived:
            self._arrived.wait_for(lambda: len(found()) >= count, seconds)
            entries = found()
        assert len(entries) == count, f"{len(entries)} log lines with {match}: {self.lines[-20:]}"
        return entries

    # --- signals and the end ---

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, seconds=20.0):
        return self.process.wait(timeout=seconds)

    def stop(self, seconds=20.0):
        """SIGTERM; what it said is checked. Harmless when it ended already."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=seconds * patience())
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                said = self.stderr()
                raise AssertionError(f"weir did not end on SIGTERM; it said:\n{said}") from None
        self._reader.join(5)
        self.process.stdout.close()
        if self._front is not None:
            self._front.stop()
        said = self.stderr()
        code = self.process.returncode
        if self._owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        assert not SANITIZER_WORDS.search(said), f"a sanitizer found something:\n{said}"
        assert code == 0, f"weir ended with {code}; it said:\n{said}"

    def kill(self):
        """For tests in which weir ends by other means than stop()."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def wait_until(condition, seconds=10.0, what="the condition"):
    """Until condition() is true; what it raises while waiting counts as not yet."""
    deadline = time.monotonic() + seconds
    error = None
    while True:
        try:
            if value := condition():
                return value
            error = None
        except (OSError, AssertionError, EOFError, LookupError) as caught:
            error = caught
        except Exception as caught:  # noqa: BLE001 - shown below when it stays
            error = caught
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {seconds} s; last error: {error!r}")
        time.sleep(0.005)
