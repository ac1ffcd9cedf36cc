"""The names of the points of a chart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import altair as alt

from reports.charts.label_places import LINE_HEIGHT, LONGEST, Place


def point_names(
    points: Collection[tuple[float, float]],
    names: tuple[Sequence[str], Sequence[Place]],
    x: alt.X,
    y: alt.Y,
    field: str,
    **mark: Any,
) -> list[alt.Chart]:
    """Write the names of points, with a thin line to a name that is not right next to its point.

    Parameters
    ----------
    points : collection of (float, float)
        Their values: the field on the x axis, and the makespan.
    names : (sequence of str, sequence of Place)
        Their names, and the places of the names.
    x, y : altair.X, altair.Y
        The axes.
    field : str
        The field on the x axis.
    **mark
        Further properties of all marks, such as ``clip``.
    """
    rows = [
        {field: at, "makespan": makespan, "name": text, **place._asdict()}
        for (at, makespan), text, place in zip(points, *names, strict=True)
    ]
    texts = alt.Chart(alt.InlineData(values=rows)).mark_text(
        align=alt.ExprRef("datum.align"),
        dx=alt.ExprRef("datum.dx"),
        dy=alt.ExprRef("datum.dy"),
        baseline="middle",
        limit=LONGEST,
        **mark,
    )
    away = [row for row in rows if abs(row["dy"]) > LINE_HEIGHT]
    leaders = alt.Chart(alt.InlineData(values=away)).mark_rule(
        x2Offset=alt.ExprRef("datum.dx"), y2Offset=alt.ExprRef("datum.dy"), strokeWidth=0.75, opacity=0.6, **mark
    )
    ends = {"x2": f"{field}:Q", "y2": "makespan:Q"}
    return [*([leaders.encode(x=x, y=y, **ends)] if away else []), texts.encode(x=x, y=y, text="name:N")]
