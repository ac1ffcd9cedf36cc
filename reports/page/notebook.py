"""Schedules, comparisons and frontiers as a notebook shows them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

from reports.charts.frontier import frontier_chart
from reports.charts.overview import any_timeline_chart
from reports.content import Presented, Section, with_name
from reports.frontier_points import ShownFrontier
from reports.numbers import digits_of, grouped, percent, titled, with_unit
from reports.picture import picture
from reports.table import ranking_cells, ranking_notes

MOST_DRAWN = 3_000
"""Above this many operations the picture is made of pixels, since a vector drawing would be larger."""


def timeline_html(presented: Presented) -> str:
    """Draw a schedule's timeline as a picture in HTML, below a line of figures.

    Parameters
    ----------
    presented : Presented
        The schedule.
    """
    form, kind = ("svg", "svg+xml") if len(presented.timeline) <= MOST_DRAWN else ("png", "png")
    content = base64.b64encode(picture(any_timeline_chart(presented), form)).decode()
    row, figures = presented.summary, presented.summary.figures
    makespan = with_unit(grouped(figures.makespan, digits_of(row.status)), row.units.time)
    words = (
        f"makespan {makespan}, {percent(figures.bubble_ratio)} idle, "
        f"peak memory {grouped(max(figures.peak_memory))}, {row.status}"
    )
    name = escape(row.name)
    image = f'<img alt="timeline of {name}" style="max-width: 100%" src="data:image/{kind};base64,{content}">'
    return f"<div><b>{name}</b>: {escape(words)}<br>{image}</div>"


def comparison_html(section: Section, verdict: str) -> str:
    """Write a comparison as the verdict and the table of `ppopt compare`.

    Parameters
    ----------
    section : Section
        The schedules.
    verdict : str
        The verdict, in a sentence.
    """
    parts = [f"<p>{escape(verdict)}</p>"]
    if section.schedules:
        rows = [presented.summary for presented in section.schedules]
        titles, *cells = ranking_cells(rows, section.bound, section.baseline)
        head = _html_row([titled(title, section.units.of(title)) for title in titles], "th")
        body = "".join(_html_row(each, "td") for each in cells)
        parts.append(f"<table><thead>{head}</thead><tbody>{body}</tbody></table>")
        parts += [f"<small>{escape(note)}</small><br>" for note in ranking_notes(rows, section.baseline)]
    parts += [f"<small>left out: {escape(with_name(*each))}</small><br>" for each in section.left_out]
    return f"<div>{''.join(parts)}</div>"


def frontier_html(shown: ShownFrontier) -> str:
    """Draw a memory frontier as a picture in HTML, below its sentence.

    Parameters
    ----------
    shown : ShownFrontier
        The frontier.
    """
    content = base64.b64encode(picture(frontier_chart(shown), "svg")).decode()
    image = f'<img alt="makespan over memory" style="max-width: 100%" src="data:image/svg+xml;base64,{content}">'
    return f"<div><p>{escape(shown.sentence)}</p>{image}</div>"


def _html_row(cells: Sequence[str], tag: str) -> str:
    """Write a row with the mark and the name aligned left and the figures aligned right."""
    sides = ["left" if place < 2 else "right" for place in range(len(cells))]
    written = [
        f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True)
    ]
    return f"<tr>{''.join(written)}</tr>"


def mimebundle(presented: Presented, text: str) -> dict[str, Any]:
    """Return a schedule as HTML with a picture, as a Vega-Lite chart, and as text; a notebook shows one that it can.

    Parameters
    ----------
    presented : Presented
        The schedule.
    text : str
        The text for notebooks without pictures.
    """
    return {
        "text/plain": text,
        "text/html": timeline_html(presented),
        "application/vnd.vegalite.v6+json": any_timeline_chart(presented).to_dict(),
    }
