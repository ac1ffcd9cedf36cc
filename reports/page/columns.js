/* Turns the columns of a timeline (columns.py) into operations, and says in words what each does. */
(function () {
  "use strict";

  const page = window.ppoptPage;
  /** Write a number with seven significant digits, but all of a whole part of up to twelve, as numbers.py does. */
  function number(value) {
    const size = value ? Math.floor(Math.log10(Math.abs(value))) : 0;
    if (size < -5 || size >= 12) return Number(value.toPrecision(7)).toExponential();
    return value.toLocaleString("en", { maximumFractionDigits: Math.max(0, 6 - size) });
  }

  const withUnit = (value, unit) => (unit ? `${number(value)} ${unit}` : number(value));

  const sums = (distances) => {
    let at = 0;
    return distances.map((each) => { at += each; return at; });
  };

  /** Make a timeline of its columns: arrays with one entry an operation, device by device. */
  function decoded(columns) {
    const counts = columns.devices.map((each) => each.type.length);
    const rows = counts.reduce((sum, count) => sum + count, 0);
    const timeline = {
      unit: columns.unit, counts, limits: columns.limits, colours: columns.colours, moved: false, kind: new Array(rows),
      stage: new Int32Array(rows), microbatch: new Int32Array(rows), place: new Int32Array(rows),
      start: new Float64Array(rows), end: new Float64Array(rows), taken: new Float64Array(rows),
      returned: new Float64Array(rows), first: [0], lead: Int32Array.from({ length: rows }, (_, row) => row),
      blocks: sums(columns.blocks), isCritical: new Uint8Array(rows), waits: new Map(),
      items: columns.items || null,
    };
    columns.devices.forEach((each, device) => {
      fill(timeline, each, timeline.first[device], columns);
      timeline.first.push(timeline.first[device] + counts[device]);
    });
    for (const row of timeline.blocks) timeline.lead[row + 1] = row;
    for (const row of sums(columns.critical)) timeline.isCritical[row] = 1;
    sums(columns.waits.rows).forEach((row, at) => {
      const [data, latency, order] = ["data", "latency", "order"].map((part) => columns.waits[part][at] / columns.scale);
      const source = columns.waits.source[at];
      timeline.waits.set(row, { data, latency, order, source: source ? row - source : -1 });
    });
    timeline.microbatches = timeline.microbatch.reduce((most, each) => Math.max(most, each), 0) + 1;
    timeline.transfers = transfers(columns);
    timeline.origin = columns.origin / columns.scale;
    timeline.memory = levels(timeline, columns);
    return timeline;
  }

  function fill(timeline, device, low, { scale, origin }) {
    const last = device.types.map(() => ({ microbatch: 0, length: 0, taken: 0, returned: 0 }));
    let free = origin;
    device.type.forEach((type, at) => {
      const row = low + at;
      const known = last[type];
      for (const name of ["microbatch", "length", "taken", "returned"]) known[name] += device[name][at];
      const begins = free + device.gap[at];
      free = begins + known.length;
      [timeline.kind[row], timeline.stage[row], timeline.place[row]] = device.types[type];
      timeline.microbatch[row] = known.microbatch;
      timeline.start[row] = begins / scale;
      timeline.end[row] = free / scale;
      timeline.taken[row] = known.taken;
      timeline.returned[row] = known.returned;
    });
  }

  function transfers({ transfers: each, scale, origin }) {
    const starts = sums(each.start);
    return starts.map((start, at) => ({
      device: each.device[at], transfer: each.name[at], does: each.does[at], ready: (origin + start - each.waited[at]) / scale,
      start: (origin + start) / scale, end: (origin + start + each.length[at]) / scale,
    }));
  }

  /** List for each device the moments at which its memory changes, with the level from then on: returned before taken. */
  function levels(timeline, { devices, amounts, origin, scale, levels: given }) {
    if (given) {  // operations alone do not decide it
      return given.map(({ time, level }) => ({
        time: sums(time).map((each) => (origin + each) / scale), level: sums(level).map((each) => each / amounts),
      }));
    }
    return devices.map(({ static: held }, device) => {
      const [low, high] = [timeline.first[device], timeline.first[device + 1]];
      const steps = { time: [], level: [] };
      let level = held;
      const step = (time) => {
        const last = steps.time.length - 1;
        if (last >= 0 && steps.time[last] === time) steps.level[last] = level / amounts;
        else { steps.time.push(time); steps.level.push(level / amounts); }
      };
      if (held) step(origin / scale);
      let returning = low;
      for (let row = low; row <= high; row += 1) {
        for (; returning < high && (row === high || timeline.end[returning] <= timeline.start[row]); returning += 1) {
          if (returning >= row && row !== high) break;  // an operation of no duration returns after it has taken
          if (timeline.returned[returning]) { level -= timeline.returned[returning]; step(timeline.end[returning]); }
        }
        if (row < high && timeline.taken[row]) { level += timeline.taken[row]; step(timeline.start[row]); }
      }
      return steps;
    });
  }

  // ---- words

  /** Name the microbatch of an operation, or the slice of it. */
  const itemOf = ({ items, microbatch }, row) => String(items ? items[microbatch[row]] : microbatch[row]);

  const nameOf = (timeline, row) => `${timeline.stage[row]}${timeline.kind[row]}${itemOf(timeline, row)}`;

  function deviceOf(timeline, row) {
    let [low, high] = [0, timeline.counts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (timeline.first[middle] <= row) low = middle; else high = middle - 1;
    }
    return low;
  }

  /** Say what an operation does, and what its device waited for before it. */
  function wordsOf(timeline, row) {
    const { unit, start, end } = timeline;
    const device = deviceOf(timeline, row);
    const lines = [
      nameOf(timeline, row),
      `device ${device}, stage ${timeline.stage[row]}, microbatch ${itemOf(timeline, row)}`,
      `${number(start[row])} to ${withUnit(end[row], unit)} (${withUnit(end[row] - start[row], unit)})`,
    ];
    if (!timeline.moved) lines.push(waitingText(timeline, timeline.lead[row], device));
    if (timeline.isCritical[row]) lines.push("on the critical path");
    return lines;
  }

  function waitingText(timeline, row, device) {
    const texts = page.data.waiting;
    const wait = timeline.waits.get(row);
    if (!wait) return texts.none;
    const { unit, start, end, first, origin } = timeline;
    const idle = start[row] - (row > first[device] ? end[row - 1] : origin);
    const filled = (name, values) => texts[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
    const named = ["data", "latency", "order"].filter((name) => wait[name] > 0).map((name) => [name, wait[name]]);
    const why = (named.length ? named : [["filling", idle]]).map(([name, time]) => filled(name, { time: withUnit(time, unit) }));
    const known = filled("idle", { time: withUnit(idle, unit), parts: why.join(", ") });
    if (wait.source < 0) return known;
    return known + filled("source", { source: `${nameOf(timeline, wait.source)} of device ${deviceOf(timeline, wait.source)}` });
  }

  /** Write the order of each device, one line a device, in PyTorch's grammar: slices are numbered through. */
  function orderText(timeline) {
    const one = (row) => `${timeline.stage[row]}${timeline.kind[row]}${timeline.microbatch[row]}`;
    const action = (row) => (timeline.lead[row + 1] === row ? `(${one(row)};${one(row + 1)})OVERLAP_F_B` : one(row));
    return timeline.counts.map((count, device) => {
      const rows = Array.from({ length: count }, (_, at) => timeline.first[device] + at);
      return rows.filter((row) => timeline.lead[row] === row).map(action).join(",");
    }).join("\n");
  }

  Object.assign(page, { number, withUnit, decoded, deviceOf, itemOf, wordsOf, orderText });
}());
