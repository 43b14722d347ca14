// The page of `throng dev`: two people in one room, and the pools behind them.

import { Client } from "/dev/client.js";
import { Figures } from "/dev/figures.js";
import { Pools } from "/dev/pools.js";

const ROOM = "lobby";
const SHOWN = 200;

const log = text => {
  const line = document.createElement("li");
  line.textContent = `${new Date().toLocaleTimeString()} ${text}`;
  const list = document.querySelector("#log");
  list.prepend(line);
  while (list.children.length > 100) list.lastChild.remove();
};

// What a message says, in words.
const words = ({ type, data }) => {
  if (type === "like") return "♥";
  if (type === "entry") return "enters";
  if (type === "gift") return `gives a ${data?.gift ?? "gift"}`;
  return data?.text ?? JSON.stringify(data);
};

class Pane {
  constructor(root) {
    this.user = root.dataset.user;
    root.append(document.querySelector("#pane").content.cloneNode(true));
    root.querySelector(".name").textContent = this.user;
    this.list = root.querySelector(".messages");
    this.state = root.querySelector(".state");
    this.latency = root.querySelector(".latency");
    this.shown = root.querySelector(".figures");
    this.figures = new Figures();
    this.pending = [];
    this.frame = 0;
    root.querySelector("form").addEventListener("submit", event => {
      event.preventDefault();
      const { text, lane } = event.target.elements;
      if (text.value.trim()) this.send("text", { text: text.value.trim() }, Number(lane.value));
      text.value = "";
    });
    root.querySelector(".like").addEventListener("click", () => this.send("like", {}, 3));
    this.client = new Client({
      url: location.origin.replace(/^http/, "ws") + "/connect",
      token: async () => {
        const reply = await fetch(`/dev/token?user=${encodeURIComponent(this.user)}`);
        if (!reply.ok) throw new Error(await reply.text());
        return reply.text();
      },
      rooms: [ROOM],
      onState: (state, why) => this.show(state, why),
      onMessage: (room, message, past) => this.take(message, past),
      onGap: (room, gap) => this.gap(gap),
      onEvent: event => event.kind === "count" && this.members(event.members),
    });
    this.client.start();
    setInterval(() => this.tell(), 1000);
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
    this.state.textContent = `connected, ${count.toLocaleString("en")} here`;
  }

  take(message, past) {
    if (!past) this.figures.message(message);
    const own = message.from === this.user;
    if (own && !past && message.data?.sent_ms) {
      this.latency.textContent = `${Math.max(0, performance.timeOrigin + performance.now() - message.data.sent_ms).toFixed(0)} ms`;
    }
    const bot = message.from.startsWith("bot-");
    this.add(`${message.from}: ${words(message)}`, own ? "own" : bot ? "bot" : "");
  }

  // What is sampled out of lanes 2-3 is counted only; a hole in the others is news.
  gap(gap) {
    this.figures.gap(gap);
    if (gap.lane < 2) this.note(`${gap.to - gap.from + 1} message(s) of lane ${gap.lane} skipped`);
  }

  tell() {
    const { perSecond, skippedPerSecond, p50, p99 } = this.figures.read();
    const latency = p50 === null ? "" : `, p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms`;
    this.shown.textContent = `${perSecond.toFixed(1)} msg/s, ${skippedPerSecond.toFixed(1)} left out/s${latency}`;
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

const pools = new Pools(async (verb, name) => {
  try {
    const body = JSON.stringify({ name });
    const reply = await fetch(`/dev/pods/${verb}`, { method: "POST", headers: { "content-type": "application/json" }, body });
    log(reply.ok ? `${verb} ${name}` : `${verb} ${name}: ${await reply.text()}`);
  } catch {
    log(`${verb} ${name}: no answer, perhaps the gateway that was asked is the one that ended`);
  }
  refresh();
});

const refresh = async () => {
  try {
    pools.draw(await (await fetch("/dev/state")).json());
  } catch {
    // The gateway that served this page may just have been killed; the next request goes to another.
  }
};

for (const root of document.querySelectorAll(".pane")) new Pane(root);
refresh();
setInterval(refresh, 1000);
