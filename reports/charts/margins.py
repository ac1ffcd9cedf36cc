"""The chart of margins: the makespans of the schedules that lead somewhere, over the overhead of an operation."""

from __future__ import annotations

import altair as alt

from reports.charts import palette
from reports.charts.axes import EXACT
from reports.charts.panel import Panel, Table
from reports.content import Section
from reports.numbers import grouped, titled
from solver.counted import listed

HEIGHT = 260

_DASHES = ([1, 0], [7, 3], [2, 2], [10, 3, 2, 3], [4, 5])


def margins_chart(section: Section) -> alt.LayerChart:
    """Draw the makespan of each schedule that leads somewhere, and a dashed line where the lead changes.

    Parameters
    ----------
    section : Section
        The section; its `margins` hold the curves.
    """
    margins = section.margins
    rows = [
        {
            "name": curve.name,
            "overhead": overhead,
            "overhead_text": grouped(overhead),
            "makespan": makespan,
            "makespan_text": grouped(makespan),
        }
        for curve in margins.curves
        for overhead, makespan in curve.points
    ]
    changes = [
        {
            "overhead": each.value,
            "overhead_text": each.amount(section.units.time),
            "text": f"{each.leader} until here, then {each.overtaken_by}",
        }
        for each in margins.margins
        if each.cost == "overhead"
    ]
    ends = [overhead for curve in margins.curves for overhead, _ in curve.points]
    title = "more overhead for each operation" if margins.added else "overhead of each operation"
    x = alt.X(
        "overhead:Q",
        title=titled(title, section.units.time),
        scale=alt.Scale(domain=[min(ends), max(ends)], nice=False),
        axis=alt.Axis(format=EXACT, tickCount=8),
    )
    names = [curve.name for curve in margins.curves]
    dashes = [_DASHES[place % len(_DASHES)] for place in range(len(names))]
    amounts = [
        alt.Tooltip(f"{field}_text:N", title=titled(field, section.units.time)) for field in ("overhead", "makespan")
    ]
    y = alt.Y(
        "makespan:Q",
        title=titled("makespan", section.units.time),
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format=EXACT, tickCount=6),
    )
    dash = alt.StrokeDash(
        "name:N",
        scale=alt.Scale(domain=names, range=dashes),
        title=None,
        legend=alt.Legend(orient="top", symbolSize=700, symbolStrokeWidth=2),
    )
    tooltip = [alt.Tooltip("name:N", title="schedule"), *amounts]
    curves = alt.Chart(alt.InlineData(values=rows)).encode(x=x, y=y, tooltip=tooltip)
    lines = curves.mark_line(color=palette.OTHER_COSTS).encode(strokeDash=dash, detail="name:N")
    points = curves.mark_point(color=palette.OTHER_COSTS, filled=True, size=30, opacity=1)
    rules = (
        alt.Chart(alt.InlineData(values=changes))
        .mark_rule(strokeDash=[5, 3])
        .encode(x=x, tooltip=[alt.Tooltip("text:N", title="lead"), alt.Tooltip("overhead_text:N", title="overhead")])
    )
    return alt.LayerChart(layer=[rules, lines, points], width="container", height=HEIGHT)


def margins_sentence(section: Section) -> str:
    """Say what the chart of margins shows."""
    names = [curve.name for curve in section.margins.curves]
    return (
        "Each operation costs its overhead beside its work, and orders with more operations pay more of it. As it "
        f"grows, {listed(names)} lead in turn; orders stay as they are."
    )


def margins_table(section: Section) -> Table:
    """Put each change of the lead into a table."""
    rows = [[each.where(section.units.time), each.leader, each.overtaken_by] for each in section.margins.margins]
    return Table(["the lead changes where", "from", "to"], rows)


MARGINS = Panel(
    "margins",
    "How far the verdict holds",
    margins_chart,
    margins_sentence,
    margins_table,
    lambda section: bool(section.margins.curves),
)
