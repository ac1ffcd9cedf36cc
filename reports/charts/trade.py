"""The chart of the trade-off between makespan and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import altair as alt

from reports.charts import palette
from reports.charts.axes import EXACT, Axis
from reports.charts.bubbles import STATE_COLOURS, STATES, tooltips
from reports.charts.folding import all_schedules, by_focus, colour_of, row_chart
from reports.charts.label_places import LINE_HEIGHT, NARROWEST, WIDEST, Box, Sheet, covered, dot, text_width
from reports.charts.panel import Panel, Table
from reports.charts.point_names import ARROW, Named
from reports.charts.records import focus_of, label, makespan_text, schedule_records, share_text
from reports.content import Presented, Section
from reports.focus import FEW, in_focus, pareto_front
from reports.numbers import grouped, percent, titled, with_unit
from solver.counted import counted

HEIGHT = 300
ROOM = 0.12
_BELOW = 0.08
"""More room below the bound, as a fraction of the axis: a name stands below the bound's own."""

LIMIT_TEXT, _TEXT_AWAY = "memory limit", 4.0

Side: TypeAlias = Literal["left", "right"]


def memory_chart(section: Section) -> alt.LayerChart:
    """Draw makespan against peak memory, with a point for each schedule and lines for the limit and the bound.

    The axes are filled by the schedules that fit the memory. Those far outside are arrows at the edge. The names are
    those of the winner, the baseline and the Pareto front; a tooltip names the others.

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
    field = "peak_memory" if shared else "share_of_limit"
    title = titled("peak memory of a device", section.units.memory) if shared else "share of its limit"
    records = [each for each in schedule_records(section) if each[field] is not None]
    layout = _layout(section, records, field, next(iter(limits)) if shared else 1.0)
    x = alt.X(
        f"{field}:Q",
        title=title,
        scale=layout.points.x.scale,
        axis=alt.Axis(format=layout.points.x.form if shared else "~%", tickCount=7),
    )
    y = alt.Y(
        "makespan:Q",
        title=titled("makespan", section.units.time),
        scale=layout.points.y.scale,
        axis=alt.Axis(format=EXACT, tickCount=6),
    )
    layers = [*_lines(x, y, layout), *layout.names(x, y), *_points(records, x, y, layout, section)]
    return alt.LayerChart(layer=layers, width="container", height=HEIGHT).add_params(all_schedules())


def _points(
    records: Sequence[Mapping[str, Any]], x: alt.X, y: alt.Y, layout: _Layout, section: Section
) -> list[alt.Chart]:
    colours = colour_of("state", STATE_COLOURS, records)
    shapes = alt.Scale(domain=colours.values, range=[STATES[state][1] for state in colours.values])
    fields = dict.fromkeys(("name", "state", "makespan", "peak_memory", layout.points.fields[0]))
    encoded = {"x": x, "y": y, "color": colours.color, "tooltip": tooltips(*fields, section=section)}
    inside, beyond = layout.points.divided(records)
    points = row_chart(inside).mark_point(filled=True, size=110, opacity=1)
    layers = [points.encode(shape=alt.Shape("state:N", scale=shapes, title=None, legend=colours.legend), **encoded)]
    if beyond:
        arrows = row_chart(beyond).mark_point(filled=True, size=110, opacity=1, **ARROW)
        counts = [sum(each["focus"] or everything for each in beyond) for everything in (True, False)]
        count = alt.Chart(alt.InlineData(values=[{}])).mark_text(
            text=alt.ExprRef(by_focus(*map(_beyond_text, counts))),
            align="right",
            baseline="bottom",
            dy=-_TEXT_AWAY,
        )
        layers += [arrows.encode(**encoded), count.encode(x=alt.value("width"), y=alt.value(0))]
    return layers


def _beyond_text(count: int) -> str:
    return f"▸ {count} beyond these axes" if count else ""


def _lines(x: alt.X, y: alt.Y, layout: _Layout) -> list[alt.Chart]:
    lines: list[alt.Chart] = []
    field = layout.points.fields[0]
    if layout.limit is not None:
        at = alt.Chart(alt.InlineData(values=[{field: layout.limit, "text": LIMIT_TEXT}]))
        lines += [
            at.mark_rule(color=palette.OVER_LIMIT, strokeWidth=1.5).encode(x=x),
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


@dataclass(frozen=True)
class _Layout:
    """The points, the lines, and where the texts of the lines stand."""

    points: Named
    limit: float | None
    bound: float | None
    unit: str

    @property
    def bound_text(self) -> str:
        return f"lower bound {with_unit(grouped(self.bound or 0.0), self.unit)}"

    @property
    def _limit_at(self) -> float:
        return self.points.x.share(self.limit or 0.0)

    @property
    def _bound_at(self) -> float:
        return (1 - self.points.y.share(self.bound or 0.0)) * HEIGHT

    @property
    def limit_align(self) -> Side:
        """The alignment of the limit's name, which stands to the left of its line if there is room."""
        return "right" if self._limit_at * NARROWEST >= _TEXT_AWAY + text_width(LIMIT_TEXT) else "left"

    @property
    def bound_align(self) -> Side:
        """The end of its line at which the bound's name stands: the right one, unless it covers less on the left."""
        every = (*self.points.names, *self.points.others)
        others = [*(dot(self.points.place(point, HEIGHT)) for point in every), *self._limit_boxes()]
        sides: tuple[Side, Side] = ("right", "left")
        return min(sides, key=lambda align: covered(self._bound_box(align), others))

    def _bound_box(self, align: Side) -> Box:
        return _text_box(float(align == "right"), align, self.bound_text, self._bound_at)

    def _limit_boxes(self) -> list[Box]:
        if self.limit is None:
            return []
        rule = Box(self._limit_at, -2, 2, 0, HEIGHT)
        return [rule, _text_box(self._limit_at, self.limit_align, LIMIT_TEXT, 0)]

    def names(self, x: alt.X, y: alt.Y) -> list[alt.Chart]:
        """Write the names of the points; schedules at the same point share a name."""
        rules, taken = self._limit_boxes()[:1], self._limit_boxes()[1:]
        if self.bound is not None:
            rules.append(Box(0, 0, WIDEST, self._bound_at - 2, self._bound_at + 2))
            taken.append(self._bound_box(self.bound_align))
        return self.points.marks(self.points.places(Sheet(HEIGHT), taken, rules), x, y)


