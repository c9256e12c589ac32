"""A scripted model that speaks each of the six dialects, for clients of any other.

What it answers depends on what it was asked, so that a test sees what arrived:

    a picture                      "I see image/png, 68 bytes."
    a document                     "I read application/pdf, 30 bytes."
    a JSON schema                  {"city": "Paris", "population": 2100000}
    tools, and no result yet       a call (two where it says "both") of the first tool
    a tool's result                "The tool said: <result>"
    "think"                        thinking, then "I have thought."
    "fail 429"                     an error of that status
    anything else                  "Hello <text>" in several pieces

`Model(dialect)` is a handler for harness.upstream.Upstream.
"""

import base64
import json
import re
import struct
import zlib
from dataclasses import dataclass, field

USAGE = {"input": 11, "output": 7, "cached": 3}
CALL_IDS = ["call_Aa1", "call_Bb2"]
ARGUMENTS = {"city": "Paris"}
STRUCTURED = {"city": "Paris", "population": 2100000}
THOUGHT = "Let me think about it."


@dataclass
class Asked:
    """What a request comes to, whatever its dialect."""

    stream: bool = False
    text: str = ""
    system: str = ""
    media: list = field(default_factory=list)  # (kind, type, bytes)
    results: list = field(default_factory=list)
    tools: list = field(default_factory=list)
    wants_json: bool = False
    wants_thinking: bool = False


@dataclass
class Reply:
    text: str = ""
    thought: str = ""
    calls: list = field(default_factory=list)  # (id, name, arguments)
    status: int = 200

    @property
    def pieces(self):
        return re.findall(r"\s*\S+", self.text) or [self.text]


def decide(asked):
    fail = re.search(r"fail (\d{3})", asked.text)
    if fail:
        return Reply(status=int(fail[1]))
    if asked.results:
        return Reply(text=f"The tool said: {asked.results[-1]}")
    if asked.media:
        kind, type_, data = asked.media[0]
        verb = "see" if kind == "image" else "read"
        return Reply(text=f"I {verb} {type_}, {len(data)} bytes.")
    if asked.wants_json:
        return Reply(text=json.dumps(STRUCTURED))
    if asked.tools and "both" in asked.text:
        return Reply(calls=[(i, asked.tools[0], ARGUMENTS) for i in CALL_IDS])
    if asked.tools:
        return Reply(text="", calls=[(CALL_IDS[0], asked.tools[0], ARGUMENTS)])
    if "think" in asked.text:
        return Reply(text="I have thought.", thought=THOUGHT)
    return Reply(text=f"Hello {asked.text}!")


