"""The chart of a memory frontier: makespans found and bounds over memory, with the published schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt

from reports.charts import palette
from reports.charts.label_places import Place, dot, label_places
from reports.charts.panel import Panel, Table
from reports.charts.point_names import point_names
from reports.content import Section
from reports.frontier_points import ShownFrontier
from reports.numbers import grouped, percent, titled

HEIGHT = 460

MOST_FOLDED = 2.5
"""An axis is logarithmic if the ratio of its ends exceeds this."""

LARGE = 10_000

ROOM = 0.06
"""The fraction of an axis that is left free at either end."""

FOUND, PUBLISHED, OTHER = "best found at a limit", "published", "published, not among what was searched"
LOOKS = {
    FOUND: (palette.SEARCHED, "diamond"),
    PUBLISHED: (palette.PUBLISHED, "circle"),
    OTHER: (palette.MEASURED, "square"),
}


def frontier_chart(shown: ShownFrontier) -> alt.LayerChart:
    """Draw the staircase of the best makespans found over memory, the bound below it, and every published schedule.

    Parameters
    ----------
    shown : ShownFrontier
        The frontier.

    Returns
    -------
    altair.LayerChart
        Readers can drag it, and zoom with the wheel while holding the control key. The gap between the staircase and
        the bound is shaded. A point's datum has the ``rank`` of its schedule.
    """
    layout = _Layout(shown)
    x = alt.X(
        "memory:Q", title="memory that a device may hold", scale=layout.x.scale, axis=alt.Axis(format=layout.x.form)
    )
    y = alt.Y(
        "makespan:Q",
        title=titled("makespan", shown.units.time),
        scale=layout.y.scale,
        axis=alt.Axis(format=",.6~r", tickCount=8),
    )
    zoom = alt.selection_interval(
        name="zoom", bind="scales", encodings=["x", "y"], zoom="wheel![event.ctrlKey || event.metaKey]"
    )
    layers = [_curves(layout, x, y)[0].add_params(zoom), *_curves(layout, x, y)[1:], *_limit(shown, x)]
    if layout.named:
        layers += point_names(layout.named, layout.names(), x, y, "memory", clip=True)
    layers += _points(shown, x, y)
    return alt.LayerChart(layer=layers, width="container", height=HEIGHT)


def _curves(layout: _Layout, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Draw both curves as steps, and shade the area between them."""
    steps = alt.Chart(alt.InlineData(values=layout.steps)).encode(x=x)
    shade = steps.mark_area(interpolate="step-after", opacity=0.18, color=palette.SEARCHED, clip=True)
    found = steps.mark_line(interpolate="step-after", color=palette.SEARCHED, strokeWidth=2, clip=True)
    bound = steps.mark_line(interpolate="step-after", color=palette.KINDS["F"], strokeDash=[5, 3], clip=True)
    return [shade.encode(y=y, y2="bound:Q"), found.encode(y=y), bound.encode(y="bound:Q")]


def _limit(shown: ShownFrontier, x: alt.X) -> list[alt.Chart]:
    if shown.limit is None:
        return []
    at = alt.Chart(alt.InlineData(values=[{"memory": shown.limit, "text": "memory limit"}]))
    text = at.mark_text(align="left", dx=4, dy=4, baseline="top", clip=True)
    return [
        at.mark_rule(color=palette.OVER_LIMIT, strokeWidth=1.5, clip=True).encode(x=x),
        text.encode(x=x, y=alt.value(0), text="text:N"),
    ]


