from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt.commands.pages import write_frontier
from ppopt.comparison.comparison import Comparison
from reports.charts import palette
from reports.charts.bubbles import ROW_HEIGHT, STATE_COLOURS
from reports.charts.records import CAUSE_TITLES, STEP_TITLES, schedule_records
from reports.charts.timeline_layout import LIMIT_SHARE, MEMORY_COLOUR, STRIP_BOTTOM, STRIP_TOP, bar_rows, ramp
from reports.critical_path import critical_path
from reports.focus import in_focus
from reports.idle import Wait, explain_idle
from reports.page.page import SCRIPTS, WHAT_IF_SCRIPTS
from tests.evaluated import pipeline
from tests.reports.browser import Opener, Plot, Sheet, Windows, page_of

STRATEGIES = ["1f1b", "zb-h1", "dualpipe", "gpipe", "1f1b-overlap"]
TWIN = "a twin of zb-h1"
LIGHT_INK, DARK_INK = "#1B2430", "#E8ECF1"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def published(*strategies: str, **more: Any) -> Comparison:
    sizes = {"devices": 4, "microbatches": 8} | more
    return ppopt.compare(pipeline(**sizes), strategies or ["1f1b", "zb-h1"], optimize=False, engine="graph")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Schedules of every kind: published and found, blocks and full backwards, over the limit, and two equal ones."""
    costs = pipeline(4, 8, p2p_latency=0.25, memory={"limit": 6})
    made = ppopt.compare(costs, STRATEGIES, time_limit=60, placement="linear")  # it is proven in a moment
    place = next(at for at, each in enumerate(made.schedules) if each.strategy == "zb-h1")
    twin = replace(made.schedules[place], strategy=TWIN)
    schedules = (*made.schedules[: place + 1], twin, *made.schedules[place + 1 :])
    return replace(made, schedules=schedules, ladders=(*made.ladders[: place + 1], *made.ladders[place:]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def path(folder: Path, comparison: Comparison) -> Path:
    return page_of(folder, comparison, titles=["examples/some.yaml"])


@pytest.fixture
def sheet(open_page: Opener, path: Path) -> Sheet:
    return open_page(path)


@pytest.fixture(scope="module")
def still(windows: Windows, path: Path) -> Iterator[Sheet]:
    """Open a page once for all tests that only look at it or point at it."""
    for open_page in windows.opener():
        yield open_page(path)


def key_of(comparison: Comparison, strategy: str) -> str:
    place = next(at for at, each in enumerate(comparison.schedules) if each.strategy == strategy)
    return f"timeline-0-{place}"


def timelines(comparison: Comparison) -> Iterator[tuple[str, ppopt.Schedule]]:
    for place, schedule in enumerate(comparison.schedules):
        yield f"timeline-0-{place}", schedule


def plot_of(sheet: Sheet, comparison: Comparison, key: str) -> Plot:
    """Find a timeline's plot in its first state, which shows the time from its first start to its last end."""
    frame = comparison.schedules[int(key.split("-")[2])].timeline
    start, end = frame.start.min(), frame.end.max()
    return sheet.plot(key, comparison.pipeline.devices, float(start), float(end))


def assert_drawn(sheet: Sheet) -> None:
    assert sheet.charts
    for key in sheet.charts:
        colours = sheet.colours(key)
        assert len(colours) > 3, f"{key} is blank: {colours}"
        assert sum(colours.values()) > 500, key


def ctrl_wheel(sheet: Sheet, key: str, turns: int = -300) -> None:
    sheet.page.mouse.move(*sheet.centre(key))
    sheet.page.keyboard.down("Control")
    sheet.page.mouse.wheel(0, turns)
    sheet.page.keyboard.up("Control")


# ---- drawn, without a network


def test_every_chart_is_drawn(still: Sheet, comparison: Comparison) -> None:
    kinds = ["memory", "bubbles", "margins", "ladder", "idle", "devices", "effects"]
    timelines = [f"timeline-0-{place}" for place in range(len(comparison.schedules))]
    assert still.charts == [*(f"{kind}-0" for kind in kinds), *timelines]
    assert_drawn(still)


def test_charts_show_the_colours_of_their_marks(still: Sheet, comparison: Comparison) -> None:
    causes = [palette.CAUSES[cause] for cause in ("filling", "data", "order", "draining")]
    steps = [palette.STEPS[step] for step in ("filling_and_draining", "latency", "order")]
    states = [palette.PUBLISHED, palette.SEARCHED]
    marks = {"bubbles": states, "memory": [*states, palette.OVER_LIMIT], "ladder": steps, "idle": causes}
    for name, expected in (marks | {"devices": causes[:2]}).items():
        colours = still.colours(f"{name}-0")
        for colour in expected:
            assert colours.get(colour, 0) > 40, (name, colour)


def test_timelines_show_the_colours_of_what_runs(still: Sheet, comparison: Comparison) -> None:
    for key, schedule in timelines(comparison):
        colours = still.colours(key)
        for kind in schedule.timeline.op.unique():
            assert colours.get(palette.KINDS[kind], 0) > 100, (key, kind)


def test_every_bar_has_the_colour_of_its_kind_where_its_operation_runs(still: Sheet, comparison: Comparison) -> None:
    for key, schedule in timelines(comparison):
        plot = plot_of(still, comparison, key)
        frame = schedule.timeline
        rows = [row for row in frame.itertuples() if row.block is frame.block.dtype.na_value]
        ours = next(each for each in made_columns(comparison) if each["name"] == schedule.strategy)
        expected = [ours["bars"][row.Index]["fill"] for row in rows]
        assert still.pixels(key, [plot.corner(row) for row in rows]) == expected, key
        assert rows


def made_columns(comparison: Comparison) -> list[dict[str, Any]]:

    return [{"bars": bar_rows(each.presented()), "name": each.strategy} for each in comparison.schedules]


