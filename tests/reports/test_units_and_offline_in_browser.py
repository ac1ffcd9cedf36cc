"""Features that only a browser shows: units in the page's own tooltips, and notebook charts without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import altair as alt
import pytest

import ppopt
from tests.evaluated import pipeline
from tests.reports.browser import SECONDS, Opener, page_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_the_unit_stands_in_the_tooltips_and_on_the_axes_of_the_page(open_page: Opener, tmp_path: Path) -> None:
    made = ppopt.compare(pipeline(2, 4, unit="ms", p2p_latency=0.5), ["1f1b"], optimize=False)
    sheet = open_page(page_of(tmp_path, made))
    schedule = made.schedules[0]
    plot = sheet.plot("timeline-0-0", 2, 0, schedule.makespan)
    row = next(row for row in schedule.timeline.itertuples() if row.device == 1)
    sheet.page.mouse.move(*sheet.to_screen("timeline-0-0", plot.bar(row)))
    sheet.page.wait_for_selector("#tip:not([hidden])")
    lines = sheet.page.locator("#tip > *").all_text_contents()
    assert lines[2:4] == ["1.5 to 2.5 ms (1 ms)", "idle 1.5 ms before it (filling 1.5 ms), waiting for 0F0 of device 0"]
    assert {"time, ms", "makespan, ms"} <= set(sheet.ask("[...window.drawnTexts]"))
    sheet.page.locator("select").first.select_option(index=2)
    sheet.page.wait_for_function("[...window.drawnTexts].some((text) => text.endsWith('17 ms'))")
    assert "Makespan 17 ms, " in sheet.text


@pytest.mark.slow
def test_charts_of_a_notebook_are_drawn_without_a_network(browser: Browser, tmp_path: Path) -> None:
    made = ppopt.compare(pipeline(2, 4), ["1f1b", "gpipe"], optimize=False)
    before = alt.renderers.active
    ppopt.show_offline()
    charts = [ppopt.bubble_chart(made), ppopt.ladder_chart(made), ppopt.timeline_chart(made.schedules[0])]
    outputs = [chart._repr_mimebundle_()["text/html"] for chart in charts]
    alt.renderers.enable(before)
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><meta charset=utf-8><body>{''.join(outputs)}", encoding="utf-8")

    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    asked: list[str] = []
    heard: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.goto(notebook.as_uri())
    page.wait_for_function("document.querySelectorAll('.vega-embed canvas').length === 3")
    widths = page.evaluate("[...document.querySelectorAll('.vega-embed canvas')].map((each) => each.clientWidth)")
    assert min(widths) > 600  # each fills its cell
    assert page.locator("select").count() == 2  # the menus of bubbles and of the timeline
    assert asked == [notebook.as_uri()]
    assert heard == []
    context.close()
