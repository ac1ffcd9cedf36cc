"""How a schedule shows itself in a notebook."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from reports.charts.overview import any_timeline_chart
from reports.content import Presented
from reports.numbers import grouped, percent, with_unit
from reports.picture import picture

MOST_DRAWN = 3_000
"""Beyond so many operations the picture is made of pixels: a drawing would be larger."""


def timeline_html(presented: Presented) -> str:
    """Draw a schedule's timeline as a picture within HTML, with a line of figures above it.

    Parameters
    ----------
    presented : Presented
        The schedule.
    """
    form, kind = ("svg", "svg+xml") if len(presented.rows) <= MOST_DRAWN else ("png", "png")
    content = base64.b64encode(picture(any_timeline_chart(presented), form)).decode()
    row, figures = presented.row, presented.row.figures
    words = (
        f"makespan {with_unit(grouped(figures.makespan), row.unit)}, {percent(figures.bubble_ratio)} idle, "
        f"peak memory {grouped(max(figures.peak_memory))}, {row.status}"
    )
    name = escape(row.name)
    image = f'<img alt="timeline of {name}" style="max-width: 100%" src="data:image/{kind};base64,{content}">'
    return f"<div><b>{name}</b>: {escape(words)}<br>{image}</div>"


def mimebundle(presented: Presented, text: str) -> dict[str, Any]:
    """Give a schedule as HTML with a picture, as a Vega-Lite chart, and as text; a notebook takes what it can show.

    Parameters
    ----------
    presented : Presented
        The schedule.
    text : str
        What a notebook without pictures shows.
    """
    return {
        "text/plain": text,
        "text/html": timeline_html(presented),
        "application/vnd.vegalite.v6+json": any_timeline_chart(presented).to_dict(),
    }
