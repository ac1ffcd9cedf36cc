"""The chart of the trade-off between makespan and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import altair as alt

from reports.charts.bubbles import state_scales, tooltips
from reports.charts.label_places import (
    LINE_HEIGHT,
    NARROWEST,
    WIDEST,
    Box,
    Place,
    covered,
    dot,
    label_places,
    text_width,
)
from reports.charts.panel import Panel, Table
from reports.charts.point_names import point_names
from reports.charts.records import label, schedule_records, share_of_limit
from reports.content import Section
from reports.numbers import grouped, percent, titled, with_unit
from solver.counted import counted

HEIGHT = 300

Side: TypeAlias = Literal["left", "right"]


def memory_chart(section: Section) -> alt.LayerChart:
    """Draw makespan against peak memory, with a point for each schedule and lines for the limit and the bound.

    Parameters
    ----------
    section : Section
        The schedules and the bound.

    Returns
    -------
    altair.LayerChart
        If the devices' limits differ, memory is the largest fraction of its limit that any device holds.
    """
    limits = {limit for each in section.schedules for limit in each.summary.limits}
    shared = len(limits) == 1
    field, title = ("peak_memory", "peak memory of a device") if shared else ("share_of_limit", "share of its limit")
    records = [each for each in schedule_records(section.schedules) if each[field] is not None]
    limit = next(iter(limits)) if shared else 1.0
    x = alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=_padded([each[field] for each in records], limit)),
        axis=alt.Axis(format="~s" if shared else ".0%", tickCount=7),
    )
    y = alt.Y(
        "makespan:Q",
        title=titled("makespan", section.unit),
        scale=alt.Scale(domain=_padded([each["makespan"] for each in records], section.bound), nice=False),
        axis=alt.Axis(format=",.6~r", tickCount=6),
    )
    layout = _layout(records, field, limit, section)
    layers = [
        *_lines(x, y, field, layout),
        *point_names(layout.points, layout.names(), x, y, field),
        _points(records, x, y, field, section.unit),
    ]
    return alt.LayerChart(layer=layers, width="container", height=layout.height)


def _points(records: list[dict[str, Any]], x: alt.X, y: alt.Y, field: str, unit: str) -> alt.Chart:
    colours, shapes = state_scales(records)
    points = alt.Chart(alt.InlineData(values=records)).mark_point(filled=True, size=110, opacity=1)
    details = tooltips(*dict.fromkeys(("name", "state", "makespan", "peak_memory", field)), unit=unit)
    chart: alt.Chart = points.encode(
        x=x,
        y=y,
        color=alt.Color("state:N", scale=colours, title=None, legend=alt.Legend(orient="top")),
        shape=alt.Shape("state:N", scale=shapes, title=None),
        tooltip=details,
    )
    return chart


def _lines(x: alt.X, y: alt.Y, field: str, layout: _Layout) -> list[alt.Chart]:
    lines: list[alt.Chart] = []
    if layout.limit is not None:
        at = alt.Chart(alt.InlineData(values=[{field: layout.limit, "text": LIMIT_TEXT}]))
        lines += [
            at.mark_rule(color="#D55E00", strokeWidth=1.5).encode(x=x),
            _line_text(at, layout.limit_align).encode(x=x, y=alt.value(0), text="text:N"),
        ]
    if layout.bound is not None:
        at = alt.Chart(alt.InlineData(values=[{"makespan": layout.bound, "text": layout.bound_text}]))
        end = "width" if layout.bound_align == "right" else 0
        lines += [
            at.mark_rule(strokeDash=[5, 4], strokeWidth=1.5).encode(y=y),
            _line_text(at, layout.bound_align).encode(y=y, x=alt.value(end), text="text:N"),
        ]
    return lines


def _line_text(chart: alt.Chart, align: Side) -> alt.Chart:
    dx = -_TEXT_AWAY if align == "right" else _TEXT_AWAY
    text: alt.Chart = chart.mark_text(align=align, dx=dx, dy=_TEXT_AWAY, baseline="top")
    return text


def _padded(values: Sequence[float], line: float | None) -> list[float]:
    every = [*values, *([] if line is None else [line])]
    low, high = min(every), max(every)
    room = (high - low or abs(high) or 1) * 0.12
    return [max(0.0, low - room), high + room]


LIMIT_TEXT, _TEXT_AWAY = "memory limit", 4.0


@dataclass(frozen=True)
class _Layout:
    """Positions in the plot: x from 0 to 1, and y in pixels from the top."""

    points: dict[tuple[float, float], list[str]]
    limit: float | None
    bound: float | None
    unit: str

    @property
    def bound_text(self) -> str:
        return f"lower bound {with_unit(grouped(self.bound or 0.0), self.unit)}"

    @property
    def height(self) -> int:
        """The height, in pixels, with room for each name in a line of its own."""
        return max(HEIGHT, round(1.5 * LINE_HEIGHT * len(self.points)))

    def x(self, value: float) -> float:
        low, high = _padded([x for x, _ in self.points], self.limit)
        return (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = _padded([y for _, y in self.points], self.bound)
        return (high - value) / (high - low) * self.height

    @property
    def dots(self) -> list[tuple[float, float]]:
        return [(self.x(x), self.y(y)) for x, y in self.points]

    @property
    def limit_align(self) -> Side:
        """The alignment of the limit's name, which stands to the left of its line if there is room."""
        room = 0.0 if self.limit is None else self.x(self.limit) * NARROWEST
        return "right" if room >= _TEXT_AWAY + text_width(LIMIT_TEXT) else "left"

    @property
    def bound_align(self) -> Side:
        """The end of its line at which the bound's name stands: the right one, unless it covers less on the left."""
        others = [*map(dot, self.dots), *self._limit_boxes()]
        sides: tuple[Side, Side] = ("right", "left")
        return min(sides, key=lambda align: covered(self._bound_box(align), others))

    def _bound_box(self, align: Side) -> Box:
        return _text_box(float(align == "right"), align, self.bound_text, self.y(self.bound or 0.0))

    def _limit_boxes(self) -> list[Box]:
        if self.limit is None:
            return []
        at = self.x(self.limit)
        return [Box(at, -2, 2, 0, self.height), _text_box(at, self.limit_align, LIMIT_TEXT, 0)]

    def names(self) -> tuple[list[str], list[Place]]:
        """Return the names of the points with their places; schedules at the same point share a name."""
        texts = [", ".join(names) for names in self.points.values()]
        rules, taken = self._limit_boxes()[:1], self._limit_boxes()[1:]
        if self.bound is not None:
            rules.append(Box(0, 0, WIDEST, self.y(self.bound) - 2, self.y(self.bound) + 2))
            taken.append(self._bound_box(self.bound_align))
        return texts, label_places(self.dots, texts, height=self.height, taken=taken, lines=rules)


