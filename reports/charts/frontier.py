"""The chart of a memory frontier: makespans known and bounds over memory, with the published schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import altair as alt

from reports.charts import palette
from reports.charts.axes import EXACT, Axis, edge
from reports.charts.label_places import LINE_HEIGHT, NARROWEST, Box, Sheet, text_width
from reports.charts.panel import Panel, Table
from reports.charts.point_names import ARROW, Named
from reports.content import Section
from reports.frontier_points import CopiedPoint, FrontierPoint, PublishedPoint, ShownFrontier
from reports.numbers import grouped, percent, titled, with_unit

HEIGHT = 460
ROOM = 0.06
MOST_NAMED = 7
"""Published schedules that are named; the memory limit has a name, too."""

FOUND, TAKEN = "best at a limit, found by the search", "best at a limit, published"
PUBLISHED, OTHER = "published", "published, not among what was searched"
LOOKS = {
    FOUND: (palette.SEARCHED, "diamond"),
    TAKEN: (palette.PUBLISHED, "diamond"),
    PUBLISHED: (palette.PUBLISHED, "circle"),
    OTHER: (palette.NOT_SEARCHED, "square"),
}

COPIES_LINE = "The dotted line is the shortest step known with copies, the solid line that without."
"""What a reader must know of a frontier with copies, besides."""

LIMIT_TEXT = "memory limit"
_SHADE = 0.12


def frontier_chart(shown: ShownFrontier) -> alt.LayerChart:
    """Draw the staircase of the best makespans known over memory, the bound below it, and every published schedule.

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
    plot = Plot(shown, *whole_axes(shown))
    zoom = alt.selection_interval(
        name="zoom", bind="scales", encodings=["x", "y"], zoom="wheel![event.ctrlKey || event.metaKey]"
    )
    first, *curves = plot.curves()
    layers = [first.add_params(zoom), *curves, *plot.limit(), *plot.names(Sheet(HEIGHT)), *plot.points("!zoom.memory")]
    return alt.LayerChart(layer=layers, width="container", height=HEIGHT)


def whole_axes(shown: ShownFrontier) -> tuple[Axis, Axis]:
    """Choose axes that hold the curves and the user's limit; published schedules far outside do not count."""
    limits = [] if shown.limit is None else [shown.limit]
    memories = [*(point.limit for point in shown.points), shown.stairs[0][0], *limits]
    lengths = [value for point in shown.points for value in (point.makespan, point.bound)]
    if shown.copies is not None:
        memories += [point.limit for point in shown.copies.points]
        lengths += [point.makespan for point in shown.copies.points]
    return (
        Axis.filled(memories, [each.memory for each in shown.published], room=ROOM, may_fold=True),
        Axis.filled(
            [*lengths, shown.highest_bound], [each.makespan for each in shown.published], room=ROOM, may_fold=True
        ),
    )