def as_list(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def sse(*events, done=False):
    """(type or None, data) pairs as a stream."""
    out = b""
    for type_, data in events:
        if type_:
            out += f"event: {type_}\n".encode()
        out += b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
    return out + (b"data: [DONE]\n\n" if done else b"")


def split(text):
    middle = len(text) // 2
    return [text[:middle], text[middle:]]


class Model:
    """One provider."""

    def __init__(self):
        self.asked = []  # (Asked, body, headers)

    def __call__(self, call):
        body = json.loads(call.request.body)
        asked = self.read(body, call.request.target)
        self.asked.append((asked, body, call.request.headers))
        reply = self.decide(asked, body)
        if reply.status != 200:
            headers = {"Content-Type": "application/json", "Retry-After": "7"}
            headers.update(self.error_headers(reply.status))
            call.reply(reply.status, self.error(reply.status), headers)
        elif asked.stream:
            call.reply(200, self.stream(reply), {"Content-Type": self.stream_type}, "chunked")
        else:
            call.reply(200, self.whole(reply))

    stream_type = "text/event-stream"

    def decide(self, asked, body):
        return decide(asked)

    def error_headers(self, status):
        return {}


# --- OpenAI chat completions ---


class OpenAIChat(Model):
    dialect = "openai_chat"
    paths = {"chat": "/v1/chat/completions"}

    def read(self, body, target):
        asked = Asked(stream=bool(body.get("stream")))
        asked.tools = [t["function"]["name"] for t in body.get("tools") or []]
        asked.wants_json = (body.get("response_format") or {}).get("type") == "json_schema"
        for m in body["messages"]:
            for part in as_list(m.get("content")):
                if part["type"] == "text" and m["role"] in ("system", "developer"):
                    asked.system += part["text"]
                elif part["type"] == "text" and m["role"] == "tool":
                    asked.results.append(part["text"])
                elif part["type"] == "text" and m["role"] == "user":
                    asked.text = part["text"]
                elif part["type"] == "image_url":
                    asked.media.append(("image", *data_url(part["image_url"]["url"])))
                elif part["type"] == "file":
                    asked.media.append(("document", *data_url(part["file"]["file_data"])))
        asked.wants_thinking = "reasoning_effort" in body
        return asked

    usage = {
        "prompt_tokens": USAGE["input"],
        "completion_tokens": USAGE["output"],
        "total_tokens": USAGE["input"] + USAGE["output"],
        "prompt_tokens_details": {"cached_tokens": USAGE["cached"]},
    }

    def calls(self, reply):
        return [
            {"id": i, "type": "function", "function": {"name": n, "arguments": json.dumps(a)}}
            for i, n, a in reply.calls
        ]

    def base(self, object_):
        return {"id": "chatcmpl-1", "object": object_, "created": 1700000000, "model": "m-1"}

    def whole(self, reply):
        message = {"role": "assistant", "content": reply.text or None}
        if reply.thought:
            message["reasoning_content"] = reply.thought
        if reply.calls:
            message["tool_calls"] = self.calls(reply)
        finish = "tool_calls" if reply.calls else "stop"
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return self.base("chat.completion") | {"choices": [choice], "usage": self.usage}

    def stream(self, reply):
        def chunk(delta, finish=None):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return None, self.base("chat.completion.chunk") | {"choices": [choice]}

        events = [chunk({"role": "assistant", "content": ""})]
        if reply.thought:
            events += [chunk({"reasoning_content": p}) for p in split(reply.thought)]
        events += [chunk({"content": p}) for p in reply.pieces if p]
        for index, call in enumerate(self.calls(reply)):
            arguments = call["function"].pop("arguments")
            call["function"]["arguments"] = ""
            events.append(chunk({"tool_calls": [{"index": index, **call}]}))
            for p in split(arguments):
                delta = {"index": index, "function": {"arguments": p}}
                events.append(chunk({"tool_calls": [delta]}))
        events.append(chunk({}, "tool_calls" if reply.calls else "stop"))
        usage = self.base("chat.completion.chunk") | {"choices": [], "usage": self.usage}
        return sse(*events, (None, usage), done=True)

    def error(self, status):
        kind = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status, "server_error")
        return {"error": {"message": "It failed.", "type": kind, "param": None, "code": kind}}


def data_url(url):
    type_, data = re.fullmatch(r"data:([^;]+);base64,(.*)", url, re.S).groups()
    return type_, base64.b64decode(data)


# --- OpenAI responses ---