def _points(shown: ShownFrontier, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    rows = point_rows(shown)
    there = {state: looks for state, looks in LOOKS.items() if any(row["state"] == state for row in rows)}
    colours, shapes = zip(*there.values(), strict=True)
    details = [
        alt.Tooltip("name:N", title="schedule"),
        alt.Tooltip("state:N", title="is"),
        *(alt.Tooltip(f"{field}:Q", title=titled(title, unit), format=",.7~r") for field, title, unit in _AMOUNTS),
        alt.Tooltip("gap:Q", title="gap at most", format=".2%"),
    ]
    marks = alt.Chart(alt.InlineData(values=rows)).mark_point(
        filled=True, size=90, opacity=1, clip=True, cursor="pointer"
    )
    return [
        marks.encode(
            x=x,
            y=y,
            color=alt.Color(
                "state:N",
                scale=alt.Scale(domain=list(there), range=list(colours)),
                title=None,
                legend=alt.Legend(orient="top"),
            ),
            shape=alt.Shape("state:N", scale=alt.Scale(domain=list(there), range=list(shapes)), title=None),
            tooltip=details,
        )
    ]


_AMOUNTS = (("makespan", "makespan", ""), ("bound", "bound", ""), ("limit", "limit", ""), ("memory", "memory", ""))


def point_rows(shown: ShownFrontier) -> list[dict[str, Any]]:
    """Make a row for each point: its position, its state, and the rank of its schedule."""
    found = [
        {
            "memory": point.limit,
            "limit": point.limit,
            "makespan": point.makespan,
            "bound": point.bound,
            "gap": point.gap,
            "name": point.name,
            "state": FOUND,
            "rank": point.rank,
        }
        for point in shown.points
    ]
    published = [
        {
            "memory": each.memory,
            "limit": None,
            "makespan": each.makespan,
            "bound": None,
            "gap": None,
            "name": each.name,
            "state": PUBLISHED if each.is_comparable else OTHER,
            "rank": each.rank,
        }
        for each in shown.published
    ]
    return [*found, *published]


@dataclass(frozen=True)
class _Axis:
    """The range of an axis, and whether it is logarithmic."""

    low: float
    high: float
    is_folded: bool

    @classmethod
    def over(cls, values: Sequence[float]) -> _Axis:
        low, high = min(values), max(values)
        if low > 0 and high > MOST_FOLDED * low:
            room = (high / low) ** ROOM
            return cls(low / room, high * room, True)
        room = (high - low or abs(high) or 1) * ROOM
        return cls(max(0.0, low - room), high + room, False)

    @property
    def scale(self) -> alt.Scale:
        return alt.Scale(domain=[self.low, self.high], nice=False, type="log" if self.is_folded else "linear")

    @property
    def form(self) -> str:
        """The format of its numbers; large ones get k, M or G."""
        return "~s" if self.high >= LARGE else "~g"

    def share(self, value: float) -> float:
        """Return the position of a value along the axis, from 0 to 1."""
        if self.is_folded:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


class _Layout:
    """The positions of points and curves in the plot."""

    def __init__(self, shown: ShownFrontier) -> None:
        self.shown = shown
        memories = [point.limit for point in shown.points] + [each.memory for each in shown.published]
        limit = [] if shown.limit is None else [shown.limit]
        lengths = [value for point in shown.points for value in (point.makespan, point.bound)]
        self.x = _Axis.over([*memories, shown.stairs[0][0], *limit])
        self.y = _Axis.over([*lengths, *(each.makespan for each in shown.published), shown.highest_bound])
        self.named: dict[tuple[float, float], list[str]] = {}
        for each in shown.published:
            self.named.setdefault((each.memory, each.makespan), []).append(each.name)

    @property
    def steps(self) -> list[dict[str, float]]:
        """List each place where either curve steps, with the heights of both from there on."""
        shown = self.shown
        first = shown.points[0].limit
        begins = [0.0, *(upto for upto, _ in shown.bounds)]
        heights = [*(bound for _, bound in shown.bounds), shown.highest_bound]
        places = {first, self.x.high, *(memory for memory, _ in shown.stairs), *begins}
        rows = []
        for place in sorted(place for place in places if place >= min(first, shown.stairs[0][0])):
            makespan = [height for memory, height in shown.stairs if memory <= place]
            bound = [height for begin, height in zip(begins, heights, strict=True) if begin <= place]
            if makespan and place <= self.x.high:
                rows.append({"memory": place, "makespan": makespan[-1], "bound": min(bound)})
        return [row for row, after in pairwise([*rows, {}]) if row != after]

    def names(self) -> tuple[list[str], list[Place]]:
        """Return the names of the published points with their places; schedules at the same point share a name."""
        texts = [", ".join(names) for names in self.named.values()]
        found = [dot((self.x.share(point.limit), self._top(point.makespan))) for point in self.shown.points]
        places = [(self.x.share(memory), self._top(makespan)) for memory, makespan in self.named]
        return texts, label_places(places, texts, height=HEIGHT, taken=found)

    def _top(self, makespan: float) -> float:
        return (1 - self.y.share(makespan)) * HEIGHT


def _frontier_chart(section: Section) -> alt.LayerChart:
    assert section.frontier is not None
    return frontier_chart(section.frontier)


def frontier_sentence(section: Section) -> str:
    """Say which published schedules are the best known for their memory, and how close the next one is."""
    if section.frontier is None:
        return ""
    over = {each.name: each.makespan / each.best - 1 for each in section.frontier.published if each.best is not None}
    best = [name for name, ratio in over.items() if ratio <= 0]
    others = {name: ratio for name, ratio in over.items() if ratio > 0}
    if not others:
        return f"Nothing shorter is known within the memory of {', '.join(best)}." if best else ""
    nearest = min(others, key=lambda name: others[name])
    near = f"{nearest} is {percent(others[nearest])} longer than the best known within its memory"
    if not best:
        return f"Every published schedule can be beaten within its own memory; {near}."
    return f"Nothing shorter is known within the memory of {', '.join(best)}. Of the others, {near}."


def frontier_table(section: Section) -> Table:
    """Put the points of the memory frontier into a table."""
    points = () if section.frontier is None else section.frontier.points
    rows = [
        [grouped(each.limit), each.name, each.placement, grouped(each.makespan), grouped(each.bound), percent(each.gap)]
        for each in points
    ]
    times = [titled(title, section.unit) for title in ("makespan", "bound")]
    return Table(["limit", "schedule", "placement", *times, "gap"], rows)


FRONTIER = Panel(
    "frontier",
    "What memory buys",
    _frontier_chart,
    frontier_sentence,
    frontier_table,
    lambda section: section.frontier is not None and bool(section.schedules),
)
