"""The bubble chart: a bar for each schedule, with the best one and the bound as lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import altair as alt

from reports.charts import palette
from reports.charts.axes import EXACT
from reports.charts.folding import all_schedules, by_focus, colour_of, row_chart
from reports.charts.label_places import LETTER_WIDTH
from reports.charts.panel import Panel, Table
from reports.charts.records import (
    GIVEN,
    MEASURED,
    OVER_LIMIT,
    PUBLISHED,
    SEARCHED,
    focus_of,
    label,
    makespan_text,
    schedule_records,
)
from reports.content import Presented, Section
from reports.focus import in_focus
from reports.numbers import grouped, percent, titled

FIGURES = {"bubble_ratio": "bubble ratio", "bubble_over_ideal": "bubble over ideal", "makespan": "makespan"}
ROW_HEIGHT = 26
ROWS = alt.Step(ROW_HEIGHT)
"""The height of a chart with a row for each schedule shown."""

STATES = {
    PUBLISHED: (palette.PUBLISHED, "circle"),
    SEARCHED: (palette.SEARCHED, "diamond"),
    OVER_LIMIT: (palette.OVER_LIMIT, "cross"),
    MEASURED: (palette.MEASURED, "square"),
    GIVEN: (palette.GIVEN, "triangle-up"),
}
"""The colour and the shape of each state of a schedule."""

STATE_COLOURS = {state: colour for state, (colour, _) in STATES.items()}


def bubble_chart(section: Section) -> alt.LayerChart:
    """Draw the bubble ratio of every schedule; the reader can choose bubble over ideal or makespan instead.

    Parameters
    ----------
    section : Section
        The schedules and the bound.

    Returns
    -------
    altair.LayerChart
        Bars in the order of the schedules. Schedules over the memory limit are pale with a dashed outline. Lines across
        the bars show the bound and the winner.
    """
    figure = alt.param(
        name="figure",
        value="bubble_ratio",
        bind=alt.binding_select(options=list(FIGURES), labels=_labels(section.units.time), name="Figure "),
    )
    axis_end = _axis_end(section)
    layers = [*_bars(section, axis_end), *_lines(reference_lines(section), axis_end, section.units.time)]
    return alt.LayerChart(layer=layers, width="container", height=ROWS).add_params(figure, all_schedules())


def _labels(unit: str) -> list[str]:
    return [titled(title, unit) if figure == "makespan" else title for figure, title in FIGURES.items()]


def _value_text(unit: str) -> str:
    """Write the Vega expression of a figure's text, a time with its unit."""
    behind = f" + (figure == 'makespan' ? {json.dumps(f' {unit}')} : '')" if unit else ""
    return f"datum[figure + '_text']{behind}"


def _axis_text(unit: str) -> str:
    behind = f" + {json.dumps(f' {unit}')}" if unit else ""
    return f"figure == 'makespan' ? format(datum.value, '{EXACT}'){behind} : format(datum.value, '~%')"


def _bars(section: Section, axis_end: str) -> list[alt.Chart]:
    records = schedule_records(section)
    colours = colour_of("state", STATE_COLOURS, records, symbolType="square", offset=32)
    base = row_chart(records).transform_calculate(value="datum[figure]", text=_value_text(section.units.time))
    y = alt.Y("name:N", sort=[each["name"] for each in records], title=None)
    x = alt.X(
        "value:Q",
        title=None,
        axis=alt.Axis(labelExpr=_axis_text(section.units.time), tickCount=6),
        scale=alt.Scale(domainMax=alt.ExprRef(axis_end)),
    )
    bars = base.mark_bar(cornerRadiusEnd=2).encode(
        y=y,
        x=x,
        color=colours.color,
        fillOpacity=alt.condition(f"datum.state == '{OVER_LIMIT}'", alt.value(0.25), alt.value(1)),
        strokeDash=alt.condition(f"datum.state == '{OVER_LIMIT}'", alt.value([4, 3]), alt.value([1, 0])),
        stroke=alt.Stroke("state:N", scale=colours.scale, title=None, legend=colours.legend),
        tooltip=tooltips(
            "name", "state", "bubble_ratio", "bubble_over_ideal", "makespan", "peak_memory", section=section
        ),
    )
    right = "datum.value >= 0 ? 'left' : 'right'"
    texts = base.mark_text(align=alt.ExprRef(right), dx=alt.ExprRef("datum.value >= 0 ? 4 : -4")).encode(
        y=y, x=x, text="text:N"
    )
    return [bars, texts]


def _axis_end(section: Section) -> str:
    """Write the end of the axis, beyond the longest bar and its text, as a Vega expression of the chosen figure."""

    def ends(schedules: Sequence[Presented]) -> dict[str, float]:
        highest = {name: max(getattr(each.summary.figures, name) for each in schedules) for name in FIGURES}
        return {name: 1.2 * value if value > 0 else 0.01 for name, value in highest.items()}

    focus = in_focus(section)
    shown = [each for rank, each in enumerate(section.schedules) if rank in focus]
    return f"({by_focus(ends(section.schedules), ends(shown))})[figure]"