def test_the_page_loads_nothing_and_its_policy_lets_nothing_in(still: Sheet, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//""", markup)
    assert "url(" not in markup
    assert still.ask("performance.getEntriesByType('resource').length") == 0
    assert "default-src 'none'" in text


def test_the_pages_data_are_the_figures_of_the_json_format(still: Sheet, comparison: Comparison) -> None:
    found = still.ask("ppoptPage.data.figures")
    assert found == [json.loads(json.dumps(comparison.to_dict()["schedules"]))]


def test_every_chart_has_a_role_and_is_named_by_its_sentence(still: Sheet) -> None:
    for key in still.charts:
        role, sentence = still.ask(
            """key => { const chart = document.querySelector(`[data-chart="${key}"]`);
            return [chart.getAttribute("role"),
              document.getElementById(chart.getAttribute("aria-labelledby")).textContent]; }""",
            key,
        )
        assert role
        assert len(sentence.split()) > 4
    assert still.ask("[...document.querySelectorAll('[id]')].map((each) => each.id).filter((id, at, all) => "
                     "all.indexOf(id) !== at)") == []  # fmt: skip


def test_every_chart_but_the_timelines_has_its_numbers_as_a_table(still: Sheet, comparison: Comparison) -> None:
    for key in set(still.charts) - set(still.timelines):
        rows = still.page.locator(f"#{key} details table tbody tr")
        assert rows.count() >= (len(comparison.margins) if key == "margins-0" else len(still.timelines)) > 0
        assert all(text.strip() for text in rows.locator("th, td").all_text_contents())


# ---- moving


def test_ctrl_and_the_wheel_zoom_all_timelines_together(sheet: Sheet, comparison: Comparison) -> None:
    zoomed, twin = key_of(comparison, "zb-h1"), key_of(comparison, TWIN)
    before = sheet.keep()
    assert sheet.alike(zoomed, twin)
    sheet.ask("addEventListener('wheel', (turn) => setTimeout(() => { window.stays = turn.defaultPrevented; }), true)")
    ctrl_wheel(sheet, zoomed)
    sheet.wait_for_change(before, sheet.timelines)
    assert sheet.alike(zoomed, twin)
    assert sheet.ask("window.stays"), "the browser zooms the page as well"


def test_the_plain_wheel_scrolls_and_changes_no_chart(sheet: Sheet) -> None:
    key = sheet.timelines[0]
    sheet.page.mouse.move(*sheet.centre(key))
    before, height = sheet.keep(), sheet.ask("window.scrollY")
    sheet.page.mouse.wheel(0, 200)
    sheet.page.wait_for_function("(height) => window.scrollY > height + 100", arg=height)
    sheet.settle()
    assert sheet.changed(before) == []


def test_the_buttons_zoom_and_move_all_and_whole_step_takes_it_back(sheet: Sheet, comparison: Comparison) -> None:
    whole = before = sheet.keep()
    for name in ("Zoom in", "Later", "Earlier", "Zoom out"):
        sheet.page.get_by_role("button", name=name, exact=True).click()
        sheet.wait_for_change(before, [key_of(comparison, "zb-h1")])
        before = sheet.keep()
        assert sheet.alike(key_of(comparison, "zb-h1"), key_of(comparison, TWIN))
    sheet.page.get_by_role("button", name="Zoom in", exact=True).click()
    sheet.page.get_by_role("button", name="Zoom in", exact=True).click()
    sheet.wait_for_change(whole, sheet.timelines)
    sheet.page.get_by_role("button", name="Whole step", exact=True).click()
    sheet.wait_for_return(whole)


def test_zooming_out_of_the_whole_step_changes_nothing(sheet: Sheet) -> None:
    before = sheet.keep()
    for name in ("Zoom out", "Earlier", "Later"):
        sheet.page.get_by_role("button", name=name, exact=True).click()
        sheet.settle()
        assert sheet.changed(before) == [], name


def test_zooming_in_shows_the_middle_at_twice_the_size(sheet: Sheet, comparison: Comparison) -> None:
    key, strategy = key_of(comparison, "1f1b"), "1f1b"
    schedule = next(each for each in comparison.schedules if each.strategy == strategy)
    plot, before = plot_of(sheet, comparison, key), sheet.keep()
    sheet.page.get_by_role("button", name="Zoom in", exact=True).click()
    sheet.wait_for_change(before, [key])
    quarter = (plot.end - plot.start) / 4
    closer = replace(plot, start=plot.start + quarter, end=plot.end - quarter)
    rows = [row for row in schedule.timeline.itertuples() if closer.start < row.start and row.end < closer.end]
    assert rows
    assert sheet.pixels(key, [closer.corner(row) for row in rows]) == [palette.KINDS[row.op] for row in rows]


def test_dragging_moves_all_and_a_double_click_resets_all(sheet: Sheet, comparison: Comparison) -> None:
    key, twin = key_of(comparison, "zb-h1"), key_of(comparison, TWIN)
    whole = sheet.keep()
    ctrl_wheel(sheet, key, -400)
    sheet.wait_for_change(whole, sheet.timelines)
    zoomed = sheet.keep()
    x, y = sheet.centre(key)
    sheet.page.mouse.move(x, y)
    sheet.page.mouse.down()
    sheet.page.mouse.move(x + 60, y, steps=4)
    sheet.page.mouse.up()
    sheet.wait_for_change(zoomed, sheet.timelines)
    assert sheet.alike(key, twin)
    sheet.page.mouse.dblclick(x, y)
    sheet.page.mouse.move(5, y)
    sheet.wait_for_return(whole)


@pytest.mark.slow
def test_after_a_fast_series_of_turns_all_timelines_show_the_same(sheet: Sheet, comparison: Comparison) -> None:
    key, twin = key_of(comparison, "zb-h1"), key_of(comparison, TWIN)
    sheet.page.mouse.move(*sheet.centre(key))
    for turns in (7, 10, 13, 16):
        sheet.ask(_FAST_TURNS, [key, turns, -40 if turns % 2 else 40])
        sheet.page.wait_for_timeout(250)
        assert sheet.alike(key, twin), f"after {turns} turns"


_FAST_TURNS = """async ([key, turns, deltaY]) => {
  const canvas = document.querySelector(`[data-chart="${key}"] canvas`);
  const box = canvas.getBoundingClientRect();
  const at = { clientX: box.left + 0.6 * box.width, clientY: box.top + 0.4 * box.height };
  for (let turn = 0; turn < turns; turn += 1) {
    canvas.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY, ctrlKey: true, bubbles: true, cancelable: true }));
    await new Promise((done) => setTimeout(done, 5));
  }
}"""


# ---- tooltips


def expected_tip(schedule: ppopt.Schedule, row: Any, wait: Wait) -> list[str]:
    scale, devices = schedule.problem.ticks_per_unit, {each.task: each.device for each in schedule.rows}
    lines = [
        f"{row.stage}{row.op}{row.microbatch}",
        f"device {row.device}, stage {row.stage}, microbatch {row.microbatch}",
        f"{row.start:g} to {row.end:g} ({row.end - row.start:g})",
    ]
    if not wait.idle:
        return [*lines, "did not wait"]
    named = [("data", wait.data), ("latency", wait.latency), ("other work was ready", wait.order)]
    parts = [f"{name} {part / scale:g}" for name, part in named if part] or [f"filling {wait.idle / scale:g}"]
    text = f"idle {wait.idle / scale:g} before it ({', '.join(parts)})"
    if wait.producer is not None:
        stage, kind, microbatch = wait.producer
        text += f", waiting for {stage}{kind}{microbatch} of device {devices[wait.producer]}"
    return [*lines, text]


@pytest.mark.exhaustive
@pytest.mark.parametrize("strategy", ["1f1b-overlap", "zb-h1", "dualpipe", "gpipe"])
def test_a_tooltip_says_what_runs_and_what_was_waited_for(still: Sheet, comparison: Comparison, strategy: str) -> None:
    key = key_of(comparison, strategy)
    schedule = next(each for each in comparison.schedules if each.strategy == strategy)
    plot, frame = plot_of(still, comparison, key), schedule.timeline
    waits = explain_idle(schedule.problem, schedule.rows).before
    halves = dict.fromkeys(frame[frame.block.duplicated(keep="last") & frame.block.notna()].index, "upper")
    halves |= dict.fromkeys(frame[frame.block.duplicated() & frame.block.notna()].index, "lower")
    chosen: dict[Any, Any] = {}  # one of each kind
    for row, wait in zip(frame.itertuples(), waits, strict=True):
        sort = (row.op, halves.get(row.Index), wait.data > 0, wait.latency > 0, wait.order > 0, wait.producer is None)
        chosen.setdefault(sort, (row, wait))
    assert len(chosen) > 3
    for row, wait in chosen.values():
        still.page.mouse.move(*still.to_screen(key, plot.bar(row, halves.get(row.Index, ""))))
        expected = expected_tip(schedule, row, wait)
        still.page.wait_for_function("(it) => document.querySelector('#tip b')?.textContent === it", arg=expected[0])
        assert still.page.locator("#tip").is_visible()
        lines = still.page.locator("#tip > *").all_text_contents()
        on_path = row.Index in critical_path(schedule.problem, schedule.rows)
        assert lines == [*expected, *(["on the critical path"] if on_path else [])]
    still.page.mouse.move(*still.to_screen(key, (plot.left - 40, plot.top + 10)))
    still.page.wait_for_function("document.getElementById('tip').hidden")


def test_a_tooltip_stays_within_the_window(still: Sheet, comparison: Comparison) -> None:
    key = max(still.timelines, key=lambda each: comparison.schedules[int(each.split("-")[2])].makespan)
    schedule = comparison.schedules[int(key.split("-")[2])]
    row = max(schedule.timeline.itertuples(), key=lambda each: each.end)
    x, y = still.to_screen(key, plot_of(still, comparison, key).bar(row))
    still.ask("(dy) => window.scrollBy({ top: dy, behavior: 'instant' })", y - 880)
    at = still.ask("(y) => document.elementFromPoint(y[0], y[1]).tagName", [x, 880])
    assert at == "CANVAS"
    still.page.mouse.move(x, 880)
    still.page.wait_for_selector("#tip:not([hidden])")
    box = still.page.locator("#tip").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["y"] >= 0
    assert box["x"] + box["width"] <= 1280
    assert box["y"] + box["height"] <= 900


# ---- colours


@pytest.mark.exhaustive
@pytest.mark.parametrize("strategy", ["1f1b", "zb-h1"])
def test_the_critical_path_keeps_its_colours_and_the_rest_fades(
    sheet: Sheet, comparison: Comparison, strategy: str
) -> None:
    key = key_of(comparison, strategy)
    schedule = next(each for each in comparison.schedules if each.strategy == strategy)
    plot, before = plot_of(sheet, comparison, key), sheet.keep()
    path = set(critical_path(schedule.problem, schedule.rows))
    rows = list(schedule.timeline.itertuples())
    places = [plot.corner(row) for row in rows]
    colours = [palette.KINDS[row.op] for row in rows]
    assert sheet.pixels(key, places) == colours
    sheet.page.get_by_label("Critical path").check()
    sheet.wait_for_change(before, [key])
    for row, now, full in zip(rows, sheet.pixels(key, places), colours, strict=True):
        assert (now == full) == (row.Index in path), row
        assert row.Index in path or is_faded(now, full)
    sheet.page.get_by_label("Critical path").uncheck()
    sheet.wait_for_return(before)


def is_faded(now: str, full: str) -> bool:
    """Return whether a colour is the other one, made transparent on white."""
    channels = [(int(now[at : at + 2], 16), int(full[at : at + 2], 16)) for at in (1, 3, 5)]
    return all(255 - seen <= 0.25 * (255 - drawn) + 2 for seen, drawn in channels)


def test_coloured_by_microbatch_each_microbatch_has_one_colour(sheet: Sheet, comparison: Comparison) -> None:
    before = sheet.keep()
    plots = {key: plot_of(sheet, comparison, key) for key in sheet.timelines}
    sheet.page.get_by_label("Colour by").select_option("microbatch")
    sheet.wait_for_change(before, sheet.timelines)
    for key, schedule in timelines(comparison):
        plot, frame = plots[key], schedule.timeline
        rows = [row for row in frame.itertuples() if row.Index not in frame.index[frame.block.notna()]]
        expected = [ramp(comparison.pipeline.microbatches)[row.microbatch] for row in rows]
        assert sheet.pixels(key, [plot.corner(row) for row in rows]) == expected
    sheet.page.get_by_label("Colour by").select_option("kind")
    sheet.wait_for_return(before)


def brightness(sheet: Sheet, element: str, which: str) -> float:
    text = sheet.ask(f"() => getComputedStyle(document.querySelector({element!r})).{which}")
    return sum(int(part) for part in re.findall(r"\d+", text)[:3]) / (3 * 255)


def assert_dark(sheet: Sheet) -> None:
    assert brightness(sheet, "body", "backgroundColor") < 0.15
    assert brightness(sheet, "figure", "backgroundColor") < 0.2
    assert brightness(sheet, "body", "color") > 0.8
    for key in sheet.charts:
        colours = sheet.colours(key)
        assert colours.get(DARK_INK, 0) > 20, key
        assert colours.get(LIGHT_INK, 0) == 0, key


def assert_light(sheet: Sheet) -> None:
    assert brightness(sheet, "body", "backgroundColor") > 0.9
    assert brightness(sheet, "body", "color") < 0.25
    for key in sheet.charts:
        colours = sheet.colours(key)
        assert colours.get(LIGHT_INK, 0) > 20, key
        assert colours.get(DARK_INK, 0) == 0, key


def test_in_dark_mode_page_and_charts_are_dark(open_page: Opener, path: Path) -> None:
    sheet = open_page(path, color_scheme="dark")
    assert_dark(sheet)
    assert_drawn(sheet)


@pytest.mark.slow
def test_switching_to_dark_and_back_redraws_and_keeps_what_was_chosen(sheet: Sheet) -> None:
    assert_light(sheet)
    before = sheet.keep()
    sheet.page.get_by_role("button", name="Zoom in", exact=True).click()
    sheet.page.get_by_label("Critical path").check()
    sheet.wait_for_change(before, sheet.timelines)
    chosen = sheet.keep()
    sheet.page.emulate_media(color_scheme="dark")
    sheet.wait_until_drawn()
    assert_dark(sheet)
    sheet.page.emulate_media(color_scheme="light")
    sheet.wait_until_drawn()
    assert_light(sheet)
    assert sheet.changed(chosen) == []


@pytest.mark.slow
def test_switching_to_dark_and_back_at_once_ends_light(sheet: Sheet) -> None:
    before = sheet.keep()
    sheet.page.emulate_media(color_scheme="dark")
    sheet.page.emulate_media(color_scheme="light")
    sheet.page.wait_for_timeout(1500)
    sheet.wait_until_drawn()
    assert_light(sheet)
    assert sheet.changed(before) == []


# ---- the table


def title_of(sheet: Sheet, name: str) -> Any:
    return sheet.page.locator("#numbers-0 thead button", has_text=re.compile(f"^{name}$"))


def titles(sheet: Sheet) -> list[str]:
    found: list[str] = sheet.page.locator("#numbers-0 thead button").all_text_contents()
    return found


def column(sheet: Sheet, place: int) -> list[str]:
    cells = sheet.page.locator(f"#numbers-0 tbody tr > :nth-child({place + 1})")
    return [text.strip() for text in cells.all_text_contents()]


def test_a_click_on_a_title_sorts_by_number_up_and_then_down(sheet: Sheet, comparison: Comparison) -> None:
    title = title_of(sheet, "makespan")
    for direction, reverse in (("ascending", False), ("descending", True), ("ascending", False)):
        title.click()
        assert sheet.page.locator("#numbers-0 thead th").nth(1).get_attribute("aria-sort") == direction
        found = [float(text.replace(",", "")) for text in column(sheet, 1)]
        assert found == sorted((each.makespan for each in comparison.schedules), reverse=reverse)
    others = sheet.page.locator("#numbers-0 thead th:not([aria-sort=none])")
    assert others.count() == 1


def test_numbers_of_different_length_are_sorted_as_numbers(open_page: Opener, folder: Path) -> None:
    sheet = open_page(page_of(folder, published("gpipe", "1f1b", "zb-h2", microbatches=40)))
    title_of(sheet, "peak memory").click()
    found = [float(text) for text in column(sheet, titles(sheet).index("peak memory"))]
    assert found == sorted(found)
    assert min(found) < 10 < max(found)


def test_names_are_sorted_as_words_also_by_the_keyboard(sheet: Sheet, comparison: Comparison) -> None:
    title = sheet.page.locator("#numbers-0 thead button").first
    title.focus()
    names = sorted(each.strategy for each in comparison.schedules)
    for wanted, key in ((names, "Enter"), (names[::-1], "Space")):
        sheet.page.keyboard.press(key)
        assert [text.removeprefix("! ") for text in column(sheet, 0)] == wanted


def test_the_table_is_copied_with_tabs_between_its_cells(open_page: Opener, path: Path, comparison: Comparison) -> None:
    sheet = open_page(path, permissions=["clipboard-read", "clipboard-write"])
    button = sheet.page.get_by_role("button", name="Copy the table")
    button.click()
    sheet.page.wait_for_function("[...document.querySelectorAll('button')].some((b) => b.textContent === 'Copied')")
    lines = [line.split("\t") for line in sheet.ask("navigator.clipboard.readText()").split("\n")]
    assert [len(line) for line in lines] == [len(lines[0])] * (1 + len(comparison.schedules))
    assert [line[0] for line in lines[1:]] == column(sheet, 0)
    assert lines[0] == titles(sheet)
    assert {"schedule", "makespan", "bound", "gap", "peak memory"} < set(lines[0])


def test_without_the_clipboard_a_selection_is_copied(open_page: Opener, path: Path, comparison: Comparison) -> None:
    sheet = open_page(path)
    sheet.ask("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); }")
    sheet.ask("document.addEventListener('copy', () => { window.copied = document.activeElement.value; })")
    sheet.page.get_by_role("button", name="Copy the table").click()
    sheet.page.wait_for_function("window.copied")
    assert len(sheet.ask("window.copied").split("\n")) == 1 + len(comparison.schedules)
    assert sheet.page.locator("textarea").count() == 0


def test_orders_and_configuration_are_copied_as_they_are(open_page: Opener, path: Path, comparison: Comparison) -> None:
    sheet = open_page(path, permissions=["clipboard-read", "clipboard-write"])
    sheet.page.get_by_text("in PyTorch's grammar").click()
    sheet.page.locator("details.order summary").first.click()
    sheet.page.wait_for_function("document.querySelector('details.order pre').textContent")
    sheet.page.locator("details.order button").first.click()
    sheet.page.wait_for_function("[...document.querySelectorAll('button')].some((b) => b.textContent === 'Copied')")
    orders = comparison.schedules[0].orders
    assert sheet.ask("navigator.clipboard.readText()") == "\n".join(",".join(actions) for actions in orders)


# ---- outside texts


def test_names_from_outside_are_shown_as_text(open_page: Opener, folder: Path) -> None:
    made = published("1f1b", "zb-h1", "gpipe")
    names = [f"{HOSTILE} — 1", "Zeitplan Ü 日本語 🚀 {{ 7 * 7 }}", "\"' onmouseover=alert(1) x='"]
    schedules = [
        replace(each, strategy=name, notes=(f"note {HOSTILE}",))
        for each, name in zip(made.schedules, names, strict=True)
    ]
    hostile = replace(
        made,
        schedules=tuple(schedules),
        left_out=((f"left {HOSTILE}", f"reason {HOSTILE}"),),
        infeasible=(f"infeasible {HOSTILE}",),
    )
    title, command = f"{HOSTILE} 配置 🛠.yaml", ["ppopt", "compare", "-c", HOSTILE]
    sheet = open_page(page_of(folder, hostile, hostile, titles=[title, title], command=command))
    assert_drawn(sheet)
    for text in (*names, f"note {HOSTILE}", f"left {HOSTILE}", f"reason {HOSTILE}", f"infeasible {HOSTILE}", title):
        assert text in sheet.text
    assert sheet.ask("document.querySelectorAll('img').length") == 0
    scripts = sheet.ask("[...document.querySelectorAll('script:not([type])')].map((each) => each.textContent)")
    assert scripts == [files("reports.page").joinpath(name).read_text() for name in (*SCRIPTS, *WHAT_IF_SCRIPTS)]
    assert sheet.ask("document.querySelectorAll('[onmouseover], [onerror]').length") == 0
    sheet.page.mouse.move(*sheet.centre("bubbles-0"))
    sheet.settle()
    assert sheet.ask("document.querySelectorAll('img').length") == 0
    assert HOSTILE in sheet.page.locator("#command").text_content()


def test_chart_tooltips_show_names_as_text(open_page: Opener, folder: Path) -> None:
    made = published("1f1b")
    named = replace(made, schedules=(replace(made.schedules[0], strategy=HOSTILE),))
    sheet = open_page(page_of(folder, named))
    width, _ = sheet.ask("(() => { const c = document.querySelector('#ladder-0 canvas'); return [c.width, 0]; })()")
    sheet.page.mouse.move(*sheet.to_screen("ladder-0", (0.5 * width, 60)))
    sheet.page.wait_for_selector("#vg-tooltip-element.visible")
    assert HOSTILE in (sheet.page.locator("#vg-tooltip-element").text_content() or "")
    assert sheet.ask("document.querySelectorAll('img').length") == 0


# ---- sizes, focus, print


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [400, 1280, 1920])
def test_the_page_fits_the_window(open_page: Opener, path: Path, width: int) -> None:
    sheet = open_page(path, width=width)
    assert_fits(sheet, width)
    assert_drawn(sheet)


