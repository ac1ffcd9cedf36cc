"""Timelines: devices as rows, operations as bars, memory as a strip beneath."""

from __future__ import annotations

from typing import Any

import altair as alt

from reports.charts import palette
from reports.charts.timeline_layout import (
    BAR_BOTTOM,
    BAR_TOP,
    CRITICAL_COLOUR,
    MEMORY_COLOUR,
    OVER_COLOUR,
    bar_rows,
    highest_peak,
    memory_rows,
    row_height,
    transfer_rows,
)
from reports.content import Presented
from reports.numbers import titled

AXIS_WIDTH = 76
"""Width of the device axis in every timeline, in pixels, so that times line up between timelines."""


def timeline_chart(presented: Presented, highest: float | None = None) -> alt.LayerChart:
    """Draw a schedule's timeline, with a strip of memory beneath each device.

    Parameters
    ----------
    presented : Presented
        The schedule.
    highest : float, optional
        The highest peak memory of schedules that are shown together; by default its own.

    Returns
    -------
    altair.LayerChart
        Readers can drag it, and zoom with the wheel while holding the control key. A menu sets the parameter
        ``colour_by`` (``kind`` or ``microbatch``), and a checkbox sets ``critical_path``.
    """
    start, unit = timeline_start(presented), presented.summary.units.time
    chart = timeline_layers(
        presented.problem.devices,
        start,
        start + presented.summary.figures.makespan,
        bars=alt.InlineData(values=bar_rows(presented)),
        memory=alt.InlineData(values=memory_rows(presented, highest_peak([presented]) if highest is None else highest)),
        transfers=alt.InlineData(values=transfer_rows(presented)),
        tooltip=[
            *(alt.Tooltip(f"{field}:N") for field in ("action", "device", "stage", "microbatch")),
            *(alt.Tooltip(f"{field}:N", title=titled(field, unit)) for field in ("start", "end")),
            alt.Tooltip("waited:N", title="waiting"),
        ],
        unit=unit,
    )
    return chart.add_params(
        alt.param(
            name="colour_by", value="kind", bind=alt.binding_select(options=["kind", "microbatch"], name="Colour by ")
        ),
        alt.param(name="critical_path", value=False, bind=alt.binding_checkbox(name="Critical path ")),
    ).properties(title=presented.summary.name)


def timeline_start(presented: Presented) -> float:
    """Return the start of the first operation."""
    return presented.extent[0] / presented.problem.ticks_per_unit


def timeline_layers(
    devices: int, start: float, end: float, *, bars: Any, memory: Any, transfers: Any, tooltip: Any, unit: str = ""
) -> alt.LayerChart:
    """Layer bars, labels, transfers and memory.

    Parameters
    ----------
    devices : int
        The number of rows.
    start, end : float
        The stretch of time shown at first.
    bars, memory, transfers : altair data
        Rows like those of `bar_rows`, `memory_rows` and `transfer_rows`.
    tooltip : altair tooltip
        The tooltip of a bar.
    unit : str
        The unit of time.

    Returns
    -------
    altair.LayerChart
        Its expressions need the parameters ``colour_by`` and ``critical_path``.
    """
    x = alt.X(
        "start:Q",
        title=titled("time", unit),
        scale=alt.Scale(domain=[start, end], nice=False),
        axis=alt.Axis(grid=False, format=",.6~r"),
    )
    y = alt.Y(
        "top:Q",
        title=None,
        scale=alt.Scale(domain=[0, devices], reverse=True, nice=False),
        axis=alt.Axis(
            values=[device + (BAR_TOP + BAR_BOTTOM) / 2 for device in range(devices)],
            labelExpr="'device ' + floor(datum.value)",
            ticks=False,
            domain=False,
            grid=False,
            minExtent=AXIS_WIDTH,
            maxExtent=AXIS_WIDTH,
        ),
    )
    zoom = alt.selection_interval(
        name="zoom", bind="scales", encodings=["x"], zoom="wheel![event.ctrlKey || event.metaKey]"
    )
    shown = f"(zoom.start ? zoom.start[1] - zoom.start[0] : {end - start!r})"
    visible = "!zoom.start || datum.end >= zoom.start[0] && datum.start <= zoom.start[1]"
    wide = f"(datum.end - datum.start) * width > {{}} * {shown}"
    drawn = alt.Chart(bars).mark_rect(
        fill=alt.ExprRef("colour_by == 'kind' ? datum.fill : datum.tint"),
        fillOpacity=alt.ExprRef(_FADED.format(1, 0.13)),
        stroke=alt.ExprRef("critical_path && datum.critical ? '" + CRITICAL_COLOUR + "' : '#FFFFFF'"),
        strokeWidth=alt.ExprRef(f"critical_path && datum.critical ? 1.5 : {wide.format(4)} ? 0.6 : 0"),
        aria=False,
    )
    texts = alt.Chart(bars).mark_text(
        fill=alt.ExprRef("colour_by == 'kind' ? datum.ink : datum.tintInk"),
        opacity=alt.ExprRef(_FADED.format(1, 0.35)),
        fontSize=min(11, row_height(devices) // 3),
        clip=True,
        aria=False,
    )
    rects = drawn.encode(x=x, x2="end:Q", y=y, y2="bottom:Q", tooltip=tooltip).transform_filter(visible)
    labels = (
        texts.encode(x=alt.X("centre:Q"), y="middle:Q", text="microbatch:N")
        .transform_filter(f"({visible}) && {wide.format('(4 + 6.4 * length(toString(datum.microbatch)))')}")
        .transform_calculate(centre="(datum.start + datum.end) / 2", middle="(datum.top + datum.bottom) / 2")
    )
    lines = (
        alt.Chart(transfers)
        .mark_rect(fill=palette.TRANSFERS, fillOpacity=alt.ExprRef("datum.state == 'waits' ? 0.3 : 1"), aria=False)
        .encode(x=x, x2="end:Q", y=y, y2="bottom:Q", tooltip=[alt.Tooltip("transfer:N"), alt.Tooltip("state:N")])
        .transform_filter(visible)
    )
    layers = [rects.add_params(zoom), lines, *_memory_layers(memory), labels]
    return alt.LayerChart(layer=layers, width="container", height=row_height(devices) * devices)


_FADED = "critical_path && !datum.critical ? {1} : {0}"


def _memory_layers(memory: Any) -> list[alt.Chart]:
    base = alt.Chart(memory).encode(x=alt.X("time:Q"), detail="device:N")
    level = base.mark_area(interpolate="step-after", color=MEMORY_COLOUR, aria=False).encode(y="top:Q", y2="base:Q")
    over = base.mark_area(interpolate="step-after", color=OVER_COLOUR, aria=False).encode(y="over:Q", y2="limit:Q")
    limit = base.mark_line(color=OVER_COLOUR, strokeWidth=1, aria=False).encode(y="limit:Q")
    return [level, over, limit]
