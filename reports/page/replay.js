/* Replays the schedules of a page on other costs, by one pass of longest paths over their orders. */
window.ppoptReplay = (function () {
  "use strict";

  const codeOf = (kind, stage, microbatch) => `${kind}${stage}.${microbatch}`;

  /** Make a schedule for replay from its timeline's columns and its section's data on costs. */
  function prepared(timeline, costs) {
    const rows = timeline.stage.length;
    const device = new Int32Array(rows);
    let at = 0;
    timeline.counts.forEach((count, each) => { device.fill(each, at, at + count); at += count; });
    const { lead } = timeline;
    const { order, inputs, from, crosses } = graph(timeline, costs.waits, device, lead);
    return {
      rows, device, lead, order, inputs, from, crosses, costs, kind: timeline.kind, stage: timeline.stage,
      start: new Float64Array(rows), end: new Float64Array(rows), via: new Int32Array(rows),
      isBlock: Uint8Array.from(lead, (first, row) => (first !== row || lead[row + 1] === row ? 1 : 0)),
    };
  }

  function graph(timeline, waits, device, lead) {
    const rows = lead.length;
    const place = new Map();
    for (let row = 0; row < rows; row += 1) {
      place.set(codeOf(timeline.kind[row], timeline.stage[row], timeline.microbatch[row]), row);
    }
    const rules = new Map();
    for (const [kind, stage, after, there] of waits) {
      const key = `${after}${there}`;
      if (!rules.has(key)) rules.set(key, []);
      rules.get(key).push([kind, stage]);
    }
    const before = Array.from({ length: rows }, () => []);
    for (let row = 0; row < rows; row += 1) {
      for (const [kind, stage] of rules.get(`${timeline.kind[row]}${timeline.stage[row]}`) || []) {
        const producer = place.get(codeOf(kind, stage, timeline.microbatch[row]));
        if (producer !== undefined) before[lead[row]].push([lead[producer], device[producer] !== device[row] ? 1 : 0]);
      }
    }
    let last = -1;
    for (let row = 0; row < rows; row += 1) {
      if (lead[row] !== row) continue;
      if (last >= 0 && device[last] === device[row]) before[row].push([last, 0]);
      last = row;
    }
    return sorted(before, lead);
  }

  function sorted(before, lead) {
    const rows = lead.length;
    const behind = Array.from({ length: rows }, () => []);
    const missing = new Int32Array(rows);
    before.forEach((inputs, row) => inputs.forEach(([producer]) => { behind[producer].push(row); missing[row] += 1; }));
    const order = [];
    for (let row = 0; row < rows; row += 1) if (lead[row] === row && !missing[row]) order.push(row);
    for (let at = 0; at < order.length; at += 1) {
      for (const row of behind[order[at]]) {
        missing[row] -= 1;
        if (!missing[row]) order.push(row);
      }
    }
    const inputs = new Int32Array(rows + 1);
    before.forEach((each, row) => { inputs[row + 1] = inputs[row] + each.length; });
    return {
      order: Int32Array.from(order), inputs, from: Int32Array.from(before.flat(), ([producer]) => producer),
      crosses: Uint8Array.from(before.flat(), ([, far]) => far),
    };
  }

  /** Compute the duration of each kind of operation on each stage, with the costs multiplied by their factors. */
  function durations(parts, factors) {
    const lasts = {};
    for (const [kind, stages] of Object.entries(parts)) {
      lasts[kind] = stages.map((each) => each.reduce((sum, [cost, amount]) => sum + amount * factors[cost], 0));
    }
    return lasts;
  }

  /** Replay a schedule: fill `start` and `end`, and `via` with the cause that held up each action. */
  function replay(schedule, factors, latency, slowness, more = 0) {
    const { rows, device, lead, order, inputs, from, crosses, costs, kind, stage, start, end, via, isBlock } = schedule;
    const lasts = durations(costs.parts, factors);
    const overhead = {};  // longer or shorter by as much before every operation
    for (const [each, time] of Object.entries(costs.overhead)) overhead[each] = Math.max(0, time + more);
    let makespan = 0;
    for (let at = 0; at < order.length; at += 1) {
      const row = order[at];
      let begins = 0;
      let held = -1;
      for (let input = inputs[row]; input < inputs[row + 1]; input += 1) {
        const there = end[from[input]] + (crosses[input] ? latency : 0);
        if (there > begins || held < 0) {
          begins = Math.max(begins, there);
          held = from[input];
        }
      }
      let length = lasts[kind[row]][stage[row]];
      if (isBlock[row]) {
        const other = lasts[kind[row + 1]][stage[row + 1]];
        length = lasts.block ? lasts.block[stage[row]] : length + other - costs.overlap * Math.min(length, other);
      }
      start[row] = begins;
      end[row] = begins + length * costs.paces[device[row]] * slowness[device[row]] + overhead[kind[row]];
      via[row] = held;
      if (end[row] > makespan) makespan = end[row];
    }
    for (let row = 0; row < rows; row += 1) {
      if (lead[row] !== row) { start[row] = start[lead[row]]; end[row] = end[lead[row]]; }
    }
    return makespan;
  }

  /** List the rows on one critical path of the last replay. */
  function critical(schedule) {
    const { order, end, via, lead } = schedule;
    let here = order.reduce((last, row) => (end[row] > end[last] ? row : last), order[0]);
    const path = [];
    while (here >= 0) {
      path.push(here);
      if (lead[here + 1] === here) path.push(here + 1);
      here = via[here];
    }
    return path;
  }

  /** List for each device the moments at which its memory changes in the last replay, with the new levels. */
  function memory(schedule) {
    const { rows, device, kind, stage, start, end, costs } = schedule;
    const events = costs.static.map(() => []);
    for (let row = 0; row < rows; row += 1) {
      const amount = costs.memory[kind[row]] ? costs.memory[kind[row]][stage[row]] : 0;
      if (amount) events[device[row]].push(kind[row] === "F" ? [start[row], 1, amount] : [end[row], 0, -amount]);
    }
    return events.map((each, at) => {
      each.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
      const steps = { time: [0], level: [costs.static[at]] };
      let level = costs.static[at];
      for (const [time, , change] of each) {
        level += change;
        steps.time.push(time);
        steps.level.push(level);
      }
      return steps;
    });
  }

  return { prepared, replay, critical, memory };
}());