def assert_fits(sheet: Sheet, width: int) -> None:
    assert sheet.ask("document.documentElement.scrollWidth") <= width
    beyond = sheet.ask("""[...document.querySelectorAll("[data-chart]")].filter((each) => {
      if (each.closest("figure .scroll")) return false;  // scrolls within its figure
      const chart = each.querySelector("canvas").getBoundingClientRect();
      const card = each.closest("figure, details").getBoundingClientRect();
      return chart.right > card.right || chart.left < card.left || chart.width < 0.8 * each.clientWidth;
    }).map((each) => each.dataset.chart)""")
    assert beyond == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [400, 1280])
def test_legends_are_whole_at_every_width(open_page: Opener, path: Path, comparison: Comparison, width: int) -> None:
    sheet, shown = open_page(path, width=width), comparison.section("t")
    focus = [shown.schedules[rank] for rank in in_focus(shown)]
    states = {STATE_COLOURS[row["state"]]: row["state"] for row in schedule_records(shown) if row["focus"]}
    steps = {palette.STEPS[step]: title for step, title in STEP_TITLES.items() if any(
        each.ladder is not None and getattr(each.ladder, step) for each in focus
    )}  # fmt: skip
    causes = {palette.CAUSES[cause]: title for cause, title in CAUSE_TITLES.items() if any(
        getattr(device, cause) for each in focus for device in each.waiting.devices
    )}  # fmt: skip
    assert min(map(len, (states, steps, causes))) >= 2
    for key, legend in {"bubbles-0": states, "memory-0": states, "ladder-0": steps, "idle-0": causes}.items():
        found, texts = sheet.colours(key), sheet.texts_on(key)
        assert [colour for colour in legend if found.get(colour, 0) < 30] == [], key
        assert set(legend.values()) <= set(texts), key
        every = {*STATE_COLOURS, *STEP_TITLES.values(), *CAUSE_TITLES.values()}
        assert every & set(texts) == set(legend.values()), key


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 640, 1280])
def test_no_text_of_a_chart_is_cut_by_its_edge(
    open_page: Opener, folder: Path, comparison: Comparison, crowded: tuple[Comparison, Path], width: int
) -> None:
    named = [
        replace(each, strategy=f"interleaved-overlap:stages={at + 16}") for at, each in enumerate(comparison.schedules)
    ]
    for path in (page_of(folder, replace(comparison, schedules=tuple(named))), crowded[1]):
        sheet = open_page(path, width=width)
        for key in set(sheet.charts) - set(sheet.timelines):
            right = sheet.ask("(key) => document.querySelector(`[data-chart='${key}'] canvas`).width", key)
            cut = {text: box for text, box in sheet.texts_on(key).items() if box[0] < -2 or box[2] > right + 2}
            assert cut == {}, key


