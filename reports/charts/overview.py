"""The overview of a schedule with too many operations for a picture: how busy each device is over time."""

from __future__ import annotations

from typing import Any, TypeAlias

import altair as alt
import numpy as np

from reports.charts import palette
from reports.charts.timeline_layout import row_height
from reports.charts.timelines import AXIS_WIDTH, timeline_chart, timeline_start
from reports.content import Presented
from reports.idle import leading_rows
from reports.numbers import titled

LONGEST_TIMELINE = 20_000
"""Above this many operations, a picture shows a schedule by its idle shares."""

BINS = 400
"""Number of equal stretches that time is divided into."""


def idle_shares(presented: Presented) -> list[list[float]]:
    """Return the fraction of each of `BINS` equal stretches of time that each device idles.

    Returns
    -------
    list of list of float
        For each device a number from 0 to 1 for each stretch.
    """
    rows = [presented.timeline[at] for at in sorted(set(leading_rows(presented.timeline)))]  # each action counts once
    first = min(row.start for row in rows)
    length = max(row.end for row in rows) - first
    edges = np.linspace(0.0, float(length), BINS + 1)
    spans: list[list[tuple[int, int]]] = [[] for _ in range(presented.problem.devices)]
    for row in rows:
        spans[row.device].append((row.start - first, row.end - first))
    return [_idle_shares(edges, np.array(each, dtype=float).reshape(-1, 2)) for each in spans]


def _idle_shares(edges: Moments, spans: Moments) -> list[float]:
    """Return the fraction of each stretch between two edges that no span covers; spans are (start, end)."""
    done = _work_until(edges, spans[:, 0], spans[:, 1])
    return [round(float(each), 3) for each in 1 - np.diff(done) / np.diff(edges)]


Moments: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


def _work_until(edges: Moments, starts: Moments, ends: Moments) -> Moments:
    """Return the work done by each moment; actions must be in order and must not overlap."""
    if not len(starts):
        return np.zeros_like(edges)
    moments = np.stack([starts, ends], axis=1).ravel()
    worked = np.cumsum(ends - starts)
    amounts = np.stack([np.concatenate([[0.0], worked[:-1]]), worked], axis=1).ravel()
    until: Moments = np.interp(edges, moments, amounts)
    return until


def overview_chart(presented: Presented) -> alt.Chart:
    """Draw the idle fraction of every device over time.

    Parameters
    ----------
    presented : Presented
        The schedule.
    """
    start, makespan = timeline_start(presented), presented.summary.figures.makespan
    width = makespan / BINS
    values = [
        {"device": device, "from": start + place * width, "to": start + (place + 1) * width, "idle": share}
        for device, shares in enumerate(idle_shares(presented))
        for place, share in enumerate(shares)
    ]
    devices = presented.problem.devices
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_rect(aria=False)
        .encode(
            x=alt.X(
                "from:Q",
                title=titled("time", presented.summary.units.time),
                scale=alt.Scale(domain=[start, start + makespan], nice=False),
            ),
            x2="to:Q",
            y=alt.Y(
                "device:O",
                title=None,
                axis=alt.Axis(
                    labelExpr="'device ' + datum.value",
                    labelOverlap=True,
                    ticks=False,
                    domain=False,
                    minExtent=AXIS_WIDTH,
                    maxExtent=AXIS_WIDTH,
                ),
            ),
            color=alt.Color(
                "idle:Q",
                scale=alt.Scale(domain=[0, 1], range=list(palette.IDLE_SHARES)),
                legend=alt.Legend(orient="top", format=".0%", title="idle part", gradientLength=200),
            ),
            tooltip=[
                alt.Tooltip("device:O"),
                alt.Tooltip("from:Q", title=titled("from", presented.summary.units.time), format=",.7~r"),
                alt.Tooltip("idle:Q", format=".0%"),
            ],
        )
        .properties(width="container", height=max(8, row_height(devices) // 2) * devices)
    )
    return chart


def any_timeline_chart(presented: Presented, highest: float | None = None) -> alt.LayerChart | alt.Chart:
    """Draw the timeline of a schedule, or its idle shares if its operations are too many to tell apart."""
    if len(presented.timeline) > LONGEST_TIMELINE:
        return overview_chart(presented).properties(title=presented.summary.name)
    return timeline_chart(presented, highest)
