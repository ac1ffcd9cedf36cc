"""Folds schedules out of focus away: a chart draws them while its parameter ``all_schedules`` is true.

It is true in a picture and in a notebook. The page sets it to false, and its switch to true.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt

ALL_SCHEDULES = "all_schedules"
"""The parameter."""

IS_SHOWN = f"{ALL_SCHEDULES} || datum.focus"
"""The expression that selects rows."""


def all_schedules() -> alt.Parameter:
    """Make the parameter."""
    return alt.param(name=ALL_SCHEDULES, value=True)


def by_focus(everything: object, focus: object) -> str:
    """Write the Vega expression of a value that depends on which schedules are shown."""
    whole, part = json.dumps(everything), json.dumps(focus)
    return whole if whole == part else f"({ALL_SCHEDULES} ? {whole} : {part})"


def row_chart(records: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """Start a chart of rows that are drawn if they are in focus, or if all are."""
    chart: alt.Chart = alt.Chart(alt.InlineData(values=list(records))).transform_filter(IS_SHOWN)
    return chart


class Colouring(NamedTuple):
    """Colours by a field, with a legend of the values that are drawn.

    Attributes
    ----------
    color : altair.Color
        The channel.
    scale, legend : altair.Scale, altair.Legend
        Its parts, for further channels of the same field.
    values : list of str
        The values that occur in any row.
    """

    color: alt.Color
    scale: alt.Scale
    legend: alt.Legend | None
    values: list[str]


def colour_of(field: str, looks: Mapping[str, str], records: Sequence[Mapping[str, Any]], **legend: Any) -> Colouring:
    """Colour rows by a field.

    Parameters
    ----------
    field : str
        The field.
    looks : mapping
        The colour of each value that may occur, in the order of the legend.
    records : sequence of mapping
        The rows; those whose ``share`` is 0 are not seen.
    **legend
        Properties of the legend.
    """
    every = occurring(field, looks, records)
    scale = alt.Scale(domain=every, range=[looks[value] for value in every])
    seen = [each for each in records if each.get("share", True)]
    focus = occurring(field, looks, [each for each in seen if each["focus"]])
    values = by_focus(occurring(field, looks, seen), focus)
    shown = alt.Legend(orient="top", values=alt.ExprRef(values), **legend) if seen else None
    return Colouring(alt.Color(f"{field}:N", scale=scale, sort=every, title=None, legend=shown), scale, shown, every)


def occurring(field: str, values: Collection[str], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the values that occur in a field of rows, in the given order."""
    there = {each[field] for each in records}
    return [value for value in values if value in there]
