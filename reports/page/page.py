"""The page: a section for each configuration, and a sentence that explains each chart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.resources import files
from typing import IO, Any

import jinja2
from altair.utils.schemapi import debug_mode

from reports.charts import palette
from reports.charts.overview import LONGEST_TIMELINE
from reports.charts.timeline_layout import (
    BAR_BOTTOM,
    BAR_TOP,
    LINE_BOTTOM,
    LINE_TOP,
    STRIP_BOTTOM,
    STRIP_TOP,
    WAITING_TEXTS,
)
from reports.content import Presented, Section
from reports.page.bundle import vega_script
from reports.page.section_view import ChartData, SectionView

MOST_BARS = 60_000
"""Most operations drawn in all timelines of a page; beyond it, the longest schedules are shown by idle shares, too."""


def write_page(file: IO[str], sections: Sequence[Section], *, command: str, version: str) -> None:
    """Write a page that needs nothing but a browser.

    Parameters
    ----------
    file : text file
        The file, in UTF-8.
    sections : sequence of Section
        The sections; at least one.
    command : str
        The command that reproduces the page.
    version : str
        ppopt's version.
    """
    whole = _drawn_whole(each for section in sections for each in section.schedules if each.is_drawn)
    data = ChartData()
    views = [SectionView(section, place) for place, section in enumerate(sections)]
    with debug_mode(False):  # our charts are valid, and checking each against Vega-Lite's schema takes most of the time
        for view in views:
            view.gather(data, whole)
    template = _environment().get_template("page.html.j2")
    file.write(
        template.render(
            views=views,
            folded=sum(view.folded for view in views),
            shown=sum(len(view.focus) for view in views),
            command=command,
            version=version,
            today=date.today().isoformat(),
            data=embedded(_for_script(data, sections) | {"whatIf": [view.what_if_data for view in views]}),
            vega=vega_script(),
            script=_source("page.js"),
            has_what_if=any(view.what_if for view in views),
            replay=_source("replay.js"),
            what_if=_source("whatif.js"),
            style=_source("page.css"),
            kinds=palette.KINDS,
            transfer_colour=palette.TRANSFERS,
        )
    )


def _drawn_whole(schedules: Iterable[Presented]) -> set[int]:
    """Choose the schedules (by id) whose timelines are drawn whole: the shortest first, as long as there is room."""
    room = MOST_BARS
    whole: set[int] = set()
    for each in sorted(schedules, key=lambda each: len(each.timeline)):
        if len(each.timeline) <= min(room, LONGEST_TIMELINE):
            whole.add(id(each))
            room -= len(each.timeline)
    return whole


def _for_script(data: ChartData, sections: Sequence[Section]) -> dict[str, Any]:
    return {
        "charts": data.charts,
        "timelines": data.timelines,
        "shares": data.shares,
        "waiting": WAITING_TEXTS,
        "layout": [BAR_TOP, BAR_BOTTOM, STRIP_TOP, STRIP_BOTTOM, LINE_TOP, LINE_BOTTOM],
        "tints": [[colour, palette.ink_on(colour)] for colour in palette.MICROBATCHES],
        "figures": [[dict(each.values) for each in section.schedules] for section in sections],
    }


def embedded(data: Any) -> str:
    """Write data as JSON that cannot close its script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _environment() -> jinja2.Environment:
    loader = jinja2.FunctionLoader(_source)
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def _source(name: str) -> str:
    return files("reports.page").joinpath(name).read_text(encoding="utf-8")
