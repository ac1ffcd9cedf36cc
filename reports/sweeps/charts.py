"""Draws a sweep as lines along one axis, and as a map of winners over two."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import altair as alt

from reports.charts import palette
from reports.numbers import percent, titled
from reports.sweeps.content import AxisShown, SweepShown
from reports.sweeps.winners import Place

BOUND = "lower bound"
BOUND_COLOUR = "#566270"
MOST_TEXTS = 300
"""Most cells of a map that still have room for text."""


def colours(sweep: SweepShown, shown: Collection[str]) -> alt.Scale:
    """Assign each shown strategy a colour, the same in all charts; the bound is grey."""
    tints = palette.SERIES
    every = {name: tints[place % len(tints)] for place, name in enumerate(sweep.strategies)} | {BOUND: BOUND_COLOUR}
    here = {name: tint for name, tint in every.items() if name in shown}
    return alt.Scale(domain=list(here), range=list(here.values()))


def lines(sweep: SweepShown) -> alt.LayerChart:
    """Draw makespans along the first axis, with a line for each strategy and the bound below them.

    Points over their memory limit are hollow. The page's menus set the values of the other axes.
    """
    side = sweep.sides[0]
    axis = sweep.axes[side]
    records = _line_records(sweep)
    base = alt.Chart(alt.InlineData(values=records))
    for other in range(len(sweep.axes)):
        if other != side:
            base = base.transform_filter(f"datum.at[{other}] == axis_{other}")
    x = _side("x", axis)
    y = alt.Y(
        "makespan:Q",
        title=titled("makespan", sweep.unit),
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format=",.6~r"),
    )
    scale = colours(sweep, {record["strategy"] for record in records})
    colour = alt.Color("strategy:N", scale=scale, title=None, legend=alt.Legend(orient="top", columns=4))
    tooltip = [
        alt.Tooltip("strategy:N"),
        alt.Tooltip("x:N", title=axis.name),
        alt.Tooltip("makespan:Q", title=titled("makespan", sweep.unit), format=",.7~r"),
        alt.Tooltip("status:N"),
    ]
    dashes = alt.condition(f"datum.strategy == '{BOUND}'", alt.value([5, 4]), alt.value([1, 0]))
    drawn = base.mark_line().encode(x=x, y=y, color=colour, strokeDash=dashes)
    named = base.transform_filter(f"datum.strategy != '{BOUND}'")
    inside = alt.condition("datum.fits", alt.value(1), alt.value(0))
    dots = named.mark_point(size=60, opacity=1).encode(
        x=x, y=y, color=colour, fill=colour, fillOpacity=inside, tooltip=tooltip, href="link:N"
    )
    chart = alt.LayerChart(layer=[drawn, dots], width="container", height=380)
    return chart.add_params(*_held(sweep, [side]))


def winner_map(sweep: SweepShown) -> alt.LayerChart:
    """Draw the winners over two axes; a stronger colour shows a larger lead, and a cell links to its table."""
    first, second = sweep.sides
    base = alt.Chart(alt.InlineData(values=_cell_records(sweep)))
    scale = colours(sweep, {str(row["strategy"]) for row in sweep.winners.values()})
    for other in range(len(sweep.axes)):
        if other not in sweep.sides:
            base = base.transform_filter(f"datum.at[{other}] == axis_{other}")
    x, y = _side("x", sweep.axes[first], ordinal=True), _side("y", sweep.axes[second], ordinal=True)
    cells = base.mark_rect(stroke="white", cursor="pointer").encode(
        x=x,
        y=y,
        color=alt.Color("strategy:N", scale=scale, title=None, legend=alt.Legend(orient="top", columns=4)),
        opacity=alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0.3, 1]), legend=None),
        tooltip=[
            alt.Tooltip("x:N", title=sweep.axes[first].name),
            alt.Tooltip("y:N", title=sweep.axes[second].name),
            alt.Tooltip("strategy:N", title="winner"),
            alt.Tooltip("makespan:Q", title=titled("makespan", sweep.unit), format=",.7~r"),
            alt.Tooltip("lead:N", title="ahead of the second by"),
        ],
        href="link:N",
    )
    layers = [cells]
    sizes = [len(sweep.axes[side].values) for side in sweep.sides]
    if sizes[0] * sizes[1] <= MOST_TEXTS:
        layers.append(base.mark_text(fontSize=11, cursor="pointer").encode(x=x, y=y, text="lead:N", href="link:N"))
    chart = alt.LayerChart(layer=layers, width="container", height=max(120, min(640, 34 * sizes[1])))
    return chart.add_params(*_held(sweep, sweep.sides))


def _held(sweep: SweepShown, drawn: list[int]) -> list[alt.Parameter]:
    """Make a signal for each axis that is not drawn, which the page's menus set."""
    return [alt.param(name=f"axis_{other}", value=0) for other in range(len(sweep.axes)) if other not in drawn]


def _side(channel: str, axis: AxisShown, *, ordinal: bool = False) -> Any:
    make = alt.X if channel == "x" else alt.Y
    if axis.is_numeric and not ordinal:
        ticks = alt.Axis(format=",.6~r", tickCount=8)
        return make(f"{channel}:Q", title=axis.name, axis=ticks, scale=alt.Scale(zero=False, nice=False))
    domain = alt.Scale(domain=list(axis.values) if channel == "x" else list(axis.values)[::-1])
    return make(f"{channel}:O", title=axis.name, scale=domain, axis=alt.Axis(labelAngle=0, labelOverlap=True))


def _line_records(sweep: SweepShown) -> list[dict[str, Any]]:
    name = sweep.axes[sweep.sides[0]].name
    records: list[dict[str, Any]] = []
    for number, (place, rows) in enumerate(sweep.points.items()):
        about = {"at": _indices(sweep, place), "x": rows[0][name], "link": f"#point-{number}"}
        for row in rows:
            if row["makespan"] is not None:
                state = row["status"] if row["fits"] else "over the memory limit"
                shown = {"strategy": row["strategy"], "makespan": row["makespan"], "fits": row["fits"], "status": state}
                records.append(about | shown)
        if (bound := sweep.bound(place)) is not None:
            records.append(about | {"strategy": BOUND, "makespan": bound, "fits": True, "status": "proven"})
    return records


def _cell_records(sweep: SweepShown) -> list[dict[str, Any]]:
    names = [sweep.axes[side].name for side in sweep.sides]
    leads = {place: sweep.lead(place) for place in sweep.winners}
    most = max((lead for lead in leads.values() if lead), default=1.0)
    numbers = {place: number for number, place in enumerate(sweep.points)}
    return [
        {
            "at": _indices(sweep, place),
            "x": row[names[0]],
            "y": row[names[1]],
            "strategy": row["strategy"],
            "makespan": row["makespan"],
            "lead": "" if (lead := leads[place]) is None else percent(lead),
            "strength": 1.0 if lead is None else lead / most,
            "link": f"#point-{numbers[place]}",
        }
        for place, row in sweep.winners.items()
    ]


def _indices(sweep: SweepShown, place: Place) -> list[int]:
    texts = [list(map(str, axis.values)) for axis in sweep.axes]
    return [each.index(value) for each, value in zip(texts, place, strict=True)]
