/* The page: what its address says, which schedules are shown, its tables, and the start of everything. */
(function () {
  "use strict";

  const page = window.ppoptPage;
  const root = document.documentElement;

  // ---- the address: `#all` and what the sliders are set to, or the element to go to

  const pieces = () => window.location.hash.slice(1).split("&").filter(Boolean);

  /** Make an address with a piece in place of those for which `isOld` is true; null for none. */
  function addressWith(isOld, piece) {
    const hash = [...(piece === null ? [] : [piece]), ...pieces().filter((each) => !isOld(each))].join("&");
    return hash ? `#${hash}` : window.location.pathname + window.location.search;
  }

  function keep(isOld, piece) { window.history.replaceState(null, "", addressWith(isOld, piece)); }

  /** Go to an element, and keep the rest of the address. */
  function goTo(id) {
    window.history.pushState(null, "", addressWith((each) => document.getElementById(each), id));
    reveal(document.getElementById(id));
  }

  const isAll = (piece) => piece === "all";
  const named = () => pieces().map((each) => document.getElementById(each)).find(Boolean);

  function readAddress() {
    const target = named();
    if (pieces().some(isAll)) showAll(true); else if (!target) showAll(false);
    if (target) reveal(target);
  }

  /** Show an element that is folded or in closed details. */
  function reveal(element) {
    if (element.closest(".folded") && !("all" in root.dataset)) { showAll(true); keep(isAll, "all"); }
    for (let each = element.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
    element.scrollIntoView();
  }

  // ---- all schedules, or the few that decide

  const switches = document.querySelectorAll("input[data-do='all-schedules']");

  /** Show all schedules, or only those in focus. */
  function showAll(all) {
    for (const each of switches) each.checked = all;
    if (all === "all" in root.dataset) return;
    if (all) root.dataset.all = ""; else delete root.dataset.all;
    if (page.data) page.followAll();
    window.dispatchEvent(new Event("all-schedules"));
  }

  document.addEventListener("change", ({ target }) => {
    if (target.dataset.do !== "all-schedules") return;
    showAll(target.checked);
    keep(isAll, target.checked ? "all" : null);
  });

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

  // ---- the start

  async function start() {
    page.data = JSON.parse(await page.unpacked("data"));
    await page.startTimelines();
    await page.run("vega");
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      page.redrawTimelines();
      page.drawCharts();
    });
    await page.startCharts();
    if (named() && !isTouched) named().scrollIntoView();  // charts above it have grown
  }

  let isTouched = false;
  for (const name of ["wheel", "pointerdown", "keydown", "touchstart"]) {
    window.addEventListener(name, () => { isTouched = true; }, { once: true, passive: true });
  }

  window.addEventListener("hashchange", readAddress);
  readAddress();
  Object.assign(page, { keep, goTo, showAll, started: page.canUnpack ? start() : new Promise(() => {}) });
}());
