/* Draws one timeline on a canvas: rows of devices with bars, transfer lines and memory strips above a time axis. */
(function () {
  "use strict";

  const page = window.ppoptPage;
  const GUTTER = 76;
  const [ABOVE, RIGHT, BELOW] = [4, 10, 40];
  const NARROW = 2.5;  // bars below this many pixels are drawn together with their neighbours ...
  const RUN = 8;  // ... in runs of at least this many, and up to three times as many to end where a pattern repeats
  const FADED = 0.13;
  const TALLEST = 32000;  // pixels: browsers draw nothing on a canvas that is higher than 32,767

  /** Read the page's colours and font. */
  function theme() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return {
      card: of("--card"), ink: of("--ink"), quiet: of("--quiet"), grid: of("--grid"), line: of("--line"), focus: of("--focus"),
      font: getComputedStyle(document.body).fontFamily,
    };
  }

  /** Interpolate the colours of a ramp, as `ramp` in timeline_layout.py does. */
  function onRamp(colours, share) {
    const place = share * (colours.length - 1);
    const at = Math.min(Math.floor(place), colours.length - 2);
    const channels = (colour) => [1, 3, 5].map((each) => parseInt(colour.slice(each, each + 2), 16));
    const [low, high] = [channels(colours[at]), channels(colours[at + 1])];
    return low.map((value, each) => Math.round(value + (high[each] - value) * (place - at)));
  }

  function inkOn(channels) {
    const [red, green, blue] = channels.map((each) => each / 255).map((each) => (each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    return 1.05 / (light + 0.05) > (light + 0.05) / 0.05 ? "#FFFFFF" : "#000000";
  }

  class TimelineView {
    /** A view in an element; `info` has the rows shown at first, their height, and what fills the memory strips. */
    constructor(element, timeline, info) {
      this.element = element;
      this.timeline = timeline;
      this.info = info;
      this.selected = -1;
      this.canvas = document.createElement("canvas");
      this.canvas.setAttribute("aria-hidden", "true");
      element.replaceChildren(this.canvas);
      const tints = Array.from({ length: timeline.microbatches }, (_, each) => onRamp(page.data.ramp, each / Math.max(1, timeline.microbatches - 1)));
      this.tints = tints.map((each) => `rgb(${each.join(",")})`);
      this.tintInks = tints.map(inkOn);
    }

    devices() { return this.look.all ? this.timeline.counts.map((_, device) => device) : this.info.shown; }

    /** Draw what `look` says: the window `from` … `to`, `colour`, `critical`, and whether `all` devices are shown. */
    draw(look) {
      this.look = look;
      this.theme = theme();
      const dense = Math.max(1, window.devicePixelRatio || 1);
      const shown = this.devices();
      const height = Math.max(1, Math.min(this.info.rowHeight, Math.floor((TALLEST / dense - BELOW) / shown.length)));
      this.width = this.element.clientWidth;
      this.bottom = ABOVE + height * shown.length;
      Object.assign(this.canvas, { width: Math.round(this.width * dense), height: Math.round((this.bottom + BELOW) * dense) });
      this.element.style.height = "auto";  // as high as the canvas, which shrinks with its width on paper
      this.dense = dense;
      this.pen = this.canvas.getContext("2d");
      this.pen.setTransform(dense, 0, 0, dense, 0, 0);
      this.pen.clearRect(0, 0, this.width, this.bottom + BELOW);
      this.box(this.theme.card, 0, 0, this.width, this.bottom + BELOW);
      this.plot = { left: GUTTER, right: Math.max(GUTTER + 40, this.width - RIGHT) };
      this.drawAxis();
      this.items = shown.map((device, place) => this.drawDevice(device, ABOVE + place * height, height));
      this.nameDevices(shown, height);
    }

    // ---- places

    x(time) {
      const { from, to } = this.look;
      return this.plot.left + ((time - from) / (to - from)) * (this.plot.right - this.plot.left);
    }

    time(x) {
      const { from, to } = this.look;
      return from + ((x - this.plot.left) / (this.plot.right - this.plot.left)) * (to - from);
    }

    pixel(x) { return Math.round(x * this.dense) / this.dense; }

    within(x) { return this.pixel(Math.min(this.plot.right, Math.max(this.plot.left, x))); }

    box(colour, x, y, width, height) {
      this.pen.fillStyle = colour;
      this.pen.fillRect(x, y, width, height);
    }

    text(words, x, y, { colour, size = 12, align = "left", most }) {
      Object.assign(this.pen, { fillStyle: colour, font: `${size}px ${this.theme.font}`, textAlign: align, textBaseline: "middle" });
      this.pen.fillText(words, x, y, most);
    }

    // ---- the axis and the names of devices

    drawAxis() {
      const { left, right } = this.plot;
      this.box(this.theme.line, left, this.bottom, right - left, 1);
      const { from, to } = this.look;
      const step = this.tickStep(to - from, (right - left) / 80);
      this.pen.font = `12px ${this.theme.font}`;
      for (let tick = Math.ceil(from / step - 1e-9); tick * step <= to + step * 1e-9; tick += 1) {
        const x = this.pixel(this.x(tick * step));
        const words = page.number(Number((tick * step).toPrecision(12)));
        const half = this.pen.measureText(words).width / 2;
        this.box(this.theme.line, x, this.bottom, 1, 5);
        this.text(words, Math.max(left - 20, Math.min(x, this.width - half - 1)), this.bottom + 14, { colour: this.theme.ink, align: "center" });
      }
      const { unit } = this.timeline;
      this.text(unit ? `time, ${unit}` : "time", (left + right) / 2, this.bottom + 31, { colour: this.theme.quiet, align: "center" });
    }

    tickStep(length, most) {
      const least = length / Math.max(2, Math.min(most, 12));
      const unit = 10 ** Math.floor(Math.log10(least));
      return [1, 2, 5, 10].map((each) => each * unit).find((each) => each >= least * (1 - 1e-9));
    }

    nameDevices(shown, height) {
      const { barTop, barBottom, stripTop, stripBottom } = page.data.layout;
      let told;
      shown.forEach((device, place) => {
        const top = ABOVE + place * height;
        if (place % Math.ceil(12 / height) === 0) {
          this.text(`device ${device}`, GUTTER - 8, top + height * (barTop + barBottom) / 2, { colour: this.theme.ink, align: "right" });
        }
        const limit = this.timeline.limits[device];
        if (limit !== null && limit !== told) {  // once for all that have the same
          this.text(this.info.limits[device], GUTTER - 8, top + height * (stripTop + stripBottom) / 2, { colour: this.theme.quiet, size: 10, align: "right", most: GUTTER - 10 });
        }
        told = limit;
        if (place && shown[place - 1] !== device - 1) this.hiddenBetween(top);
      });
    }

    hiddenBetween(y) {
      Object.assign(this.pen, { strokeStyle: this.theme.quiet, lineWidth: 1 });
      this.pen.setLineDash([3, 4]);
      this.pen.beginPath();
      this.pen.moveTo(4, y - 0.5);
      this.pen.lineTo(this.plot.right, y - 0.5);
      this.pen.stroke();
      this.pen.setLineDash([]);
    }

    // ---- one device

    drawDevice(device, top, height) {
      const { barTop, barBottom } = page.data.layout;
      const [high, low] = [this.pixel(top + height * barTop), this.pixel(top + height * barBottom)];
      const items = this.itemsOf(device, high, low);
      for (const item of items) if (item.last === item.row) this.drawBar(item); else this.drawRun(item);
      this.pen.globalAlpha = 1;
      const moves = this.drawTransfers(device, top, height);
      this.drawMemory(device, top, height);
      return { device, top, bottom: top + height, items, moves };
    }

    /** List what is seen of a device's operations: bars, and runs of those that are too narrow for a bar. */
    itemsOf(device, high, low) {
      const { timeline } = this;
      const items = [];
      let run = null;
      const end = () => { if (run) items.push(run); run = null; };
      for (let row = this.firstSeen(device); row < timeline.first[device + 1] && timeline.start[row] <= this.look.to; row += 1) {
        const isBlock = timeline.lead[row + 1] === row;
        const [x0, x1] = [this.x(timeline.start[row]), this.x(timeline.end[row])];
        if (x1 - x0 >= NARROW) {
          end();
          const middle = this.pixel((high + low) / 2);
          items.push({ row, last: row, x0, x1, high, low: isBlock ? middle : low });
          if (isBlock) items.push({ row: row + 1, last: row + 1, x0, x1, high: middle, low });
        } else {
          if (run && (x0 - run.x1 > NARROW || this.mayEnd(run, row))) end();
          run = run || { row, last: row, x0, x1, high, low };
          run.last = isBlock ? row + 1 : row;
          run.x1 = x1;
        }
        if (isBlock) row += 1;
      }
      end();
      return items;
    }

    mayEnd(run, row) {
      const { kind, stage } = this.timeline;
      const width = run.x1 - run.x0;
      const repeats = kind[row] === kind[run.row] && stage[row] === stage[run.row];
      return width >= RUN && (repeats || width >= 3 * RUN);
    }

    firstSeen(device) {
      const { first, end, lead } = this.timeline;
      let [low, high] = [first[device], first[device + 1]];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (end[middle] < this.look.from) low = middle + 1; else high = middle;
      }
      return low < first[device + 1] ? lead[low] : low;
    }

    drawBar({ row, x0, x1, high, low }) {
      const { timeline, look } = this;
      const [left, right] = [this.within(x0), this.within(x1)];
      const isCritical = look.critical && timeline.isCritical[row];
      const [fill, ink] = look.colour === "kind" ? timeline.colours[timeline.kind[row]][timeline.place[row]]
        : [this.tints[timeline.microbatch[row]], this.tintInks[timeline.microbatch[row]]];
      const apart = x1 - x0 > 4 ? 1 / this.dense : 0;
      this.pen.globalAlpha = look.critical && !isCritical ? FADED : 1;
      this.box(fill, left, high, Math.max(right - left - apart, 1 / this.dense), low - high - apart);
      if (isCritical && x1 - x0 > 4) this.outline(page.data.layout.critical, left, high, right - apart, low - apart, 1.5);
      if (row === this.selected) this.outline(this.theme.focus, left, high, right, low, 3);
      const words = page.itemOf(timeline, row);
      if (x1 - x0 > 4 + 6.4 * words.length && low - high >= 9) {
        const middle = (x0 + x1) / 2;
        if (middle > this.plot.left && middle < this.plot.right) {
          const isFaded = look.critical && !isCritical;
          this.pen.globalAlpha = isFaded ? 0.35 : 1;
          this.text(words, middle, (high + low) / 2 + 0.5, { colour: isFaded ? this.theme.ink : ink, size: Math.min(11, low - high), align: "center" });
        }
      }
    }

    outline(colour, left, high, right, low, width) {
      this.pen.globalAlpha = 1;
      Object.assign(this.pen, { strokeStyle: colour, lineWidth: width });
      this.pen.strokeRect(left + width / 2, high + width / 2, Math.max(0.5, right - left - width), low - high - width);
    }

    /** Draw operations together: one bar from the first start to the last end, divided by the time of each kind. */
    drawRun({ row, last, x0, x1, high, low }) {
      const { timeline, look } = this;
      const shares = this.sharesOf(row, last);
      const [left, right] = [this.within(x0), this.within(x1)];
      const width = Math.max(right - left, 1 / this.dense);
      let isCritical = false;
      for (let each = row; each <= last; each += 1) isCritical = isCritical || timeline.isCritical[each];
      this.pen.globalAlpha = look.critical && !isCritical ? FADED : 1;
      if (look.colour === "kind") {
        let y = high;
        for (const kind of Object.keys(timeline.colours)) {
          const part = (shares[kind] || 0) * (low - high);
          if (part) this.box(timeline.colours[kind][0][0], left, y, width, part);
          y += part;
        }
      } else {
        this.box(this.tints[timeline.microbatch[(row + last) >> 1]], left, high, width, (1 - shares.idle) * (low - high));
      }
      if (this.selected >= row && this.selected <= last) this.outline(this.theme.focus, left - 2, high, right + 2, low, 2);
    }

    /** Return the fraction of the time from the first start to the last end that each kind takes, and that is idle. */
    sharesOf(row, last) {
      const { timeline } = this;
      const whole = timeline.end[last] - timeline.start[row] || 1;
      const shares = { idle: 1 };
      for (let each = row; each <= last; each += 1) {
        const isHalf = timeline.lead[each] !== each || timeline.lead[each + 1] === each;
        const part = ((timeline.end[each] - timeline.start[each]) * (isHalf ? 0.5 : 1)) / whole;
        shares[timeline.kind[each]] = (shares[timeline.kind[each]] || 0) + part;
        shares.idle -= part;
      }
      shares.idle = Math.max(0, shares.idle);
      return shares;
    }

    drawTransfers(device, top, height) {
      const { lineTop, lineBottom, transfers: colour } = page.data.layout;
      const [high, low] = [top + height * lineTop, top + height * lineBottom];
      const seen = this.timeline.moved ? [] : this.timeline.transfers.filter((each) => (
        each.device === device && each.end >= this.look.from && Math.min(each.ready, each.start) <= this.look.to
      ));
      const line = (from, to, alpha) => {
        const [left, right] = [this.within(this.x(from)), this.within(this.x(to))];
        this.pen.globalAlpha = alpha;
        if (right >= left && to > from) this.box(colour, left, high, Math.max(right - left, 0.5), low - high);
      };
      for (const { ready, start, end } of seen) { line(ready, start, 0.3); line(start, end, 1); }
      this.pen.globalAlpha = 1;
      return seen;
    }

    drawMemory(device, top, height) {
      const { stripTop, stripBottom, memory: colour, over } = page.data.layout;
      const [high, base] = [this.pixel(top + height * stripTop), this.pixel(top + height * stripBottom)];
      const limit = this.timeline.limits[device];
      const y = (level) => this.pixel(base - Math.min(1, level / this.info.full[device]) * (base - high));
      const bars = this.levelsSeen(device).map(([from, to, most]) => [from, to, y(most)]);
      this.fill(colour, bars, base);
      if (limit !== null) {
        this.fill(over, bars.filter(([, , top]) => top < y(limit)), y(limit));
        this.box(over, this.plot.left, y(limit), this.plot.right - this.plot.left, 1);
      }
    }

    /** Fill bars (left, right, top) down to a base as one shape, which is much faster than one by one. */
    fill(colour, bars, base) {
      this.pen.fillStyle = colour;
      this.pen.beginPath();
      for (const [left, right, top] of bars) if (top < base) this.pen.rect(left, top, right - left, base - top);
      this.pen.fill();
    }

    /** List the levels of memory that are seen: left, right, and of several levels within a pixel the highest. */
    levelsSeen(device) {
      const { time, level } = this.timeline.memory[device];
      const bars = [];
      let [from, most] = [null, 0];
      for (let at = this.lastBefore(time); at < time.length && time[at] <= this.look.to; at += 1) {
        const next = this.within(this.x(at + 1 < time.length ? time[at + 1] : time[at]));
        if (from === null) from = this.within(this.x(time[at]));
        most = Math.max(most, level[at]);
        if (next === from) continue;
        const before = bars.at(-1);
        if (before && before[2] === most && before[1] === from) before[1] = next; else bars.push([from, next, most]);
        [from, most] = [null, 0];
      }
      return bars;
    }

    lastBefore(times) {
      let [low, high] = [0, times.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (times[middle] <= this.look.from) low = middle + 1; else high = middle;
      }
      return Math.max(0, low - 1);
    }

    /** Return the first operation that is seen; -1 if there is none. */
    firstRow() {
      const { first, start } = this.timeline;
      const seen = this.devices().map((device) => [this.firstSeen(device), first[device + 1]]);
      const found = seen.find(([row, end]) => row < end && start[row] <= this.look.to);
      return found ? found[0] : -1;
    }

    // ---- what is at a place

    /** Describe in lines what is drawn at a place of the canvas; null where nothing is. */
    wordsAt(x, y) {
      const row = this.items.find(({ top, bottom }) => y >= top && y < bottom);
      if (!row || x < this.plot.left || x > this.plot.right) return null;
      const item = row.items.find((each) => x >= each.x0 && x <= each.x1 && y >= each.high && y < each.low);
      if (item) return item.row === item.last ? page.wordsOf(this.timeline, item.row) : this.wordsOfRun(row.device, item);
      const { lineTop, stripTop } = page.data.layout;
      const share = (y - row.top) / (row.bottom - row.top);
      return share >= lineTop - 0.02 && share < stripTop ? this.wordsOfTransfer(row.moves, this.time(x)) : null;
    }

    wordsOfRun(device, { row, last }) {
      const { timeline } = this;
      const shares = Object.entries(this.sharesOf(row, last)).filter(([, share]) => share > 0.0005);
      const parts = shares.sort(([one], [other]) => (one === "idle") - (other === "idle")).map(([name, share]) => `${name} ${(100 * share).toFixed(1)}%`);
      return [
        `${last - row + 1} operations`, `device ${device}`,
        `${page.number(timeline.start[row])} to ${page.withUnit(timeline.end[last], timeline.unit)}`, parts.join(", "),
      ];
    }

    wordsOfTransfer(moves, time) {
      const here = moves.filter((each) => time >= Math.min(each.ready, each.start) && time <= each.end);
      return here.length ? here.flatMap((each) => this.wordsOfOne(each, time)) : null;
    }

    wordsOfOne({ transfer, does, ready, start, end }, time) {
      const [state, from, to] = time < start ? ["waits", ready, start] : [does, start, end];
      return [transfer, `${state} from ${page.number(from)} to ${page.withUnit(to, this.timeline.unit)}`];
    }
  }

  Object.assign(page, { TimelineView, theme });
}());