class OpenAIResponses(Model):
    dialect = "openai_responses"
    paths = {"chat": "/v1/responses"}

    def read(self, body, target):
        asked = Asked(stream=bool(body.get("stream")), system=body.get("instructions") or "")
        asked.tools = [t["name"] for t in body.get("tools") or []]
        form = ((body.get("text") or {}).get("format") or {}).get("type")
        asked.wants_json = form == "json_schema"
        asked.wants_thinking = bool(body.get("reasoning"))
        items = body["input"]
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        for item in items:
            if item.get("type") == "function_call_output":
                output = item["output"]
                asked.results += [output] if isinstance(output, str) else [p["text"] for p in output]
            for part in as_list(item.get("content")) if "role" in item else []:
                if "text" in part and item["role"] == "user":
                    asked.text = part["text"]
                elif "text" in part and item["role"] in ("system", "developer"):
                    asked.system += part["text"]
                elif part["type"] == "input_image":
                    asked.media.append(("image", *data_url(part["image_url"])))
                elif part["type"] == "input_file":
                    asked.media.append(("document", *data_url(part["file_data"])))
        return asked

    usage = {
        "input_tokens": USAGE["input"],
        "input_tokens_details": {"cached_tokens": USAGE["cached"]},
        "output_tokens": USAGE["output"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": USAGE["input"] + USAGE["output"],
    }

    def items(self, reply):
        out = []
        if reply.thought:
            part = {"type": "summary_text", "text": reply.thought}
            out.append({"type": "reasoning", "id": "rs_1", "summary": [part],
                        "encrypted_content": "c2VjcmV0"})  # fmt: skip
        if reply.text:
            part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
            out.append({"type": "message", "id": "msg_1", "role": "assistant",
                        "status": "completed", "content": [part]})  # fmt: skip
        for number, (id_, name, arguments) in enumerate(reply.calls):
            out.append({"type": "function_call", "id": f"fc_{number}", "call_id": id_, "name": name,
                        "arguments": json.dumps(arguments), "status": "completed"})  # fmt: skip
        return out

    def response(self, status, output, usage=None):
        return {
            "id": "resp_1", "object": "response", "created_at": 1700000000, "status": status,
            "model": "m-1", "output": output, "parallel_tool_calls": True, "tool_choice": "auto",
            "tools": [], "usage": usage, "error": None, "incomplete_details": None,
            "instructions": None, "metadata": {}, "temperature": 1.0, "top_p": 1.0,
        }  # fmt: skip

    def whole(self, reply):
        return self.response("completed", self.items(reply), self.usage)

    def stream(self, reply):
        events = []

        def say(type_, **more):
            events.append((type_, {"type": type_, "sequence_number": len(events), **more}))

        say("response.created", response=self.response("in_progress", []))
        say("response.in_progress", response=self.response("in_progress", []))
        for index, item in enumerate(self.items(reply)):
            at = {"output_index": index, "item_id": item["id"]}
            empty = dict(item)
            for name in ("content", "summary"):
                if name in item:
                    empty[name] = []
            if "arguments" in item:
                empty["arguments"] = ""
            say("response.output_item.added", output_index=index, item=empty)
            if item["type"] == "reasoning":
                part = item["summary"][0]
                say("response.reasoning_summary_part.added", **at, summary_index=0,
                    part=part | {"text": ""})  # fmt: skip
                for p in split(part["text"]):
                    say("response.reasoning_summary_text.delta", **at, summary_index=0, delta=p)
                say("response.reasoning_summary_text.done", **at, summary_index=0, text=part["text"])
                say("response.reasoning_summary_part.done", **at, summary_index=0, part=part)
            elif item["type"] == "message":
                part = item["content"][0]
                say("response.content_part.added", **at, content_index=0, part=part | {"text": ""})
                for p in reply.pieces:
                    say("response.output_text.delta", **at, content_index=0, delta=p, logprobs=[])
                say("response.output_text.done", **at, content_index=0, text=part["text"],
                    logprobs=[])  # fmt: skip
                say("response.content_part.done", **at, content_index=0, part=part)
            else:
                for p in split(item["arguments"]):
                    say("response.function_call_arguments.delta", **at, delta=p)
                say("response.function_call_arguments.done", **at, arguments=item["arguments"])
            say("response.output_item.done", output_index=index, item=item)
        say("response.completed", response=self.whole(reply))
        return sse(*events)

    error = OpenAIChat.error


# --- Anthropic messages ---


class Anthropic(Model):
    dialect = "anthropic"
    paths = {"chat": "/v1/messages"}

    def read(self, body, target):
        assert body["max_tokens"] > 0
        asked = Asked(stream=bool(body.get("stream")))
        asked.system = "".join(p["text"] for p in as_list(body.get("system")))
        asked.tools = [t["name"] for t in body.get("tools") or []]
        form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
        asked.wants_json = form.get("type") == "json_schema"
        asked.wants_thinking = "thinking" in body
        for m in body["messages"]:
            for part in as_list(m["content"]):
                if part["type"] == "text" and m["role"] == "user":
                    asked.text = part["text"]
                elif part["type"] in ("image", "document"):
                    source = part["source"]
                    data = base64.b64decode(source["data"])
                    asked.media.append((part["type"], source["media_type"], data))
                elif part["type"] == "tool_result":
                    asked.results.append("".join(p["text"] for p in as_list(part["content"])))
        return asked

    usage = {
        "input_tokens": USAGE["input"] - USAGE["cached"],
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": USAGE["cached"],
        "output_tokens": USAGE["output"],
    }

    def blocks(self, reply):
        out = []
        if reply.thought:
            out.append({"type": "thinking", "thinking": reply.thought, "signature": "c2ln"})
        if reply.text:
            out.append({"type": "text", "text": reply.text})
        for id_, name, arguments in reply.calls:
            out.append({"type": "tool_use", "id": id_, "name": name, "input": arguments})
        return out

    def message(self, content, stop):
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1",
                "content": content, "stop_reason": stop, "stop_sequence": None,
                "usage": self.usage}  # fmt: skip

    def whole(self, reply):
        return self.message(self.blocks(reply), "tool_use" if reply.calls else "end_turn")

    def stream(self, reply):
        events = []

        def say(type_, **more):
            events.append((type_, {"type": type_, **more}))

        start = self.message([], None)
        start["usage"] = self.usage | {"output_tokens": 1}
        say("message_start", message=start)
        say("ping")
        for index, block in enumerate(self.blocks(reply)):
            empty = dict(block)
            empty.update({k: "" for k in ("text", "thinking", "signature") if k in block})
            if "input" in block:
                empty["input"] = {}
            say("content_block_start", index=index, content_block=empty)
            deltas = []
            if block["type"] == "text":
                deltas = [{"type": "text_delta", "text": p} for p in reply.pieces]
            elif block["type"] == "thinking":
                deltas = [{"type": "thinking_delta", "thinking": p} for p in split(reply.thought)]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            else:
                pieces = ["", *split(json.dumps(block["input"]))]
                deltas = [{"type": "input_json_delta", "partial_json": p} for p in pieces]
            for delta in deltas:
                say("content_block_delta", index=index, delta=delta)
            say("content_block_stop", index=index)
        stop = "tool_use" if reply.calls else "end_turn"
        say("message_delta", delta={"stop_reason": stop, "stop_sequence": None},
            usage={"output_tokens": USAGE["output"]})  # fmt: skip
        say("message_stop")
        return sse(*events)

    def error(self, status):
        kind = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
        error = {"type": kind.get(status, "api_error"), "message": "It failed."}
        return {"type": "error", "error": error, "request_id": "req_up"}


