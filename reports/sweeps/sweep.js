(function () {
  "use strict";

  const data = JSON.parse(document.getElementById("data").textContent);
  const darkness = window.matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();
  const held = new Map();
  const number = (value) => Number(value.toPrecision(7)).toLocaleString("en", { maximumFractionDigits: 6 });
  const percent = (value) => `${(100 * value).toFixed(2)}%`;

  // ---- charts

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [ink, quiet, grid, line] = ["--ink", "--quiet", "--grid", "--line"].map(colour);
    return {
      background: colour("--card"), font: getComputedStyle(document.body).fontFamily, view: { stroke: null },
      axis: { labelColor: ink, titleColor: quiet, gridColor: grid, domainColor: line, tickColor: line, labelFontSize: 12,
        titleFontWeight: "normal", titleFontSize: 12,
      },
      legend: { labelColor: ink, labelFontSize: 12, labelLimit: 300 }, text: { color: ink },
    };
  }

  async function draw(element) {
    const spec = structuredClone(data.charts[element.dataset.chart]);
    spec.config = Object.assign({}, spec.config, theme());
    const old = views.get(element.dataset.chart);
    if (old) old.finalize();
    const options = { actions: false, renderer: "canvas", ast: false, loader: { target: "_self" } };
    const { view } = await window.vegaEmbed(element, spec, options);
    views.set(element.dataset.chart, view);
    for (const [axis, place] of held) hold(view, axis, place);
    await view.runAsync();
  }

  function hold(view, axis, place) {
    const name = `axis_${axis}`;
    if (name in view.getState().signals) view.signal(name, place);
  }

  async function drawAll() {
    delete document.documentElement.dataset.drawn;
    for (const element of document.querySelectorAll("[data-chart]")) await draw(element);
    for (const name of ["drawn", "complete"]) document.documentElement.dataset[name] = "1";
  }

  document.addEventListener("change", async (event) => {
    const { axis } = event.target.dataset;
    if (axis === undefined) return;
    held.set(axis, Number(event.target.value));
    for (const view of views.values()) {
      hold(view, axis, held.get(axis));
      await view.runAsync();
    }
  });

  // ---- the table of one point

  const HEADER = ["strategy", "makespan", "bound", "gap", "bubble ratio", "peak memory", "status", "notes"];

  function row(cells, kind) {
    const made = document.createElement("tr");
    cells.forEach((text, at) => {
      const cell = made.appendChild(document.createElement(kind === "th" || at === 0 ? "th" : "td"));
      cell.textContent = text;
      cell.scope = kind === "th" ? "col" : at === 0 ? "row" : "";
    });
    return made;
  }

  function cellsOf([strategy, makespan, bound, gap, bubble, memory, fits, status, reason, notes]) {
    const state = reason ? `${status}: ${reason}` : fits ? status : `${status}, over the memory limit`;
    if (makespan === null) return [strategy, "", "", "", "", "", state, notes];
    const known = (value, write) => (value === null ? "" : write(value));
    return [
      (fits ? "" : "! ") + strategy, number(makespan), known(bound, number), known(gap, percent), percent(bubble),
      number(memory), state, notes,
    ];
  }

  function showPoint() {
    const found = /^#point-(\d+)$/.exec(window.location.hash);
    const point = found && data.points[Number(found[1])];
    if (!point) return;
    document.getElementById("point-title").textContent = data.axes.map((name, at) => `${name} ${point.where[at]}`).join(", ");
    const table = document.getElementById("point-table");
    const head = document.createElement("thead");
    head.appendChild(row(HEADER.map((title) => (title === "makespan" && data.unit ? `${title}, ${data.unit}` : title)), "th"));
    const body = document.createElement("tbody");
    body.append(...point.rows.map((each) => row(cellsOf(each), "td")));
    table.replaceChildren(head, body);
    document.getElementById("point").scrollIntoView({ block: "nearest" });
  }

  window.addEventListener("hashchange", showPoint);
  darkness.addEventListener("change", drawAll);
  drawAll();
  showPoint();
}());
