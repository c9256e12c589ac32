// The official OpenAI SDK for Node through weir, against a mock that others wrote.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { startMock } from "./aimock-server.mjs";
import { startWeir } from "./weir.mjs";

let mock, weir, client;

before(async () => {
  mock = await startMock();
  weir = await startWeir({
    OPENAI_API_KEY: "sk-mock",
    GROQ_API_KEY: "sk-of-another-provider",
    OPENAI_BASE_URL: `${mock.url}/v1`,
    WEIR_KEYS: "wk-node-00000001",
  });
  client = new OpenAI({ apiKey: "wk-node-00000001", baseURL: `${weir.url}/v1`, maxRetries: 0 });
});

after(async () => {
  await weir?.stop();
  await mock?.stop();
});

const say = (content) => ({
  model: "openai/gpt-4o",
  messages: [{ role: "user", content }],
});

test("an answer", async () => {
  const { data, response } = await client.chat.completions.create(say("hello")).withResponse();
  assert.equal(data.choices[0].message.content, "Hi there! Grüße 🌊");
  assert.equal(data.choices[0].finish_reason, "stop");
  assert.match(response.headers.get("x-weir-request-id"), /^req_/);
  assert.equal(response.headers.get("x-weir-target"), "openai/gpt-4o");
  assert.ok(response.headers.get("x-request-id"));
});

test("a stream without usage that was not asked for", async () => {
  const stream = await client.chat.completions.create({ ...say("hello"), stream: true });
  let text = "";
  for await (const chunk of stream) {
    assert.equal(chunk.choices.length, 1);
    text += chunk.choices[0].delta.content ?? "";
  }
  assert.equal(text, "Hi there! Grüße 🌊");
});

test("a stream with usage", async () => {
  const stream = await client.chat.completions.create({
    ...say("hello"),
    stream: true,
    stream_options: { include_usage: true },
  });
  const usages = [];
  for await (const chunk of stream) if (chunk.usage) usages.push(chunk.usage);
  assert.equal(usages.length, 1);
  assert.ok(usages[0].total_tokens > 0);
});

test("a conversation with a tool, by the SDK's own runner", async () => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    ...say("weather"),
    stream: true,
    tools: [
      {
        type: "function",
        function: {
          name: "get_weather",
          parse: JSON.parse,
          function: (args) => {
            asked.push(args);
            return "sunny";
          },
          parameters: { type: "object", properties: { city: { type: "string" } } },
        },
      },
    ],
  });
  assert.equal(await runner.finalContent(), "It is sunny in Paris.");
  assert.deepEqual(asked, [{ city: "Paris" }]);
});

test("parallel tool calls, streamed", async () => {
  const stream = client.chat.completions.stream(say("both"));
  const final = await stream.finalChatCompletion();
  const calls = final.choices[0].message.tool_calls;
  assert.deepEqual(calls.map((c) => c.function.name), ["get_weather", "get_time"]);
  assert.deepEqual(JSON.parse(calls[1].function.arguments), { zone: "Europe/Paris" });
  assert.equal(final.choices[0].finish_reason, "tool_calls");
});

for (const [word, type] of [
  ["bad", OpenAI.BadRequestError],
  ["who", OpenAI.AuthenticationError],
  ["forbidden", OpenAI.PermissionDeniedError],
  ["limit", OpenAI.RateLimitError],
  ["oops", OpenAI.InternalServerError],
]) {
  for (const stream of [false, true]) {
    test(`the error ${type.name} of the provider${stream ? ", streamed" : ""}`, async () => {
      await assert.rejects(client.chat.completions.create({ ...say(word), stream }), (error) => {
        assert.ok(error instanceof type, `${error.constructor.name}`);
        assert.match(error.message, new RegExp(`mock says ${word}`));
        return true;
      });
    });
  }
}

test("weir's own errors are the SDK's classes too", async () => {
  const stranger = new OpenAI({ apiKey: "wk-wrong-0001", baseURL: `${weir.url}/v1`, maxRetries: 0 });
  await assert.rejects(stranger.chat.completions.create(say("hello")), OpenAI.AuthenticationError);
  await assert.rejects(
    client.chat.completions.create({ ...say("hello"), model: "no-such-model" }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
  await assert.rejects(
    client.chat.completions.create({ messages: [] }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "model",
  );
});

test("the SDK's retries see what the provider said", async () => {
  mock.nextRequestError(429, { message: "slow down", type: "rate_limit_error" });
  const patient = client.withOptions({ maxRetries: 2 });
  const answer = await patient.chat.completions.create(say("hello"));
  assert.equal(answer.choices[0].message.content, "Hi there! Grüße 🌊");
});

test("a stream that the client aborts", async () => {
  // A slow one: Node 20 never wakes who reads a body that was aborted when it was there already.
  const model = "sim/lorem?tokens=2000&pace=5ms";
  const stream = await client.chat.completions.create({ ...say("x"), model, stream: true });
  let seen = 0;
  for await (const _ of stream) if (++seen === 3) stream.controller.abort();
  assert.ok(seen >= 3 && seen < 2000);
  // And the next one works on the same client.
  const answer = await client.chat.completions.create(say("hello"));
  assert.equal(answer.choices[0].finish_reason, "stop");
});

test("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes("openai/gpt-4o"));
  assert.equal(new Set(ids).size, ids.length);
});

test("many streams at once keep their words apart", async () => {
  const texts = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const word = i % 2 ? "hello" : "long";
      const stream = await client.chat.completions.create({ ...say(word), stream: true });
      let text = "";
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
      return [word, text];
    }),
  );
  for (const [word, text] of texts)
    assert.equal(text, word === "hello" ? "Hi there! Grüße 🌊" : "word ".repeat(400).trim());
});
