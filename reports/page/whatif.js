(function () {
  "use strict";

  const { data, number, withUnit, show, look, isVisible } = window.ppoptPage;
  const { prepared, replay, critical, memory } = window.ppoptReplay;
  const ROW = 26;
  const BACKWARD = ["backward_input", "backward_weight"];
  const signed = (share) => `${share < 0 ? "−" : "+"}${(100 * Math.abs(share)).toFixed(2)}%`;

  const TIMES = ["latency", "overhead"];  // given as they are; all else are factors

  /** The changes: factors by key or by key@place, the latency, the overhead, and the speeds of devices. */
  function factorsOf(info, changes) {
    const of = (key) => (changes.has(key) ? changes.get(key) : 1);
    return info.costs.map(([key, place]) => {
      const keys = ["times", key, ...(BACKWARD.includes(key) ? ["backward"] : [])];
      return keys.reduce((product, each) => product * of(each) * of(`${each}@${place}`), 1);
    });
  }

  const slownessOf = (info, changes) => Float64Array.from(
    { length: info.devices }, (_, device) => 1 / (changes.has(`device@${device}`) ? changes.get(`device@${device}`) : 1),
  );

  class Panel {
    constructor(element, place) {
      this.element = element;
      this.place = place;
      this.info = data.whatIf[place];
      this.changes = new Map();
      this.part = (name) => element.querySelector(`[data-part="${name}"]`);
      this.racers = null;
      this.later = null;
      this.listen();
      this.read();
      window.addEventListener("hashchange", () => this.read());
    }

    // ---- controls

    listen() {
      for (const name of ["cost", "where", "device"]) this.part(name).addEventListener("change", () => this.point());
      this.part("factor").addEventListener("input", (event) => this.set(this.costKey(), Number(event.target.value), 1));
      this.part("speed").addEventListener("input", (event) => this.set(this.deviceKey(), Number(event.target.value), 1));
      for (const name of TIMES) this.part(name).addEventListener("input", (event) => this.set(name, Number(event.target.value), this.info[name]));
      this.part("reset").addEventListener("click", () => { this.changes.clear(); this.changed(); });
      this.part("list").addEventListener("click", (event) => {
        if (event.target.dataset.key === undefined) return;
        this.changes.delete(event.target.dataset.key);
        this.changed();
      });
    }

    costKey() {
      const where = this.part("where").value;
      return where === "" ? this.part("cost").value : `${this.part("cost").value}@${where}`;
    }

    deviceKey() { return `device@${this.part("device").value}`; }

    set(key, value, usual) {
      if (value === usual) this.changes.delete(key); else this.changes.set(key, value);
      this.changed();
    }

    changed() {
      this.write();
      this.update();
    }

    point() {  // set each slider to the value of its menu's choice
      const of = (key, usual) => (this.changes.has(key) ? this.changes.get(key) : usual);
      this.part("factor").value = of(this.costKey(), 1);
      this.part("factor-text").textContent = `× ${of(this.costKey(), 1).toFixed(2)}`;
      this.part("speed").value = of(this.deviceKey(), 1);
      this.part("speed-text").textContent = `× ${of(this.deviceKey(), 1).toFixed(2)}`;
      for (const name of TIMES) {
        this.part(name).value = of(name, this.info[name]);
        this.part(`${name}-text`).textContent = withUnit(of(name, this.info[name]), this.info.unit);
      }
    }

    // ---- the address

    get name() { return `what-if-${this.place}`; }

    write() {
      const pieces = [...this.changes].map(([key, value]) => `${encodeURIComponent(key)}:${value}`);
      const others = window.location.hash.slice(1).split("&").filter((each) => each && !each.startsWith(`${this.name}=`));
      const hash = [...others, ...(pieces.length ? [`${this.name}=${pieces.join(",")}`] : [])].join("&");
      this.written = `#${hash}`;
      window.history.replaceState(null, "", hash ? `#${hash}` : window.location.pathname + window.location.search);
    }

    read() {
      if (this.written !== undefined && this.written === window.location.hash) return;
      const mine = window.location.hash.slice(1).split("&").find((each) => each.startsWith(`${this.name}=`));
      if (!mine && !this.changes.size) { this.point(); return; }
      const pieces = mine ? mine.slice(this.name.length + 1).split(",") : [];
      this.changes = new Map(pieces.map((each) => this.parsed(each)).filter((each) => each !== null));
      this.update();
    }

    parsed(text) {  // null if it is no change of this page: an address can be anything
      const at = text.lastIndexOf(":");
      const value = Number(text.slice(at + 1));
      let key;
      try { key = decodeURIComponent(text.slice(0, at)); } catch { return null; }
      const isKnown = TIMES.includes(key) || this.info.keys.includes(key);
      return at > 0 && isKnown && Number.isFinite(value) && (TIMES.includes(key) ? value >= 0 : value > 0) ? [key, value] : null;
    }

    // ---- replaying

    prepare() {
      if (this.racers) return;
      this.racers = this.info.schedules.map(({ key, name, over, costs }) => (
        { key, name, over, schedule: prepared(data.timelines[key], costs), original: 0, makespan: 0, row: this.row(name) }
      ));
      this.replayAll(new Map());
      for (const each of this.racers) each.original = each.makespan;
      this.part("race").style.height = `${ROW * this.racers.length}px`;
    }

    row(name) {
      const row = this.part("race").appendChild(document.createElement("div"));
      for (const part of ["racer", "track", "result"]) row.appendChild(document.createElement("span")).className = part;
      row.children[0].textContent = name;
      row.children[1].appendChild(document.createElement("i"));
      return row;
    }

    replayAll(changes) {
      const factors = factorsOf(this.info, changes);
      const [latency, overhead] = TIMES.map((name) => (changes.has(name) ? changes.get(name) : this.info[name]));
      const more = overhead - this.info.overhead;
      const slowness = slownessOf(this.info, changes);
      for (const each of this.racers) each.makespan = replay(each.schedule, factors, latency, slowness, more) + this.info.after;
    }

    update() {
      this.prepare();
      const began = performance.now();
      this.replayAll(this.changes);
      this.element.dataset.replayed = (performance.now() - began).toFixed(2);
      this.point();
      this.rank();
      this.describe();
      window.clearTimeout(this.later);
      this.later = window.setTimeout(() => this.follow(), 60);
    }

    rank() {
      const longest = Math.max(...this.racers.map((each) => Math.max(each.makespan, each.original)));
      const ranked = [...this.racers].sort((one, other) => one.over - other.over || one.makespan - other.makespan);
      ranked.forEach((each, place) => {
        const { row } = each;
        row.style.transform = `translateY(${ROW * place}px)`;
        row.dataset.makespan = String(each.makespan);
        row.dataset.rank = String(place);
        row.classList.toggle("over", each.over);
        row.querySelector("i").style.width = `${(100 * each.makespan) / longest}%`;
        const change = this.changes.size ? ` (${signed(each.makespan / each.original - 1)})` : "";
        row.children[2].textContent = `${withUnit(each.makespan, this.info.unit)}${change}`;
      });
      this.ranked = ranked;
    }

    describe() {
      const any = this.changes.size > 0;
      this.element.classList.toggle("moved", any);
      this.part("untrue").hidden = !any;
      this.part("reset").disabled = !any;
      const list = this.part("list");
      list.replaceChildren();
      for (const [key, value] of this.changes) {
        const button = list.appendChild(document.createElement("button"));
        button.type = "button";
        button.dataset.key = key;
        button.title = "Take this change back";
        button.textContent = `${this.label(key)} ${TIMES.includes(key) ? withUnit(value, this.info.unit) : `× ${value.toFixed(2)}`} ✕`;
      }
      const best = (of) => this.racers.filter((each) => !each.over).reduce((one, other) => (of(other) < of(one) ? other : one), this.ranked[0]);
      const [now, before] = [best((each) => each.makespan), best((each) => each.original)];
      this.part("verdict").textContent = !any ? ""
        : now === before ? `${now.name} is still the shortest.` : `${now.name} is the shortest now; with the original costs it is ${before.name}.`;
    }

    label(key) {
      const [name, place] = key.split(/@(.*)/s);
      if (name === "device") return `speed of device ${place}`;
      if (TIMES.includes(name)) return name;
      const option = [...this.part("cost").options].find((each) => each.value === name);
      const where = [...this.part("where").options].find((each) => each.value === place);
      return option.textContent + (where ? ` of ${where.textContent}` : "");
    }

    async follow() {  // update the timelines, visible ones first
      const mine = (this.run = {});
      const any = this.changes.size > 0;
      const shown = this.racers.filter((each) => isVisible(each.key));
      const { from, to } = data.timelines[this.racers[0].key];
      const end = Math.max(...this.racers.map((each) => each.makespan));
      look(this.place, any && end > to ? [from, end] : null);
      for (const each of [...shown, ...this.racers.filter((other) => !shown.includes(other))]) {
        if (this.run !== mine) return;
        await show(each.key, any ? this.timeline(each) : null);
        await new Promise((done) => { window.setTimeout(done); });
      }
    }

    timeline({ key, schedule }) {
      const timeline = data.timelines[key];
      const path = critical(schedule);
      return {
        ...timeline, start: [...schedule.start], end: [...schedule.end], critical: path, waits: [], memory: memory(schedule),
        to: Math.max(timeline.to, ...schedule.end), moved: true,
      };
    }
  }

  for (const element of document.querySelectorAll("[data-what-if]")) {
    const panel = new Panel(element, Number(element.dataset.whatIf));
    window.requestIdleCallback ? window.requestIdleCallback(() => panel.update()) : panel.update();
  }
}());
