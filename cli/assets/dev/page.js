// The page of `throng dev`: two people in one room, and the pools behind them.

import { Client } from "/dev/client.js";

const ROOM = "lobby";
const SHOWN = 200;

const log = text => {
  const line = document.createElement("li");
  line.textContent = `${new Date().toLocaleTimeString()} ${text}`;
  const list = document.querySelector("#log");
  list.prepend(line);
  while (list.children.length > 100) list.lastChild.remove();
};

class Pane {
  constructor(root) {
    this.user = root.dataset.user;
    root.append(document.querySelector("#pane").content.cloneNode(true));
    root.querySelector(".name").textContent = this.user;
    this.list = root.querySelector(".messages");
    this.state = root.querySelector(".state");
    this.latency = root.querySelector(".latency");
    this.pending = [];
    this.frame = 0;
    root.querySelector("form").addEventListener("submit", event => {
      event.preventDefault();
      const input = event.target.elements.text;
      if (input.value.trim()) this.send("text", { text: input.value.trim() }, 2);
      input.value = "";
    });
    root.querySelector(".like").addEventListener("click", () => this.send("like", {}, 3));
    this.client = new Client({
      url: location.origin.replace(/^http/, "ws") + "/connect",
      token: () => fetch(`/dev/token?user=${this.user}`).then(reply => reply.text()),
      rooms: [ROOM],
      onState: (state, why) => this.show(state, why),
      onMessage: (room, message) => this.take(message),
      onGap: (room, gap) => this.note(`${gap.to - gap.from + 1} message(s) of lane ${gap.lane} skipped`),
      onEvent: event => event.kind === "count" && this.members(event.members),
    });
    this.client.start();
  }

  async send(type, data, lane) {
    try {
      await this.client.publish(ROOM, { type, lane, data: { ...data, sent_ms: performance.timeOrigin + performance.now() } });
    } catch (error) {
      this.note(error.retry_ms ? `${error.message} (again in ${error.retry_ms} ms)` : error.message);
    }
  }

  show(state, why) {
    this.state.textContent = why ? `${state}: ${why}` : state;
    this.state.className = `state ${state === "connected" ? "on" : "off"}`;
    if (why) log(`${this.user} ${state}: ${why}`);
  }

  members(count) {
    this.state.textContent = `connected, ${count} here`;
  }

  take(message) {
    const own = message.from === this.user;
    if (own && message.data && message.data.sent_ms) {
      this.latency.textContent = `${Math.max(0, performance.timeOrigin + performance.now() - message.data.sent_ms).toFixed(0)} ms`;
    }
    const text = message.type === "like" ? "♥" : message.data && message.data.text !== undefined ? message.data.text : JSON.stringify(message.data);
    this.add(`${message.from}: ${text}`, own ? "own" : "");
  }

  note(text) {
    this.add(text, "note");
  }

  // One change of the page a frame, whatever arrives: a browser cannot draw 400 lines a second one by one.
  add(text, kind) {
    this.pending.push([text, kind]);
    if (this.pending.length > SHOWN) this.pending.shift();
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
    const lines = document.createDocumentFragment();
    for (const [text, kind] of this.pending) {
      const line = document.createElement("li");
      line.textContent = text;
      line.className = kind;
      lines.append(line);
    }
    this.pending = [];
    this.list.append(lines);
    while (this.list.children.length > SHOWN) this.list.firstChild.remove();
    if (atEnd) this.list.scrollTop = this.list.scrollHeight;
  }
}

// ---- the pools

const act = async (verb, name) => {
  const reply = await fetch(`/dev/pods/${verb}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name }) });
  const text = await reply.text();
  log(reply.ok ? `${verb} ${name}` : `${verb} ${name}: ${text}`);
  refresh();
};

const button = (label, verb, name) => {
  const made = document.createElement("button");
  made.textContent = label;
  made.addEventListener("click", () => act(verb, name));
  return made;
};

const drawPools = state => {
  const pools = document.querySelector("#pools");
  pools.replaceChildren();
  for (const role of ["gateway", "chatroom", "message"]) {
    const head = document.createElement("div");
    head.className = "pool";
    const title = document.createElement("b");
    title.textContent = role;
    head.append(title, button("add", "add", role));
    pools.append(head);
    for (const pod of state.pods.filter(pod => pod.role === role)) {
      const row = document.createElement("div");
      row.className = `pod ${pod.state}`;
      row.dataset.pod = pod.name;
      const name = document.createElement("b");
      name.textContent = pod.name;
      const what = document.createElement("span");
      what.className = "what";
      what.textContent = pod.summary;
      row.append(name, what);
      if (pod.state === "draining") row.append(button("undrain", "undrain", pod.name));
      else if (pod.state !== "dead") row.append(button("drain", "drain", pod.name));
      if (pod.state !== "dead") row.append(button("kill", "kill", pod.name));
      pools.append(row);
    }
  }
};

const drawRooms = state => {
  const body = document.querySelector("#rooms tbody");
  body.replaceChildren(...state.rooms.map(room => {
    const row = document.createElement("tr");
    for (const cell of [room.room, room.members, room.messages_per_second.toFixed(1), room.tick_ms ? `${room.tick_ms} ms` : "none", room.owner]) {
      row.append(Object.assign(document.createElement("td"), { textContent: cell }));
    }
    return row;
  }));
};

const refresh = async () => {
  try {
    const state = await (await fetch("/dev/state")).json();
    drawPools(state);
    drawRooms(state);
  } catch {
    // The gateway that served this page may just have been killed; the next request goes to another.
  }
};

for (const root of document.querySelectorAll(".pane")) new Pane(root);
refresh();
setInterval(refresh, 1000);
