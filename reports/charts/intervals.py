"""The chart of schedules under noise: the interval that holds most of their makespans."""

from __future__ import annotations

from typing import Any

import altair as alt

from reports.charts.axes import EXACT
from reports.charts.bubbles import ROW_HEIGHT, ROWS, STATE_COLOURS
from reports.charts.folding import all_schedules, by_focus, colour_of, row_chart
from reports.charts.panel import Panel, Table
from reports.charts.records import focus_of, label, makespan_text, schedule_records
from reports.content import Section
from reports.noise import NoisyRow, noise_sentence
from reports.numbers import grouped, percent, titled
from solver.counted import counted


def noise_chart(section: Section) -> alt.LayerChart:
    """Draw for each schedule the interval of nine in ten draws, their mean, and the makespan without noise.

    Parameters
    ----------
    section : Section
        Schedules with noise figures; those without are left out.
    """
    records = _records(section)
    colours = colour_of("state", STATE_COLOURS, records, symbolType="square", offset=4)
    domains = _domain(records), _domain([record for record in records if record["focus"]] or records)
    scale = alt.Scale(domain=[alt.ExprRef(by_focus(*ends)) for ends in zip(*domains, strict=True)], nice=False)
    y = alt.Y("name:N", sort=[record["name"] for record in records], title=None)
    tooltip = [
        alt.Tooltip("name:N"),
        *(alt.Tooltip(f"{key}_text:N", title=titled(title, section.units.time)) for key, title in _TITLES.items()),
        alt.Tooltip("best:N", title="is the best"),
    ]
    base = row_chart(records)
    bars = base.mark_bar(height=9, cornerRadius=4).encode(
        y=y,
        x=alt.X(
            "low:Q",
            title=titled("makespan", section.units.time),
            scale=scale,
            axis=alt.Axis(format=EXACT, tickCount=6),
        ),
        x2="high:Q",
        color=colours.color,
        tooltip=tooltip,
    )
    exact = base.mark_tick(thickness=2, bandSize=ROW_HEIGHT - 6).encode(y=y, x=_x("makespan", scale), tooltip=tooltip)
    mean = base.mark_text(text="◆", fontSize=14)  # a text has the colour of the ink in both themes
    means = mean.encode(y=y, x=_x("mean", scale), tooltip=tooltip)
    texts = base.mark_text(align="left", dx=6).encode(y=y, x=_x("end", scale), text="best:N")
    layers = [bars, exact, means, texts]
    return alt.LayerChart(layer=layers, width="container", height=ROWS).add_params(all_schedules())


def _domain(records: list[dict[str, Any]]) -> tuple[float, float]:
    ends = [record[key] for record in records for key in ("low", "high", "makespan")]
    room = (max(ends) - min(ends) or max(ends)) * 0.03
    return min(ends) - room, max(ends) + 4 * room


_TITLES = {"low": "5 %", "mean": "mean", "high": "95 %", "makespan": "without noise"}


def _x(field: str, scale: alt.Scale) -> alt.X:
    return alt.X(f"{field}:Q", scale=scale)


def _records(section: Section) -> list[dict[str, Any]]:
    noisy = [(each, each.noise) for each in section.schedules]
    known = {record["name"]: record for record in schedule_records(section)}
    records = [
        {
            "name": label(each),
            **{key: known[label(each)][key] for key in ("focus", "state", "makespan", "makespan_text")},
            **{key: getattr(figures, key) for key in ("mean", "low", "high")},
            **{f"{key}_text": grouped(getattr(figures, key)) for key in ("mean", "low", "high")},
            "end": max(figures.high, each.summary.figures.makespan),
            "best": f"best {percent(figures.best)}" if figures.best else "",
        }
        for each, figures in noisy
        if figures is not None
    ]
    return sorted(records, key=lambda record: float(record["mean"]))


def interval_sentence(section: Section) -> str:
    """Say what the noise is, and which schedule is best under it."""
    rows = noisy_rows(section)
    return (
        f"Every schedule was replayed with the same {counted(rows[0].figures.samples, 'draw')} of times "
        f"({section.noise}). A bar spans nine draws in ten, the diamond marks their mean, and the cross line marks the "
        "makespan without noise. " + noise_sentence(rows)
    )


def noisy_rows(section: Section) -> list[NoisyRow]:
    """List the schedules that were evaluated under noise."""
    named = [(each, each.noise) for each in section.schedules]
    return [
        NoisyRow(label(each), each.summary.figures.makespan, figures) for each, figures in named if figures is not None
    ]


def interval_table(section: Section) -> Table:
    """Put the figures of each schedule under noise into a table."""
    times = [titled(title, section.units.time) for title in ("mean", "5 %", "95 %", "without noise")]
    rows, shown = [], [each for each in section.schedules if each.noise is not None]
    for each in shown:
        if each.noise is not None:
            values = (each.noise.mean, each.noise.low, each.noise.high)
            best = "" if each.noise.best is None else percent(each.noise.best)
            rows.append([label(each), *map(grouped, values), makespan_text(each), best])
    return Table(["schedule", *times, "is the best"], rows, focus_of(section, shown))


NOISE = Panel(
    "noise",
    "When times vary",
    noise_chart,
    interval_sentence,
    interval_table,
    lambda section: any(each.noise for each in section.schedules),
)
