"""A real browser without a network, and tools to inspect a page in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ppopt.commands.pages import write_report
from reports.charts.timeline_layout import BAR_BOTTOM, BAR_TOP, row_height

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from ppopt.comparison.comparison import Comparison

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SECONDS = 300_000
"""The time that a test waits for a page, in milliseconds."""


def launched() -> Iterator[Browser]:
    """Start Chromium; if it is missing, skip and say how to get it."""
    missing = "needs a browser: `apt-get install chromium` and `pip install 'ppopt[test]'`"
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"Chromium is not installed; {missing}")
    playwright = pytest.importorskip("playwright.sync_api", reason=f"playwright is not installed; {missing}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


def page_of(folder: Path, *comparisons: Comparison, titles: Sequence[str] = (), command: Sequence[str] = ()) -> Path:
    path = folder / f"page-{len(list(folder.iterdir()))}.html"
    names = [*titles, *(f"part {place}" for place in range(len(titles), len(comparisons)))]
    write_report(str(path), comparisons, names, command or ["ppopt", "compare"])
    return path


_PREPARE = """
window.readCanvas = (key) => {  // from a copy: Chromium warns of reading the canvas itself
  const canvas = document.querySelector(`[data-chart="${key}"] canvas`);
  const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  Object.assign(copy.canvas, { width: canvas.width, height: canvas.height });
  copy.drawImage(canvas, 0, 0);
  return copy.getImageData(0, 0, canvas.width, canvas.height);
};
window.allCharts = () => (  // those that are drawn: others are folded, or in closed details
  [...document.querySelectorAll("[data-chart]:has(canvas)")].map((each) => each.dataset.chart)
);
window.kept = [];
window.keep = () => window.kept.push(new Map(allCharts().map((key) => [key, readCanvas(key)]))) - 1;
window.alike = (one, other) => {  // but for the edges of a few bars, which depend on what was drawn first
  if (one.width !== other.width || one.height !== other.height) return false;
  let different = 0;
  for (let at = 0; at < one.data.length; at += 1) different += Math.abs(one.data[at] - other.data[at]) > 48;
  return different <= 400;
};
window.changed = (kept) => allCharts().filter((key) => !alike(window.kept[kept].get(key), readCanvas(key)));
window.drawnTexts = new Set();
window.standing = new WeakMap();  // the texts on each canvas that have not been wiped off, each with its box
const { fillText, clearRect } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...more) {
  window.drawnTexts.add(String(text));
  const { a: scale, e: left, f: top } = this.getTransform();
  const { actualBoundingBoxLeft, actualBoundingBoxRight, width } = this.measureText(text);
  const start = (x - actualBoundingBoxLeft) * scale + left;
  const end = start + (actualBoundingBoxLeft + actualBoundingBoxRight || width);
  const box = [start, y * scale + top - 10, end, y * scale + top + 3];
  window.standing.set(this.canvas, [...(window.standing.get(this.canvas) || []), { text: String(text), box }]);
  return fillText.call(this, text, x, y, ...more);
};
CanvasRenderingContext2D.prototype.clearRect = function (x, y, width, height) {
  const { a: scale, e: left, f: top } = this.getTransform();
  const isWiped = ({ box }) => (
    box[0] >= x * scale + left && box[0] <= (x + width) * scale + left
    && box[1] >= y * scale + top && box[1] <= (y + height) * scale + top
  );
  const texts = window.standing.get(this.canvas) || [];
  window.standing.set(this.canvas, texts.filter((each) => !isWiped(each)));
  return clearRect.call(this, x, y, width, height);
};
window.textsOn = (key) => window.standing.get(document.querySelector(`[data-chart="${key}"] canvas`)) || [];
"""

_COLOURS = """(key) => {
  const pixels = new Map();
  for (const pixel of new Uint32Array(readCanvas(key).data.buffer)) pixels.set(pixel, (pixels.get(pixel) || 0) + 1);
  const counts = {};
  for (const [pixel, count] of pixels) {  // opacity, blue, green, red
    if (pixel >>> 24 !== 255) continue;
    const channels = [pixel & 255, (pixel >>> 8) & 255, (pixel >>> 16) & 255];
    counts["#" + channels.map((each) => each.toString(16).padStart(2, "0")).join("").toUpperCase()] = count;
  }
  return counts;
}"""

_PIXELS = """([key, places]) => {
  const image = readCanvas(key);
  return places.map(([x, y]) => {
    const at = 4 * (Math.round(y) * image.width + Math.round(x));
    return [...image.data.slice(at, at + 4)];
  });
}"""

_AXIS = """(key) => {  // the line of pixels in which most have the axis's colour; ticks and the like interrupt it
  const image = readCanvas(key);
  const line = getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
  const wanted = [1, 3, 5].map((at) => parseInt(line.slice(at, at + 2), 16));
  let best = [];
  for (let y = 0; y < image.height; y += 1) {
    const found = [];
    for (let x = 0; x < image.width; x += 1) {
      const at = 4 * (y * image.width + x);
      if (wanted.every((value, channel) => image.data[at + channel] === value)) found.push([x, y]);
    }
    if (found.length > best.length) best = found;
  }
  return [best[0][0], best.at(-1)[0] + 1, best[0][1]];
}"""

_SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 60))))"


@dataclass(frozen=True)
class Plot:
    """The position of a timeline on its canvas, found from its time axis."""

    left: float
    right: float
    bottom: float
    devices: int
    start: float
    end: float

    @property
    def top(self) -> float:
        return self.bottom - row_height(self.devices) * self.devices

    def x(self, time: float) -> float:
        return self.left + (time - self.start) / (self.end - self.start) * (self.right - self.left)

    def y(self, place: float) -> float:
        return self.top + place * row_height(self.devices)

    def bar(self, row: Any, half: str = "") -> tuple[float, float]:
        """Return the centre of a bar; for a half of a block, that of the upper or the lower half."""
        low, high = {"": (BAR_TOP, BAR_BOTTOM), "upper": (BAR_TOP, _MIDDLE), "lower": (_MIDDLE, BAR_BOTTOM)}[half]
        return self.x((row.start + row.end) / 2), self.y(row.device + (low + high) / 2)

    def corner(self, row: Any) -> tuple[float, float]:
        """Return a place in a bar that its label leaves free."""
        return self.x(row.start) + 3, self.y(row.device + BAR_TOP) + 3


_MIDDLE = (BAR_TOP + BAR_BOTTOM) / 2


class Sheet:
    """A page in a window of its own, with every error that occurs in it."""

    def __init__(self, browser: Browser, **more: Any) -> None:
        self.context: BrowserContext = browser.new_context(offline=True, **more)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(SECONDS)
        self.url = ""
        self.faults: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("dialog", self._asked_back)
        self.page.add_init_script(_PREPARE)

    def show(self, path: Path, width: int, height: int, *, is_open: bool) -> None:
        """Load a page, as if the window had shown none before, and open all timelines in focus."""
        self.url = path.as_uri()
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.goto(self.url)
        self.wait_until_drawn()
        if is_open:
            self.open_timelines()

    def open_timelines(self) -> None:
        """Open all timelines, except for those of schedules out of focus."""
        self.ask("document.querySelectorAll('details.timeline').forEach((each) => { each.open = true; })")
        self.page.wait_for_function(
            "[...document.querySelectorAll('.timeline [data-chart]')]"
            ".every((each) => !ppoptPage.isShown(each) || each.querySelector('canvas'))"
        )

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def _asked(self, url: str) -> None:
        if url.partition("#")[0] != self.url:
            self.faults.append(f"request: {url[:200]}")

    def _asked_back(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def wait_until_drawn(self) -> None:
        self.page.wait_for_function("document.documentElement.dataset.complete")
        self.settle()

    def settle(self) -> None:
        """Wait until everything requested so far is drawn."""
        self.page.evaluate(_SETTLED)

    def ask(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    @property
    def charts(self) -> list[str]:
        found: list[str] = self.ask("allCharts()")
        return found

    @property
    def timelines(self) -> list[str]:
        return [key for key in self.charts if key.startswith("timeline")]

    @property
    def text(self) -> str:
        """Return all text of the page, including charts and closed details."""
        drawn: str = self.ask(
            "[...document.querySelectorAll('header, main, footer')].map((each) => each.textContent).join(' ')"
            " + ' ' + [...window.drawnTexts].join(' ')"
        )
        return " ".join(drawn.split())

    def colours(self, key: str) -> dict[str, int]:
        found: dict[str, int] = self.ask(_COLOURS, key)
        return found

    def texts_on(self, key: str) -> dict[str, list[float]]:
        """Return the texts on a chart, each with its left, top, right and bottom."""
        found: list[dict[str, Any]] = self.ask("(key) => textsOn(key)", key)
        return {each["text"]: each["box"] for each in found}

    def keep(self) -> int:
        """Save the current look of all charts."""
        kept: int = self.ask("keep()")
        return kept

    def changed(self, kept: int) -> list[str]:
        """Return the charts that look different from a saved look."""
        found: list[str] = self.ask("(kept) => changed(kept)", kept)
        return found

    def alike(self, one: str, other: str) -> bool:
        found: bool = self.ask("([one, other]) => alike(readCanvas(one), readCanvas(other))", [one, other])
        return found

    def pixels(self, key: str, places: Sequence[tuple[float, float]]) -> list[str]:
        """Read colours as ``#RRGGBB``, followed by the opacity if it is below 1."""
        found: list[list[int]] = self.ask(_PIXELS, [key, [list(place) for place in places]])
        return [
            f"#{red:02X}{green:02X}{blue:02X}" + ("" if opacity == 255 else f"{opacity:02X}")
            for red, green, blue, opacity in found
        ]

    def plot(self, key: str, devices: int, start: float, end: float) -> Plot:
        left, right, bottom = self.ask(_AXIS, key)
        return Plot(left, right, bottom, devices, start, end)

    def to_screen(self, key: str, place: tuple[float, float]) -> tuple[float, float]:
        """Scroll a chart into view, and convert a place on its canvas to one in the window."""
        canvas = self.page.locator(f'[data-chart="{key}"] canvas')
        canvas.evaluate("(element) => element.scrollIntoView({ block: 'center', behavior: 'instant' })")
        box = canvas.bounding_box()
        assert box is not None
        return box["x"] + place[0], box["y"] + place[1]

    def centre(self, key: str) -> tuple[float, float]:
        width, height = self.ask(
            "(key) => { const c = document.querySelector(`[data-chart='${key}'] canvas`);"
            " return [c.width, c.height]; }",
            key,
        )
        return self.to_screen(key, (0.5 * width, 0.4 * height))

    def wait_for_change(self, kept: int, keys: Sequence[str]) -> None:
        """Wait until these charts look different from a saved look."""
        script = "([kept, keys]) => { const now = changed(kept); return keys.every((key) => now.includes(key)); }"
        self.page.wait_for_function(script, arg=[kept, list(keys)])
        self.settle()

    def wait_for_return(self, kept: int) -> None:
        """Wait until all charts look as saved."""
        self.page.wait_for_function("(kept) => changed(kept).length === 0", arg=kept)
        self.settle()


Opener = Callable[..., Sheet]


class Windows:
    """The windows of a browser. A window that has shown a page draws the next one twice as fast as a new window does.

    So one test after the other uses it, unless the test asks for a window of another kind (dark, or with rights).
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.free: list[Sheet] = []

    def opener(self) -> Iterator[Opener]:
        """Provide a function that opens pages; at the end, check that none had an error."""
        used: list[Sheet] = []
        special: list[Sheet] = []

        def open_page(path: Path, *, width: int = 1280, height: int = 900, is_open: bool = True, **more: Any) -> Sheet:
            sheet = self.free.pop() if self.free and not more else Sheet(self.browser, **more)
            (special if more else used).append(sheet)
            sheet.show(path, width, height, is_open=is_open)
            return sheet

        yield open_page
        faults = [fault for sheet in (*used, *special) for fault in sheet.faults]
        for sheet in special:
            sheet.context.close()
        for sheet in used:
            sheet.faults.clear()
            sheet.page.emulate_media(media="screen", color_scheme="light")
            sheet.page.mouse.move(0, 0)
        self.free += used
        assert faults == []
