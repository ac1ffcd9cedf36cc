"""The page: a section for each configuration, and a sentence that explains each chart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from typing import IO, Any

import jinja2
from altair.utils.schemapi import debug_mode

from reports.charts import palette
from reports.charts import timeline_layout as layout
from reports.content import Section
from reports.page.bundle import vega_script
from reports.page.columns import packed, packed_text
from reports.page.section_view import SectionView
from reports.page.timelines import ChartData

SCRIPTS = ("unpack.js", "columns.js", "timeline_view.js", "timelines.js", "charts.js", "page.js")
"""The scripts of the page, each of which may use what those before it define."""

WHAT_IF_SCRIPTS = ("replay.js", "whatif.js")
"""Those that a page with sliders has besides."""


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
    data = ChartData()
    views = [SectionView(section, place) for place, section in enumerate(sections)]
    with debug_mode(False):  # our charts are valid, and checking each against Vega-Lite's schema takes most of the time
        for view in views:
            view.gather(data)
    has_what_if = any(view.what_if for view in views)
    template = _environment().get_template("page.html.j2")
    file.write(
        template.render(
            views=views,
            folded=sum(view.folded for view in views),
            shown=sum(len(view.focus) for view in views),
            command=command,
            version=version,
            today=date.today().isoformat(),
            data=packed(_for_script(data, sections) | {"whatIf": [view.what_if_data for view in views]}),
            vega=_packed_vega(),
            scripts=[_source(name) for name in (*SCRIPTS, *(WHAT_IF_SCRIPTS if has_what_if else ()))],
            style=_source("page.css"),
            transfer_colour=palette.TRANSFERS,
            ramp=layout.ramp(5),
        )
    )


@cache
def _packed_vega() -> str:
    return packed_text(vega_script())


def _for_script(data: ChartData, sections: Sequence[Section]) -> dict[str, Any]:
    return {
        "charts": data.charts,
        "timelines": data.timelines,
        "waiting": layout.WAITING_TEXTS,
        "layout": {
            "barTop": layout.BAR_TOP,
            "barBottom": layout.BAR_BOTTOM,
            "stripTop": layout.STRIP_TOP,
            "stripBottom": layout.STRIP_BOTTOM,
            "lineTop": layout.LINE_TOP,
            "lineBottom": layout.LINE_BOTTOM,
            "memory": layout.MEMORY_COLOUR,
            "over": layout.OVER_COLOUR,
            "critical": layout.CRITICAL_COLOUR,
            "transfers": palette.TRANSFERS,
        },
        "ramp": layout.RAMP,
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
