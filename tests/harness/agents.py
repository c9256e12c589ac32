"""Agent CLIs of other vendors, run without a terminal in a folder of their own.

Each is told to read a file, to edit it and to say so; the model behind weir follows a script. They
get a home that is empty, an environment that is theirs alone, and a proxy for everything that is
not on this machine: what they ask of it is kept in `elsewhere`.
"""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

from .weir import patience, wait_until

LIMIT_S = 50
KEY = "wk-agents-00001"
FILE = "greeting.txt"
BEFORE = 'first line\n\tsay("Hello, old world\\n");  # $HOME\nlast line\n'
OLD = '\tsay("Hello, old world\\n");  # $HOME'
NEW = '\tsay("Grüße 🌊, \'new\' <world>\\n");  # \\d+ $HOME %s & `x`'
AFTER = BEFORE.replace(OLD, NEW)
TASK = f"Greet the new world in {FILE}."
THOUGHT = "First I look at what is there."
DONE = "The new world is greeted: “Grüße 🌊”."


def modules():
    """The node_modules folder with the CLIs; skips the test where there is none."""
    told = os.environ.get("WEIR_AGENT_MODULES")
    if not told or not pathlib.Path(told).is_dir():
        reason = os.environ.get("WEIR_NO_AGENTS") or "WEIR_AGENT_MODULES is not set"
        pytest.skip(f"the agent CLIs are not installed: {reason}")
    return pathlib.Path(told)


def only(pattern):
    """The program that a package for this kind of machine brought."""
    found = sorted(modules().glob(pattern))
    if not found:
        pytest.skip(f"the agent CLI's package has no program for this machine ({pattern})")
    return str(found[0])


class Agent:
    """One CLI at one weir. `model` is the name that it asks for: some change with it."""

    def __init__(self, folder, url, elsewhere, model):
        self.url, self.model = url, model
        self.home, self.work = folder / "home", folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.file = self.work / FILE
        self.file.write_text(BEFORE, encoding="utf-8")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "LANG": "C.UTF-8",
            "CI": "1",
            "HTTPS_PROXY": elsewhere,
            "HTTP_PROXY": elsewhere,
            "NO_PROXY": "127.0.0.1,localhost",
        }
        self.prepare()

    def write_home(self, name, text):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def check_it_starts(self):
        """A program for another processor or libc is no fault of weir's."""
        done = self.execute(self.program(), "--version")
        if done.returncode != 0:
            pytest.skip(f"{self.name} does not run on this machine: {done.stdout[:200]}")

    def run(self):
        self.check_it_starts()
        return self.execute(*self.command())

    def execute(self, *command):
        """Runs to its end, or to the deadline; nothing that it started is left."""
        process = subprocess.Popen(
            command,
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            self.end_all(process)
            said, _ = process.communicate()
            raise AssertionError(f"{self.name} took more than {LIMIT_S} s and said:\n{said}") from None
        finally:
            self.end_all(process)
        return subprocess.CompletedProcess(command, process.returncode, said)

    def end_all(self, process):
        """Its process group, and what left the group: they all have this home."""

        def own():
            return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if has(pid)]

        def has(pid):
            try:
                return mark in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                return False

        def gone():
            for pid in own():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return not own()

        mark = f"HOME={self.home}".encode()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        wait_until(gone, 10 * patience(), f"the end of {self.name}'s processes")


class ClaudeCode(Agent):
    name = "Claude Code"
    dialect = "anthropic"

    def prepare(self):
        self.environment.update(
            ANTHROPIC_BASE_URL=self.url,
            ANTHROPIC_API_KEY=KEY,
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            DISABLE_AUTOUPDATER="1",
            DISABLE_ERROR_REPORTING="1",
            DISABLE_TELEMETRY="1",
        )

    def program(self):
        return only("@anthropic-ai/claude-code-*/claude")

    def command(self):
        return [self.program(), "-p", TASK, "--model", self.model,
                "--permission-mode", "acceptEdits", "--allowedTools", "Read,Edit"]  # fmt: skip

    def turns(self):
        edit = {"file_path": str(self.file), "old_string": OLD, "new_string": NEW}
        return [("Read", {"file_path": str(self.file)}), ("Edit", edit)]


class Codex(Agent):
    """Without a description of the model it edits by shell commands, else with a tool of its own
    that takes free text."""

    name = "Codex CLI"
    dialect = "openai_responses"

    def prepare(self):
        self.environment.update(CODEX_HOME=str(self.home / ".codex"), WEIR_KEY=KEY)
        self.write_home(
            ".codex/config.toml",
            f'''
            model = "{self.model}"
            model_provider = "weir"
            check_for_update_on_startup = false
            [analytics]
            enabled = false
            [features]
            apps = false
            plugins = false
            [model_providers.weir]
            name = "weir"
            base_url = "{self.url}/v1"
            env_key = "WEIR_KEY"
            wire_api = "responses"
            request_max_retries = 0
            stream_max_retries = 0
            ''',
        )

    def program(self):
        return only("@openai/codex-*/vendor/*/bin/codex")

    def command(self):
        return [self.program(), "exec", "--skip-git-repo-check",
                "--dangerously-bypass-approvals-and-sandbox", TASK]  # fmt: skip

    def turns(self):
        patch = "\n".join(["*** Begin Patch", f"*** Update File: {FILE}", "@@", " first line",
                           f"-{OLD}", f"+{NEW}", " last line", "*** End Patch", ""])  # fmt: skip
        read = ("exec_command", {"cmd": f"cat {FILE}"})
        if self.model.startswith("gpt-"):
            return [read, ("apply_patch", {"input": patch})]
        return [read, ("exec_command", {"cmd": f"apply_patch <<'EOF'\n{patch}EOF\n"})]


class GeminiCli(Agent):
    name = "Gemini CLI"
    dialect = "gemini"

    def prepare(self):
        self.environment.update(GEMINI_API_KEY=KEY, GOOGLE_GEMINI_BASE_URL=self.url)
        settings = {
            "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
            "privacy": {"usageStatisticsEnabled": False},
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "telemetry": {"enabled": False},
        }
        self.write_home(".gemini/settings.json", json.dumps(settings))

    def program(self):
        return only("@google/gemini-cli/bundle/gemini.js")

    def check_it_starts(self):
        node = self.execute("/bin/sh", "-c", "command -v node")
        if node.returncode != 0:
            pytest.skip("node is not installed")

    def command(self):
        return ["node", self.program(), "-p", TASK, "--model", self.model, "--yolo",
                "--skip-trust"]  # fmt: skip

    def turns(self):
        edit = {"file_path": str(self.file), "instruction": "Greet the new world.",
                "old_string": OLD, "new_string": NEW}  # fmt: skip
        return [("read_file", {"file_path": str(self.file)}), ("replace", edit)]
