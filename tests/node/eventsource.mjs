// Reads a stream with the stock EventSource until that gives up, and prints what it was given: a
// line of JSON an event, then how it ended.
//   node eventsource.mjs URL KEY
import { EventSource } from "eventsource";

const [url, key] = process.argv.slice(2);
const source = new EventSource(url, {
  fetch: (input, init) =>
    fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${key}` } }),
});
const tell = (event) =>
  console.log(JSON.stringify({ id: event.lastEventId, type: event.type, data: event.data }));
source.onmessage = tell;
for (const type of ["message_start", "content_block_delta", "message_stop"])
  source.addEventListener(type, tell);
source.onerror = (event) => {
  if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
  console.log(JSON.stringify({ closed: event.code ?? null }));
};
