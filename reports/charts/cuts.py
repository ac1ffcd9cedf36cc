"""Charts of cuts: the layers of each device, stage by stage, and the memory that they take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from reports.charts import palette
from reports.charts.bubbles import ROW_HEIGHT
from reports.charts.records import cut_records, label, memory_records
from reports.content import Presented, Section
from reports.numbers import titled

RECOMPUTED_OPACITY = 0.5
"""Opacity of recomputed layers, which are paler than the others."""

_SHARES = ("static", "activations")


def cut_chart(section: Section) -> alt.Chart:
    """Draw the stages of each device as stacked layers, for one schedule that the reader can choose.

    The length of a piece is the forward and the backward of its layers for one microbatch.

    Parameters
    ----------
    section : Section
        Schedules with cuts; those without are left out.
    """
    shown, records = _with_cuts(section), cut_records(section.schedules)
    chosen = _choice(shown)
    kinds = list(dict.fromkeys(each["kind"] for each in records))
    colours = alt.Scale(
        domain=kinds, range=[palette.MICROBATCHES[place % len(palette.MICROBATCHES)] for place in range(len(kinds))]
    )
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=records))
        .transform_filter(f"datum.name == {chosen.name}")
        .mark_bar(stroke="white", strokeWidth=1)
        .encode(
            y=alt.Y("device:O", title="device"),
            x=alt.X("time:Q", stack=True, title=titled("F + B of one microbatch", section.unit)),
            order="place:Q",
            color=alt.Color("kind:N", scale=colours, sort=kinds, title=None, legend=alt.Legend(orient="top")),
            opacity=alt.condition("datum.recomputed == 'yes'", alt.value(RECOMPUTED_OPACITY), alt.value(1)),
            tooltip=[
                *(alt.Tooltip(f"{field}:N") for field in ("device", "stage", "kind", "layers", "recomputed")),
                alt.Tooltip("time:Q", title=titled("F + B", section.unit), format=",.6~r"),
                alt.Tooltip("static:Q", title="static memory", format=",.6~r"),
            ],
        )
        .add_params(chosen)
        .properties(width="container", height=ROW_HEIGHT * max(2, _devices(shown)))
    )
    return chart


def device_memory_chart(section: Section) -> alt.LayerChart:
    """Draw each device's static memory, activations and limit, for one schedule that the reader can choose.

    Parameters
    ----------
    section : Section
        Schedules with cuts; those without are left out.
    """
    shown = _with_cuts(section)
    chosen = _choice(shown)
    colours = alt.Scale(domain=list(_SHARES), range=[palette.KINDS["F"], palette.KINDS["B"]])
    base = alt.Chart(alt.InlineData(values=memory_records(section.schedules))).transform_filter(
        f"datum.name == {chosen.name}"
    )
    y = alt.Y("device:O", title="device")
    bars = base.mark_bar().encode(
        y=y,
        x=alt.X("memory:Q", stack=True, title="memory at the peak"),
        order="place:O",
        color=alt.Color("share:N", scale=colours, sort=list(_SHARES), title=None, legend=alt.Legend(orient="top")),
        tooltip=[
            *(alt.Tooltip(f"{field}:N") for field in ("device", "share")),
            *(alt.Tooltip(f"{field}:Q", format=",.6~r") for field in ("memory", "peak", "limit")),
        ],
    )
    limits = (
        base.transform_filter("isValid(datum.limit)")
        .mark_tick(thickness=2, color=palette.OVER_LIMIT, bandSize=ROW_HEIGHT)
        .encode(y=y, x="limit:Q")
    )
    chart: alt.LayerChart = alt.LayerChart(
        layer=[bars, limits], width="container", height=ROW_HEIGHT * max(2, _devices(shown))
    ).add_params(chosen)
    return chart


def _with_cuts(section: Section) -> list[Presented]:
    return [each for each in section.schedules if each.cut]


def _choice(shown: Sequence[Presented]) -> Any:
    names = [label(each) for each in shown]
    return alt.param(value=names[0] if names else "", bind=alt.binding_select(options=names, name="Schedule "))


def _devices(shown: Sequence[Presented]) -> int:
    return max((each.problem.devices for each in shown), default=1)