@dataclass(frozen=True)
class Plot:
    """The layers of a frontier.

    Attributes
    ----------
    shown : ShownFrontier
        The frontier.
    across, up : Axis
        The axes: memory, and makespan.
    titles : (str, str)
        Their titles, without units.
    scale : float
        The size of letters, relative to those of a page.
    most_named : int
        The most published schedules to name.
    ground : str
        The colour of the ground around names; empty for none, since a page has two.
    has_arrows : bool
        Whether arrows stand for what lies beyond the edges.
    """

    shown: ShownFrontier
    across: Axis
    up: Axis
    titles: tuple[str, str] = ("memory that a device may hold", "makespan")
    scale: float = 1.0
    most_named: int = MOST_NAMED
    ground: str = ""
    has_arrows: bool = True

    @property
    def x(self) -> alt.X:
        """The x axis in the chart."""
        title = titled(self.titles[0], self.shown.units.memory)
        axis = alt.Axis(format=self.across.form, tickCount=8)
        return alt.X("memory:Q", title=title, scale=self.across.scale, axis=axis)

    @property
    def y(self) -> alt.Y:
        """The y axis in the chart."""
        title = titled(self.titles[1], self.shown.units.time)
        axis = alt.Axis(format=EXACT, tickCount=8)
        return alt.Y("makespan:Q", title=title, scale=self.up.scale, axis=axis)

    @cached_property
    def named(self) -> Named:
        """The points, with the names of published schedules that no other published one beats in time and memory."""
        ranked = sorted(self.shown.published, key=lambda each: (each.makespan, each.memory))
        names: dict[tuple[float, float], list[str]] = {}
        least = float("inf")
        for each in ranked:
            if each.memory < least:
                least = each.memory
                if not self.has_arrows and edge(self.across, self.up, (each.memory, each.makespan)):
                    continue
                names.setdefault((each.memory, each.makespan), []).append(each.name)
        chosen = dict(list(names.items())[: self.most_named])
        found = [(point.limit, point.makespan) for point in self.shown.points]
        others = [(each.memory, each.makespan) for each in self.shown.published]
        amounts = {(each.memory, each.makespan): self._amount_beyond(each) for each in self.shown.published}
        rest = [point for point in (*found, *others) if point not in chosen]
        return Named(self.across, self.up, ("memory", "makespan"), chosen, rest, amounts)

    def _amount_beyond(self, each: PublishedPoint) -> str:
        if self.across.low <= each.memory <= self.across.high:
            return with_unit(grouped(each.makespan), self.shown.units.time)
        return with_unit(grouped(each.memory), self.shown.units.memory)

    def curves(self, width: float = 2.0) -> list[alt.Chart]:
        """Draw both curves as steps, and shade the area between them."""
        steps = alt.Chart(alt.InlineData(values=self.steps))
        shade = steps.mark_area(interpolate="step-after", opacity=_SHADE, color=palette.OTHER_COSTS, clip=True)
        looks: tuple[tuple[str, list[float], Literal["square", "butt"]], ...] = (
            ("makespan", [1, 0], "square"),
            ("bound", [2.5 * width, 1.5 * width], "butt"),
        )
        curves = [
            # rules, since these have the colour of text in both themes
            alt.Chart(alt.InlineData(values=self.segments(field)))
            .mark_rule(strokeWidth=width, strokeDash=dashes, strokeCap=cap, clip=True)
            .encode(x=self.x, x2="to_memory:Q", y=self.y, y2="to_makespan:Q")
            for field, dashes, cap in looks
        ]
        return [shade.encode(x=self.x, y=self.y, y2="bound:Q"), *curves, *self._with_copies(width)]

    def _with_copies(self, width: float) -> list[alt.Chart]:
        """Draw the curve with copies."""
        if self.shown.copies is None:
            return []
        stairs = [{"memory": memory, "copies": makespan} for memory, makespan in self.shown.copies.stairs]
        inside = [step for step in stairs if step["memory"] <= self.across.high]
        if not inside:
            return []
        at = alt.Chart(alt.InlineData(values=self.segments("copies", inside)))
        line = at.mark_rule(
            strokeWidth=1.5 * width, strokeDash=[0, 3 * width], strokeCap="round", clip=True, color=palette.TRANSFERS
        )
        return [line.encode(x=self.x, x2="to_memory:Q", y=self.y, y2="to_makespan:Q")]

    def segments(self, field: str, steps: Sequence[dict[str, float]] | None = None) -> list[dict[str, float]]:
        """List the level and the upright parts of a curve, each from one place to another."""
        rows: list[dict[str, float]] = []
        steps = self.steps if steps is None else steps
        memory, level = steps[0]["memory"], steps[0][field]
        for step in (*steps[1:], {"memory": self.across.high, field: -1.0}):
            if step[field] == level or step["memory"] == memory:
                continue
            corner = {"to_memory": step["memory"], "to_makespan": level}
            rows.append({"memory": memory, "makespan": level} | corner)
            memory, below = step["memory"], step[field]
            if below >= 0:
                rows.append({"memory": memory, "makespan": level, "to_memory": memory, "to_makespan": below})
            level = below
        return rows

    @property
    def steps(self) -> list[dict[str, float]]:
        """List each place where either curve steps, with the heights of both from there on."""
        shown, end = self.shown, self.across.high
        first = shown.points[0].limit
        begins = [0.0, *(upto for upto, _ in shown.bounds)]
        heights = [*(bound for _, bound in shown.bounds), shown.highest_bound]
        places = {first, end, *(memory for memory, _ in shown.stairs), *begins}
        rows = []
        for place in sorted(place for place in places if place >= min(first, shown.stairs[0][0])):
            bound = [height for begin, height in zip(begins, heights, strict=True) if begin <= place]
            if shown.stairs[0][0] <= place <= end:
                rows.append({"memory": place, "makespan": shown.shortest(place), "bound": min(bound)})
        return [row for row, after in pairwise([*rows, {}]) if row != after]

    def limit(self) -> list[alt.Chart]:
        """Draw the user's limit."""
        if not self._has_limit:
            return []
        at = alt.Chart(alt.InlineData(values=[{"memory": self.shown.limit, "text": LIMIT_TEXT}]))
        align = self._limit_align
        text = at.mark_text(align=align, dx=4 if align == "left" else -4, dy=4, baseline="top", clip=True)
        return [
            at.mark_rule(color=palette.OVER_LIMIT, strokeWidth=1.5, clip=True).encode(x=self.x),
            text.encode(x=self.x, y=alt.value(0), text="text:N"),
        ]

    @property
    def _has_limit(self) -> bool:
        return self.shown.limit is not None and self.across.low <= self.shown.limit <= self.across.high

    @property
    def _limit_align(self) -> Literal["left", "right"]:
        """The alignment of the limit's name, which stands left of its line if there is no room on the right."""
        room = (1 - self.across.share(self.shown.limit or 0.0)) * NARROWEST
        return "left" if room >= 4 + text_width(LIMIT_TEXT, self.scale) else "right"

    def names(self, sheet: Sheet, taken: Sequence[Box] = ()) -> list[alt.Chart]:
        """Write the names of published schedules."""
        boxes, lines = list(taken), list(self._curve_boxes(sheet))
        if self.shown.limit is not None and self._has_limit:
            at, width = self.across.share(self.shown.limit), text_width(LIMIT_TEXT, sheet.scale)
            start = 4.0 if self._limit_align == "left" else -4 - width
            boxes.append(Box(at, start, start + width, 4, 4 + LINE_HEIGHT * sheet.scale))
            lines.append(Box(at, -2, 2, 0, sheet.height))
        places = self.named.places(sheet, boxes, lines)
        return self.named.marks(places, self.x, self.y, scale=self.scale, ground=self.ground, clip=True)

    def _curve_boxes(self, sheet: Sheet) -> list[Box]:
        """Return small boxes along the curves, close enough for a name to cover one if it covers the curve."""
        boxes: list[Box] = []
        for row, after in pairwise(self.steps):
            for field in ("makespan", "bound"):
                low, high = self.across.share(row["memory"]), self.across.share(after["memory"])
                top, bottom = ((1 - self.up.share(level)) * sheet.height for level in (row[field], after[field]))
                count = 1 + int((high - low) * 20)
                boxes += [Box(low + (high - low) * k / count, -2, 2, top - 2, top + 2) for k in range(count + 1)]
                boxes.append(Box(high, -2, 2, min(top, bottom), max(top, bottom)))
        return boxes

    def points(self, is_at_rest: str = "true", size: int = 90) -> list[alt.Chart]:
        """Draw all points, and arrows to those beyond the edges.

        Parameters
        ----------
        is_at_rest : str
            The Vega expression of whether the chart is as at first.
        size : int
            The size of a point, in square pixels.
        """
        rows = point_rows(self.shown)
        inside, beyond = self.named.divided(rows)
        rows = rows if self.has_arrows else inside
        there = {state: looks for state, looks in LOOKS.items() if any(row["state"] == state for row in rows)}
        colours, shapes = zip(*there.values(), strict=True)
        legend = alt.Legend(orient="top", columns=2, labelLimit=0)
        titles = (
            ("makespan", titled("makespan", self.shown.units.time)),
            ("bound", titled("bound", self.shown.units.time)),
            ("limit", titled("limit", self.shown.units.memory)),
            ("memory", titled("memory", self.shown.units.memory)),
            ("gap", "gap at most"),
        )
        encoded = {
            "x": self.x,
            "y": self.y,
            "color": alt.Color(
                "state:N", scale=alt.Scale(domain=list(there), range=list(colours)), title=None, legend=legend
            ),
            "tooltip": [
                alt.Tooltip("name:N", title="schedule"),
                alt.Tooltip("state:N", title="is"),
                *(alt.Tooltip(f"{field}_text:N", title=title) for field, title in titles),
            ],
        }
        marks = alt.Chart(alt.InlineData(values=rows)).mark_point(
            filled=True, size=size, opacity=1, clip=True, cursor="pointer"
        )
        shape = alt.Shape("state:N", scale=alt.Scale(domain=list(there), range=list(shapes)), title=None, legend=legend)
        layers = [marks.encode(shape=shape, **encoded)]
        if beyond and self.has_arrows:
            arrows = alt.Chart(alt.InlineData(values=beyond)).mark_point(
                filled=True, size=size, cursor="pointer", opacity=alt.ExprRef(f"{is_at_rest} ? 1 : 0"), **ARROW
            )
            layers.append(arrows.encode(**encoded))
        return layers


