"""Charts of lost time: the ladder of each schedule, and what its devices wait for."""

from __future__ import annotations

from typing import Any

import altair as alt

from reports.charts import palette
from reports.charts.bubbles import ROW_HEIGHT, tooltips
from reports.charts.label_places import LETTER_WIDTH
from reports.charts.panel import Panel, Table
from reports.charts.records import CAUSE_TITLES, STEP_TITLES, idle_records, label, ladder_records, steps_shown
from reports.content import Presented, Section
from reports.idle import CAUSES
from reports.ladder import STEPS
from reports.numbers import grouped, percent, titled

_AXIS_OF_TIME = alt.Axis(format=",.6~r", tickCount=8, labelFlush=30)
"""Labels this near to an end of the axis, in pixels, are moved inwards, or the chart's edge would cut them off."""

_CAUSE_COLOURS = alt.Scale(domain=list(CAUSE_TITLES.values()), range=[palette.CAUSES[cause] for cause in CAUSE_TITLES])


def ladder_chart(section: Section) -> alt.LayerChart:
    """Draw each schedule's ladder: a bar from the ideal time to its makespan, divided by the causes of the loss.

    Parameters
    ----------
    section : Section
        Schedules with ladders; those without are left out.
    """
    records = ladder_records(section.schedules)
    shown = steps_shown(section.schedules)
    colours = alt.Scale(domain=[STEP_TITLES[step] for step in shown], range=[palette.STEPS[step] for step in shown])
    ends: list[dict[str, Any]] = [
        {
            "name": label(each),
            "rank": rank,
            "ideal": float(each.ladder.ideal),
            "low": float(each.ladder.ideal - each.ladder.saved),
            "makespan": float(each.ladder.makespan),
            "text": grouped(float(each.ladder.makespan)),
        }
        for rank, each in enumerate(section.schedules)
        if each.ladder is not None
    ]
    low, high = min((each["low"] for each in ends), default=0), max((each["makespan"] for each in ends), default=1)
    first, room = low - (high - low or high) * 0.02, _room(ends)
    last = f"{high!r} + {high - first!r} * {room} / max({room}, width - {room})"
    domain = alt.Scale(domain=[first, alt.ExprRef(last)], nice=False)
    x = alt.X("from:Q", title=titled("time", section.unit), scale=domain, axis=_AXIS_OF_TIME)
    y = alt.Y("name:N", sort=_ranked(section), title=None)
    bars = (
        alt.Chart(alt.InlineData(values=[each for each in records if each["time"] > 0]))
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            y=y,
            x=x,
            x2="to:Q",
            color=alt.Color(
                "step:N", scale=colours, sort=list(STEP_TITLES.values()), title=None, legend=_legend(len(shown))
            ),
            tooltip=tooltips("name", "step", "time", "share", "from", "to", unit=section.unit),
        )
    )
    base = alt.Chart(alt.InlineData(values=ends))
    texts = base.mark_text(align="left", dx=5).encode(y=y, x=alt.X("makespan:Q", scale=domain), text="text:N")
    ideal = base.mark_tick(thickness=2, bandSize=ROW_HEIGHT).encode(
        y=y, x=alt.X("ideal:Q", scale=domain), tooltip=tooltips("name", "ideal", unit=section.unit)
    )
    height = ROW_HEIGHT * max(2, len(ends))
    return alt.LayerChart(layer=[bars, ideal, texts], width="container", height=height)


def _room(ends: list[dict[str, Any]]) -> float:
    """Return the width, in pixels, of the figures after the bars; it does not depend on the chart's width."""
    return 10 + LETTER_WIDTH * max((len(each["text"]) for each in ends), default=0)


def idle_chart(section: Section) -> alt.Chart:
    """Draw the average idle time of a device in each schedule, by what it waits for.

    Parameters
    ----------
    section : Section
        The schedules.
    """
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=_averages(section)))
        .mark_bar()
        .encode(
            y=alt.Y("name:N", sort=_ranked(section), title=None),
            x=alt.X(
                "share:Q",
                stack=True,
                title="idle share, average of the devices",
                axis=alt.Axis(format="~%", tickCount=6),
            ),
            order="place:O",
            color=alt.Color(
                "cause:N", scale=_CAUSE_COLOURS, sort=list(CAUSE_TITLES.values()), title=None, legend=_legend(3)
            ),
            tooltip=tooltips("name", "cause", "time", "share", unit=section.unit),
        )
        .properties(width="container", height=ROW_HEIGHT * max(2, len(section.schedules)))
    )
    return chart


def _averages(section: Section) -> list[dict[str, object]]:
    gathered: dict[tuple[str, int, str, int], list[float]] = {}
    makespans = {label(each): each.summary.figures.makespan for each in section.schedules}
    for each in idle_records(section.schedules):
        gathered.setdefault((each["name"], each["rank"], each["cause"], each["place"]), []).append(each["time"])
    return [
        {
            "name": name,
            "rank": rank,
            "cause": cause,
            "place": place,
            "time": sum(times) / len(times),
            "share": sum(times) / len(times) / makespans[name],
        }
        for (name, rank, cause, place), times in gathered.items()
    ]


