"""Charts of lost time: the ladder of each schedule, and what its devices wait for."""

from __future__ import annotations

import json
from typing import Any

import altair as alt

from reports.charts import palette
from reports.charts.bubbles import ROW_HEIGHT, ROWS, tooltips
from reports.charts.folding import all_schedules, by_focus, colour_of, row_chart
from reports.charts.label_places import LETTER_WIDTH
from reports.charts.panel import Panel, Table
from reports.charts.records import (
    CAUSE_TITLES,
    STEP_TITLES,
    focus_of,
    idle_records,
    label,
    ladder_records,
    makespan_text,
)
from reports.content import Presented, Section
from reports.focus import in_focus
from reports.idle import CAUSES
from reports.ladder import STEPS, Ladder
from reports.numbers import grouped, percent, titled

_STEP_COLOURS = {STEP_TITLES[step]: colour for step, colour in palette.STEPS.items()}
_CAUSE_COLOURS = {CAUSE_TITLES[cause]: colour for cause, colour in palette.CAUSES.items()}


def ladder_chart(section: Section) -> alt.LayerChart:
    """Draw what each schedule loses above the ideal time, by cause, in per cent of the ideal; savings lie below 0.

    Parameters
    ----------
    section : Section
        Schedules with ladders; those without are left out.
    """
    records, ends = ladder_records(section), _ends(section)
    colours = colour_of("step", _STEP_COLOURS, records, symbolType="square", columns=5, labelLimit=240)
    domain = alt.Scale(domain=[alt.ExprRef(each) for each in _domain(ends)], nice=False)
    x, zero, lost = (
        alt.X(
            f"{field}:Q",
            title="above the ideal time",
            scale=domain,
            axis=alt.Axis(format="~%", tickCount=8, labelFlush=30),  # the chart's edge would cut labels near it off
        )
        for field in ("from", "zero", "lost")
    )
    y = alt.Y("name:N", sort=[each["name"] for each in ends], title=None)
    base = row_chart(ends)
    texts = base.mark_text(align="left", dx=5).encode(y=y, x=lost, text="net_text:N")
    ideal = base.mark_tick(thickness=2, bandSize=ROW_HEIGHT).encode(
        y=y,
        x=zero,
        tooltip=tooltips("name", "ideal", "makespan", section=section),
    )
    layers = [ideal, texts]
    if colours.values:
        bars = row_chart(records).mark_bar(stroke="white", strokeWidth=0.5)
        tooltip = tooltips("name", "step", "time", "share", section=section)
        layers.insert(0, bars.encode(y=y, x=x, x2="to:Q", color=colours.color, tooltip=tooltip))
    return alt.LayerChart(layer=layers, width="container", height=ROWS).add_params(all_schedules())


def _ends(section: Section) -> list[dict[str, Any]]:
    """Make a row for the end of each ladder."""
    focus = in_focus(section)
    return [
        {
            "name": label(each),
            "focus": rank in focus,
            "zero": 0,
            "saved": float(each.ladder.saved / each.ladder.ideal),
            "lost": float((each.ladder.makespan - each.ladder.ideal + each.ladder.saved) / each.ladder.ideal),
            "ideal_text": grouped(float(each.ladder.ideal)),
            "makespan_text": makespan_text(each),
            "net_text": _net(each.ladder),
        }
        for rank, each in enumerate(section.schedules)
        if each.ladder is not None
    ]


def _net(ladder: Ladder) -> str:
    """Write how much longer than the ideal a step is, and what of it is saved."""
    net = percent(float((ladder.makespan - ladder.ideal) / ladder.ideal))
    return f"{net} in all" if ladder.saved else net


def _domain(ends: list[dict[str, Any]]) -> tuple[str, str]:
    """Write the ends of the axis, with room for the figures after the bars, which have the same width in any chart."""
    focus = [each for each in ends if each["focus"]]
    low, high = (
        by_focus(*(max((each[side] for each in some), default=0.0) for some in (ends, focus)))
        for side in ("saved", "lost")
    )
    room = 10 + LETTER_WIDTH * max((len(each["net_text"]) for each in ends), default=0)
    end = f"{high} + ({low} + {high}) * {room} / max({room}, width - {room})"
    return f"-1.02 * {low}", f"max(0.001, {end})"


def idle_chart(section: Section) -> alt.Chart:
    """Draw the average idle time of a device in each schedule, by what it waits for.

    Parameters
    ----------
    section : Section
        The schedules.
    """
    records = _averages(section)
    colours = colour_of("cause", _CAUSE_COLOURS, records, symbolType="square", columns=3, labelLimit=220)
    chart: alt.Chart = (
        row_chart(records)
        .mark_bar()
        .encode(
            y=alt.Y("name:N", sort=[label(each) for each in section.schedules], title=None),
            x=alt.X(
                "share:Q",
                stack=True,
                title="idle share, average of the devices",
                axis=alt.Axis(format="~%", tickCount=6),
            ),
            order="place:O",
            color=colours.color,
            tooltip=tooltips("name", "cause", "time", "share", section=section),
        )
        .add_params(all_schedules())
        .properties(width="container", height=ROWS)
    )
    return chart


