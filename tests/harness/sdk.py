"""The vendors' own SDKs for Python, each with the same few things to do.

Their parsers are strict: an exception is a failure. `Answer` is what a test compares.
"""

import base64
import json
from dataclasses import dataclass, field

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import cohere
import google.genai
import httpx
import openai
from cohere.core.api_error import ApiError
from google.genai import types as genai

KEY = "wk-python-00001"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
PDF = b"%PDF-1.4 a very short document"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}
TOOL = "get_weather"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


@dataclass
class Answer:
    text: str = ""
    thought: str = ""
    calls: list = field(default_factory=list)  # (id, name, arguments)
    finish: str = ""
    input_tokens: int = None
    output_tokens: int = None
    raw: object = None


class Sdk:
    """One SDK at one weir. `what` of ask: text, image, document, tools, structured, thinking."""

    def __init__(self, weir, dialect):
        self.url = weir.url
        self.model = f"{dialect}/claude-sonnet-4-5"
        self.make()


class OpenAIChatSdk(Sdk):
    name = "openai_chat"
    finishes = {"stop": "stop", "call": "tool_calls"}
    error = openai.APIStatusError

    def make(self):
        self.client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0)

    def options(self, text, what):
        content = text
        more = {}
        if what == "image":
            url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
            content = [{"type": "text", "text": text},
                       {"type": "image_url", "image_url": {"url": url}}]  # fmt: skip
        elif what == "document":
            url = f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}"
            content = [{"type": "text", "text": text},
                       {"type": "file", "file": {"filename": "a.pdf", "file_data": url}}]  # fmt: skip
        elif what == "tools":
            more["tools"] = [{"type": "function", "function": {
                "name": TOOL, "description": "The weather.", "parameters": PARAMETERS}}]  # fmt: skip
        elif what == "structured":
            more["response_format"] = {"type": "json_schema", "json_schema": {
                "name": "city", "schema": SCHEMA, "strict": True}}  # fmt: skip
        elif what == "thinking":
            more["reasoning_effort"] = "low"
        return {"model": self.model, "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]} | more  # fmt: skip

    def answer(self, got):
        choice = got.choices[0]
        calls = [(c.id, c.function.name, json.loads(c.function.arguments))
                 for c in choice.message.tool_calls or []]  # fmt: skip
        thought = getattr(choice.message, "reasoning_content", None) or ""
        usage = got.usage
        return Answer(choice.message.content or "", thought, calls, choice.finish_reason,
                      usage and usage.prompt_tokens, usage and usage.completion_tokens, got)  # fmt: skip

    def ask(self, text, what="text"):
        return self.answer(self.client.chat.completions.create(**self.options(text, what)))

    def stream(self, text, what="text"):
        options = self.options(text, what) | {"stream_options": {"include_usage": True}}
        with self.client.chat.completions.stream(**options) as events:
            for _ in events:
                pass
            return self.answer(events.get_final_completion())

    def tool_loop(self, text, results):
        options = self.options(text, "tools")
        got = self.client.chat.completions.create(**options)
        options["messages"].append(got.choices[0].message.model_dump(exclude_none=True))
        for call, result in zip(got.choices[0].message.tool_calls, results, strict=True):
            options["messages"].append(
                {"role": "tool", "tool_call_id": call.id, "content": result}
            )
        return self.answer(self.client.chat.completions.create(**options))

    def status_of(self, error):
        return error.status_code


class OpenAIResponsesSdk(Sdk):
    name = "openai_responses"
    finishes = {"stop": "completed", "call": "completed"}
    error = openai.APIStatusError

    make = OpenAIChatSdk.make

    def options(self, text, what):
        content = [{"type": "input_text", "text": text}]
        more = {}
        if what == "image":
            url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
            content.append({"type": "input_image", "image_url": url, "detail": "auto"})
        elif what == "document":
            url = f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}"
            content.append({"type": "input_file", "filename": "a.pdf", "file_data": url})
        elif what == "tools":
            more["tools"] = [{"type": "function", "name": TOOL, "description": "The weather.",
                              "parameters": PARAMETERS, "strict": False}]  # fmt: skip
        elif what == "structured":
            more["text"] = {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA,
                                       "strict": True}}  # fmt: skip
        elif what == "thinking":
            more["reasoning"] = {"effort": "low", "summary": "auto"}
        return {"model": self.model, "instructions": "Be brief.",
                "input": [{"role": "user", "content": content}]} | more  # fmt: skip

    def answer(self, got):
        calls = [(i.call_id, i.name, json.loads(i.arguments))
                 for i in got.output if i.type == "function_call"]  # fmt: skip
        thought = "".join(s.text for i in got.output if i.type == "reasoning" for s in i.summary)
        return Answer(got.output_text, thought, calls, got.status, got.usage.input_tokens,
                      got.usage.output_tokens, got)  # fmt: skip

    def ask(self, text, what="text"):
        return self.answer(self.client.responses.create(**self.options(text, what)))

    def stream(self, text, what="text"):
        with self.client.responses.stream(**self.options(text, what)) as events:
            for _ in events:
                pass
            return self.answer(events.get_final_response())

    def tool_loop(self, text, results):
        options = self.options(text, "tools")
        got = self.client.responses.create(**options)
        calls = [i for i in got.output if i.type == "function_call"]
        options["input"] += [i.model_dump(exclude_none=True) for i in got.output]
        for call, result in zip(calls, results, strict=True):
            options["input"].append(
                {"type": "function_call_output", "call_id": call.call_id, "output": result}
            )
        return self.answer(self.client.responses.create(**options))

    status_of = OpenAIChatSdk.status_of


