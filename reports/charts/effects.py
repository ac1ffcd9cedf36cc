"""The chart of the effects of slightly lower and higher costs on a schedule's makespan."""

from __future__ import annotations

import json
from typing import Any

import altair as alt

from reports.charts import palette
from reports.charts.bubbles import ROW_HEIGHT
from reports.charts.panel import Panel, Table
from reports.charts.records import focus_of, label
from reports.content import Presented, Section
from reports.numbers import percent
from reports.what_if import strongest

MOST_SHOWN = 14
"""Costs drawn for a schedule: those that shorten it most."""

MOST_LISTED = 12
"""Costs listed for each schedule."""


def effects_chart(section: Section) -> alt.LayerChart:
    """Draw how much 1 % of each cost shortens and lengthens the makespan of one schedule, which the reader can choose.

    Parameters
    ----------
    section : Section
        The section; its `what_if` holds the effects of the costs.
    """
    names, records = _records(section)
    chosen = alt.param(name="effects_of", value=names[0], bind=alt.binding_select(options=names, name="Schedule "))
    base = (
        alt.Chart(alt.InlineData(values=records))
        .transform_filter(f"{json.dumps(names)}[datum.schedule] == effects_of")
        .transform_calculate(
            shrinking_text="format(datum.shrinking, '.2f') + '%'", growing_text="format(datum.growing, '.2f') + '%'"
        )
    )
    y = alt.Y("cost:N", sort=alt.EncodingSortField("place", order="ascending"), title=None)
    tooltip = [
        alt.Tooltip("cost:N"),
        alt.Tooltip("shrinking_text:N", title="1 % less takes off"),
        alt.Tooltip("growing_text:N", title="1 % more adds"),
    ]
    axis = alt.Axis(tickCount=6, format="~f")
    title = "per cent of the step for 1 % of the cost"
    growing = base.mark_bar(color=palette.HIGHER_COST).encode(
        y=y, x=alt.X("growing:Q", title=title, axis=axis), tooltip=tooltip
    )
    shrinking = base.mark_bar(color=palette.LOWER_COST, height=12).encode(y=y, x=alt.X("shrinking:Q"), tooltip=tooltip)
    height = ROW_HEIGHT * max(1 + record["place"] for record in records)
    return alt.LayerChart(layer=[growing, shrinking], width="container", height=height).add_params(chosen)


def _records(section: Section) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the names of schedules, and rows that refer to them."""
    found = section.what_if.schedules if section.what_if is not None else []
    pairs = [(each, it) for each, it in zip(section.schedules, found, strict=False) if it is not None]
    rows = [
        {
            "schedule": schedule,
            "place": place,
            "cost": effect.label,
            "shrinking": round(effect.shrinking, 5),
            "growing": round(effect.growing, 5),
        }
        for schedule, (_, replayable) in enumerate(pairs)
        for place, effect in enumerate(strongest(replayable.effects, MOST_SHOWN))
    ]
    return [label(each) for each, _ in pairs], rows


def effects_sentence(section: Section) -> str:
    """Say which of the winner's costs changes its makespan most, at one per cent each."""
    best = section.winner or section.fastest
    assert section.what_if is not None
    known = {id(each): found for each, found in zip(section.schedules, section.what_if.schedules, strict=True)}
    found = known.get(id(best))
    if best is None or found is None:
        return "How much of a step 1 % off each cost saves. Choose a schedule in the menu."
    single = [each for each in found.effects if not each.label.startswith("all ")]
    parts = [
        f"1 % off {_with_article(each.label)} takes {percent(each.shrinking / 100)} off its step"
        for each in strongest(single, 2)
    ]
    text = f"In {best.summary.name}, {' and '.join(parts)}" if parts else f"In {best.summary.name} no cost matters"
    return (
        f"{text}. Where the pale part of a bar is longer, several paths are critical: a higher cost lengthens the step "
        "by the whole bar, a lower one shortens it only by the dark part. Choose another schedule in the menu."
    )


def _with_article(label: str) -> str:
    return label if label.startswith("everything") else f"the {label}"


def effects_table(section: Section) -> Table:
    """Put the effects of each cost on each schedule into a table, the strongest first."""
    rows: list[list[str]] = []
    shown: list[Presented] = []
    found = section.what_if.schedules if section.what_if is not None else []
    for each, replayable in zip(section.schedules, found, strict=False):
        effects = [] if replayable is None else list(strongest(replayable.effects, MOST_LISTED))
        rows += [
            [f"{label(each)}: {it.label}", percent(it.shrinking / 100), percent(it.growing / 100)] for it in effects
        ]
        shown += [each] * len(effects)
    return Table(["schedule and cost", "1 % less takes off", "1 % more adds"], rows, focus_of(section, shown))


EFFECTS = Panel(
    "effects",
    "The effect of 1 % of each cost",
    effects_chart,
    effects_sentence,
    effects_table,
    lambda section: bool(section.what_if and any(section.what_if.schedules)),
)