def point_rows(shown: ShownFrontier) -> list[dict[str, Any]]:
    """Make a row for each point: its position, its state, the rank of its schedule, and the texts of its figures."""
    return [*(_found_row(point) for point in shown.points), *(_published_row(each) for each in shown.published)]


def _found_row(point: FrontierPoint) -> dict[str, Any]:
    return {
        "memory": point.limit,
        "makespan": point.makespan,
        "name": point.name,
        "state": FOUND if point.searched else TAKEN,
        "rank": point.rank,
        "makespan_text": grouped(point.makespan),
        "bound_text": grouped(point.bound),
        "limit_text": grouped(point.limit),
        "memory_text": grouped(point.memory),
        "gap_text": percent(point.gap),
    }


def _published_row(each: PublishedPoint) -> dict[str, Any]:
    return {
        "memory": each.memory,
        "makespan": each.makespan,
        "name": each.name,
        "state": PUBLISHED if each.is_comparable else OTHER,
        "rank": each.rank,
        "makespan_text": grouped(each.makespan),
        "memory_text": grouped(each.memory),
        **dict.fromkeys(("bound_text", "limit_text", "gap_text"), "–"),
    }


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
    shown = section.frontier
    points: list[FrontierPoint | CopiedPoint] = [] if shown is None else [*shown.points]
    points += [] if shown is None or shown.copies is None else shown.copies.points
    rows = [
        [grouped(each.limit), each.name, each.placement, grouped(each.makespan), grouped(each.bound), percent(each.gap)]
        for each in points
    ]
    times = [titled(title, section.units.time) for title in ("makespan", "bound")]
    return Table([titled("limit", section.units.memory), "schedule", "placement", *times, "gap"], rows)


FRONTIER = Panel(
    "frontier",
    "What memory buys",
    _frontier_chart,
    frontier_sentence,
    frontier_table,
    lambda section: section.frontier is not None and bool(section.schedules),
)