class AnthropicSdk(Sdk):
    name = "anthropic"
    finishes = {"stop": "end_turn", "call": "tool_use"}
    error = anthropic.APIStatusError

    def make(self):
        self.client = anthropic.Anthropic(base_url=self.url, api_key=KEY, max_retries=0)

    def options(self, text, what):
        content = [{"type": "text", "text": text}]
        more = {}
        if what == "image":
            content.append({"type": "image", "source": {
                "type": "base64", "media_type": "image/png",
                "data": base64.b64encode(PNG).decode()}})  # fmt: skip
        elif what == "document":
            content.append({"type": "document", "source": {
                "type": "base64", "media_type": "application/pdf",
                "data": base64.b64encode(PDF).decode()}})  # fmt: skip
        elif what == "tools":
            more["tools"] = [{"name": TOOL, "description": "The weather.",
                              "input_schema": PARAMETERS}]  # fmt: skip
        elif what == "structured":
            more["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        elif what == "thinking":
            more["thinking"] = {"type": "enabled", "budget_tokens": 2048}
        return {"model": self.model, "max_tokens": 4096, "system": "Be brief.",
                "messages": [{"role": "user", "content": content}]} | more  # fmt: skip

    def answer(self, got):
        calls = [(b.id, b.name, b.input) for b in got.content if b.type == "tool_use"]
        text = "".join(b.text for b in got.content if b.type == "text")
        thought = "".join(b.thinking for b in got.content if b.type == "thinking")
        usage = got.usage
        total = usage.input_tokens + (usage.cache_read_input_tokens or 0)
        total += usage.cache_creation_input_tokens or 0
        return Answer(text, thought, calls, got.stop_reason, total, usage.output_tokens, got)

    def ask(self, text, what="text"):
        return self.answer(self.client.messages.create(**self.options(text, what)))

    def stream(self, text, what="text"):
        with self.client.messages.stream(**self.options(text, what)) as events:
            for _ in events:
                pass
            return self.answer(events.get_final_message())

    def tool_loop(self, text, results):
        options = self.options(text, "tools")
        got = self.client.messages.create(**options)
        calls = [b for b in got.content if b.type == "tool_use"]
        options["messages"].append({"role": "assistant", "content": got.content})
        options["messages"].append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": c.id, "content": r}
            for c, r in zip(calls, results, strict=True)]})  # fmt: skip
        return self.answer(self.client.messages.create(**options))

    status_of = OpenAIChatSdk.status_of


