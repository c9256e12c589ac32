// Many requests over one WebSocket of weir (docs/websocket.md): browsers, Node 22, Deno, Bun.
//   const weir = new WeirSocket("wss://weir.example/v1/ws", { key: "wk-..." });
//   for await (const m of weir.request("/v1/chat/completions", { model, messages, stream: true }))
//     console.log(m.data);             // one event of the stream; break ends the request at once
export class WeirSocket {
  constructor(url, { key, window = 32, WebSocket = globalThis.WebSocket } = {}) {
    Object.assign(this, { url, key, window, WebSocket, streams: new Map(), next: 1, tries: 0 }); }
  open() {
    const protocols = ["weir.v1", ...(this.key ? ["openai-insecure-api-key." + this.key] : [])];
    const socket = (this.socket = new this.WebSocket(this.url, protocols));
    socket.onerror = () => {}; // onclose follows
    socket.onopen = () => { this.tries = 0; for (const s of this.streams.values()) this.begin(s); };
    socket.onmessage = ({ data }) => {
      const m = JSON.parse(data), s = this.streams.get(m.id);
      if (!s || m.error) return s?.end(Object.assign(new Error(m.error.message), m.error));
      if (m.end) return s.end(m.end === "cut" ? new Error("the answer was cut") : undefined);
      if (!m.status) { s.seq = m.seq ?? s.seq; return s.push(m); }
      if (s.streamId && m.status >= 400) return s.end(new Error("the stream is gone"));
      s.streamId ??= m.headers["x-weir-stream-id"];
      s.gotHead(m);
    };
    socket.onclose = ({ code, reason }) => {
      if (socket !== this.socket) return;
      this.socket = undefined;
      for (const s of [...this.streams.values()]) // what has begun goes on where it can be resumed
        if (code === 1008 || (s.sent && !s.streamId)) s.end(new Error(`${code} ${reason}`));
      if (this.streams.size && this.tries++ < 5) setTimeout(() => this.open(), 100 * 2 ** this.tries);
      else for (const s of [...this.streams.values()]) s.end(new Error(`${code} ${reason}`));
    };
  }
  send(message) { if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(message)); }
  begin(s) {
    this.send({ id: s.id, credit: this.window,
      ...(s.streamId ? { resume: s.streamId, after: s.seq ?? 0 } : s.what) });
    s.sent = true;
  }
  // {head: a promise of {status, headers}, text(), cancel()}, and messages one by one.
  request(path, body, { method, headers, resume } = {}) {
    const id = this.next++, waiting = [], streams = this.streams;
    let wake = () => {}, done = false, failed;
    const s = { id, what: { path, body, method, headers, resume }, cancel: () => this.send({ id, cancel: true }) };
    (s.head = new Promise((yes, no) => { s.gotHead = yes; s.noHead = no; })).catch(() => {});
    s.push = (m) => { waiting.push(m); wake(); };
    s.end = (e) => { streams.delete(id); done = true; failed = e; s.noHead(e ?? new Error("ended")); wake(); };
    streams.set(id, s);
    if (!this.socket && this.tries === 0) this.open();
    else if (this.socket.readyState === 1) this.begin(s);
    s[Symbol.asyncIterator] = async function* () {
      try {
        for (;;) {
          if (waiting.length) { yield waiting.shift(); this.send({ id, credit: 1 }); }
          else if (done) { if (failed) throw failed; return; }
          else await new Promise((yes) => (wake = yes));
        }
      } finally { if (!done) s.cancel(); }
    }.bind(this);
    s.text = async () => { let t = ""; for await (const m of s) t += m.data ?? atob(m.base64); return t; };
    return s;
  }
}
