// The pools and rooms beside the panes. Rows are changed in place: whoever is on a button with the keyboard stays there.

const SORTS = ["gateway", "chatroom", "message"];

const cell = (row, text, kind = "") => {
  const made = row.insertCell();
  made.textContent = text;
  made.className = kind;
  return made;
};

const number = value => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));
const ms = value => (value === null || value === undefined ? "–" : `${value.toFixed(0)} ms`);

const set = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

export class Pools {
  // act(verb, name) does what a button says.
  constructor(act) {
    this.act = act;
    for (const role of SORTS) {
      const head = document.querySelector(`#pools tbody[data-role=${role}]`).insertRow();
      head.className = "pool";
      const title = cell(head, "", "");
      title.colSpan = 6;
      title.append(Object.assign(document.createElement("b"), { textContent: role }));
      title.append(" ", Object.assign(document.createElement("span"), { className: "sum" }));
      cell(head, "").append(this.button("add", role, `add a ${role} Pod`));
    }
  }

  button(verb, name, label) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = verb;
    made.dataset.verb = verb;
    made.setAttribute("aria-label", label ?? `${verb} ${name}`);
    // The verb of the moment: drain and undrain share a button.
    made.addEventListener("click", () => this.act(made.dataset.verb, name));
    return made;
  }

  draw({ pods, rooms, rates, bots, why, file }) {
    for (const role of SORTS) this.pool(role, pods.filter(pod => pod.role === role));
    this.rooms(rooms);
    this.planner(why, file);
    const { connections, messages_per_s: taken, deliveries_per_s: delivered, egress_mbps: egress } = rates;
    set(
      document.querySelector("#rates"),
      `${number(connections)} connections, ${number(taken)} msg/s in, ${number(delivered)} delivered/s, ${egress.toFixed(1)} Mbit/s out`,
    );
    const line = document.querySelector("#bots");
    line.hidden = !bots;
    if (bots) {
      const { ready, wanted, room, rate, accepted, limited, resumed } = bots;
      const more = `${limited ? `, ${number(limited)} told to wait` : ""}${resumed ? `; ${number(resumed)} came back and missed nothing` : ""}`;
      set(line, `${number(ready)} of ${number(wanted)} bots in ${room}, say ${number(accepted)} of ${number(rate)} msg/s${more}`);
    }
  }

  // Why the pools are as they are, and what is wrong with the file that they follow.
  planner(why, file) {
    const line = document.querySelector("#file");
    line.hidden = !file;
    if (file) {
      set(line, file.problem ? `${file.path}: ${file.problem}; what runs goes on as it was` : `${file.path} says how many there are`);
      line.className = file.problem ? "problem" : "";
    }
    const list = document.querySelector("#why");
    while (list.children.length > why.length) list.lastChild.remove();
    while (list.children.length < why.length) list.append(document.createElement("li"));
    why.forEach((text, at) => set(list.children[at], text));
  }

  pool(role, pods) {
    const body = document.querySelector(`#pools tbody[data-role=${role}]`);
    const living = pods.filter(pod => pod.state !== "dead");
    set(body.querySelector(".sum"), `${living.length} Pods, ${number(living.reduce((sum, pod) => sum + (pod.users ?? 0), 0))} users`);
    const gone = new Map([...body.querySelectorAll("tr.pod")].map(row => [row.dataset.pod, row]));
    for (const pod of pods) {
      const row = gone.get(pod.name) ?? this.podRow(body, pod.name);
      gone.delete(pod.name);
      this.fill(row, pod);
    }
    for (const row of gone.values()) row.remove();
  }

  podRow(body, name) {
    const row = body.insertRow();
    row.dataset.pod = name;
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    for (const kind of ["users", "rooms", "slots", "pressure", "what"]) cell(row, "", kind);
    cell(row, "", "do").append(this.button("drain", name), this.button("kill", name));
    return row;
  }

  fill(row, pod) {
    row.className = `pod ${pod.state}`;
    set(row.querySelector(".users"), number(pod.users));
    set(row.querySelector(".rooms"), number(pod.rooms));
    set(row.querySelector(".slots"), number(pod.slots));
    set(row.querySelector(".pressure"), pod.pressure_percent === null ? "–" : `${pod.pressure_percent} %`);
    set(row.querySelector(".what"), pod.state === "running" ? pod.note : [pod.state, pod.note].filter(Boolean).join(": "));
    const [drain, kill] = row.querySelectorAll("button");
    const verb = pod.state === "draining" ? "undrain" : "drain";
    if (drain.dataset.verb !== verb) {
      drain.dataset.verb = verb;
      drain.textContent = verb;
      drain.setAttribute("aria-label", `${verb} ${pod.name}`);
    }
    drain.disabled = kill.disabled = pod.state === "dead";
  }

  rooms(rooms) {
    const body = document.querySelector("#rooms tbody");
    while (body.rows.length > rooms.length) body.deleteRow(-1);
    while (body.rows.length < rooms.length) {
      const row = body.insertRow();
      for (const kind of ["room", "members", "in", "delivered", "dropped", "p50", "p99", "tick", "owner"]) cell(row, "", kind);
    }
    rooms.forEach((room, place) => {
      const texts = [
        room.room, number(room.members), room.messages_per_s.toFixed(1), number(room.delivered_per_s), number(room.dropped_per_s),
        ms(room.p50_ms), ms(room.p99_ms), room.tick_ms ? `${room.tick_ms} ms` : "none", room.owner,
      ];
      const row = body.rows[place];
      row.dataset.room = room.room;
      texts.forEach((text, at) => set(row.cells[at], text));
    });
  }
}