@pytest.mark.slow
def test_charts_follow_the_window_when_it_changes(sheet: Sheet) -> None:
    for width in (400, 1280):
        sheet.page.set_viewport_size({"width": width, "height": 800})
        sheet.settle()
        sheet.page.wait_for_timeout(300)
        assert_fits(sheet, width)
        assert_drawn(sheet)


_UNFOLDED = """async (key) => {
  const place = document.body.appendChild(document.createElement("div"));
  place.style.width = "900px";
  const options = { actions: false, renderer: "canvas" };
  const { view } = await window.vegaEmbed(place, structuredClone(ppoptPage.data.charts[key]), options);
  const seen = () => [view.height(), view.scale("y").domain().length, view.scale("color").domain()];
  const found = [seen()];
  for (const value of [true, false]) { await view.signal("all_schedules", value).runAsync(); found.push(seen()); }
  place.remove();
  return found;
}"""


@pytest.mark.slow
def test_a_chart_grows_with_the_schedules_that_it_shows(open_page: Opener, folder: Path) -> None:
    made = ppopt.compare(pipeline(4, 8, p2p_latency=0.1, memory={"limit": 6}), optimize=False, engine="graph")
    section = made.section("t")
    counts = len(in_focus(section)), len(section.schedules)
    assert 2 * counts[0] < counts[1]
    sheet = open_page(page_of(folder, made))
    for key in ("bubbles-0", "ladder-0", "idle-0"):
        folded, unfolded, again = sheet.ask(_UNFOLDED, key)
        assert [folded[0], unfolded[0]] == [ROW_HEIGHT * count for count in counts]
        assert (folded[1], unfolded[1]) == counts
        assert again == folded