def _averages(section: Section) -> list[dict[str, Any]]:
    """Make a row for each schedule and cause of idle time; one for a schedule that never idles."""
    focus = in_focus(section)
    rows = []
    for rank, each in enumerate(section.schedules):
        ticks = {cause: sum(getattr(device, cause) for device in each.waiting.devices) for cause in CAUSES}
        makespan, devices = each.summary.figures.makespan, each.problem.devices * each.problem.ticks_per_unit
        for place, cause in enumerate(CAUSES):
            if ticks[cause] or (place == 0 and not any(ticks.values())):
                time = ticks[cause] / devices
                rows.append(
                    {
                        "name": label(each),
                        "focus": rank in focus,
                        "cause": CAUSE_TITLES[cause],
                        "place": place,
                        "share": time / makespan,
                        "time_text": grouped(time),
                        "share_text": percent(time / makespan),
                    }
                )
    return rows


def device_idle_chart(section: Section) -> alt.Chart:
    """Draw the idle time of each device, by what it waits for, for one schedule that the reader can choose.

    Parameters
    ----------
    section : Section
        The schedules; the first is shown until another is chosen.
    """
    names, records = [label(each) for each in section.schedules], idle_records(section)
    chosen = alt.param(value=names[0] if names else "", bind=alt.binding_select(options=names, name="Schedule "))
    devices = max((each.problem.devices for each in section.schedules), default=1)
    causes = [
        title for place, title in enumerate(CAUSE_TITLES.values()) if any(place in each["place"] for each in records)
    ]
    colours = alt.Scale(domain=causes, range=[_CAUSE_COLOURS[cause] for cause in causes])
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=records))
        .transform_calculate(name=f"{json.dumps(names)}[datum.rank]")
        .transform_filter(f"datum.name == {chosen.name}")
        .transform_flatten(["place", "share", "time_text"])
        .transform_calculate(
            cause=f"{json.dumps(list(CAUSE_TITLES.values()))}[datum.place]", share_text="format(datum.share, '.2%')"
        )
        .mark_bar()
        .encode(
            y=alt.Y("device:O", title="device", scale=alt.Scale(domain=list(range(devices)))),
            x=alt.X("share:Q", stack=True, title="idle share of the step", axis=alt.Axis(format="~%", tickCount=6)),
            order="place:O",
            color=alt.Color("cause:N", scale=colours, sort=causes, legend=None),
            tooltip=tooltips("device", "cause", "time", "share", section=section),
        )
        .add_params(chosen)
        .properties(width="container", height=rows_of_devices(devices))
    )
    return chart