class GeminiSdk(Sdk):
    name = "gemini"
    finishes = {"stop": "STOP", "call": "STOP"}
    error = google.genai.errors.APIError

    def make(self):
        options = genai.HttpOptions(base_url=self.url)
        self.client = google.genai.Client(api_key=KEY, http_options=options)

    def options(self, text, what):
        parts = [genai.Part(text=text)]
        config = {"system_instruction": "Be brief."}
        if what == "image":
            parts.append(genai.Part.from_bytes(data=PNG, mime_type="image/png"))
        elif what == "document":
            parts.append(genai.Part.from_bytes(data=PDF, mime_type="application/pdf"))
        elif what == "tools":
            function = genai.FunctionDeclaration(
                name=TOOL, description="The weather.", parameters_json_schema=PARAMETERS
            )
            config["tools"] = [genai.Tool(function_declarations=[function])]
        elif what == "structured":
            config["response_mime_type"] = "application/json"
            config["response_json_schema"] = SCHEMA
        elif what == "thinking":
            config["thinking_config"] = genai.ThinkingConfig(
                include_thoughts=True, thinking_budget=2048
            )
        return {"model": self.model, "contents": [genai.Content(role="user", parts=parts)],
                "config": genai.GenerateContentConfig(**config)}  # fmt: skip

    def answer(self, chunks):
        got = Answer(raw=chunks)
        for chunk in chunks:
            for candidate in chunk.candidates or []:
                for part in (candidate.content and candidate.content.parts) or []:
                    if part.function_call:
                        call = part.function_call
                        got.calls.append((call.id, call.name, call.args))
                    elif part.thought:
                        got.thought += part.text or ""
                    else:
                        got.text += part.text or ""
                if candidate.finish_reason:
                    got.finish = candidate.finish_reason.name
            usage = chunk.usage_metadata
            if usage and usage.prompt_token_count is not None:
                got.input_tokens = usage.prompt_token_count
                thoughts = usage.thoughts_token_count or 0
                got.output_tokens = (usage.candidates_token_count or 0) + thoughts
        return got

    def ask(self, text, what="text"):
        return self.answer([self.client.models.generate_content(**self.options(text, what))])

    def stream(self, text, what="text"):
        chunks = self.client.models.generate_content_stream(**self.options(text, what))
        return self.answer(list(chunks))

    def tool_loop(self, text, results):
        options = self.options(text, "tools")
        got = self.client.models.generate_content(**options)
        options["contents"].append(got.candidates[0].content)
        calls = [p.function_call for p in got.candidates[0].content.parts if p.function_call]
        parts = [
            genai.Part(function_response=genai.FunctionResponse(
                id=c.id, name=c.name, response={"result": r}))
            for c, r in zip(calls, results, strict=True)
        ]  # fmt: skip
        options["contents"].append(genai.Content(role="user", parts=parts))
        return self.answer([self.client.models.generate_content(**options)])

    def status_of(self, error):
        return error.code


class BedrockSdk(Sdk):
    name = "bedrock"
    finishes = {"stop": "end_turn", "call": "tool_use"}
    error = botocore.exceptions.ClientError

    def make(self):
        self.client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id="AKIAWEIRTEST00000001",
            aws_secret_access_key="weir-test-secret",
            config=botocore.config.Config(retries={"max_attempts": 0, "mode": "standard"}),
        )

    def options(self, text, what):
        content = [{"text": text}]
        more = {}
        if what == "image":
            content.append({"image": {"format": "png", "source": {"bytes": PNG}}})
        elif what == "document":
            content.append(
                {"document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}}}
            )
        elif what == "tools":
            more["toolConfig"] = {"tools": [{"toolSpec": {
                "name": TOOL, "description": "The weather.",
                "inputSchema": {"json": PARAMETERS}}}]}  # fmt: skip
        elif what == "structured":
            more["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {
                "jsonSchema": {"name": "city", "schema": json.dumps(SCHEMA)}}}}  # fmt: skip
        elif what == "thinking":
            more["additionalModelRequestFields"] = {
                "thinking": {"type": "enabled", "budget_tokens": 2048}
            }
        return {"modelId": self.model, "system": [{"text": "Be brief."}],
                "inferenceConfig": {"maxTokens": 4096},
                "messages": [{"role": "user", "content": content}]} | more  # fmt: skip

    def answer(self, message, stop, usage):
        text, thought, calls = "", "", []
        for block in message["content"]:
            text += block.get("text", "")
            if "reasoningContent" in block:
                thought += block["reasoningContent"].get("reasoningText", {}).get("text", "")
            if "toolUse" in block:
                call = block["toolUse"]
                calls.append((call["toolUseId"], call["name"], call["input"]))
        total = usage["inputTokens"] + usage.get("cacheReadInputTokens", 0)
        total += usage.get("cacheWriteInputTokens", 0)
        return Answer(text, thought, calls, stop, total, usage["outputTokens"], message)

    def ask(self, text, what="text"):
        got = self.client.converse(**self.options(text, what))
        return self.answer(got["output"]["message"], got["stopReason"], got["usage"])

    def stream(self, text, what="text"):
        blocks, stop, usage = {}, None, None
        for event in self.client.converse_stream(**self.options(text, what))["stream"]:
            kind, value = next(iter(event.items()))
            if kind == "contentBlockStart":
                call = value["start"]["toolUse"]
                blocks[value["contentBlockIndex"]] = {"toolUse": call | {"input": ""}}
            elif kind == "contentBlockDelta":
                self.add(blocks.setdefault(value["contentBlockIndex"], {}), value["delta"])
            elif kind == "messageStop":
                stop = value["stopReason"]
            elif kind == "metadata":
                usage = value["usage"]
        for block in blocks.values():
            if "toolUse" in block:
                block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
        content = [blocks[i] for i in sorted(blocks)]
        return self.answer({"content": content}, stop, usage)

    @staticmethod
    def add(block, delta):
        if "text" in delta:
            block["text"] = block.get("text", "") + delta["text"]
        elif "toolUse" in delta:
            block["toolUse"]["input"] += delta["toolUse"]["input"]
        elif "text" in delta.get("reasoningContent", {}):
            inner = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {})
            inner["text"] = inner.get("text", "") + delta["reasoningContent"]["text"]

    def tool_loop(self, text, results):
        options = self.options(text, "tools")
        got = self.client.converse(**options)
        message = got["output"]["message"]
        calls = [b["toolUse"] for b in message["content"] if "toolUse" in b]
        options["messages"].append(message)
        options["messages"].append({"role": "user", "content": [
            {"toolResult": {"toolUseId": c["toolUseId"], "content": [{"text": r}]}}
            for c, r in zip(calls, results, strict=True)]})  # fmt: skip
        got = self.client.converse(**options)
        return self.answer(got["output"]["message"], got["stopReason"], got["usage"])

    def status_of(self, error):
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


