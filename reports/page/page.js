(function () {
  "use strict";

  const data = JSON.parse(document.getElementById("data").textContent);
  const darkness = window.matchMedia("(prefers-color-scheme: dark)");
  const [BAR_TOP, BAR_BOTTOM, STRIP_TOP, STRIP_BOTTOM, LINE_TOP, LINE_BOTTOM] = data.layout;
  const views = new Map();
  const windows = new Map();
  const settings = new Map();
  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  tip.hidden = true;

  const number = (value) => Number(value.toPrecision(7)).toLocaleString("en", { maximumFractionDigits: 6 });
  const withUnit = (value, unit) => (unit ? `${number(value)} ${unit}` : number(value));

  // ---- rows of timelines, from columns

  function barRows(timeline) {
    const rows = [];
    let at = 0;
    timeline.counts.forEach((count, device) => {
      for (const end = at + count; at < end; at += 1) rows.push(barRow(timeline, at, device));
    });
    const middle = (BAR_TOP + BAR_BOTTOM) / 2;
    for (const first of timeline.blocks) {
      rows[first].bottom = rows[first].device + middle;
      rows[first + 1].top = rows[first + 1].device + middle;
    }
    for (const each of timeline.critical) rows[each].critical = true;
    for (const [each, ...wait] of timeline.waits) rows[each].wait = wait;
    return rows;
  }

  function barRow(timeline, at, device) {
    const kind = timeline.kind[at];
    const microbatch = timeline.microbatch[at];
    const [fill, ink] = timeline.colours[kind][timeline.place[at]];
    const [tint, tintInk] = data.tints[microbatch % data.tints.length];
    const item = timeline.items ? timeline.items[microbatch] : microbatch;
    return {
      device, kind, microbatch: item, fill, ink, tint, tintInk, stage: timeline.stage[at], start: timeline.start[at],
      end: timeline.end[at], top: device + BAR_TOP, bottom: device + BAR_BOTTOM, critical: false, wait: null,
      unit: timeline.unit, moved: Boolean(timeline.moved),
    };
  }

  function memoryRows(timeline) {
    const height = (level) => STRIP_BOTTOM - (STRIP_BOTTOM - STRIP_TOP) * Math.min(1, level / timeline.scale);
    return timeline.memory.flatMap((steps, device) => {
      const limit = timeline.limits[device];
      const row = (time, level) => ({
        device, time, level, top: device + height(level), base: device + STRIP_BOTTOM,
        over: limit === null ? null : device + height(Math.max(level, limit)),
        limit: limit === null ? null : device + height(limit),
      });
      const rows = steps.time.map((time, at) => row(time, steps.level[at]));
      return [row(timeline.from, 0), ...rows, row(timeline.to, 0)];
    });
  }

  function transferRows(timeline) {
    return timeline.transfers.flatMap(([device, transfer, ready, start, end]) => {
      const place = { device, transfer, unit: timeline.unit, top: device + LINE_TOP, bottom: device + LINE_BOTTOM };
      const moves = { ...place, state: "moves", start, end };
      return start > ready ? [{ ...place, state: "waits", start: ready, end: start }, moves] : [moves];
    });
  }

  function shareRows(shares) {
    const width = shares.makespan / shares.idle[0].length;
    return shares.idle.flatMap((each, device) => each.map((idle, at) => (
      { device, idle, from: shares.start + at * width, to: shares.start + (at + 1) * width }
    )));
  }

  // ---- tooltips of timelines

  function waitingText(wait, unit) {
    if (wait === null) return data.waiting.none;
    const [idle, forData, latency, order, source] = wait;
    const text = (name, values) => data.waiting[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
    const timed = ([name, time]) => text(name, { time: withUnit(time, unit) });
    const parts = [["data", forData], ["latency", latency], ["order", order]].filter(([, part]) => part > 0);
    const why = (parts.length ? parts : [["filling", idle]]).map(timed).join(", ");
    const known = text("idle", { time: withUnit(idle, unit), parts: why });
    return source ? known + text("source", { source }) : known;
  }

  function showTip(_handler, event, _item, value) {
    const row = value && _item.datum;
    tip.hidden = !row || (row.kind === undefined && row.transfer === undefined);
    if (tip.hidden) return;
    tip.replaceChildren();
    const lines = row.transfer !== undefined ? [
      row.transfer,
      `${row.state} ${number(row.start)} to ${withUnit(row.end, row.unit)}`,
    ] : [
      `${row.stage}${row.kind}${row.microbatch}`,
      `device ${row.device}, stage ${row.stage}, microbatch ${row.microbatch}`,
      `${number(row.start)} to ${withUnit(row.end, row.unit)} (${withUnit(row.end - row.start, row.unit)})`,
      ...(row.moved ? [] : [waitingText(row.wait, row.unit)]),
    ];
    if (row.critical) lines.push("on the critical path");
    lines.forEach((line, at) => {
      tip.appendChild(document.createElement(at ? "div" : "b")).textContent = line;
    });
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, window.innerWidth - box.width - 6))}px`;
    const below = event.clientY + 16;
    tip.style.top = `${below + box.height > window.innerHeight ? event.clientY - box.height - 10 : below}px`;
  }

  // ---- drawing

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [ink, quiet, grid, line] = ["--ink", "--quiet", "--grid", "--line"].map(colour);
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: colour("--card"), font, view: { stroke: null },
      axis: {
        labelColor: ink, titleColor: quiet, gridColor: grid, domainColor: line, tickColor: line, labelFontSize: 12,
        titleFontSize: 12, titleFontWeight: "normal", labelOverlap: true,
      },
      legend: { labelColor: ink, titleColor: quiet, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
      text: { color: ink, fontSize: 12 }, rule: { color: ink }, tick: { color: ink },
    };
  }

  // ---- adapting to a chart's width: where names are cut off, and the number of legend columns

  const isNarrow = (element) => element.clientWidth < 480;
  const longestName = (element) => (isNarrow(element) ? 110 : 210);
  const pen = document.createElement("canvas").getContext("2d");

  function fitted(spec, element) {
    const copy = structuredClone(spec);
    copy.config = Object.assign({}, copy.config, theme());
    copy.config.axis.labelLimit = longestName(element);
    for (const each of legendsOf(copy)) each.legend.columns = columnsOf(each, copy, element);
    return copy;
  }

  function legendsOf(part) {
    if (part === null || typeof part !== "object") return [];
    const here = part.legend && part.scale && Array.isArray(part.scale.domain) && part.legend.orient === "top";
    return [...(here ? [part] : []), ...Object.values(part).flatMap(legendsOf)];
  }

  function columnsOf({ scale, legend }, spec, element) {
    const names = partsOf(spec).flatMap(({ y }) => (y && Array.isArray(y.sort) ? y.sort : []));
    const room = element.clientWidth - Math.min(longestName(element), widest(names)) - 30;
    for (let columns = Math.min(legend.columns || Infinity, scale.domain.length); columns > 1; columns -= 1) {
      const each = [...Array(columns).keys()].map((at) => scale.domain.filter((_, place) => place % columns === at));
      if (each.reduce((sum, texts) => sum + widest(texts) + 30, 0) <= room) return columns;
    }
    return 1;
  }

  const partsOf = (spec) => (spec.layer || [spec]).map((layer) => layer.encoding || {});

  function widest(texts) {
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    return Math.max(0, ...texts.map((text) => pen.measureText(text).width));
  }

  const lookOf = (spec, element) => JSON.stringify(
    [isNarrow(element), ...legendsOf(spec).map((each) => columnsOf(each, spec, element))],
  );

  // ---- drawing one chart

  const replaced = new Map();  // timelines replayed on other costs
  const timelineOf = (key) => replaced.get(key) || data.timelines[key];
  const specOf = (key) => data.charts[data.timelines[key] ? data.timelines[key].chart : key];

  async function draw(element) {
    const key = element.dataset.chart;
    const timeline = data.timelines[key];
    const spec = specOf(key);
    const options = { actions: false, renderer: "canvas", ast: false };
    if (timeline) options.tooltip = showTip;
    const chosen = taken(key, spec);
    looks.set(element, lookOf(spec, element));
    const { view } = await window.vegaEmbed(element, fitted(spec, element), options);
    views.set(key, view);
    for (const [name, value] of chosen) await view.signal(name, value).runAsync();
    if (timeline) await fill(key, view, timelineOf(key));
    if (key.startsWith("frontier-")) view.addEventListener("click", (_event, item) => leadToTimeline(key, item));
    if (data.shares[key]) await view.data("shares", shareRows(data.shares[key])).runAsync();
  }

  function leadToTimeline(key, item) {
    const rank = item && item.datum && item.datum.rank;
    if (Number.isInteger(rank)) location.hash = `timeline-${groupOf(key)}-${rank}`;
  }

  function taken(key, spec) {  // take a chart off the page; return the settings of its menus
    const view = views.get(key);
    if (!view) return [];
    const menus = (spec.params || []).filter((each) => each.bind && each.bind.input);
    const chosen = menus.map(({ name }) => [name, view.signal(name)]);
    views.delete(key);
    view.finalize();
    return chosen;
  }

  async function fill(key, view, timeline) {
    view.data("bars", barRows(timeline)).data("memory", memoryRows(timeline));
    view.data("transfers", transferRows(timeline));
    const { colour, critical } = settings.get(groupOf(key)) || {};
    if (colour) view.signal("colour_by", colour);
    if (critical) view.signal("critical_path", true);
    const shown = windows.get(key);
    if (shown) view.signal("zoom_start", shown);
    await view.runAsync();
    view.addSignalListener("zoom_start", (_name, value) => moved(key, value));
  }

  const elements = [...document.querySelectorAll("[data-chart]")];
  const looks = new Map();
  let waiting = 0;
  let drawing = Promise.resolve();

  function drawEach(chosen) {  // one drawing at a time: a window can change faster than charts are drawn
    delete document.documentElement.dataset.drawn;
    waiting += 1;
    drawing = drawing.then(async () => {
      for (const element of chosen()) await draw(element);
      waiting -= 1;
      if (!waiting) document.documentElement.dataset.drawn = String(Math.round(performance.now()));
    });
  }

  const drawAll = () => drawEach(() => elements);
  const hasOtherLook = (element) => looks.has(element) && looks.get(element) !== lookOf(specOf(element.dataset.chart), element);
  const resized = new ResizeObserver((entries) => {
    if (entries.some(({ target }) => hasOtherLook(target))) drawEach(() => elements.filter(hasOtherLook));
  });
  for (const element of elements) resized.observe(element);

  // ---- timelines that move together

  const groupOf = (key) => Number(key.split("-")[1]);
  const isLinked = (key) => data.timelines[key].group !== null;
  const linkedTo = (key) => Object.keys(data.timelines).filter(
    (other) => other !== key && isLinked(other) && data.timelines[other].group === data.timelines[key].group,
  );
  const same = (one, other) => one === other || (one && other && one[0] === other[0] && one[1] === other[1]);
  let following = null;

  function moved(key, value) {
    if (same(windows.get(key) || null, value)) return;
    windows.set(key, value);
    if (!isLinked(key)) return;
    for (const other of linkedTo(key)) windows.set(other, value);
    if (following) return;
    following = requestAnimationFrame(async () => {
      const drawn = linkedTo(key).filter((other) => views.has(other));
      const late = drawn.filter((other) => !isVisible(other));
      await Promise.all(drawn.filter(isVisible).map(follow));
      following = null;
      for (const other of late) await follow(other);
    });
  }

  function isVisible(key) {
    const box = views.get(key).container().getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  }

  function follow(key) {
    const view = views.get(key);
    const wanted = windows.get(key) || null;
    return !view || same(view.signal("zoom_start") || null, wanted) ? null : view.signal("zoom_start", wanted).runAsync();
  }

  function change(group, how) {
    for (const key of Object.keys(data.timelines).filter((each) => groupOf(each) === group && views.has(each))) {
      const { from, to } = data.timelines[key];
      const [low, high] = windows.get(key) || [from, to];
      const next = how(low, high, from, to);
      const value = next && same(next, [from, to]) ? null : next;
      windows.set(key, value);
      views.get(key).signal("zoom_start", value).runAsync();
    }
  }

  const around = (factor) => (low, high, from, to) => {
    const width = Math.min(to - from, (high - low) * factor);
    const start = Math.min(Math.max(from, (low + high - width) / 2), to - width);
    return [start, start + width];
  };
  const aside = (part) => (low, high, from, to) => {
    const start = Math.min(Math.max(from, low + (high - low) * part), Math.max(from, to - (high - low)));
    return [start, start + (high - low)];
  };
  const moves = { in: around(0.5), out: around(2), all: () => null, earlier: aside(-0.5), later: aside(0.5) };

  function setting(group, name, signal, value) {
    settings.set(group, Object.assign({}, settings.get(group), { [name]: value }));
    for (const [key, view] of views) {
      if (data.timelines[key] && groupOf(key) === group) view.signal(signal, value).runAsync();
    }
  }

  for (const toolbar of document.querySelectorAll("[data-group]")) {
    const group = Number(toolbar.dataset.group);
    toolbar.addEventListener("click", (event) => {
      const move = moves[event.target.dataset.do];
      if (move) change(group, move);
    });
    toolbar.addEventListener("change", (event) => {
      const { target } = event;
      if (target.dataset.do === "colour") setting(group, "colour", "colour_by", target.value);
      if (target.dataset.do === "critical") setting(group, "critical", "critical_path", target.checked);
    });
  }

  // ---- the interface for other scripts of the page

  async function show(key, timeline) {
    if (timeline) replaced.set(key, timeline); else replaced.delete(key);
    const view = views.get(key);
    if (!view) return;
    view.data("bars", barRows(timelineOf(key))).data("memory", memoryRows(timelineOf(key)));
    await view.runAsync();
  }

  function look(group, value) {
    for (const key of Object.keys(data.timelines).filter((each) => groupOf(each) === group && isLinked(each))) {
      windows.set(key, value);
      if (views.has(key)) views.get(key).signal("zoom_start", value).runAsync();
    }
  }

  window.ppoptPage = { data, number, withUnit, show, look, isVisible: (key) => views.has(key) && isVisible(key) };

  // ---- tables and copying

  function sort(button) {
    const head = button.closest("th");
    const place = [...head.parentNode.children].indexOf(head);
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const each of head.parentNode.children) each.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const value = (row) => row.children[place].dataset.value;
    const compared = (one, other) => (
      Number.isNaN(Number(one)) || Number.isNaN(Number(other)) ? one.localeCompare(other) : Number(one) - Number(other)
    );
    const rows = [...body.rows].sort((one, other) => compared(value(one), value(other)) * (ascending ? 1 : -1));
    body.append(...rows);
  }

  const asText = (element) => (
    element.tagName !== "TABLE" ? element.textContent
      : [...element.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join("\t")).join("\n")
  );

  async function copy(button) {
    const text = asText(document.getElementById(button.dataset.copy));
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copyBySelection(text);
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1200);
  }

  function copyBySelection(text) {
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  document.addEventListener("click", (event) => {
    if (event.target.matches(".sortable th button")) sort(event.target);
    if (event.target.dataset.copy) copy(event.target);
  });
  darkness.addEventListener("change", drawAll);
  drawAll();
}());
