// A small client of the protocol in docs/protocol.md: connects, joins, resumes after a loss, keeps its cursors.

const wait = ms => new Promise(done => setTimeout(done, ms));

export class Client {
  // options: url, token() -> promise of a JWT, rooms, onState, onMessage(room, message, "history" or nothing), onGap, onEvent
  constructor(options) {
    this.options = options;
    this.cursors = new Map();
    this.waiting = new Map();
    this.nextId = 1;
    this.resume = null;
    this.failures = 0;
    this.stopped = false;
  }

  async start() {
    while (!this.stopped) {
      try {
        await this.session();
        this.failures = 0;
      } catch (error) {
        this.failures += 1;
        this.options.onState("disconnected", error.message);
      }
      const longest = Math.min(10_000, 250 * 2 ** Math.min(this.failures, 6));
      await wait(this.retryMs ?? Math.random() * longest);
      this.retryMs = undefined;
    }
  }

  stop() {
    this.stopped = true;
    this.socket?.close(1000);
  }

  // One connection, from hello to its end.
  async session() {
    const socket = await this.open();
    const ended = new Promise(done => socket.addEventListener("close", done));
    this.listen(socket);
    const hadResume = this.resume !== null;
    await this.hello(socket);
    this.socket = socket;
    this.failures = 0;
    this.options.onState("connected", hadResume ? "resumed" : "");
    const close = await ended;
    if (this.socket === socket) {
      this.failWaiting("the connection was lost");
      this.readRetry(close);
      if (close.code === 4001) this.resume = null;
      throw new Error(`closed (${close.code}${close.reason ? ` ${close.reason}` : ""})`);
    }
  }

  open() {
    return new Promise((done, fail) => {
      const socket = new WebSocket(this.options.url, ["throng.v1.json"]);
      const timer = setTimeout(() => { socket.close(); fail(new Error("no answer within 10 s")); }, 10_000);
      socket.addEventListener("open", () => { clearTimeout(timer); done(socket); }, { once: true });
      socket.addEventListener("error", () => { clearTimeout(timer); fail(new Error("cannot connect")); }, { once: true });
    });
  }

  async hello(socket) {
    if (this.resume) {
      const rooms = Object.fromEntries(this.cursors);
      try {
        const ok = await this.ask(socket, { hello: { resume: this.resume, rooms } });
        this.resume = ok.resume ?? this.resume;
        for (const [room, entry] of Object.entries(ok.rooms ?? {})) {
          if (entry.code) await this.join(socket, room);
          else if (!entry.recovered) this.cursors.set(room, { epoch: entry.epoch, seq: entry.seq });
        }
        return;
      } catch (error) {
        if (error.code !== "bad_resume" && error.code !== "token_expired") throw error;
        this.resume = null;
        throw error;
      }
    }
    const ok = await this.ask(socket, { hello: { token: await this.options.token() } });
    this.resume = ok.resume;
    for (const room of this.options.rooms) await this.join(socket, room);
  }

  async join(socket, room) {
    const joined = await this.ask(socket, { join: { room, history: 20 } });
    for (const message of joined.messages ?? []) this.options.onMessage(room, message, "history");
    this.cursors.set(room, { epoch: joined.epoch, seq: joined.seq });
    this.options.onEvent({ kind: "count", room, members: joined.members });
  }

  publish(room, { type = "text", lane = 2, data, key = crypto.randomUUID?.() ?? String(Math.random()), ack = "accepted" }) {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error("not connected"));
    return this.ask(this.socket, { publish: { room, type, lane, data, key, ack } });
  }

  // Sends a command; the promise holds its answer.
  ask(socket, command) {
    const id = this.nextId++;
    return new Promise((done, fail) => {
      const timer = setTimeout(() => { this.waiting.delete(id); fail(new Error("no answer within 10 s")); }, 10_000);
      this.waiting.set(id, { done, fail, timer });
      socket.send(JSON.stringify({ id, ...command }));
    });
  }

  failWaiting(why) {
    for (const { fail, timer } of this.waiting.values()) {
      clearTimeout(timer);
      fail(new Error(why));
    }
    this.waiting.clear();
  }

  readRetry(close) {
    if (close.code !== 1013) return;
    try {
      this.retryMs = JSON.parse(close.reason).retry_ms * (1 + Math.random());
    } catch {
      // No hint: the usual wait.
    }
  }

  listen(socket) {
    socket.addEventListener("message", event => {
      for (const line of event.data.split("\n")) if (line) this.take(socket, JSON.parse(line));
    });
  }

  take(socket, frame) {
    if (frame.ok || frame.error) {
      const entry = this.waiting.get(frame.id);
      if (!entry) return;
      this.waiting.delete(frame.id);
      clearTimeout(entry.timer);
      if (frame.ok) entry.done(frame.ok);
      else entry.fail(Object.assign(new Error(frame.error.message), frame.error));
    } else if (frame.segment) this.segment(frame.segment);
    else if (frame.sealed) this.sealed(frame.sealed);
    else if (frame.event) this.options.onEvent(frame.event);
    else if (frame.goaway) this.move(socket, frame.goaway);
  }

  segment({ room, epoch, messages, gaps = [] }) {
    const cursor = this.cursorOf(room, epoch);
    for (const message of messages) {
      if (message.seq > cursor.seq[message.lane] || message.from) this.options.onMessage(room, message);
      cursor.seq[message.lane] = Math.max(cursor.seq[message.lane], message.seq);
    }
    for (const gap of gaps) {
      if (gap.epoch === epoch) cursor.seq[gap.lane] = Math.max(cursor.seq[gap.lane], gap.to);
      this.options.onGap(room, gap);
    }
  }

  sealed({ room, next_epoch }) {
    this.cursorOf(room, next_epoch);
  }

  cursorOf(room, epoch) {
    let cursor = this.cursors.get(room);
    if (!cursor || cursor.epoch < epoch) {
      cursor = { epoch, seq: [0, 0, 0, 0] };
      this.cursors.set(room, cursor);
    }
    return cursor;
  }

  // The server is about to leave: open the new connection first, then close the old one.
  async move(old, goaway) {
    this.resume = goaway.resume;
    await wait(Math.random() * goaway.after_ms * 0.8);
    this.options.onState("connected", `moving (${goaway.reason})`);
    old.close(1000);
  }
}