# --- Gemini ---


class Gemini(Model):
    dialect = "gemini"
    paths = {
        "chat": "/v1beta/models/{model}:generateContent",
        "chat_stream": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
    }

    def read(self, body, target):
        asked = Asked(stream=":streamGenerateContent" in target)
        system = body.get("systemInstruction") or {"parts": []}
        asked.system = "".join(p.get("text", "") for p in system["parts"])
        config = body.get("generationConfig") or {}
        asked.wants_json = config.get("responseMimeType") == "application/json"
        asked.wants_thinking = "thinkingConfig" in config
        for tool in body.get("tools") or []:
            asked.tools += [f["name"] for f in tool.get("functionDeclarations", [])]
        for content in body["contents"]:
            for part in content["parts"]:
                if "text" in part and content.get("role", "user") == "user":
                    asked.text = part["text"]
                elif "inlineData" in part:
                    # Google takes both alphabets of base64; its SDK writes the URL-safe one.
                    data = base64.b64decode(part["inlineData"]["data"], altchars=b"-_")
                    type_ = part["inlineData"].get("mimeType") or part["inlineData"]["mime_type"]
                    kind = "image" if type_.startswith("image/") else "document"
                    asked.media.append((kind, type_, data))
                elif "functionResponse" in part:
                    assert part["functionResponse"]["name"]
                    values = part["functionResponse"]["response"].values()
                    asked.results.append("".join(str(v) for v in values))
        return asked

    usage = {
        "promptTokenCount": USAGE["input"],
        "candidatesTokenCount": USAGE["output"],
        "cachedContentTokenCount": USAGE["cached"],
        "totalTokenCount": USAGE["input"] + USAGE["output"],
    }

    def chunk(self, parts, finish=None):
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], "usageMetadata": self.usage, "modelVersion": "m-1",
                "responseId": "r1"}  # fmt: skip

    def call_parts(self, reply):
        return [{"functionCall": {"name": n, "args": a}, "thoughtSignature": "dGhvdWdodA=="}
                for _, n, a in reply.calls]  # fmt: skip

    def whole(self, reply):
        parts = [{"text": reply.thought, "thought": True}] if reply.thought else []
        parts += [{"text": reply.text}] if reply.text else []
        return self.chunk(parts + self.call_parts(reply), "STOP")

    def stream(self, reply):
        events = [self.chunk([{"text": p, "thought": True}]) for p in split(reply.thought) if p]
        events += [self.chunk([{"text": p}]) for p in reply.pieces if p]
        events += [self.chunk([p]) for p in self.call_parts(reply)]
        events.append(self.chunk([{"text": ""}], "STOP"))
        return sse(*[(None, e) for e in events]).replace(b"\n", b"\r\n")

    def error(self, status):
        kind = {401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED"}.get(status, "INTERNAL")
        return {"error": {"code": status, "message": "It failed.", "status": kind}}


# --- Bedrock converse ---


def event_frame(type_, payload, kind="event"):
    """One message of application/vnd.amazon.eventstream."""
    headers = b""
    name = ":event-type" if kind == "event" else ":exception-type"
    pairs = [(name, type_), (":content-type", "application/json"), (":message-type", kind)]
    for key, value in pairs:
        headers += struct.pack("!B", len(key)) + key.encode() + b"\x07"
        headers += struct.pack("!H", len(value)) + value.encode()
    data = json.dumps(payload).encode()
    prelude = struct.pack("!II", len(headers) + len(data) + 16, len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + data
    return message + struct.pack("!I", zlib.crc32(message))


class Bedrock(Model):
    dialect = "bedrock"
    paths = {"chat": "/model/{model}/converse", "chat_stream": "/model/{model}/converse-stream"}
    stream_type = "application/vnd.amazon.eventstream"

    def read(self, body, target):
        asked = Asked(stream=target.endswith("/converse-stream"))
        asked.system = "".join(b.get("text", "") for b in body.get("system") or [])
        config = body.get("toolConfig") or {}
        asked.tools = [t["toolSpec"]["name"] for t in config.get("tools", []) if "toolSpec" in t]
        text_format = ((body.get("outputConfig") or {}).get("textFormat") or {}).get("type")
        asked.wants_json = text_format == "json_schema"
        asked.wants_thinking = "thinking" in (body.get("additionalModelRequestFields") or {})
        for m in body["messages"]:
            for block in m["content"]:
                if "text" in block and m["role"] == "user":
                    asked.text = block["text"]
                elif "image" in block or "document" in block:
                    kind = "image" if "image" in block else "document"
                    data = base64.b64decode(block[kind]["source"]["bytes"])
                    type_ = ("image/" if kind == "image" else "application/") + block[kind]["format"]
                    asked.media.append((kind, type_, data))
                elif "toolResult" in block:
                    parts = block["toolResult"]["content"]
                    asked.results.append("".join(p.get("text") or str(p.get("json")) for p in parts))
        return asked

    usage = {
        "inputTokens": USAGE["input"] - USAGE["cached"],
        "outputTokens": USAGE["output"],
        "totalTokens": USAGE["input"] + USAGE["output"],
        "cacheReadInputTokens": USAGE["cached"],
        "cacheWriteInputTokens": 0,
    }

    def blocks(self, reply):
        out = []
        if reply.thought:
            text = {"text": reply.thought, "signature": "c2ln"}
            out.append({"reasoningContent": {"reasoningText": text}})
        if reply.text:
            out.append({"text": reply.text})
        for id_, name, arguments in reply.calls:
            out.append({"toolUse": {"toolUseId": id_, "name": name, "input": arguments}})
        return out

    def whole(self, reply):
        message = {"role": "assistant", "content": self.blocks(reply)}
        return {"output": {"message": message}, "metrics": {"latencyMs": 5}, "usage": self.usage,
                "stopReason": "tool_use" if reply.calls else "end_turn"}  # fmt: skip

    def stream(self, reply):
        out = event_frame("messageStart", {"role": "assistant"})
        for index, block in enumerate(self.blocks(reply)):
            deltas = [{"text": p} for p in reply.pieces]
            if "reasoningContent" in block:
                deltas = [{"reasoningContent": {"text": p}} for p in split(reply.thought)]
                deltas.append({"reasoningContent": {"signature": "c2ln"}})
            elif "toolUse" in block:
                call = block["toolUse"]
                start = {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}
                out += event_frame("contentBlockStart", {"contentBlockIndex": index, "start": start})
                deltas = [{"toolUse": {"input": p}} for p in split(json.dumps(call["input"]))]
            for delta in deltas:
                out += event_frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
            out += event_frame("contentBlockStop", {"contentBlockIndex": index})
        stop = "tool_use" if reply.calls else "end_turn"
        out += event_frame("messageStop", {"stopReason": stop})
        return out + event_frame("metadata", {"usage": self.usage, "metrics": {"latencyMs": 5}})

    def error(self, status):
        return {"message": "It failed."}

    def error_headers(self, status):
        kind = {401: "UnrecognizedClientException", 429: "ThrottlingException"}
        return {"x-amzn-ErrorType": kind.get(status, "InternalServerException")}


# --- Cohere v2 chat ---


class Cohere(Model):
    dialect = "cohere"
    paths = {"chat": "/v2/chat"}

    def read(self, body, target):
        asked = Asked(stream=bool(body.get("stream")))
        asked.tools = [t["function"]["name"] for t in body.get("tools") or []]
        form = body.get("response_format") or {}
        asked.wants_json = bool(form.get("json_schema") or form.get("schema"))
        asked.wants_thinking = "thinking" in body
        for m in body["messages"]:
            for part in as_list(m.get("content")):
                if part["type"] == "text" and m["role"] == "system":
                    asked.system += part["text"]
                elif part["type"] == "text" and m["role"] == "tool":
                    asked.results.append(part["text"])
                elif part["type"] == "document" and m["role"] == "tool":
                    data = part["document"]["data"]
                    asked.results.append(data if isinstance(data, str) else str(data))
                elif part["type"] == "text" and m["role"] == "user":
                    asked.text = part["text"]
                elif part["type"] == "image_url":
                    asked.media.append(("image", *data_url(part["image_url"]["url"])))
        return asked

    usage = {
        "billed_units": {"input_tokens": USAGE["input"], "output_tokens": USAGE["output"]},
        "tokens": {"input_tokens": USAGE["input"], "output_tokens": USAGE["output"]},
        "cached_tokens": USAGE["cached"],
    }

    def whole(self, reply):
        message = {"role": "assistant", "content": []}
        if reply.thought:
            message["content"].append({"type": "thinking", "thinking": reply.thought})
        if reply.text:
            message["content"].append({"type": "text", "text": reply.text})
        if reply.calls:
            message["tool_calls"] = OpenAIChat.calls(self, reply)
            message["tool_plan"] = "I will use the tool."
            del message["content"]
        finish = "TOOL_CALL" if reply.calls else "COMPLETE"
        return {"id": "c-1", "finish_reason": finish, "message": message, "usage": self.usage}

    def stream(self, reply):
        events = []

        def say(type_, **more):
            events.append((type_, {"type": type_, **more}))

        start = {"message": {"role": "assistant", "content": [], "tool_plan": "",
                             "tool_calls": [], "citations": []}}  # fmt: skip
        say("message-start", id="c-1", delta=start)
        blocks = [("thinking", split(reply.thought))] if reply.thought else []
        blocks += [("text", reply.pieces)] if reply.text else []
        for index, (kind, pieces) in enumerate(blocks):
            content = {"type": kind, kind: ""}
            say("content-start", index=index, delta={"message": {"content": content}})
            for p in pieces:
                say("content-delta", index=index, delta={"message": {"content": {kind: p}}})
            say("content-end", index=index)
        if reply.calls:
            say("tool-plan-delta", delta={"message": {"tool_plan": "I will use the tool."}})
        for index, call in enumerate(OpenAIChat.calls(self, reply)):
            arguments = call["function"]["arguments"]
            call["function"]["arguments"] = ""
            say("tool-call-start", index=index, delta={"message": {"tool_calls": call}})
            for p in split(arguments):
                delta = {"message": {"tool_calls": {"function": {"arguments": p}}}}
                say("tool-call-delta", index=index, delta=delta)
            say("tool-call-end", index=index)
        finish = "TOOL_CALL" if reply.calls else "COMPLETE"
        say("message-end", id="c-1", delta={"finish_reason": finish, "usage": self.usage})
        return sse(*events, done=True)

    def error(self, status):
        return {"id": "e-1", "message": "It failed."}


MODELS = [OpenAIChat, OpenAIResponses, Anthropic, Gemini, Bedrock, Cohere]