def _text_box(at: float, align: Side, text: str, top: float) -> Box:
    """Return the box of a line's own name, just below `top`."""
    width = text_width(text)
    left = -_TEXT_AWAY - width if align == "right" else _TEXT_AWAY
    return Box(at, left, left + width, top + _TEXT_AWAY, top + _TEXT_AWAY + LINE_HEIGHT)


def _layout(records: Sequence[dict[str, Any]], field: str, limit: float | None, section: Section) -> _Layout:
    together: dict[tuple[float, float], list[str]] = {}
    for each in records:
        together.setdefault((each[field], each["makespan"]), []).append(each["name"])
    return _Layout(together, limit, section.bound, section.unit)


def memory_sentence(section: Section) -> str:
    """Say how much time the least memory costs."""
    fitting = [each for each in section.schedules if not each.summary.over]
    limited = any(limit is not None for each in section.schedules for limit in each.summary.limits)
    fit = "fits" if len(fitting) == 1 else "fit"
    text = (
        f"{len(fitting)} of {counted(len(section.schedules), 'schedule')} {fit} the memory limit. " if limited else ""
    )
    best = section.winner
    if best is None:
        return text.strip()
    held = f"{text}{best.summary.name} holds {grouped(best.peak)} on its fullest device"
    frugal = min(fitting, key=lambda each: (each.peak, each.summary.figures.makespan))
    if len(fitting) == 1:
        return f"{held}."
    if frugal.peak >= best.peak:
        return f"{held}, and no other needs less."
    longer = frugal.summary.figures.makespan / best.summary.figures.makespan - 1
    return f"{held}; {frugal.summary.name} needs only {grouped(frugal.peak)} and takes {percent(longer)} longer."


def memory_table(section: Section) -> Table:
    """Put makespan, peak memory and the fraction of the limit into a table."""
    rows = []
    for each in section.schedules:
        share = share_of_limit(each)
        peak = grouped(max(each.summary.figures.peak_memory))
        limit = "no limit" if share is None else percent(share)
        rows.append([label(each), grouped(each.summary.figures.makespan), peak, limit])
    return Table(["schedule", titled("makespan", section.unit), "peak memory", "of the limit"], rows)


MEMORY = Panel(
    "memory",
    "Makespan against memory",
    memory_chart,
    memory_sentence,
    memory_table,
    lambda section: section.frontier is None and bool(section.schedules),
)
"""Left out beside a frontier, whose chart contains it."""
