"""The chart of margins: the makespans of the schedules that lead somewhere, over the overhead of an operation."""

from __future__ import annotations

import altair as alt

from reports.charts import palette
from reports.content import Section
from reports.numbers import titled

HEIGHT = 260


def margins_chart(section: Section) -> alt.LayerChart:
    """Draw the makespan of each schedule that leads somewhere, and a dashed line where the lead changes.

    Parameters
    ----------
    section : Section
        The section; its `margins` hold the curves.
    """
    margins = section.margins
    rows = [
        {"name": curve.name, "overhead": overhead, "makespan": makespan}
        for curve in margins.curves
        for overhead, makespan in curve.points
    ]
    changes = [
        {"overhead": each.value, "text": f"{each.leader} until here, then {each.overtaken_by}"}
        for each in margins.margins
        if each.cost == "overhead"
    ]
    ends = [overhead for curve in margins.curves for overhead, _ in curve.points]
    title = "more overhead for each operation" if margins.added else "overhead of each operation"
    x = alt.X(
        "overhead:Q",
        title=titled(title, section.unit),
        scale=alt.Scale(domain=[min(ends), max(ends)], nice=False),
        axis=alt.Axis(format=",.6~r"),
    )
    names = [curve.name for curve in margins.curves]
    colours = [palette.MICROBATCHES[place % len(palette.MICROBATCHES)] for place in range(len(names))]
    amounts = [
        alt.Tooltip("overhead:Q", title=titled("overhead", section.unit), format=",.7~r"),
        alt.Tooltip("makespan:Q", title=titled("makespan", section.unit), format=",.7~r"),
    ]
    lines = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(point=True)
        .encode(
            x=x,
            y=alt.Y(
                "makespan:Q",
                title=titled("makespan", section.unit),
                scale=alt.Scale(zero=False),
                axis=alt.Axis(format=",.6~r", tickCount=6),
            ),
            color=alt.Color(
                "name:N", scale=alt.Scale(domain=names, range=colours), title=None, legend=alt.Legend(orient="top")
            ),
            tooltip=[alt.Tooltip("name:N", title="schedule"), *amounts],
        )
    )
    rules = (
        alt.Chart(alt.InlineData(values=changes))
        .mark_rule(strokeDash=[5, 3])
        .encode(x=x, tooltip=[alt.Tooltip("text:N", title="lead"), amounts[0]])
    )
    return alt.LayerChart(layer=[rules, lines], width="container", height=HEIGHT)
