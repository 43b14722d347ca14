// A small client of the protocol in docs/protocol.md: connects, joins, resumes after a loss, keeps its cursors.

const wait = ms => new Promise(done => setTimeout(done, ms));

// Close codes after which a client does not come back by itself.
const FINAL = { 4005: "an administrator removed you; reload the page to come back", 4008: "you are connected elsewhere" };

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
    // Where publishes go, and the connection that has said hello last: only its segments count.
    this.socket = null;
    this.newest = null;
    // Messages that came on a new connection that is entering, and of those that failed: the old one brings them again.
    this.trial = null;
    this.twice = new Set();
  }

  async start() {
    while (!this.stopped) {
      try {
        await this.session();
      } catch (error) {
        this.failures += 1;
        this.options.onState("disconnected", error.message);
      }
      if (this.stopped) return;
      const longest = Math.min(10_000, 250 * 2 ** Math.min(this.failures, 6));
      await wait(this.retryMs ?? Math.random() * longest);
      this.retryMs = undefined;
    }
  }

  stop() {
    this.stopped = true;
    this.newest?.close(1000);
  }

  // From hello to a loss, over as many gateways as ask to be left in between.
  async session() {
    const hadResume = this.resume !== null;
    let link = await this.enter();
    this.options.onState("connected", hadResume ? "resumed" : "");
    for (;;) link = await this.move(link, await Promise.race([link.lost, link.away]));
  }

  // A connection that has said hello and is in its rooms.
  async enter() {
    const socket = await this.open();
    const link = this.listen(socket);
    try {
      await this.hello(socket);
    } catch (error) {
      socket.close(1000);
      throw error;
    }
    this.socket = socket;
    this.failures = 0;
    return link;
  }

  // This gateway is about to stop: the new connection stands before the old one goes. While there is none, the old one is as
  // good as before: it stays until its gateway closes it, and the move is tried again.
  async move(old, goaway) {
    this.resume = goaway.resume;
    this.options.onState("connected", `moving (${goaway.reason})`);
    let pause = Math.random() * goaway.after_ms * 0.8;
    try {
      for (let tries = 0; ; tries += 1) {
        await Promise.race([old.lost, wait(pause)]);
        const link = await this.beside(old);
        if (link) {
          // What was asked on the old one is answered there.
          for (let looks = 0; looks < 20 && this.waitsOn(old.socket); looks += 1) await wait(50);
          this.options.onState("connected", "moved");
          return link;
        }
        pause = this.retryMs ?? Math.random() * 250 * 2 ** Math.min(tries, 5);
        this.retryMs = undefined;
      }
    } finally {
      old.socket.close(1000);
    }
  }

  // Enters on a new connection beside the old one; nothing if that fails. What the old one brings meanwhile is held back: on
  // the new one it comes too.
  async beside(old) {
    old.held = [];
    this.trial = new Set();
    try {
      const link = await this.enter();
      this.twice.clear();
      return link;
    } catch (error) {
      if (this.stopped) throw error;
      this.options.onState("connected", `moving (${error.message}, trying again)`);
      for (const stamp of this.trial) this.twice.add(stamp);
      this.trial = null;
      this.newest = old.socket;
      for (const frame of old.held) this.take(old, frame);
      return undefined;
    } finally {
      this.trial = null;
      old.held = null;
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
    this.newest = socket;
    if (this.resume) {
      const rooms = Object.fromEntries(this.cursors);
      try {
        const ok = await this.ask(socket, { hello: { resume: this.resume, rooms } });
        this.resume = ok.resume ?? this.resume;
        for (const [room, entry] of Object.entries(ok.rooms ?? {})) {
          if (entry.code) await this.join(socket, room);
          else if (!entry.recovered) this.cursors.set(room, { epoch: entry.epoch, seq: entry.seq });
        }
        // A join that was not answered before the loss is no part of what is resumed.
        for (const room of this.options.rooms) if (!this.cursors.has(room)) await this.join(socket, room);
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
      this.waiting.set(id, { socket, done, fail, timer });
      socket.send(JSON.stringify({ id, ...command }));
    });
  }

  waitsOn(socket) {
    return [...this.waiting.values()].some(entry => entry.socket === socket);
  }

  failWaiting(socket, error) {
    for (const [id, entry] of this.waiting) {
      if (entry.socket !== socket) continue;
      this.waiting.delete(id);
      clearTimeout(entry.timer);
      entry.fail(error);
    }
  }

  readRetry(close) {
    if (close.code !== 1013) return;
    try {
      this.retryMs = JSON.parse(close.reason).retry_ms * (1 + Math.random());
    } catch {
      // No hint: the usual wait.
    }
  }

  // Reads a connection. `away` resolves with a goaway, `lost` fails with the reason of its end.
  listen(socket) {
    const link = { socket };
    link.away = new Promise(done => { link.leave = done; });
    link.lost = new Promise((_, fail) => {
      socket.addEventListener("close", close => {
        const error = new Error(this.ended(socket, close));
        this.failWaiting(socket, error);
        fail(error);
      });
    });
    // Nobody may be waiting for the end of one that was left.
    link.lost.catch(() => {});
    socket.addEventListener("message", event => {
      for (const line of event.data.split("\n")) if (line) this.take(link, JSON.parse(line));
    });
    return link;
  }

  // Why a connection has ended; what follows from it if it is the newest.
  ended(socket, close) {
    if (socket === this.newest) {
      this.readRetry(close);
      if (close.code === 4001) this.resume = null;
      if (FINAL[close.code]) this.stopped = true;
    }
    return FINAL[close.code] ?? `closed (${close.code}${close.reason ? ` ${close.reason}` : ""})`;
  }

  take(link, frame) {
    if (frame.ok || frame.error) {
      const entry = this.waiting.get(frame.id);
      if (!entry) return;
      this.waiting.delete(frame.id);
      clearTimeout(entry.timer);
      if (frame.ok) entry.done(frame.ok);
      else entry.fail(Object.assign(new Error(frame.error.message), frame.error));
    } else if (frame.event) this.options.onEvent(frame.event);
    else if (frame.goaway) link.leave(frame.goaway);
    // What an old connection still brings comes on the new one too, once that has entered.
    else if (link.socket !== this.newest) link.held?.push(frame);
    else if (frame.segment) this.segment(frame.segment);
    else if (frame.sealed) this.sealed(frame.sealed);
  }

  segment({ room, epoch, messages, gaps = [] }) {
    const cursor = this.cursorOf(room, epoch);
    for (const message of messages) {
      // What comes late of an epoch that has ended moves no cursor.
      if (epoch === cursor.epoch) cursor.seq[message.lane] = Math.max(cursor.seq[message.lane], message.seq);
      const stamp = `${epoch} ${message.lane} ${message.seq} ${room}`;
      if (this.twice.has(stamp)) continue;
      this.trial?.add(stamp);
      this.options.onMessage(room, message);
    }
    for (const gap of gaps) {
      if (gap.epoch === cursor.epoch) cursor.seq[gap.lane] = Math.max(cursor.seq[gap.lane], gap.to);
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
}