def test_menus_stand_above_their_charts_and_outside_the_picture(still: Sheet) -> None:
    for key in ("bubbles-0", "devices-0", "effects-0"):
        menu, canvas = (
            still.page.locator(selector).bounding_box()
            for selector in (f"#menu-{key} select", f"[data-chart='{key}'] canvas")
        )
        assert menu is not None
        assert canvas is not None
        assert menu["y"] + menu["height"] <= canvas["y"]
    assert still.page.locator("[role=img] select").count() == 0


def test_a_menu_is_there_once_after_charts_were_drawn_again(sheet: Sheet) -> None:
    for scheme in ("dark", "light"):
        sheet.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        sheet.wait_until_drawn()
    assert sheet.page.locator("#menu-bubbles-0 select").count() == 1


def names_on_memory_chart(sheet: Sheet, comparison: Comparison) -> dict[str, list[float]]:
    """Return the names of the points and lines of the memory chart, with their boxes."""
    strategies = [each.strategy for each in comparison.schedules]
    named = [*strategies, "memory limit", "lower bound"]
    texts = sheet.texts_on("memory-0")
    found = {text: box for text, box in texts.items() if any(name in text for name in named)}
    section = comparison.section("t")
    assert section.winner is not None
    assert section.baseline is not None
    for row in (section.winner.summary, section.baseline):
        assert any(row.name in text for text in found), row.name
    return found


