"""A model provider as a process of its own, so that it can be killed.

It speaks OpenAI's chat dialect and knows one text. It tells it slowly, and where a request says what
has been told already, it goes on from some words before. The last words wait for POST /release, so
that whoever runs it knows that every stream is under way until then. GET /state tells how many are.

    python telling_upstream.py        prints its port
"""

import asyncio
import json
import re
import sys

TEXT = " ".join(
    f"Chapter {n}: the river — “Grüße” 🌊 — bends {n * 37 % 101} times, and counts {n * 7919} stones."
    for n in range(1, 13)
)
HELD_BYTES = 40  # characters at the end that wait for the release
OVERLAP = 150
PIECE_S = 0.12


def strings_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from strings_of(v)
    elif isinstance(value, list):
        for v in value:
            yield from strings_of(v)


def told(body):
    """The longest beginning of TEXT in the request."""
    return max((s for s in strings_of(body) if s and TEXT.startswith(s)), key=len, default="")


def chunk(delta, finish=None, **more):
    event = {
        "id": "chatcmpl-telling",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(event | more, ensure_ascii=False).encode() + b"\n\n"


class Provider:
    def __init__(self):
        self.running = 0
        self.asked = 0
        self.released = asyncio.Event()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                await self.answer(head.split(b" ", 2)[:2], body, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, line, body, writer):
        if line[1] == b"/release":
            self.released.set()
        if line[0] == b"GET" or line[1] == b"/release":
            state = json.dumps({"running": self.running, "asked": self.asked}).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(state) + state)
            return
        self.asked += 1
        self.running += 1
        try:
            await self.tell(json.loads(body), writer)
        finally:
            self.running -= 1

    async def tell(self, wish, writer):
        def send(data):
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))

        before = len(told(wish["messages"]))
        at = max(before - OVERLAP, 0)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        send(chunk({"role": "assistant", "content": ""}))
        for piece in re.findall(r"\s*\S+\s*\S*\s*\S*", TEXT[at:]):
            if at + len(piece) > len(TEXT) - HELD_BYTES:
                await writer.drain()
                await self.released.wait()
            elif at >= before and not self.released.is_set():
                await asyncio.sleep(PIECE_S)
            at += len(piece)
            send(chunk({"content": piece}))
            await writer.drain()
        send(chunk({}, "stop"))
        if (wish.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 9, "completion_tokens": 90, "total_tokens": 99}
            send(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
        send(b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def main():
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # ends with who started it
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