def device_idle_chart(section: Section) -> alt.Chart:
    """Draw the idle time of each device, by what it waits for, for one schedule that the reader can choose.

    Parameters
    ----------
    section : Section
        The schedules; the first is shown until another is chosen.
    """
    names = [label(each) for each in section.schedules]
    chosen = alt.param(value=names[0] if names else "", bind=alt.binding_select(options=names, name="Schedule "))
    devices = max((each.problem.devices for each in section.schedules), default=1)
    height = max(400, ROW_HEIGHT * len(names))
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=idle_records(section.schedules)))
        .transform_filter(f"datum.name == {chosen.name}")
        .mark_bar()
        .encode(
            y=alt.Y("device:O", title="device"),
            x=alt.X("share:Q", stack=True, title="idle share of the step", axis=alt.Axis(format="~%", tickCount=6)),
            order="place:O",
            color=alt.Color("cause:N", scale=_CAUSE_COLOURS, sort=list(CAUSE_TITLES.values()), legend=None),
            tooltip=tooltips("device", "cause", "time", "share", unit=section.unit),
        )
        .add_params(chosen)
        .properties(width="container", height=max(12, min(40, height // devices)) * max(2, devices))
    )
    return chart


def _ranked(section: Section) -> list[str]:
    return [label(each) for each in section.schedules]


def _legend(columns: int) -> alt.Legend:
    return alt.Legend(orient="top", symbolType="square", columns=columns, labelLimit=220)


_REMEDIES = {
    "cut": "which another cut of the same layers saves",
    "imbalance": "which only another partition of the model can change",
    "filling_and_draining": "which more microbatches or more stages per device would reduce",
    "latency": "which a faster network would shorten",
    "memory": "which a higher memory limit would recover",
    "after": "which no schedule changes",
    "overhead": "which fewer, longer operations would shorten",
    "order": "which another order might still recover",
    "communication": "which moving sends and receives, or more communicators, might recover",
}


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
    text = (
        f"{best.summary.name} loses most to {STEP_TITLES[step]}: {percent(float(lost / steps.makespan))} of each step, "
        f"{_REMEDIES[step]}."
    )
    return text + _worst_order(section)


def _worst_order(section: Section) -> str:
    shares = [(float(each.ladder.order / each.ladder.makespan), each) for each in section.schedules if each.ladder]
    share, worst = max(shares, key=lambda pair: pair[0])
    if share < 0.0005 or len(shares) < 2:
        return ""
    return f" {worst.summary.name} could gain most by another order on the same placement: up to {percent(share)}."


def ladder_table(section: Section) -> Table:
    """Put the steps of each ladder into a table."""
    steps = steps_shown(section.schedules)
    titles = "ideal", "saved", *(STEP_TITLES[step] for step in steps), "makespan"
    times = [titled(title, section.unit) for title in titles]
    header = ["schedule", *times, "memory limit"]
    rows = [
        [
            label(each),
            grouped(float(each.ladder.ideal)),
            grouped(-float(each.ladder.saved)),
            *(grouped(float(getattr(each.ladder, step))) for step in steps),
            grouped(float(each.ladder.makespan)),
            _limit_counts(each),
        ]
        for each in section.schedules
        if each.ladder is not None
    ]
    return Table(header, rows)


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
        f"average, most of it {_CAUSE_WORDS[cause]} ({percent(totals[cause] / len(devices) / length)})"
        + (f"; device {worst} idles most, {percent(per_device[worst] / length)}." if len(set(per_device)) > 1 else ".")
    )


_CAUSE_WORDS = {
    "filling": "before their first work",
    "data": "for data that another device still computes",
    "latency": "for data in transit",
    "order": "although other work was ready",
    "draining": "after their last work",
    "overhead": "as overhead of their operations",
}


def idle_table(section: Section) -> Table:
    """Put the average idle time of a device, by cause, into a table."""
    rows = []
    for each in section.schedules:
        length = each.summary.figures.makespan * each.problem.ticks_per_unit * each.problem.devices
        totals = [sum(getattr(device, cause) for device in each.waiting.devices) for cause in CAUSE_TITLES]
        rows.append([label(each), *(percent(total / length) for total in [*totals, sum(totals)])])
    return Table(["schedule", *CAUSE_TITLES.values(), "all"], rows)


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
    gathered: dict[tuple[str, int], list[str]] = {}
    for each in idle_records(section.schedules):
        gathered.setdefault((each["name"], each["device"]), []).append(grouped(each["time"]))
    rows = [[f"{name}, device {device}", *times] for (name, device), times in gathered.items()]
    return Table(["schedule and device", *(titled(each, section.unit) for each in CAUSE_TITLES.values())], rows)


LADDER = Panel(
    "ladder",
    "From the ideal to the makespan",
    ladder_chart,
    ladder_sentence,
    ladder_table,
    lambda section: any(each.ladder for each in section.schedules),
)
IDLE = Panel("idle", "What devices wait for", idle_chart, idle_sentence, idle_table)
DEVICES = Panel("devices", "Device by device", device_idle_chart, devices_sentence, devices_table)
