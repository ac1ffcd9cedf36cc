"""The timelines of the page: which are drawn, on which scale, from which operations, and how they are read."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt.comparison.comparison import Comparison
from reports.charts import palette
from reports.charts.timeline_layout import (
    LINE_BOTTOM,
    LINE_TOP,
    MOST_ROWS,
    OVER_COLOUR,
    STRIP_BOTTOM,
    STRIP_TOP,
    row_height,
)
from reports.page.columns import columns, packed
from tests.evaluated import pipeline
from tests.reports.browser import Opener, Plot, Sheet, page_of

MANY = ["1f1b", "zb-h1", "gpipe", "dualpipe", "interleaved:stages=8", "zb-h2", "eager-1f1b", "zb-v", "v-half", "1f1b-v"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


def published(*strategies: str, **more: Any) -> Comparison:
    sizes = {"devices": 4, "microbatches": 8} | more
    return ppopt.compare(pipeline(**sizes), strategies, optimize=False, engine="graph")


@pytest.fixture(scope="module")
def many(folder: Path) -> tuple[Comparison, Path]:
    made = published(*MANY, memory={"limit": 6})
    return made, page_of(folder, made)


def plot_of(sheet: Sheet, key: str, schedule: ppopt.Schedule, end: float | None = None) -> Plot:
    frame = schedule.timeline
    last = float(frame.end.max()) if end is None else end
    return sheet.plot(key, schedule.pipeline.devices, float(frame.start.min()), last)


def assert_bars(sheet: Sheet, key: str, schedule: ppopt.Schedule, plot: Plot) -> None:
    """Check the colours of bars wide enough to be seen that lie within the plot."""
    frame = schedule.timeline
    rows = [row for row in frame[frame.block.isna()].itertuples() if plot.start < row.start and row.end < plot.end]
    seen = [row for row in rows if plot.x(row.end) - plot.x(row.start) > 5]
    assert seen
    for row, colour in zip(seen, sheet.pixels(key, [plot.corner(row) for row in seen]), strict=True):
        assert colour in {palette.shaded(palette.KINDS[row.op], place, 2) for place in range(2)}, row


# ---- drawn when opened


def test_only_the_winner_the_baseline_and_the_best_published_are_open(
    open_page: Opener, many: tuple[Comparison, Path]
) -> None:
    comparison, path = many
    sheet = open_page(path, is_open=False)
    names = [each.strategy for each in comparison.schedules]
    fitting = [each.strategy for each in comparison.schedules if max(each.peak_memory) <= 6]
    wanted = {f"timeline-0-{names.index(name)}" for name in ("1f1b", fitting[0])}
    assert set(sheet.timelines) == wanted
    assert set(sheet.ask("[...document.querySelectorAll('details.timeline[open]')].map((each) => each.id)")) == wanted
    assert sheet.page.locator("details.timeline").count() == len(MANY)
    closed = next(key for key in (f"timeline-0-{at}" for at in range(len(MANY))) if key not in wanted)
    sheet.page.locator(f"#{closed} > summary").click()
    sheet.page.wait_for_selector(f"#{closed} canvas")
    at = int(closed.split("-")[2])
    assert_bars(sheet, closed, comparison.schedules[at], plot_of(sheet, closed, comparison.schedules[at]))


@pytest.mark.exhaustive
@pytest.mark.parametrize(("devices", "opened"), [(8, 3), (16, 2), (40, 2), (500, 2)])
def test_what_is_open_at_first_has_room_on_two_screens(
    open_page: Opener, folder: Path, devices: int, opened: int
) -> None:
    made = published(*MANY[:3], *(["eager-1f1b", "zb-h2", "1f1b-overlap", "zb1p"]), devices=devices, microbatches=2)
    sheet = open_page(page_of(folder, made), is_open=False)
    heights = sheet.ask(
        "[...document.querySelectorAll('details.timeline[open] canvas')].map((each) => each.clientHeight)"
    )
    assert 1 <= len(heights) <= opened
    assert sum(heights) <= 1400


def test_timelines_out_of_focus_are_folded_until_all_are_asked_for(
    open_page: Opener, many: tuple[Comparison, Path]
) -> None:
    sheet = open_page(many[1], is_open=False)
    folded = sheet.ask("[...document.querySelectorAll('details.timeline.folded')].map((each) => each.id)")
    assert 0 < len(folded) < len(MANY)
    assert sheet.page.locator("details.order.folded").count() == len(folded)
    assert sheet.ask("'all' in document.documentElement.dataset") is False
    sheet.ask("ppoptPage.showAll(true)")
    assert sheet.ask("document.documentElement.dataset.all") == ""
    sheet.ask("ppoptPage.showAll(false)")
    assert sheet.ask("'all' in document.documentElement.dataset") is False


@pytest.mark.slow
def test_the_address_keeps_that_all_are_shown_beside_the_sliders(
    open_page: Opener, many: tuple[Comparison, Path]
) -> None:
    sheet = open_page(many[1], is_open=False)
    sheet.ask("location.hash = '#all&what-if-0=latency:0.5'")
    sheet.page.wait_for_function("'all' in document.documentElement.dataset")
    sheet.page.wait_for_selector("[data-what-if].moved")
    sheet.page.locator("[data-part=reset]").click()
    assert sheet.page.url.endswith("#all")
    sheet.ask("location.hash = '#what-if-0=latency:0.5'")
    sheet.page.wait_for_function("!('all' in document.documentElement.dataset)")
    sheet.page.reload()
    sheet.wait_until_drawn()
    assert sheet.ask("'all' in document.documentElement.dataset") is False
    assert sheet.page.url.endswith("#what-if-0=latency:0.5")


@pytest.mark.slow
def test_charts_with_a_parameter_for_it_are_told_that_all_are_shown(
    open_page: Opener, many: tuple[Comparison, Path]
) -> None:
    sheet = open_page(many[1], is_open=False)
    sheet.ask("""async () => {
      const chart = ppoptPage.data.charts["bubbles-0"];
      chart.title = { text: { expr: "all_schedules ? 'every one' : 'the few'" } };
      await ppoptPage.drawCharts();
    }""")
    assert "the few" in sheet.texts_on("bubbles-0")
    sheet.ask("ppoptPage.showAll(true)")
    sheet.page.wait_for_function("textsOn('bubbles-0').some(({ text }) => text === 'every one')")
    sheet.ask("ppoptPage.drawCharts()")  # as after a change of the theme
    sheet.wait_until_drawn()
    assert "every one" in sheet.texts_on("bubbles-0")
    sheet.ask("ppoptPage.showAll(false)")
    sheet.page.wait_for_function("textsOn('bubbles-0').some(({ text }) => text === 'the few')")


def test_sliders_race_the_schedules_that_are_shown(open_page: Opener, many: tuple[Comparison, Path]) -> None:
    sheet = open_page(many[1], is_open=False)
    sheet.page.wait_for_selector(".race > div")
    racers, shown = sheet.page.locator(".race > div"), sheet.page.locator(".race > div:visible")
    focus = sheet.page.locator("details.timeline:not(.folded)").count()
    assert shown.count() == focus < racers.count() == len(MANY)
    height = "document.querySelector('.race').clientHeight"
    before = sheet.ask(height)
    sheet.ask("ppoptPage.showAll(true)")
    assert shown.count() == len(MANY)
    assert sheet.ask(height) / before == pytest.approx(len(MANY) / focus)


def test_an_address_of_a_folded_timeline_shows_it(open_page: Opener, many: tuple[Comparison, Path]) -> None:
    sheet = open_page(many[1], is_open=False)
    folded = sheet.ask("document.querySelector('details.timeline.folded').id")
    sheet.ask("(id) => { location.hash = id; }", folded)
    sheet.page.wait_for_selector(f"#{folded}[open] canvas")
    assert sheet.ask("'all' in document.documentElement.dataset")


def test_open_timelines_are_drawn_for_print_without_being_scrolled_to(
    open_page: Opener, many: tuple[Comparison, Path]
) -> None:
    sheet = open_page(many[1], is_open=False)
    assert sheet.ask("window.scrollY") == 0
    for key in sheet.ask("[...document.querySelectorAll('details.timeline[open]')].map((each) => each.id)"):
        assert len(sheet.colours(key)) > 3


# ---- scales


def test_each_has_its_own_scale_until_a_common_one_is_chosen(open_page: Opener, many: tuple[Comparison, Path]) -> None:
    comparison, path = many
    sheet = open_page(path)
    before = sheet.keep()
    shown = {key: comparison.schedules[int(key.split("-")[2])] for key in sheet.timelines}
    for key, schedule in shown.items():
        assert_bars(sheet, key, schedule, plot_of(sheet, key, schedule))
    sheet.page.get_by_label("Common time scale").check()
    end = max(float(each.timeline.end.max()) for each in comparison.schedules)  # of all, drawn or not
    shorter = [key for key, each in shown.items() if each.makespan < end]
    sheet.wait_for_change(before, shorter)
    for key, schedule in shown.items():
        assert_bars(sheet, key, schedule, plot_of(sheet, key, schedule, end))
    sheet.page.get_by_label("Common time scale").uncheck()
    sheet.wait_for_return(before)


def test_zooming_shows_the_same_share_of_every_step(open_page: Opener, many: tuple[Comparison, Path]) -> None:
    comparison, path = many
    sheet = open_page(path)
    before = sheet.keep()
    sheet.page.get_by_role("button", name="Zoom in", exact=True).click()
    sheet.wait_for_change(before, sheet.timelines)
    for key in sheet.timelines:
        schedule = comparison.schedules[int(key.split("-")[2])]
        plot = plot_of(sheet, key, schedule)
        quarter = (plot.end - plot.start) / 4
        assert_bars(sheet, key, schedule, replace(plot, start=plot.start + quarter, end=plot.end - quarter))


# ---- many devices


@pytest.mark.slow
def test_of_many_devices_some_are_shown_and_a_switch_shows_all(open_page: Opener, folder: Path) -> None:
    uneven = {key: [1] * 20 + [3] + [1] * 19 for key in ("forward", "backward_input", "backward_weight")}
    made = published("1f1b", devices=40, microbatches=4, times=uneven)
    sheet = open_page(page_of(folder, made))
    (key,) = sheet.timelines
    caption = sheet.page.locator(".folding")
    assert "16 of 40 devices: the first, the last, and the 14 that idle longest." in caption.inner_text()
    assert "Each of the 24 others idles for " in caption.inner_text()
    names = {text for text in sheet.texts_on(key) if text.startswith("device ")}
    assert len(names) == MOST_ROWS
    assert {"device 0", "device 39"} <= names
    assert "device 20" not in names  # the busiest
    height = "document.querySelector('.timeline canvas').clientHeight"
    before = sheet.ask(height)
    sheet.page.get_by_label("All 40 devices").check()
    sheet.page.wait_for_function(f"{height} > {before}")
    assert sheet.ask(height) - before == (40 - MOST_ROWS) * row_height(40)
    assert not caption.is_visible()
    assert {f"device {device}" for device in range(40)} <= set(sheet.texts_on(key))
    assert_bars(sheet, key, made.schedules[0], plot_of(sheet, key, made.schedules[0]))


# ---- many operations


@pytest.mark.slow
def test_narrow_operations_are_drawn_together_and_zoomed_in_one_by_one(open_page: Opener, folder: Path) -> None:
    made = published("zb-h1", devices=2, microbatches=2_000)
    sheet = open_page(page_of(folder, made))
    assert "too long" not in sheet.text
    (key,) = sheet.timelines
    schedule = made.schedules[0]
    plot = plot_of(sheet, key, schedule)
    seen = sheet.colours(key)
    for kind in "FIW":  # in the steady state a third of each bar
        assert seen.get(palette.KINDS[kind], 0) > 2_000, kind
    parts = [seen[palette.KINDS[kind]] for kind in "FIW"]
    assert max(parts) < 1.2 * min(parts)
    sheet.page.mouse.move(*sheet.to_screen(key, (plot.x(schedule.makespan / 2), plot.y(0.3))))
    sheet.page.wait_for_selector("#tip:not([hidden])")
    lines = sheet.page.locator("#tip > *").all_text_contents()
    assert lines[0].endswith(" operations")
    shares = {text.split()[0]: float(text.split()[1].rstrip("%")) for text in lines[-1].split(", ")}
    assert set(shares) <= {"F", "I", "W", "idle"}
    assert sum(shares.values()) == pytest.approx(100, abs=0.3)
    before = sheet.keep()
    for _ in range(9):
        sheet.page.get_by_role("button", name="Zoom in", exact=True).click()
    sheet.wait_for_change(before, [key])
    half = schedule.makespan / 2**10
    closer = replace(plot, start=schedule.makespan / 2 - half, end=schedule.makespan / 2 + half)
    assert_bars(sheet, key, schedule, closer)
    row = next(row for row in schedule.timeline.itertuples() if row.device == 0 and row.start > closer.start)
    sheet.page.mouse.move(*sheet.to_screen(key, closer.bar(row)))
    sheet.page.wait_for_function(
        "(name) => document.querySelector('#tip b')?.textContent === name", arg=f"{row.stage}{row.op}{row.microbatch}"
    )


# ---- memory


def test_what_is_above_the_limit_is_red_and_the_limit_is_named_once(
    open_page: Opener, many: tuple[Comparison, Path]
) -> None:
    comparison, path = many
    sheet = open_page(path)
    for key in sheet.timelines:
        schedule = comparison.schedules[int(key.split("-")[2])]
        plot = plot_of(sheet, key, schedule)
        for device, peak in enumerate(schedule.peak_memory):
            above = [(plot.x(schedule.makespan * part / 200), plot.y(device + STRIP_TOP) + 1.5) for part in range(200)]
            assert (OVER_COLOUR in sheet.pixels(key, above)) == (peak > 6 * 1.15), (schedule.strategy, device)
        assert [text for text in sheet.texts_on(key) if text.startswith("limit")] == ["limit 6"]
    assert STRIP_BOTTOM * row_height(4) - STRIP_TOP * row_height(4) >= 14


# ---- legends, keyboard


def test_the_legend_follows_the_colours(open_page: Opener, many: tuple[Comparison, Path]) -> None:
    sheet = open_page(many[1], is_open=False)
    legend = sheet.page.locator(".timelines .legend")
    assert "F forward" in legend.inner_text()
    assert "first microbatch" not in legend.inner_text()
    sheet.page.get_by_label("Colour by").select_option("microbatch")
    assert "F forward" not in legend.inner_text()
    assert "first microbatch" in legend.inner_text()
    sheet.page.get_by_label("Colour by").select_option("kind")
    assert "F forward" in legend.inner_text()


def test_the_legend_names_only_what_is_drawn(open_page: Opener, folder: Path) -> None:
    legend = open_page(page_of(folder, published("zb-h1"))).page.locator(".timelines .legend").inner_text()
    assert "B backward" not in legend
    assert "limit" not in legend
    assert "I for the input" in legend


@pytest.mark.slow
def test_a_timeline_is_moved_and_read_by_the_keyboard(open_page: Opener, many: tuple[Comparison, Path]) -> None:
    comparison, path = many
    sheet = open_page(path)
    key = sheet.timelines[0]
    schedule = comparison.schedules[int(key.split("-")[2])]
    element = sheet.page.locator(f"[data-chart={key}]")
    assert element.get_attribute("role") == "application"
    assert sheet.page.locator("[role=img] .timeline, .timeline [role=img]").count() == 0
    element.focus()
    before = whole = sheet.keep()
    for press in ("+", "ArrowRight", "ArrowLeft", "-"):
        sheet.page.keyboard.press(press)
        sheet.wait_for_change(before, [key])
        before = sheet.keep()
    sheet.page.keyboard.press("+")
    sheet.wait_for_change(before, [key])
    sheet.page.keyboard.press("Home")
    sheet.wait_for_return(whole)
    reading = sheet.page.locator(f"#{key}-reading")
    assert reading.get_attribute("aria-live") == "polite"
    rows = [row for row in schedule.timeline.itertuples() if row.device == 0]
    for row, press in (
        (rows[0], "Right"),
        (rows[1], "Right"),
        (rows[2], "Right"),
        (rows[1], "Left"),
        (rows[0], "Left"),
    ):
        sheet.page.keyboard.press(f"Shift+Arrow{press}")
        expected = f"{row.stage}{row.op}{row.microbatch}; device 0, stage {row.stage}, microbatch {row.microbatch}; "
        assert reading.inner_text().startswith(f"{expected}{row.start:g} to {row.end:g} ({row.end - row.start:g}); ")
    sheet.page.keyboard.press("Shift+ArrowDown")
    assert "; device 1, " in reading.inner_text()
    sheet.page.keyboard.press("Shift+ArrowUp")
    assert "; device 0, " in reading.inner_text()
    for _ in range(4):
        sheet.page.keyboard.press("+")
    for _ in range(len(rows) + 3):
        sheet.page.keyboard.press("Shift+ArrowRight")
    last = rows[-1]
    assert reading.inner_text().startswith(f"{last.stage}{last.op}{last.microbatch}; ")
    sheet.settle()
    assert any(text == str(last.microbatch) for text in sheet.texts_on(key))  # it came into view


# ---- sizes, old browsers


def test_without_decompression_one_sentence_says_so(
    open_page: Opener, folder: Path, many: tuple[Comparison, Path]
) -> None:
    text = many[1].read_text(encoding="utf-8")
    old = folder / "old.html"
    old.write_text(text.replace("<script>", "<script>delete window.DecompressionStream;</script><script>", 1))
    sheet = open_page(old, is_open=False)
    (notice,) = sheet.page.get_by_role("alert").all_inner_texts()
    assert "cannot decompress data" in notice
    assert sheet.page.locator("#numbers-0 tbody tr").count() == len(MANY)


TIMES = {"forward": 18.522, "backward_input": 18.086, "backward_weight": 9.337}


@pytest.mark.slow
def test_a_page_of_all_schedules_is_small(folder: Path) -> None:
    made = ppopt.compare(pipeline(8, 24, times=TIMES, p2p_latency=0.601), optimize=False, engine="graph")
    assert len(made.schedules) > 20
    assert page_of(folder, made).stat().st_size < 900_000


@pytest.mark.slow
def test_of_28_long_timelines_with_raw_floats_a_page_has_4_megabytes(folder: Path) -> None:
    raw = random.Random(1)
    uneven = {key: [time * raw.uniform(0.9, 1.1) for _ in range(64)] for key, time in TIMES.items()}
    schedule = ppopt.evaluate(pipeline(64, 256, times=uneven, stages=64, p2p_latency=0.601), "zb-v", engine="graph")
    assert len(schedule.rows) == 98_304
    without_timelines = 1_000_000
    assert 28 * len(packed(columns(schedule.presented()))) < 4_000_000 - without_timelines


def test_the_thin_row_says_what_each_piece_of_work_beside_computing_does(open_page: Opener, folder: Path) -> None:
    """Everything there was said to move."""
    sharding = {"all_gather": 0.75, "reduce_scatter": 0.75, "resident": 1}
    made = published("interleaved", stages=8, sharding=sharding, offload={"time": 0.5})
    sheet = open_page(page_of(folder, made))
    (key,) = sheet.timelines
    schedule = made.schedules[0]
    plot = plot_of(sheet, key, schedule)
    said = {"UNSHARD": "gathers parameters", "REDUCE_GRAD": "reduces gradients"}
    said |= {"OFFLOAD": "copies to the host", "RELOAD": "copies back from the host"}
    scale = schedule.problem.ticks_per_unit
    for kind, does in said.items():
        each = next(each for each in schedule.presented().transfers if kind in each.name and each.start > 8 * scale)
        middle = plot.x((each.start + each.end) / 2 / scale)
        sheet.page.mouse.move(*sheet.to_screen(key, (middle, plot.y(each.device + (LINE_TOP + LINE_BOTTOM) / 2))))
        sheet.page.wait_for_selector("#tip:not([hidden])", timeout=20_000)
        sheet.settle()
        assert f"{does} from " in " ".join(sheet.page.locator("#tip > *").all_text_contents())
