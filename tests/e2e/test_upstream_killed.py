"""Three providers as processes of their own, and one of them is killed under live streams."""

import asyncio
import json
import pathlib
import resource
import subprocess
import sys
import time
import urllib.request

import pytest

from harness import telling_upstream
from harness.telling_upstream import TEXT
from harness.weir import config, is_sanitized, patience, provider

STREAMS = 500
PROVIDERS = ("a", "b", "c")
ASK = json.dumps(
    {"model": "r", "stream": True, "messages": [{"role": "user", "content": "Tell me."}]}
).encode()
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: weir\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(ASK)
)


class Process:
    def __init__(self):
        script = pathlib.Path(telling_upstream.__file__)
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port = int(self.process.stdout.readline())

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path, data=None):
        with urllib.request.urlopen(self.url + path, data, timeout=20) as answer:
            return json.load(answer)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def processes():
    made = {name: Process() for name in PROVIDERS}
    yield made
    for process in made.values():
        if process.process.poll() is None:
            process.kill()


class Stream:
    """One client; what it saw."""

    def __init__(self, port):
        self.port = port
        self.status = 0
        self.target = self.text = ""
        self.finishes, self.ids, self.errors = [], set(), []
        self.is_done = False

    async def run(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(HEAD + ASK)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            self.status = int(head[0].split(" ")[1])
            fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
            self.target = fields["x-weir-target"]
            await self.read_body(reader)
        except (OSError, asyncio.IncompleteReadError, KeyError) as error:
            self.errors.append(repr(error))
        finally:
            writer.close()

    async def read_body(self, reader):
        rest = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            rest += (await reader.readexactly(size + 2))[:-2]
            *events, rest = rest.split(b"\n\n")
            for event in events:
                self.read_event(event)
        await reader.readexactly(2)
        assert rest == b""

    def read_event(self, event):
        if not event.startswith(b"data: "):
            if not event.startswith(b":"):
                self.errors.append(event)
            return
        if self.is_done:
            self.errors.append(("after the end", event))
        if event == b"data: [DONE]":
            self.is_done = True
            return
        data = json.loads(event[6:])
        if "error" in data:
            self.errors.append(data)
            return
        self.ids.add(data["id"])
        for choice in data["choices"]:
            self.text += choice["delta"].get("content") or ""
            if choice["finish_reason"]:
                self.finishes.append(choice["finish_reason"])


async def kill_one_under(streams, processes, victim):
    """Everybody's stream, with the process killed while all of them run."""
    tasks = [asyncio.create_task(s.run()) for s in streams]
    deadline = time.monotonic() + 30 * patience()
    while not all(len(s.text) > 200 for s in streams):
        assert time.monotonic() < deadline, "not all streams began"
        assert not any(s.errors for s in streams), [s.errors for s in streams if s.errors][:3]
        await asyncio.sleep(0.02)
    assert not any(t.done() for t in tasks)
    running = await asyncio.to_thread(processes[victim].ask, "/state")
    processes[victim].process.kill()
    for name in PROVIDERS:
        if name != victim:
            await asyncio.to_thread(processes[name].ask, "/release", b"{}")
    await asyncio.wait_for(asyncio.gather(*tasks), 40 * patience())
    return running["running"]


@pytest.mark.skipif(is_sanitized(), reason="a sanitizer build: five hundred streams take too long")
def test_a_provider_killed_under_live_streams(make_weir, processes):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 3 * STREAMS + 200  # weir: a client's and a provider's each; the children inherit it
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"{needed} open files are needed, {hard} are allowed")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    rows = {name: provider(f"{p.url}/v1") for name, p in processes.items()}
    routes = {"r": {"strategy": "round_robin", "targets": [f"{name}/m" for name in PROVIDERS]}}
    weir = make_weir(config(rows, routes=routes, routing={"mid_stream": "continue"}))
    streams = [Stream(weir.port) for _ in range(STREAMS)]
    running = asyncio.run(kill_one_under(streams, processes, "b"))

    assert [s.errors for s in streams if s.errors] == []
    assert {s.status for s in streams} == {200}
    assert all(s.text == TEXT for s in streams)
    assert all(s.finishes == ["stop"] and s.is_done and len(s.ids) == 1 for s in streams)

    killed = sum(s.target == "b/m" for s in streams)
    assert STREAMS // 4 < killed == running
    lines = weir.log_entries(STREAMS, operation="chat")
    continued = [line for line in lines if line.get("continued")]
    assert len(continued) == killed == weir.metric("weir_streams_continued_total")
    for line in continued:
        assert line["continued"] == 1 and line["provider"] in ("a", "c"), line
        assert line["failed"][0]["target"] == "b/m", line
    assert {line["outcome"] for line in lines} == {"ok"}
    assert not [line for line in lines if line.get("failed") and not line.get("continued")]