CROWDED = ["1f1b", "zb-h1", "zb1p", "zb-h2", "dualpipe", "dualpipe-v", "interleaved:stages=8", "interleaved:stages=16",
           "interleaved:stages=16,group_size=8", "looped-bfs:stages=8", "1f1b-overlap"]  # fmt: skip


@pytest.fixture(scope="module")
def crowded(folder: Path) -> tuple[Comparison, Path]:
    """Schedules with nearly the same time and memory."""
    made = published(*CROWDED, microbatches=40, p2p_latency=0.1, memory={"limit": 6})
    return made, page_of(folder, made)


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [400, 1280, 1920])
def test_names_of_points_do_not_cover_each_other(
    open_page: Opener, crowded: tuple[Comparison, Path], width: int
) -> None:
    comparison, path = crowded
    names = names_on_memory_chart(open_page(path, width=width), comparison)
    assert len(names) >= 5
    covering = [
        (one, other)
        for (one, a), (other, b) in combinations(names.items(), 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1
    ]
    assert covering == []


@pytest.mark.slow
def test_a_page_that_became_wide_looks_as_if_it_had_always_been(
    open_page: Opener, crowded: tuple[Comparison, Path]
) -> None:
    narrow, wide = open_page(crowded[1], width=420), open_page(crowded[1], width=1280)
    cut = [text for key in ("bubbles-0", "ladder-0") for text in narrow.texts_on(key) if text.endswith("…")]
    assert cut
    narrow.page.locator("select[name=figure]").select_option("makespan")
    wide.page.locator("select[name=figure]").select_option("makespan")
    for width in (1280, 420, 1280):
        narrow.page.set_viewport_size({"width": width, "height": 900})
        narrow.page.wait_for_timeout(300)
        narrow.wait_until_drawn()
    for key in wide.charts:
        expected = {text: [round(side) for side in box] for text, box in wide.texts_on(key).items()}
        found = {text: [round(side) for side in box] for text, box in narrow.texts_on(key).items()}
        assert found == expected, key
    assert (
        narrow.page.locator("select[name=figure]").input_value()
        == wide.page.locator("select[name=figure]").input_value()
    )


def test_the_toolbar_stays_above_the_timelines_and_leaves_what_follows_free(sheet: Sheet) -> None:
    toolbar = sheet.page.locator(".toolbar")
    for key in sheet.timelines:
        sheet.page.locator(f"#{key}").evaluate("(it) => window.scrollBy(0, it.getBoundingClientRect().top - 150)")
        assert sheet.ask(_IS_SEEN, ".toolbar"), key
    for heading in ("The numbers", "Orders", "Configuration"):
        place = sheet.page.get_by_role("heading", name=heading, exact=True)
        place.evaluate("(it) => window.scrollBy(0, it.getBoundingClientRect().top - 10)")
        box, bar = place.bounding_box(), toolbar.bounding_box()
        assert box is not None
        assert bar is not None
        assert bar["y"] + bar["height"] <= box["y"], heading


_IS_SEEN = """(which) => {
  const it = document.querySelector(which), box = it.getBoundingClientRect();
  return it.contains(document.elementFromPoint(box.left + box.width / 2, Math.max(box.top, 0) + 4));
}"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [400, 900])
def test_the_names_of_a_table_stay_when_it_is_scrolled_and_sorted(
    open_page: Opener, path: Path, comparison: Comparison, width: int
) -> None:
    sheet = open_page(path, width=width)
    title_of(sheet, "stages").click()  # makes the browser scroll to it
    assert sheet.ask("document.querySelector('#numbers-0').closest('.scroll').scrollLeft") > 100
    names = sheet.page.locator("#numbers-0 tbody th")
    assert names.count() == len(comparison.schedules)
    for at in range(names.count()):
        names.nth(at).evaluate("(it) => window.scrollBy(0, it.getBoundingClientRect().top - 400)")
        assert names.nth(at).evaluate("""(it) => {
          const box = it.getBoundingClientRect(), frame = it.closest(".scroll").getBoundingClientRect();
          const seen = document.elementFromPoint(box.left + 8, box.top + box.height / 2);
          return box.left >= frame.left - 1 && box.right < frame.right - 100 && it.contains(seen);
        }""")


def test_memory_strips_of_all_timelines_have_one_scale(open_page: Opener, folder: Path) -> None:
    made = published("1f1b", "gpipe", microbatches=40, memory={"limit": 40})
    sheet = open_page(page_of(folder, made))
    assert "The line across a memory strip is its limit, 40; a strip ends at 125% of it." in sheet.text
    for at, schedule in enumerate(made.schedules):
        key = f"timeline-0-{at}"
        plot = sheet.plot(key, 4, 0.0, float(schedule.timeline.end.max()))
        tall = round(plot.y(STRIP_BOTTOM)) - round(plot.y(STRIP_TOP))
        column = [(plot.x(schedule.makespan / 2), plot.y(STRIP_TOP) + down + 0.5) for down in range(1, tall)]
        filled = sheet.pixels(key, column).count(MEMORY_COLOUR) / tall
        assert filled == pytest.approx(LIMIT_SHARE * level_at(schedule, schedule.makespan / 2) / 40, abs=0.15), (
            schedule.strategy
        )


def level_at(schedule: ppopt.Schedule, time: float) -> int:
    """Count the microbatches that device 0 holds: those whose forward has begun and whose backward has not ended."""
    frame = schedule.timeline
    here = frame[frame.device == 0]
    return int(((here.op == "F") & (here.start <= time)).sum() - ((here.op == "B") & (here.end <= time)).sum())


def test_focus_is_visible_wherever_the_keyboard_goes(sheet: Sheet) -> None:
    seen = set()
    for _ in range(40):
        sheet.page.keyboard.press("Tab")
        name, style, width = sheet.ask(
            "(() => { const at = document.activeElement, style = getComputedStyle(at);"
            " return [at.tagName + at.textContent.trim(), style.outlineStyle, parseFloat(style.outlineWidth)]; })()"
        )
        assert style != "none", name
        assert width >= 2
        seen.add(name)
    assert {"BUTTONZoom in", "BUTTONWhole step"} <= seen


def test_print_shows_the_page_without_its_controls(sheet: Sheet) -> None:
    before = sheet.keep()
    sheet.page.emulate_media(media="print")
    sheet.settle()
    assert not sheet.page.locator(".toolbar").first.is_visible()
    assert sheet.page.locator("button:visible").count() == sheet.page.locator("thead button").count() > 0
    assert sheet.page.locator(".timelines .legend").is_visible()
    assert sheet.ask("getComputedStyle(document.querySelector('figure')).printColorAdjust") == "exact"
    assert set(sheet.changed(before)) <= set(sheet.timelines)  # those are as wide as the paper
    assert_drawn(sheet)
    assert sheet.ask("document.documentElement.scrollWidth") <= 1280
    sheet.page.emulate_media(media="screen")
    sheet.wait_for_return(before)


@pytest.mark.slow
def test_a_page_printed_in_dark_mode_can_be_read(open_page: Opener, path: Path) -> None:
    sheet = open_page(path, color_scheme="dark")
    sheet.page.emulate_media(media="print")
    sheet.page.wait_for_timeout(500)
    sheet.wait_until_drawn()
    ink = LIGHT_INK if brightness(sheet, "figure", "backgroundColor") > 0.5 else DARK_INK
    assert sheet.colours("ladder-0").get(ink, 0) > 20


# ---- pages of all kinds


def _infeasible() -> Comparison:
    return ppopt.compare(pipeline(2, 4, memory={"limit": 0.5}), [], placement="linear", time_limit=0.5)


def _nothing_published_fits() -> Comparison:
    costs = pipeline(4, 4, memory={"limit": 1, "held_for_weight": 0.5})
    return ppopt.compare(costs, ["1f1b", "gpipe"], placement="linear", time_limit=0.5)


BUSIER = {"forward": [1, 1, 9, 1], "backward_input": [1, 1, 9, 1], "backward_weight": [1, 1, 9, 1]}
TINY = {"forward": 1.5e-7, "backward_input": 1e-7, "backward_weight": 1e-7}
HUGE = {"forward": 3.25e11, "backward_input": 1e11, "backward_weight": 1e11}

SORTS: dict[str, Callable[[], Comparison]] = {
    "one device": lambda: published("1f1b", "zb-h1", devices=1),
    "one microbatch": lambda: published("1f1b", "gpipe", microbatches=1),
    "one of both": lambda: published("1f1b", devices=1, microbatches=1),
    "a searched one alone": lambda: ppopt.compare(pipeline(2, 2), [], placement="linear", time_limit=60),
    "latency": lambda: published("1f1b", "dualpipe", p2p_latency=2.5),
    "64 devices": lambda: published("1f1b", devices=64, microbatches=4),
    "one device much busier": lambda: published("1f1b", "zb-h1", times=BUSIER),
    "a limit that all keep": lambda: published(memory={"limit": 100}),
    "a limit of nothing": lambda: published(memory={"limit": 0}),
    "no activations": lambda: published(memory={"activation": 0}),
    "no activations and no room": lambda: published(memory={"activation": 0, "limit": 0}),
    "limits that differ": lambda: published(memory={"limit": [4, 3, 2, 1]}),
    "nothing published fits": _nothing_published_fits,
    "nothing fits, nothing searched": lambda: published("1f1b", "gpipe", memory={"limit": 0.5}),
    "nothing at all": _infeasible,
    "tiny times": lambda: published(times=TINY),
    "huge times": lambda: published(times=HUGE),
    "blocks that save time": lambda: published(
        "1f1b-overlap", "dualpipe", times={"forward": 1, "backward": 2, "overlapped_forward_backward": 2.25}
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("sort", SORTS)
def test_pages_of_all_sorts_read_well(open_page: Opener, folder: Path, sort: str) -> None:
    made = SORTS[sort]()
    sheet = open_page(page_of(folder, made, titles=[sort]))
    text = sheet.text
    assert not re.findall(r"\b(?:NaN|nan|undefined|null|Infinity|inf)\b|\bNone\b(?! of)|\[object", text)
    assert not re.findall(r"Fraction\(|Placed\(|\bFalse\b|\bTrue\b", text)
    if made.schedules:
        assert_drawn(sheet)
        assert sheet.page.locator("#numbers-0 tbody tr").count() == len(made.shown.schedules)
    else:
        assert sheet.charts == []
        assert "No schedule fits" in text
    assert sheet.ask("document.documentElement.scrollWidth") <= 1280


def test_without_a_search_the_page_says_so(open_page: Opener, folder: Path) -> None:
    assert "Nothing was searched" in open_page(page_of(folder, published("1f1b"))).text


@pytest.mark.slow
def test_several_configurations_have_a_section_each_and_links_to_them(open_page: Opener, folder: Path) -> None:
    sheet = open_page(page_of(folder, published(), published(devices=2), published("gpipe"), titles=["a", "b", "c"]))
    assert_drawn(sheet)
    links = sheet.page.locator("nav a")
    assert links.all_text_contents() == ["a", "b", "c"]
    for place in (2, 0, 1):
        links.nth(place).click()
        top = sheet.ask("(id) => document.getElementById(id).getBoundingClientRect().top", f"section-{place}")
        assert 0 <= top < 450
    before = sheet.keep()
    toolbar = sheet.page.locator("[data-group='1']")
    toolbar.get_by_role("button", name="Zoom in", exact=True).click()
    sheet.wait_for_change(before, ["timeline-1-0", "timeline-1-1"])
    assert sheet.changed(before) == ["timeline-1-0", "timeline-1-1"]


# ---- the memory frontier


@pytest.fixture(scope="module")
def frontier_path(folder: Path) -> Path:
    found = ppopt.frontier(pipeline(4, 8, memory={"limit": 3}), time_limit=0, limits=[1, 2, 3, 4])
    path = folder / "frontier.html"
    write_frontier(str(path), found, "costs.yaml", ["ppopt", "frontier"])
    return path


def test_a_frontier_zooms_and_its_points_lead_to_timelines(open_page: Opener, frontier_path: Path) -> None:
    sheet = open_page(frontier_path)
    key = "frontier-0"
    assert key in sheet.charts
    assert "memory-0" not in sheet.charts
    kept = sheet.keep()
    x, y = sheet.centre(key)
    sheet.page.mouse.move(x, y)
    sheet.page.keyboard.down("Control")
    sheet.page.mouse.wheel(0, -300)
    sheet.page.keyboard.up("Control")
    sheet.wait_for_change(kept, [key])
    assert sheet.changed(kept) == [key]
    sheet.page.mouse.dblclick(x, y)
    sheet.wait_for_return(kept)
    (left, _, right, bottom) = next(box for text, box in sheet.texts_on(key).items() if text.startswith("1f1b"))
    sheet.page.mouse.click(*sheet.to_screen(key, ((left + right) / 2, bottom - 6)))
    assert sheet.ask("location.hash") == ""  # clicking a name is not clicking a point
    place = sheet.ask(_FIRST_POINT, [key, [int(palette.PUBLISHED[at : at + 2], 16) for at in (1, 3, 5)]])
    sheet.page.mouse.click(*sheet.to_screen(key, place))
    sheet.page.wait_for_function("location.hash.startsWith('#timeline-0-')")
    assert sheet.ask("document.querySelector(location.hash).querySelector('h3').textContent")


_FIRST_POINT = """([key, colour]) => {  // the leftmost place in the colour of points that is wide enough for one
  const image = readCanvas(key);
  const is = (x, y) => colour.every((value, at) => image.data[4 * (y * image.width + x) + at] === value);
  for (let x = 60; x < image.width - 9; x += 1)
    for (let y = 60; y < image.height - 60; y += 1)
      if ([...Array(7).keys()].every((at) => is(x + at, y) && is(x + 3, y - 3 + at))) return [x + 3, y];
  return null;
}"""