class CohereSdk(Sdk):
    name = "cohere"
    finishes = {"stop": "COMPLETE", "call": "TOOL_CALL"}
    error = ApiError

    def make(self):
        self.client = cohere.ClientV2(
            api_key=KEY, base_url=self.url, httpx_client=httpx.Client(timeout=20)
        )

    def options(self, text, what):
        content = text
        more = {}
        if what == "image":
            url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
            content = [{"type": "text", "text": text},
                       {"type": "image_url", "image_url": {"url": url}}]  # fmt: skip
        elif what == "tools":
            more["tools"] = [{"type": "function", "function": {
                "name": TOOL, "description": "The weather.", "parameters": PARAMETERS}}]  # fmt: skip
        elif what == "structured":
            more["response_format"] = {"type": "json_object", "json_schema": SCHEMA}
        elif what == "thinking":
            more["thinking"] = {"type": "enabled", "token_budget": 2048}
        return {"model": self.model, "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]} | more  # fmt: skip

    def answer(self, got):
        parts = got.message.content or []
        text = "".join(p.text for p in parts if p.type == "text")
        thought = "".join(p.thinking for p in parts if p.type == "thinking")
        calls = [(c.id, c.function.name, json.loads(c.function.arguments))
                 for c in got.message.tool_calls or []]  # fmt: skip
        tokens = got.usage.tokens
        return Answer(text, thought, calls, got.finish_reason, int(tokens.input_tokens),
                      int(tokens.output_tokens), got)  # fmt: skip

    def ask(self, text, what="text"):
        options = {"request_options": {"max_retries": 0}} | self.options(text, what)
        return self.answer(self.client.chat(**options))

    def stream(self, text, what="text"):
        options = {"request_options": {"max_retries": 0}} | self.options(text, what)
        got = Answer()
        calls = []
        for event in self.client.chat_stream(**options):
            if event.type == "content-delta":
                content = event.delta.message.content
                got.text += content.text or ""
                got.thought += getattr(content, "thinking", None) or ""
            elif event.type == "tool-call-start":
                call = event.delta.message.tool_calls
                calls.append([call.id, call.function.name, call.function.arguments or ""])
            elif event.type == "tool-call-delta":
                calls[-1][2] += event.delta.message.tool_calls.function.arguments
            elif event.type == "message-end":
                got.finish = event.delta.finish_reason
                if got.finish in ("ERROR", "TIMEOUT"):
                    raise RuntimeError(f"the stream ended with {event.delta}")
                got.input_tokens = int(event.delta.usage.tokens.input_tokens)
                got.output_tokens = int(event.delta.usage.tokens.output_tokens)
        got.calls = [(i, n, json.loads(a)) for i, n, a in calls]
        return got

    def tool_loop(self, text, results):
        options = self.options(text, "tools")
        got = self.client.chat(**options)
        options["messages"].append(got.message)
        for call, result in zip(got.message.tool_calls, results, strict=True):
            options["messages"].append(
                {"role": "tool", "tool_call_id": call.id, "content": result}
            )
        return self.answer(self.client.chat(**options))

    def status_of(self, error):
        return error.status_code


SDKS = [OpenAIChatSdk, OpenAIResponsesSdk, AnthropicSdk, GeminiSdk, BedrockSdk, CohereSdk]