def _text_box(at: float, align: Side, text: str, top: float) -> Box:
    """Return the box of a line's own name, just below `top`."""
    width = text_width(text)
    left = -_TEXT_AWAY - width if align == "right" else _TEXT_AWAY
    return Box(at, left, left + width, top + _TEXT_AWAY, top + _TEXT_AWAY + LINE_HEIGHT)


def _layout(section: Section, records: Sequence[Mapping[str, Any]], field: str, limit: float | None) -> _Layout:
    fitting = [each for each in records if not section.schedules[each["rank"]].summary.over] or records
    ranked = {each["rank"]: each for each in records}
    named = [ranked[rank] for rank in _named(section) if rank in ranked]
    mattering = [each for each in named if each in fitting] or fitting
    x = Axis.filled(
        [*(each[field] for each in mattering), *([] if limit is None else [limit])],
        [each[field] for each in fitting],
        room=ROOM,
    )
    y = Axis.filled(
        [*(each["makespan"] for each in mattering), *([] if section.bound is None else [section.bound])],
        [each["makespan"] for each in fitting],
        room=ROOM,
    )
    if section.bound is not None:
        y = Axis(max(0.0, y.low - _BELOW * (y.high - y.low)), y.high)
    names: dict[tuple[float, float], list[str]] = {}
    for each in named:
        names.setdefault((each[field], each["makespan"]), []).append(each["name"])
    others = [point for each in records if (point := (each[field], each["makespan"])) not in names]
    amounts = {(each[field], each["makespan"]): _amount_beyond(each, field, x, section) for each in named}
    return _Layout(Named(x, y, (field, "makespan"), names, others, amounts), limit, section.bound, section.units.time)


def _amount_beyond(record: Mapping[str, Any], field: str, x: Axis, section: Section) -> str:
    """Write the value that lies beyond an edge: the memory, or else the makespan."""
    if x.low <= record[field] <= x.high:
        return with_unit(str(record["makespan_text"]), section.units.time)
    return with_unit(str(record[f"{field}_text"]), section.units.memory if field == "peak_memory" else "")


def _named(section: Section) -> list[int]:
    """List the schedules to name, the most important first: all of a few, else those that stand for a choice."""
    schedules, focus = section.schedules, in_focus(section)
    first: list[Presented | None] = [section.winner, section.fastest]
    chosen = [rank for rank, each in enumerate(schedules) if any(each is one for one in first)]
    if section.baseline is not None:
        chosen += [rank for rank, each in enumerate(schedules) if each.summary.name == section.baseline.name]
    fair = [rank for rank in focus if schedules[rank].summary.may_win]
    fitting = fair or [rank for rank in focus if not schedules[rank].summary.over]
    front = pareto_front(schedules, sorted(fitting, key=lambda rank: (schedules[rank].summary.figures.makespan, rank)))
    rest = range(len(schedules)) if len(schedules) <= FEW else ()
    return list(dict.fromkeys([*chosen, *front, *rest]))


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
    held = (
        f"{text}{best.summary.name} holds {with_unit(grouped(best.peak), section.units.memory)} on its fullest device"
    )
    frugal = min(fitting, key=lambda each: (each.peak, each.summary.figures.makespan))
    if len(fitting) == 1:
        return f"{held}."
    if frugal.peak >= best.peak:
        return f"{held}, and no other needs less."
    longer = frugal.summary.figures.makespan / best.summary.figures.makespan - 1
    least = with_unit(grouped(frugal.peak), section.units.memory)
    return f"{held}; {frugal.summary.name} needs only {least} and takes {percent(longer)} longer."


def memory_table(section: Section) -> Table:
    """Put makespan, peak memory and the fraction of the limit into a table."""
    rows = [[label(each), makespan_text(each), grouped(each.peak), share_text(each)] for each in section.schedules]
    titles = titled("makespan", section.units.time), titled("peak memory", section.units.memory)
    return Table(["schedule", *titles, "of the limit"], rows, focus_of(section, section.schedules))


MEMORY = Panel(
    "memory",
    "Makespan against memory",
    memory_chart,
    memory_sentence,
    memory_table,
    lambda section: section.frontier is None and bool(section.schedules),
)
"""Left out beside a frontier, whose chart contains it."""
