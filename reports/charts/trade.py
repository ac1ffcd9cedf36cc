"""The trade that people make: makespan against memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import altair as alt

from reports.charts.bubbles import state_scales, tooltips
from reports.charts.records import schedule_records
from reports.content import Section
from reports.numbers import grouped, titled, with_unit

HEIGHT = 300


def memory_chart(section: Section) -> alt.LayerChart:
    """Draw makespan against peak memory: a point for each schedule, the limit and the bound as lines.

    Parameters
    ----------
    section : Section
        The schedules and the bound.

    Returns
    -------
    altair.LayerChart
        Where the devices' limits differ, memory is the largest part of its limit that any device holds.
    """
    limits = {limit for each in section.schedules for limit in each.row.limits}
    shared = len(limits) == 1
    field, title = ("peak_memory", "peak memory of a device") if shared else ("share_of_limit", "part of its limit")
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
    layers = [*_lines(x, y, field, limit, section), *_points(section, records, x, y, field, limit)]
    return alt.LayerChart(layer=layers, width="container", height=HEIGHT)


def _points(
    section: Section, records: list[dict[str, Any]], x: alt.X, y: alt.Y, field: str, limit: float | None
) -> list[alt.Chart]:
    colours, shapes = state_scales(records)
    points = alt.Chart(alt.InlineData(values=records)).mark_point(filled=True, size=110, opacity=1)
    details = tooltips(*dict.fromkeys(("name", "state", "makespan", "peak_memory", field)), unit=section.unit)
    texts = alt.Chart(alt.InlineData(values=_labels(records, field, limit, section.bound))).mark_text(
        align=alt.ExprRef("datum.align"),
        dx=alt.ExprRef("datum.dx"),
        dy=alt.ExprRef("datum.dy"),
        baseline="middle",
        limit=260,
    )
    return [
        points.encode(
            x=x,
            y=y,
            color=alt.Color("state:N", scale=colours, title=None, legend=alt.Legend(orient="top")),
            shape=alt.Shape("state:N", scale=shapes, title=None),
            tooltip=details,
        ),
        texts.encode(x=x, y=y, text="name:N"),
    ]


def _lines(x: alt.X, y: alt.Y, field: str, limit: float | None, section: Section) -> list[alt.Chart]:
    lines: list[alt.Chart] = []
    if limit is not None:
        at = alt.Chart(alt.InlineData(values=[{field: limit, "text": "memory limit"}]))
        lines += [
            at.mark_rule(color="#D55E00", strokeWidth=1.5).encode(x=x),
            at.mark_text(align="right", dx=-4, baseline="top", dy=4).encode(x=x, y=alt.value(0), text="text:N"),
        ]
    bound = section.bound
    if bound is not None:
        text = f"lower bound {with_unit(grouped(bound), section.unit)}"
        at = alt.Chart(alt.InlineData(values=[{"makespan": bound, "text": text}]))
        lines += [
            at.mark_rule(strokeDash=[5, 4], strokeWidth=1.5).encode(y=y),
            at.mark_text(align="right", dx=-4, baseline="top", dy=4).encode(y=y, x=alt.value("width"), text="text:N"),
        ]
    return lines


def _padded(values: Sequence[float], line: float | None) -> list[float]:
    every = [*values, *([] if line is None else [line])]
    low, high = min(every), max(every)
    room = (high - low or abs(high) or 1) * 0.12
    return [max(0.0, low - room), high + room]


_NOMINAL_WIDTH, _LETTER_WIDTH, _LINE_HEIGHT, _AWAY = 480.0, 6.5, 14.0, 10
_SIDES = [
    ("left", _AWAY, 0),
    ("right", -_AWAY, 0),
    ("center", 0, -14),
    ("center", 0, 14),
    ("left", 8, -13),
    ("left", 8, 13),
]
_Box: TypeAlias = tuple[float, float, float, float]


def _labels(
    records: list[dict[str, Any]], field: str, limit: float | None, bound: float | None
) -> list[dict[str, Any]]:
    """Give each point a name where it covers the fewest others; schedules at the same point share theirs."""
    together: dict[tuple[float, float], list[str]] = {}
    for each in records:
        together.setdefault((each[field], each["makespan"]), []).append(each["name"])
    left, right = _padded([x for x, _ in together], limit)
    low, high = _padded([y for _, y in together], bound)

    def pixels(x: float, y: float) -> tuple[float, float]:
        return (x - left) / (right - left) * _NOMINAL_WIDTH, (high - y) / (high - low) * HEIGHT

    taken = [_around(*pixels(x, y), 5, 5) for x, y in together]
    if limit is not None:
        taken.append(_around(pixels(limit, low)[0], HEIGHT / 2, 1, HEIGHT / 2))
    if bound is not None:
        taken.append(_around(_NOMINAL_WIDTH / 2, pixels(left, bound)[1], _NOMINAL_WIDTH / 2, 2))
    labels: list[dict[str, Any]] = []
    for at, names in together.items():
        text = ", ".join(names)
        choices = [(side, _box(text, *pixels(*at), side)) for side in _SIDES]
        (align, dx, dy), box = min(choices, key=lambda choice: _covered(choice[1], taken))
        taken.append(box)
        labels.append({field: at[0], "makespan": at[1], "name": text, "align": align, "dx": dx, "dy": dy})
    return labels


def _around(x: float, y: float, half_width: float, half_height: float) -> _Box:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _box(text: str, x: float, y: float, side: tuple[str, int, int]) -> _Box:
    align, dx, dy = side
    width = len(text) * _LETTER_WIDTH
    start = x + dx - {"left": 0.0, "center": width / 2, "right": width}[align]
    return start, y + dy - _LINE_HEIGHT / 2, start + width, y + dy + _LINE_HEIGHT / 2


def _covered(box: _Box, others: Sequence[_Box]) -> float:
    """Measure how much of a label's box lies on others or outside the chart."""
    left, top, right, bottom = box
    outside = max(0.0, -left) + max(0.0, right - _NOMINAL_WIDTH) + max(0.0, -top) + max(0.0, bottom - HEIGHT)
    return outside * _LINE_HEIGHT + sum(
        max(0.0, min(right, other[2]) - max(left, other[0])) * max(0.0, min(bottom, other[3]) - max(top, other[1]))
        for other in others
    )
