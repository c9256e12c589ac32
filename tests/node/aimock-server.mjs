// A model API that others wrote, on a free port: prints its URL and serves until its input ends.
import { LLMock } from "@copilotkit/aimock";

export async function startMock() {
  const mock = new LLMock({ port: 0 });
  mock.onToolResult("call_weather", { content: "It is sunny in Paris." });
  mock.onMessage("hello", { content: "Hi there! Grüße 🌊" });
  mock.onMessage("long", { content: "word ".repeat(400).trim() });
  mock.onMessage("weather", {
    toolCalls: [{ id: "call_weather", name: "get_weather", arguments: '{"city":"Paris"}' }],
  });
  mock.onMessage("both", {
    toolCalls: [
      { name: "get_weather", arguments: '{"city":"Paris"}' },
      { name: "get_time", arguments: '{"zone":"Europe/Paris"}' },
    ],
  });
  mock.onMessage("json", { content: '{"answer": 42}' });
  for (const [word, status, type, code] of [
    ["bad", 400, "invalid_request_error", "bad_value"],
    ["who", 401, "authentication_error", "invalid_api_key"],
    ["forbidden", 403, "permission_error", "forbidden"],
    ["limit", 429, "rate_limit_error", "rate_limit_exceeded"],
    ["oops", 500, "server_error", "internal"],
  ]) {
    mock.onMessage(word, { error: { message: `mock says ${word}`, type, code }, status });
  }
  await mock.start();
  return mock;
}

if (process.argv[1].endsWith("aimock-server.mjs")) {
  const mock = await startMock();
  console.log(mock.url);
  process.stdin.resume();
  process.stdin.on("end", async () => {
    await mock.stop();
    process.exit(0);
  });
}
