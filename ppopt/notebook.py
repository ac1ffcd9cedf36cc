"""How schedules and comparisons show themselves in a notebook."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

from ppopt.charts import timeline_chart
from ppopt.comparison import Comparison, with_name
from ppopt.finished import Schedule
from ppopt.presentation import baseline_row, table_row
from reports.numbers import grouped, percent, titled, with_unit
from reports.table import TIMES, ranking_cells, ranking_notes

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


def comparison_html(comparison: Comparison) -> str:
    """Write a comparison as the verdict and the table of `ppopt compare`.

    Parameters
    ----------
    comparison : Comparison
        What to show.
    """
    parts = [f"<p>{escape(comparison.verdict)}</p>"]
    if comparison.schedules:
        rows, baseline = [table_row(schedule) for schedule in comparison.schedules], baseline_row(comparison)
        titles, *cells = ranking_cells(rows, comparison.bound, baseline)
        unit = comparison.pipeline.unit
        head = _html_row([titled(title, unit) if title in TIMES else title for title in titles], "th")
        body = "".join(_html_row(each, "td") for each in cells)
        parts.append(f"<table><thead>{head}</thead><tbody>{body}</tbody></table>")
        parts += [f"<small>{escape(note)}</small><br>" for note in ranking_notes(rows, baseline)]
    parts += [f"<small>left out: {escape(with_name(*each))}</small><br>" for each in comparison.left_out]
    return f"<div>{''.join(parts)}</div>"


def _html_row(cells: Sequence[str], tag: str) -> str:
    """Write a row; the mark and the name are on the left, figures on the right."""
    sides = ["left" if place < 2 else "right" for place in range(len(cells))]
    written = [
        f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True)
    ]
    return f"<tr>{''.join(written)}</tr>"


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
