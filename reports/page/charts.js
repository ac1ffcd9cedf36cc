/* The charts of the page that Vega draws: those in view first, hidden ones when they are shown. */
(function () {
  "use strict";

  const page = window.ppoptPage;
  const views = new Map();

  /** Make Vega's configuration of the page's colours and font. */
  function config() {
    const { card, ink, quiet, grid, line, font } = page.theme();
    return {
      background: card, font, view: { stroke: null },
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
    copy.config = Object.assign({}, copy.config, config());
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

  // ---- drawing

  const specOf = (element) => page.data.charts[element.dataset.chart];
  const isAll = () => "all" in document.documentElement.dataset;

  async function draw(element) {
    const key = element.dataset.chart;
    const spec = specOf(element);
    const chosen = taken(key, spec);
    looks.set(element, lookOf(spec, element));
    document.getElementById(`menu-${key}`)?.replaceChildren();
    const { view } = await window.vegaEmbed(element, fitted(spec, element), { actions: false, renderer: "canvas", ast: false });
    views.set(key, view);
    for (const [name, value] of chosen) await view.signal(name, value).runAsync();
    await follow(view, spec);
    if (key.startsWith("frontier-")) view.addEventListener("click", (_event, item) => leadToTimeline(key, item));
  }

  const followsAll = (spec) => (spec.params || []).some(({ name }) => name === "all_schedules");

  async function follow(view, spec) {
    if (followsAll(spec) && view.signal("all_schedules") !== isAll()) await view.signal("all_schedules", isAll()).resize().runAsync();
  }

  function leadToTimeline(key, item) {
    const rank = item && item.datum && item.datum.rank;
    if (Number.isInteger(rank)) page.goTo(`timeline-${key.split("-")[1]}-${rank}`);
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

  const looks = new Map();
  const elements = [...document.querySelectorAll("[data-chart]")].filter((each) => !page.isTimeline(each));
  const { isShown } = page;
  const isNear = (element) => isShown(element) && element.getBoundingClientRect().top < window.innerHeight;
  const isStale = (element) => isShown(element) && looks.get(element) !== lookOf(specOf(element), element);
  let waiting = 0;
  let drawing = Promise.resolve();

  /** Draw the charts that a function chooses, one drawing at a time: a window can change faster than charts are drawn. */
  function drawEach(chosen) {
    const root = document.documentElement.dataset;
    for (const name of ["drawn", "complete"]) delete root[name];
    waiting += 1;
    drawing = drawing.then(async () => {
      const every = chosen().filter(isShown);
      const near = every.filter(isNear);
      for (const element of near) await draw(element);
      if (waiting === 1) root.drawn = String(Math.round(performance.now()));
      for (const element of every.filter((each) => !near.includes(each))) {
        await new Promise((done) => { setTimeout(done); });
        await draw(element);
      }
      waiting -= 1;
      if (!waiting) root.complete = String(Math.round(performance.now()));
    });
    return drawing;
  }

  const drawCharts = () => drawEach(() => elements);

  function startCharts() {
    const resized = new ResizeObserver((entries) => {
      if (entries.some(({ target }) => isStale(target))) drawEach(() => elements.filter(isStale));
    });
    document.addEventListener("toggle", ({ target }) => {  // charts in details are drawn when these are opened
      if (elements.some((each) => target.contains(each) && isStale(each))) drawEach(() => elements.filter(isStale));
    }, true);
    return drawCharts().then(() => { for (const element of elements) resized.observe(element); });
  }

  /** Tell the charts whether all schedules are shown. */
  async function followAll() {
    for (const [key, view] of views) await follow(view, page.data.charts[key]);
  }

  Object.assign(page, { drawCharts, startCharts, followAll });
}());