def rows_of_devices(devices: int) -> int:
    """Choose the height of a chart with a row for each device; many devices get thin rows."""
    return max(3, min(ROW_HEIGHT, 480 // devices)) * devices


_REMEDIES = {
    "cut": "which another cut of the same layers saves",
    "imbalance": "which another partition of the model or another placement might reduce",
    "filling_and_draining": "which more microbatches or more stages per device would reduce",
    "latency": "which a faster network would shorten",
    "memory": "which a higher memory limit might recover",
    "after": "which no schedule changes",
    "overhead": "which fewer, longer operations would shorten",
    "order": "which another order might still recover",
    "communication": "which placing sends, gathers or copies elsewhere might recover",
}

_IMBALANCE_OF_LAYERS = "since one device has more than an even share of the work"
"""The remark on the imbalance of a model of layers, of which it may be proven that no other cut is shorter."""


def ladder_sentence(section: Section) -> str:
    """Say what costs the winner the most time, and which schedule loses most to its order."""
    best = section.winner or section.fastest
    if best is None or best.ladder is None:
        return "No bounds are known for these schedules."
    steps = best.ladder
    step = max(STEPS, key=lambda name: getattr(steps, name))
    lost = getattr(steps, step)
    if not lost:
        return f"{best.summary.name} loses nothing: its step is as long as the work, spread evenly over the devices."
    remark = _IMBALANCE_OF_LAYERS if step == "imbalance" and "layers" in section.pipeline else _REMEDIES[step]
    text = (
        f"{best.summary.name} loses most to {STEP_TITLES[step]}: {percent(float(lost / steps.ideal))} of the ideal "
        f"time, {remark}."
    )
    return text + _worst_order(section)


def _worst_order(section: Section) -> str:
    shown = [section.schedules[rank] for rank in sorted(in_focus(section))]
    shares = [(float(each.ladder.order / each.ladder.ideal), each) for each in shown if each.ladder]
    share, worst = max(shares, key=lambda pair: pair[0])
    if share < 0.0005 or len(shares) < 2:
        return ""
    most = f"at most {percent(share)} of the ideal time"
    return f" {worst.summary.name} could gain most by another order on the same placement: {most}."


def ladder_table(section: Section) -> Table:
    """Put the steps of each ladder into a table."""
    shown = [each for each in section.schedules if each.ladder is not None]
    steps = [step for step in STEP_TITLES if any(getattr(each.ladder, step) for each in shown)]
    titles = "ideal", *(STEP_TITLES[step] for step in steps), "makespan"
    header = ["schedule", *(titled(title, section.units.time) for title in titles), "memory limit"]
    rows = [
        [
            label(each),
            grouped(float(each.ladder.ideal)),
            *(grouped((-1 if step == "saved" else 1) * float(getattr(each.ladder, step))) for step in steps),
            makespan_text(each),
            _limit_counts(each),
        ]
        for each in shown
        if each.ladder is not None
    ]
    return Table(header, rows, focus_of(section, shown))


def _limit_counts(presented: Presented) -> str:
    if all(limit is None for limit in presented.summary.limits):
        return "none"
    return "counted" if presented.ladder and presented.ladder.limited else "exceeded, not counted"


def idle_sentence(section: Section) -> str:
    """Say what the winner's devices wait for most, and which of them idles most."""
    best = section.winner or section.fastest
    if best is None:
        return ""
    totals = {cause: sum(getattr(each, cause) for each in best.waiting.devices) for cause in CAUSES}
    cause = max(CAUSES, key=lambda name: totals[name])
    if not totals[cause]:
        return f"The devices of {best.summary.name} never wait."
    devices = best.waiting.devices
    length = best.summary.figures.makespan * best.problem.ticks_per_unit
    per_device = [sum(getattr(each, name) for name in CAUSES) for each in devices]
    worst = max(range(len(devices)), key=per_device.__getitem__)
    return (
        f"The devices of {best.summary.name} idle {percent(sum(per_device) / len(devices) / length)} of the step on "
        f"average; the largest part is {CAUSE_TITLES[cause]} ({percent(totals[cause] / len(devices) / length)})"
        + (f"; device {worst} idles most, {percent(per_device[worst] / length)}." if len(set(per_device)) > 1 else ".")
    )


def idle_table(section: Section) -> Table:
    """Put the average idle time of a device, by cause, into a table."""
    rows = []
    for each in section.schedules:
        length = each.summary.figures.makespan * each.problem.ticks_per_unit * each.problem.devices
        totals = [sum(getattr(device, cause) for device in each.waiting.devices) for cause in CAUSE_TITLES]
        rows.append([label(each), *(percent(total / length) for total in [*totals, sum(totals)])])
    return Table(["schedule", *CAUSE_TITLES.values(), "all"], rows, focus_of(section, section.schedules))


def devices_sentence(section: Section) -> str:
    """Say which device of the winner idles most and which least."""
    best = section.winner or section.fastest
    if best is None:
        return ""
    length = best.summary.figures.makespan * best.problem.ticks_per_unit
    shares = [sum(getattr(each, name) for name in CAUSES) / length for each in best.waiting.devices]
    least, most = min(shares), max(shares)
    if least == most:
        return (
            f"All devices of {best.summary.name} idle {percent(most)} of the step. Choose another schedule in the menu."
        )
    return (
        f"In {best.summary.name}, device {shares.index(least)} idles least, {percent(least)} of the step, and device "
        f"{shares.index(most)} most, {percent(most)}. Choose another schedule in the menu."
    )


def devices_table(section: Section) -> Table:
    """Put the idle time of every device, by cause, into a table."""
    shown = [(each, device, idle) for each in section.schedules for device, idle in enumerate(each.waiting.devices)]
    rows = [
        [
            f"{label(each)}, device {device}",
            *(grouped(getattr(idle, cause) / each.problem.ticks_per_unit) for cause in CAUSE_TITLES),
        ]
        for each, device, idle in shown
    ]
    header = ["schedule and device", *(titled(each, section.units.time) for each in CAUSE_TITLES.values())]
    return Table(header, rows, focus_of(section, [each for each, _, _ in shown]))


LADDER = Panel(
    "ladder",
    "Where each schedule's time goes",
    ladder_chart,
    ladder_sentence,
    ladder_table,
    lambda section: any(each.ladder for each in section.schedules),
)
IDLE = Panel("idle", "What devices wait for", idle_chart, idle_sentence, idle_table)
DEVICES = Panel("devices", "Device by device", device_idle_chart, devices_sentence, devices_table)
