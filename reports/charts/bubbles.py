"""The bubble chart: a bar for each schedule, with the optimum and the bound as lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import altair as alt

from reports.charts import palette
from reports.charts.label_places import LETTER_WIDTH
from reports.charts.panel import Panel, Table
from reports.charts.records import MEASURED, OVER_LIMIT, PUBLISHED, SEARCHED, label, schedule_records
from reports.content import Presented, Section
from reports.numbers import grouped, percent, titled

FIGURES = {"bubble_ratio": "bubble ratio", "bubble_over_ideal": "bubble over ideal", "makespan": "makespan"}
ROW_HEIGHT = 26

_STATES = {
    PUBLISHED: (palette.PUBLISHED, "circle"),
    SEARCHED: (palette.SEARCHED, "diamond"),
    OVER_LIMIT: (palette.OVER_LIMIT, "cross"),
    MEASURED: (palette.MEASURED, "square"),
}


def state_scales(records: Sequence[dict[str, Any]]) -> tuple[alt.Scale, alt.Scale]:
    """Return the colours and shapes of the schedule states that occur.

    Parameters
    ----------
    records : sequence of dict
        As `schedule_records` returns them.
    """
    there = {record["state"] for record in records}
    shown = {state: looks for state, looks in _STATES.items() if state in there}
    colours, shapes = zip(*shown.values(), strict=True)
    return alt.Scale(domain=list(shown), range=list(colours)), alt.Scale(domain=list(shown), range=list(shapes))


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
        the bars show the bound and the best schedule that the search found.
    """
    figure = alt.param(
        name="figure",
        value="bubble_ratio",
        bind=alt.binding_select(options=list(FIGURES), labels=_labels(section.unit), name="Figure "),
    )
    axis_end = _axis_end(section.schedules)
    layers = [*_bars(section.schedules, section.unit), *_lines(reference_lines(section), axis_end, section.unit)]
    height = ROW_HEIGHT * max(2, len(section.schedules))
    return alt.LayerChart(layer=layers, width="container", height=height).add_params(figure)


def _labels(unit: str) -> list[str]:
    return [titled(title, unit) if figure == "makespan" else title for figure, title in FIGURES.items()]


def _value_text(times: str, ratios: str, unit: str) -> str:
    """Write the Vega expression of a value's text: a time in its unit, or a ratio."""
    behind = f" + {json.dumps(f' {unit}')}" if unit else ""
    return f"figure == 'makespan' ? format(datum.value, '{times}'){behind} : format(datum.value, '{ratios}')"


def _bars(schedules: Sequence[Presented], unit: str) -> list[alt.Chart]:
    records = schedule_records(schedules)
    colours, _ = state_scales(records)
    base = alt.Chart(alt.InlineData(values=records))
    base = base.transform_calculate(value="datum[figure]", text=_value_text(",.7~r", ".1%", unit))
    y = alt.Y("name:N", sort=[label(each) for each in schedules], title=None)
    x = alt.X(
        "value:Q",
        title=None,
        axis=alt.Axis(labelExpr=_value_text(",.6~r", ".0%", unit), tickCount=6),
        scale=alt.Scale(domainMax=alt.ExprRef(_axis_end(schedules))),
    )
    bars = base.mark_bar(cornerRadiusEnd=2).encode(
        y=y,
        x=x,
        color=alt.Color(
            "state:N", scale=colours, title=None, legend=alt.Legend(orient="top", symbolType="square", offset=32)
        ),
        fillOpacity=alt.condition(f"datum.state == '{OVER_LIMIT}'", alt.value(0.25), alt.value(1)),
        strokeDash=alt.condition(f"datum.state == '{OVER_LIMIT}'", alt.value([4, 3]), alt.value([1, 0])),
        stroke=alt.Stroke("state:N", scale=colours),
        tooltip=tooltips("name", "state", "bubble_ratio", "bubble_over_ideal", "makespan", "peak_memory", unit=unit),
    )
    right = "datum.value >= 0 ? 'left' : 'right'"
    texts = base.mark_text(align=alt.ExprRef(right), dx=alt.ExprRef("datum.value >= 0 ? 4 : -4")).encode(
        y=y, x=x, text="text:N"
    )
    return [bars, texts]


