"""The chart of the effects of slightly lower and higher costs on a schedule's makespan."""

from __future__ import annotations

from typing import Any

import altair as alt

from reports.charts.bubbles import ROW_HEIGHT
from reports.charts.records import label
from reports.content import Section
from reports.what_if import strongest

MOST_SHOWN = 14
"""Costs drawn for a schedule: those that shorten it most."""

_SHRINKING, _GROWING = "#0072B2", "#9CC7E4"


def effects_chart(section: Section) -> alt.LayerChart:
    """Draw how much 1 % of each cost shortens and lengthens the makespan of one schedule, which the reader can choose.

    Parameters
    ----------
    section : Section
        The section; its `what_if` holds the effects of the costs.
    """
    records = _records(section)
    names = list(dict.fromkeys(record["name"] for record in records))
    chosen = alt.param(name="effects_of", value=names[0], bind=alt.binding_select(options=names, name="Schedule "))
    base = alt.Chart(alt.InlineData(values=records)).transform_filter("datum.name == effects_of")
    y = alt.Y("cost:N", sort=alt.EncodingSortField("place", order="ascending"), title=None)
    tooltip = [
        alt.Tooltip("cost:N"),
        alt.Tooltip("shrinking:Q", title="1 % less takes off, %", format=".3f"),
        alt.Tooltip("growing:Q", title="1 % more adds, %", format=".3f"),
    ]
    axis = alt.Axis(tickCount=6, format="~f")
    title = "per cent of the step for 1 % of the cost"
    growing = base.mark_bar(color=_GROWING).encode(y=y, x=alt.X("growing:Q", title=title, axis=axis), tooltip=tooltip)
    shrinking = base.mark_bar(color=_SHRINKING, height=12).encode(y=y, x=alt.X("shrinking:Q"), tooltip=tooltip)
    height = ROW_HEIGHT * MOST_SHOWN
    return alt.LayerChart(layer=[growing, shrinking], width="container", height=height).add_params(chosen)


def _records(section: Section) -> list[dict[str, Any]]:
    found = section.what_if.schedules if section.what_if is not None else []
    return [
        {
            "name": label(each),
            "place": place,
            "cost": effect.label,
            "shrinking": effect.shrinking,
            "growing": effect.growing,
        }
        for each, replayable in zip(section.schedules, found, strict=False)
        if replayable is not None
        for place, effect in enumerate(strongest(replayable.effects, MOST_SHOWN))
    ]
