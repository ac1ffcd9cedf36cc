"""The chart of schedules under noise: the interval that holds most of their makespans."""

from __future__ import annotations

from typing import Any

import altair as alt

from reports.charts.bubbles import ROW_HEIGHT, state_scales
from reports.charts.records import label, schedule_records
from reports.content import Section
from reports.numbers import percent, titled


def noise_chart(section: Section) -> alt.LayerChart:
    """Draw for each schedule the interval of nine in ten draws, their mean, and the makespan without noise.

    Parameters
    ----------
    section : Section
        Schedules with noise figures; those without are left out.
    """
    records = _records(section)
    colours, _ = state_scales(records)
    ends = [record[key] for record in records for key in ("low", "high", "makespan")]
    room = (max(ends) - min(ends) or max(ends)) * 0.03
    scale = alt.Scale(domain=[min(ends) - room, max(ends) + 4 * room], nice=False)
    y = alt.Y("name:N", sort=[record["name"] for record in records], title=None)
    tooltip = [
        alt.Tooltip("name:N"),
        *(alt.Tooltip(f"{key}:Q", title=titled(title, section.unit), format=",.7~r") for key, title in _TITLES.items()),
        alt.Tooltip("best:N", title="is the best"),
    ]
    base = alt.Chart(alt.InlineData(values=records))
    bars = base.mark_bar(height=9, cornerRadius=4).encode(
        y=y,
        x=alt.X(
            "low:Q",
            title=titled("makespan", section.unit),
            scale=scale,
            axis=alt.Axis(format=",.6~r", tickCount=6),
        ),
        x2="high:Q",
        color=alt.Color(
            "state:N", scale=colours, title=None, legend=alt.Legend(orient="top", symbolType="square", offset=4)
        ),
        tooltip=tooltip,
    )
    exact = base.mark_tick(thickness=2, bandSize=ROW_HEIGHT - 6).encode(y=y, x=_x("makespan", scale), tooltip=tooltip)
    mean = base.mark_point(shape="diamond", size=70, filled=True, stroke="white", strokeWidth=0.8, opacity=1)
    means = mean.encode(y=y, x=_x("mean", scale), color=alt.value("#1B2430"), tooltip=tooltip)
    texts = base.mark_text(align="left", dx=6).encode(y=y, x=_x("end", scale), text="best:N")
    return alt.LayerChart(
        layer=[bars, exact, means, texts], width="container", height=ROW_HEIGHT * max(2, len(records))
    )


_TITLES = {"low": "5 %", "mean": "mean", "high": "95 %", "makespan": "without noise"}


def _x(field: str, scale: alt.Scale) -> alt.X:
    return alt.X(f"{field}:Q", scale=scale)


def _records(section: Section) -> list[dict[str, Any]]:
    noisy = [(each, each.noise) for each in section.schedules]
    states = {record["name"]: record["state"] for record in schedule_records(section.schedules)}
    records = [
        {
            "name": label(each),
            "state": states[label(each)],
            "makespan": each.summary.figures.makespan,
            "mean": figures.mean,
            "low": figures.low,
            "high": figures.high,
            "end": max(figures.high, each.summary.figures.makespan),
            "best": f"best {percent(figures.best)}" if figures.best else "",
        }
        for each, figures in noisy
        if figures is not None
    ]
    return sorted(records, key=lambda record: float(record["mean"]))
