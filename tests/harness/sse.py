"""Server-sent events as blocks of source bytes: what a client should have got, byte for byte."""

import json
import re
from dataclasses import dataclass

# A line ends with CR LF, LF or CR; a block ends with an empty line.
LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|$)")


@dataclass
class Event:
    raw: bytes  # with the empty line that ends it, if it has one
    data: bytes = b""
    name: bytes = b""
    has_data: bool = False

    def json(self):
        return json.loads(self.data)

    @property
    def is_done(self):
        return self.data == b"[DONE]"

    @property
    def is_usage_only(self):
        """The extra chunk that stream_options.include_usage brings: no choices, but a usage."""
        if not self.has_data or not self.data.startswith(b"{"):
            return False
        try:
            value = self.json()
        except ValueError:
            return False
        return value.get("choices") == [] and isinstance(value.get("usage"), dict)


def split(body):
    """Every block of the stream, comments included; joined they are the body again."""
    events, raw, data, name = [], b"", [], b""
    for match in LINE.finditer(body):
        line = match.group()
        if not line:
            continue
        raw += line
        text = line.rstrip(b"\r\n")
        if text:
            field, _, value = text.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field.lstrip(b"\xef\xbb\xbf") == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            continue
        events.append(Event(raw, b"\n".join(data), name, bool(data)))
        raw, data, name = b"", [], b""
    if raw:
        events.append(Event(raw, b"\n".join(data), name, bool(data)))
    assert b"".join(e.raw for e in events) == body
    return events


def messages(body):
    """What an EventSource client would be given: the data of each complete event."""
    return [e.data for e in split(body) if e.has_data and e.raw.endswith((b"\n", b"\r"))]


def event(value):
    """One event as OpenAI sends it."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return b"data: " + text.encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chunk(content=None, finish=None, **more):
    """One chat.completion.chunk."""
    delta = more.pop("delta", {} if content is None else {"content": content})
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    value.update(more)
    return event(value)


def usage_chunk(prompt=7, completion=3):
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return chunk(choices=[], usage=usage)


def chat_stream(words, usage=None, done=True):
    """A whole, orderly stream."""
    body = chunk(delta={"role": "assistant", "content": ""})
    body += b"".join(chunk(word) for word in words)
    body += chunk(finish="stop")
    if usage is not None:
        body += usage_chunk(*usage)
    return body + (DONE if done else b"")


def text_of(body):
    """The assistant's words in a chat stream."""
    text = ""
    for data in messages(body):
        if data.startswith(b"{"):
            for choice in json.loads(data).get("choices") or []:
                text += choice.get("delta", {}).get("content") or ""
    return text
