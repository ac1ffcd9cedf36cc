"""How a schedule shows itself in a notebook."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from ppopt.charts import timeline_chart
from ppopt.finished import Schedule
from reports.numbers import grouped, percent, with_unit

MOST_DRAWN = 3_000
"""Beyond so many operations the picture is made of pixels: a drawing would be larger."""


def timeline_html(schedule: Schedule) -> str:
    """Draw a schedule's timeline as a picture within HTML, with a line of figures above it.

    Parameters
    ----------
    schedule : Schedule
        What to show.
    """
    from reports.picture import picture

    form, kind = ("svg", "svg+xml") if len(schedule.rows) <= MOST_DRAWN else ("png", "png")
    content = base64.b64encode(picture(timeline_chart(schedule), form)).decode()
    words = (
        f"makespan {with_unit(grouped(schedule.makespan), schedule.pipeline.unit)}, "
        f"{percent(schedule.bubble_ratio)} idle, "
        f"peak memory {grouped(max(schedule.peak_memory))}, {schedule.status}"
    )
    name = escape(schedule.strategy)
    image = f'<img alt="timeline of {name}" style="max-width: 100%" src="data:image/{kind};base64,{content}">'
    return f"<div><b>{name}</b>: {escape(words)}<br>{image}</div>"


def mimebundle(schedule: Schedule) -> dict[str, Any]:
    """Give a schedule as HTML with a picture, as a Vega-Lite chart, and as text; a notebook takes what it can show.

    Parameters
    ----------
    schedule : Schedule
        What to show.
    """
    return {
        "text/plain": repr(schedule),
        "text/html": timeline_html(schedule),
        "application/vnd.vegalite.v6+json": timeline_chart(schedule).to_dict(),
    }
