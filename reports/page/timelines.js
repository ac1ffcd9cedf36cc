/* The timelines of the page: drawn when they are opened, moved together, read with the mouse or the keyboard. */
(function () {
  "use strict";

  const page = window.ppoptPage;
  const views = new Map();
  const decoding = new Map();
  const replaced = new Map();  // timelines replayed on other costs
  const groups = new Map();
  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  tip.hidden = true;

  const infoOf = (key) => page.data.timelines[key];
  const elementOf = (key) => document.querySelector(`[data-chart="${key}"]`);
  const keysOf = (group) => Object.keys(page.data.timelines).filter((key) => infoOf(key).group === group);
  const isShown = (element) => element.clientWidth > 0 && !element.closest("details:not([open])");
  const isTimeline = (element) => element.dataset.chart.startsWith("timeline-");

  function stateOf(key) {
    const { group } = infoOf(key);
    if (!groups.has(group)) groups.set(group, { window: [0, 1], colour: "kind", critical: false, common: false, all: false });
    return groups.get(group);
  }

  /** Give a timeline of the page, decoded. */
  function timeline(key) {
    if (!decoding.has(key)) decoding.set(key, page.unpacked(`${key}-data`).then((text) => page.decoded(JSON.parse(text))));
    return decoding.get(key);
  }

  // ---- the part of each timeline that is shown: the same fractions of all of them

  const endOf = (key) => (replaced.has(key) ? replaced.get(key).to : infoOf(key).to);

  function wholeOf(key) {
    if (!stateOf(key).common) return [infoOf(key).from, endOf(key)];
    const every = keysOf(infoOf(key).group);
    return [Math.min(...every.map((each) => infoOf(each).from)), Math.max(...every.map(endOf))];
  }

  function lookOf(key) {
    const { window: [low, high], colour, critical, all } = stateOf(key);
    const [from, to] = wholeOf(key);
    return { from: from + low * (to - from), to: from + high * (to - from), colour, critical, all };
  }

  const LEAST = 1e-7;

  function within(low, high) {
    const width = Math.min(1, Math.max(LEAST, high - low));
    const start = Math.min(Math.max(0, low), 1 - width);
    return [start, start + width];
  }

  function around(factor, at = 0.5) {
    return ([low, high]) => {
      const width = Math.min(1, (high - low) * factor);
      const start = low + at * (high - low - width);
      return within(start, start + width);
    };
  }

  const aside = (part) => ([low, high]) => within(low + part * (high - low), high + part * (high - low));
  const moves = { in: around(0.5), out: around(2), all: () => [0, 1], earlier: aside(-0.5), later: aside(0.5) };

  function move(group, how) {
    const keys = keysOf(group);
    if (!keys.length) return;
    const state = stateOf(keys[0]);
    state.window = how(state.window);
    refresh(keys);
  }

  function set(group, change) {
    const keys = keysOf(group);
    if (keys.length) Object.assign(stateOf(keys[0]), change);
    refresh(keys);
  }

  // ---- drawing: at once what is visible, then the others one after the other

  const late = new Set();
  let frame = null;

  function refresh(keys) {
    for (const key of keys) if (views.has(key)) late.add(key);
    if (frame === null && late.size) frame = requestAnimationFrame(drawVisible);
  }

  function drawVisible() {
    frame = null;
    for (const key of [...late]) if (isVisible(key)) redraw(key);
    if (late.size) setTimeout(drawNext);
  }

  function drawNext() {
    const [key] = late;
    if (key === undefined) return;
    redraw(key);
    if (late.size) setTimeout(drawNext);
  }

  function redraw(key) {
    late.delete(key);
    if (isShown(views.get(key).element)) views.get(key).draw(lookOf(key));
  }

  function isVisible(key) {
    if (!views.has(key)) return false;
    const box = views.get(key).element.getBoundingClientRect();
    return box.height > 0 && box.bottom > 0 && box.top < window.innerHeight;
  }

  /** Draw a timeline whose details are open, if it is not drawn yet. */
  async function open(key) {
    const made = await timeline(key);
    if (views.has(key) || !isShown(elementOf(key))) return;
    const view = new page.TimelineView(elementOf(key), replaced.get(key) || made, infoOf(key));
    views.set(key, view);
    view.draw(lookOf(key));
    listen(key, view);
  }

  /** Draw a timeline that has just been opened; it may have changed while it was closed. */
  function reopen(element) {
    const key = element.dataset.chart;
    if (views.has(key)) refresh([key]); else if (isShown(element)) open(key);
  }

  const resized = new ResizeObserver((entries) => {
    const changed = entries.map(({ target }) => target.dataset.chart);
    refresh(changed.filter((key) => views.has(key) && views.get(key).width !== views.get(key).element.clientWidth));
  });

  // ---- pointer

  function showTip(lines, event) {
    tip.hidden = !lines;
    if (!lines) return;
    tip.replaceChildren();
    lines.forEach((line, at) => { tip.appendChild(document.createElement(at ? "div" : "b")).textContent = line; });
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, window.innerWidth - box.width - 6))}px`;
    const below = event.clientY + 16;
    tip.style.top = `${below + box.height > window.innerHeight ? event.clientY - box.height - 10 : below}px`;
  }

  function listen(key, view) {
    const { element } = view;
    const { group } = infoOf(key);
    let held = null;
    const place = (event) => {
      const box = view.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const share = (x) => (x - view.plot.left) / (view.plot.right - view.plot.left);
    element.addEventListener("pointerdown", (event) => {
      if (event.button === 0) held = { x: event.clientX, window: stateOf(key).window };
    });
    element.addEventListener("pointermove", (event) => {
      if (!held) { showTip(view.wordsAt(...place(event)), event); return; }
      const part = (held.x - event.clientX) / (view.plot.right - view.plot.left);
      if (Math.abs(held.x - event.clientX) > 2) element.setPointerCapture(event.pointerId);
      const { window: before } = held;
      move(group, () => aside(part)(before));
      tip.hidden = true;
    });
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, () => { held = null; });
    element.addEventListener("pointerleave", () => { tip.hidden = true; });
    element.addEventListener("dblclick", () => move(group, moves.all));
    element.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const at = Math.min(1, Math.max(0, share(place(event)[0])));
      move(group, around(1.001 ** (event.deltaY * 16 ** event.deltaMode), at));
    }, { passive: false });
    element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const walk = event.shiftKey && walks[event.key];
      if (!walk && !steps[event.key]) return;
      event.preventDefault();
      if (walk) select(key, view, walk(view)); else move(group, steps[event.key]);
    });
  }

  // ---- keyboard: arrows move, with the shift key they walk through the operations

  const steps = {
    ArrowLeft: aside(-0.1), ArrowRight: aside(0.1), "+": around(0.5), "=": around(0.5), "-": around(2), Home: () => [0, 1],
  };
  const walks = {
    ArrowRight: (view) => along(view, 1), ArrowLeft: (view) => along(view, -1),
    ArrowDown: (view) => across(view, 1), ArrowUp: (view) => across(view, -1),
  };

  function along(view, by) {
    const { selected, timeline: { first } } = view;
    if (selected < 0) return view.firstRow();
    const device = page.deviceOf(view.timeline, selected);
    return Math.min(Math.max(selected + by, first[device]), first[device + 1] - 1);
  }

  function across(view, by) {
    const { selected, timeline: of } = view;
    const shown = view.devices().filter((device) => of.counts[device]);
    if (selected < 0) return view.firstRow();
    const next = shown[shown.indexOf(page.deviceOf(of, selected)) + by];
    if (next === undefined) return selected;
    const rows = Array.from({ length: of.counts[next] }, (_, at) => of.first[next] + at);
    return rows.find((row) => of.end[row] > of.start[selected]) ?? rows.at(-1);
  }

  function select(key, view, row) {
    if (row < 0) return;
    view.selected = row;
    const [from, to] = wholeOf(key);
    const [start, end] = [view.timeline.start[row], view.timeline.end[row]].map((time) => (time - from) / (to - from));
    const state = stateOf(key);
    const [low, high] = state.window;
    if (start < low || end > high) move(infoOf(key).group, () => within((start + end - high + low) / 2, (start + end + high - low) / 2));
    else refresh([key]);
    document.getElementById(`${key}-reading`).textContent = `${page.wordsOf(view.timeline, row).join("; ")}.`;
  }

  // ---- toolbars and orders

  for (const toolbar of document.querySelectorAll("[data-group]")) {
    const group = Number(toolbar.dataset.group);
    toolbar.addEventListener("click", (event) => {
      const how = moves[event.target.dataset.do];
      if (how) move(group, how);
    });
    toolbar.addEventListener("change", ({ target }) => {
      if (target.dataset.do === "colour") {
        for (const legend of toolbar.closest(".timelines").querySelectorAll("[data-legend]")) legend.hidden = legend.dataset.legend !== target.value;
        set(group, { colour: target.value });
      }
      if (target.dataset.do === "critical") set(group, { critical: target.checked });
      if (target.dataset.do === "common") set(group, { common: target.checked });
      if (target.dataset.do === "devices") {
        for (const caption of toolbar.closest(".timelines").querySelectorAll(".folding")) caption.hidden = target.checked;
        set(group, { all: target.checked });
      }
    });
  }

  async function writeOrder(details) {
    const text = details.querySelector("pre");
    if (details.open && !text.textContent) text.textContent = page.orderText(await timeline(details.dataset.order));
  }

  /** Draw the timelines that are open, visible ones first, and all others when they are opened. */
  async function startTimelines() {
    for (const details of document.querySelectorAll("details[data-order]")) details.addEventListener("toggle", () => writeOrder(details));
    const elements = [...document.querySelectorAll("[data-chart]")].filter(isTimeline);
    for (const element of elements) {
      resized.observe(element);
      element.closest("details").addEventListener("toggle", () => reopen(element));
    }
    for (const element of elements) if (isShown(element)) await open(element.dataset.chart);
  }

  // ---- the interface for other scripts of the page

  /** Show another timeline under a key; null for its own. */
  async function show(key, other) {
    if (other) replaced.set(key, other); else replaced.delete(key);
    if (!views.has(key)) return;
    views.get(key).timeline = other || await timeline(key);
    refresh(stateOf(key).common ? keysOf(infoOf(key).group) : [key]);
  }

  const redrawTimelines = () => { for (const key of views.keys()) redraw(key); };

  Object.assign(page, { timeline, show, isShown, isVisible, isTimeline, startTimelines, redrawTimelines });
}());