def _axis_end(schedules: Sequence[Presented]) -> str:
    """Write the end of the axis, beyond the longest bar and its text, as a Vega expression of the chosen figure."""
    highest = {name: max(getattr(each.summary.figures, name) for each in schedules) for name in FIGURES}
    ends = ", ".join(f"{name}: {1.2 * value if value > 0 else 0.01!r}" for name, value in highest.items())
    return f"({{{ends}}})[figure]"


_RATIOS = {"bubble_ratio": ".2%", "bubble_over_ideal": ".2%", "share": ".2%", "share_of_limit": ".1%"}
_TIMES = ("makespan", "time", "from", "to", "ideal")
_AMOUNTS = dict.fromkeys(("peak_memory", *_TIMES), ",.9~r")
_FORMATS = _RATIOS | _AMOUNTS


def tooltips(*fields: str, unit: str = "") -> list[alt.Tooltip]:
    """Make the tooltips of a chart's fields, with enough digits to tell schedules apart, and with units of time."""
    return [_tooltip(field, unit) for field in fields]


def _tooltip(field: str, unit: str) -> alt.Tooltip:
    title = titled(field.replace("_", " "), unit if field in _TIMES else "")
    if field in _FORMATS:
        return alt.Tooltip(f"{field}:Q", title=title, format=_FORMATS[field])
    return alt.Tooltip(f"{field}:N", title=title)


def reference_lines(section: Section) -> list[dict[str, Any]]:
    """Make a row for the best schedule that the search found, and one for the bound, with all figures.

    The bound's bubbles are those of a schedule as short as the bound that does no more work than necessary.
    """
    lines: list[dict[str, Any]] = []
    found = next((each for each in section.schedules if each.searched), None)
    if found is not None:
        lines.append({"line": f"{found.summary.name}", "place": 0, **_figures_of(found)})
    held = next((each.ladder for each in section.schedules if _has_bound(each, section.bound)), None)
    if section.bound is not None and held is not None:
        bound = section.bound
        lines.append(
            {
                "line": "lower bound",
                "place": 1,
                "makespan": bound,
                "bubble_ratio": 1 - float(held.ideal - held.saved) / bound,
                "bubble_over_ideal": bound / float(held.ideal) - 1,
            }
        )
    return lines


def _has_bound(presented: Presented, bound: float | None) -> bool:
    return presented.ladder is not None and not presented.summary.over and float(presented.ladder.bound) == bound


def _figures_of(presented: Presented) -> dict[str, float]:
    return {name: getattr(presented.summary.figures, name) for name in FIGURES}


def _lines(lines: Sequence[dict[str, Any]], axis_end: str, unit: str) -> list[alt.Chart]:
    """Draw the lines with their names one above the other, to the right of the line if there is room."""
    if not lines:
        return []
    base = alt.Chart(alt.InlineData(values=list(lines)))
    base = base.transform_calculate(value="datum[figure]", text=_value_text(",.7~r", ".1%", unit))
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
    """Say how much the best and the worst schedule idle."""
    ranked = sorted(section.schedules, key=lambda each: each.summary.figures.bubble_ratio)
    best, worst = ranked[0], ranked[-1]
    if best is worst:
        return f"{best.summary.name} leaves {percent(best.summary.figures.bubble_ratio)} of the device time idle."
    if best.summary.figures.bubble_ratio == worst.summary.figures.bubble_ratio:
        return f"All schedules leave {percent(best.summary.figures.bubble_ratio)} of the device time idle."
    return (
        f"{best.summary.name} leaves {percent(best.summary.figures.bubble_ratio)} of the device time idle, "
        f"{worst.summary.name} {percent(worst.summary.figures.bubble_ratio)}."
    )


def bubble_table(section: Section) -> Table:
    """Put the three figures of each schedule into a table."""
    header = ["schedule", "bubble ratio", "bubble over ideal", titled("makespan", section.unit)]
    rows = []
    for each in section.schedules:
        figures = each.summary.figures
        ratios = percent(figures.bubble_ratio), percent(figures.bubble_over_ideal)
        rows.append([label(each), *ratios, grouped(figures.makespan)])
    return Table(header, rows)


BUBBLES = Panel("bubbles", "Bubbles", bubble_chart, bubble_sentence, bubble_table)
