// The same events, whoever reads them: eventsource-parser on what the provider sent and on what
// weir passed on, for streams that were put together at random and cut at random.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";
import { createParser } from "eventsource-parser";
import { startWeir } from "./weir.mjs";

const seed = Number(process.env.WEIR_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
let state = seed;
function random() {
  // mulberry32: the same numbers again for the same seed.
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const pick = (list) => list[Math.floor(random() * list.length)];

function makeStream() {
  const end = pick(["\n", "\r\n", "\r"]);
  let text = random() < 0.2 ? "\ufeff" : "";
  const chunk = (delta, finish = null) =>
    JSON.stringify({ id: "c", choices: [{ index: 0, delta, finish_reason: finish }] });
  for (let i = Math.floor(random() * 20) + 1; i > 0; i--) {
    text += pick([
      () => `data: ${chunk({ content: pick(["a", "ü🌊", "x".repeat(3000), "\\u0000"]) })}${end}${end}`,
      () => `data:${chunk({ content: "tight" })}${end}${end}`,
      () => `: comment${end}${end}`,
      () => `:${end}`,
      () => `id: ${i}${end}event: message${end}data: ${chunk({ content: "named" })}${end}${end}`,
      () => `data: {"choices":[{"index":0,${end}data: "delta":{"content":"two"}}]}${end}${end}`,
      () => `retry: 100${end}unknown: field${end}${end}`,
      () => end,
    ])();
  }
  return `${text}data: ${chunk({}, "stop")}${end}${end}data: [DONE]${end}${end}`;
}

function eventsOf(text) {
  const events = [];
  const parser = createParser({ onEvent: (event) => events.push(event) });
  parser.feed(text);
  return events;
}

let server, weir, body;

before(async () => {
  server = http.createServer((request, response) => {
    request.resume();
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.socket.setNoDelay(true);
    const bytes = Buffer.from(body);
    const send = (from) => {
      if (from >= bytes.length) return response.end();
      const size = 1 + Math.floor(random() * (random() < 0.5 ? 5 : 2000));
      response.write(bytes.subarray(from, from + size));
      setImmediate(send, from + size);
    };
    send(0);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = `http://127.0.0.1:${server.address().port}/v1`;
  weir = await startWeir({ OPENAI_API_KEY: "sk-x", OPENAI_BASE_URL: base });
});

after(async () => {
  await weir?.stop();
  server?.close();
  server?.closeAllConnections();
});

test(`the same events on both sides of weir (WEIR_TEST_SEED=${seed})`, async () => {
  for (let i = 0; i < 60; i++) {
    body = makeStream();
    const answer = await fetch(`${weir.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"model":"openai/m","messages":[],"stream":true}',
    });
    assert.equal(answer.status, 200);
    const got = Buffer.from(await answer.arrayBuffer()).toString();
    assert.deepEqual(eventsOf(got), eventsOf(body), JSON.stringify(body));
    assert.equal(got, body);
  }
});