_TIMES = ("makespan", "time", "ideal")
_MEMORIES = ("peak_memory", "memory", "peak", "limit", "static")
_WRITTEN = (*_TIMES, *_MEMORIES, "bubble_ratio", "bubble_over_ideal", "share", "share_of_limit", "net")


def tooltips(*fields: str, section: Section) -> list[alt.Tooltip]:
    """Make the tooltips of a chart's fields; figures are the texts that their rows have for them."""
    units = dict.fromkeys(_TIMES, section.units.time) | dict.fromkeys(_MEMORIES, section.units.memory)
    return [
        alt.Tooltip(
            f"{field}_text:N" if field in _WRITTEN else f"{field}:N",
            title=titled(field.replace("_", " "), units.get(field, "")),
        )
        for field in fields
    ]


def reference_lines(section: Section) -> list[dict[str, Any]]:
    """Make a row for the winner, and one for the bound, with all figures and their texts.

    The bound's bubbles are those of a schedule as short as the bound that does no more work than necessary.
    """
    lines: list[dict[str, Any]] = []
    winner = section.winner
    if winner is not None and len(section.schedules) > 1:
        figures = {name: getattr(winner.summary.figures, name) for name in FIGURES}
        lines.append(_line(winner.summary.name, 0, makespan_text(winner), figures))
    held = next((each.ladder for each in section.schedules if _has_bound(each, section.bound)), None)
    if section.bound is not None and held is not None:
        bound = section.bound
        figures = {
            "makespan": bound,
            "bubble_ratio": 1 - float(held.ideal - held.saved) / bound,
            "bubble_over_ideal": bound / float(held.ideal) - 1,
        }
        lines.append(_line("lower bound", 1, grouped(bound), figures))
    return lines


def _line(name: str, place: int, makespan: str, figures: dict[str, float]) -> dict[str, Any]:
    texts = {"makespan_text": makespan} | {
        f"{figure}_text": percent(figures[figure]) for figure in ("bubble_ratio", "bubble_over_ideal")
    }
    return {"line": name, "place": place} | figures | texts


def _has_bound(presented: Presented, bound: float | None) -> bool:
    return presented.ladder is not None and not presented.summary.over and float(presented.ladder.bound) == bound


def _lines(lines: Sequence[dict[str, Any]], axis_end: str, unit: str) -> list[alt.Chart]:
    """Draw the lines with their names one above the other, to the right of the line if there is room."""
    if not lines:
        return []
    base = alt.Chart(alt.InlineData(values=list(lines)))
    base = base.transform_calculate(value="datum[figure]", text=_value_text(unit))
    dashes = alt.condition("datum.place == 1", alt.value([5, 4]), alt.value([1, 0]))
    rules = base.mark_rule(strokeWidth=1.5).encode(x="value:Q", strokeDash=dashes, tooltip=["line:N", "text:N"])
    is_far = f"width * datum.value / {axis_end} + {LETTER_WIDTH} * length(datum.line) > width"
    texts = base.mark_text(
        align=alt.ExprRef(f"{is_far} ? 'right' : 'left'"),
        dx=alt.ExprRef(f"{is_far} ? 3 : -3"),
        dy=alt.ExprRef("-4 - 13 * datum.place"),
        baseline="bottom",
    ).encode(x="value:Q", y=alt.value(0), text="line:N")
    return [rules, texts]


def bubble_sentence(section: Section) -> str:
    """Say how much the best and the worst of the schedules in focus idle."""
    focus = in_focus(section)
    shown = [each for rank, each in enumerate(section.schedules) if rank in focus]
    ranked = sorted(shown, key=lambda each: each.summary.figures.bubble_ratio)
    best, worst = section.winner or ranked[0], ranked[-1]
    if best is worst:
        return f"{best.summary.name} leaves {percent(best.summary.figures.bubble_ratio)} of the device time idle."
    if len({each.summary.figures.bubble_ratio for each in section.schedules}) == 1:
        return f"All schedules leave {percent(best.summary.figures.bubble_ratio)} of the device time idle."
    return (
        f"{best.summary.name} leaves {percent(best.summary.figures.bubble_ratio)} of the device time idle, "
        f"{worst.summary.name} {percent(worst.summary.figures.bubble_ratio)}."
    )


def bubble_table(section: Section) -> Table:
    """Put the three figures of each schedule into a table."""
    header = ["schedule", "bubble ratio", "bubble over ideal", titled("makespan", section.units.time)]
    rows = []
    for each in section.schedules:
        figures = each.summary.figures
        ratios = percent(figures.bubble_ratio), percent(figures.bubble_over_ideal)
        rows.append([label(each), *ratios, makespan_text(each)])
    return Table(header, rows, focus_of(section, section.schedules))


BUBBLES = Panel("bubbles", "Bubbles", bubble_chart, bubble_sentence, bubble_table)
