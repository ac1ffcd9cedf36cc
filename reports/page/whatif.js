(function () {
  "use strict";

  const page = window.ppoptPage;
  const { withUnit, show, isVisible } = page;
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
      this.info = page.data.whatIf[place];
      this.changes = new Map();
      this.part = (name) => element.querySelector(`[data-part="${name}"]`);
      this.racers = null;
      this.later = null;
      this.listen();
      this.part("race").style.height = `${ROW * this.info.schedules.filter((each) => this.isShown(each)).length}px`;
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
      page.keep((each) => each.startsWith(`${this.name}=`), pieces.length ? `${this.name}=${pieces.join(",")}` : null);
      this.written = window.location.hash;
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

    isShown({ focus }) { return focus || "all" in document.documentElement.dataset; }

    async prepare() {  // one after the other, since the page must stay usable
      const racers = [];
      for (const { key, name, over, focus, costs } of this.info.schedules) {
        const timeline = await page.timeline(key);
        racers.push({ key, name, over, focus, timeline, schedule: prepared(timeline, costs), original: 0, makespan: 0 });
      }
      for (const each of racers) each.row = this.row(each.name);
      this.racers = racers;
      this.replayAll(new Map());
      for (const each of this.racers) each.original = each.makespan;
      this.read();
      this.update();
      window.addEventListener("hashchange", () => this.read());
      window.addEventListener("all-schedules", () => this.rank());
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
      if (!this.racers) return;
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
      const shown = ranked.filter((each) => this.isShown(each));
      this.part("race").style.height = `${ROW * shown.length}px`;
      for (const each of ranked) each.row.style.display = this.isShown(each) ? "" : "none";
      shown.forEach((each, place) => {
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
      for (const each of [...shown, ...this.racers.filter((other) => !shown.includes(other))]) {
        if (this.run !== mine) return;
        await show(each.key, any ? this.timeline(each) : null);
        await new Promise((done) => { window.setTimeout(done); });
      }
    }

    timeline({ timeline, schedule }) {
      const isCritical = new Uint8Array(timeline.isCritical.length);
      for (const row of critical(schedule)) isCritical[row] = 1;
      const [start, end] = [schedule.start.slice(), schedule.end.slice()];
      const last = Math.max(timeline.end.reduce((most, each) => Math.max(most, each), 0), end.reduce((most, each) => Math.max(most, each), 0));
      return { ...timeline, start, end, isCritical, waits: new Map(), memory: memory(schedule), to: last, moved: true };
    }
  }

  page.started.then(async () => {
    for (const element of document.querySelectorAll("[data-what-if]")) await new Panel(element, Number(element.dataset.whatIf)).prepare();
  });
}());
