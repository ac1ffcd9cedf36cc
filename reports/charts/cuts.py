"""Charts of cuts: the layers of each device, stage by stage, and the memory that they take."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import altair as alt

from reports.charts import palette
from reports.charts.bubbles import tooltips
from reports.charts.losses import rows_of_devices
from reports.charts.panel import Panel, Table
from reports.charts.records import cut_records, label, memory_records, names_in_focus
from reports.content import Presented, Section
from reports.numbers import grouped, titled, with_unit

RECOMPUTED_OPACITY = 0.5
"""Opacity of recomputed layers, which are paler than the others."""

_SHARES = {"static": palette.STATIC, "activations": palette.ACTIVATIONS}


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
        domain=kinds, range=[palette.LAYERS[place % len(palette.LAYERS)] for place in range(len(kinds))]
    )
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=records))
        .transform_filter(f"datum.name == {chosen.name}")
        .mark_bar(stroke="white", strokeWidth=1)
        .encode(
            y=alt.Y("device:O", title="device"),
            x=alt.X("time:Q", stack=True, title=titled("F + B of one microbatch", section.units.time)),
            order="place:Q",
            color=alt.Color("kind:N", scale=colours, sort=kinds, title=None, legend=alt.Legend(orient="top")),
            opacity=alt.condition("datum.recomputed == 'yes'", alt.value(RECOMPUTED_OPACITY), alt.value(1)),
            tooltip=[
                *tooltips("device", "stage", "kind", "layers", "recomputed", section=section),
                alt.Tooltip("time_text:N", title=titled("F + B", section.units.time)),
                alt.Tooltip("static_text:N", title=titled("static memory", section.units.memory)),
            ],
        )
        .add_params(chosen)
        .properties(width="container", height=rows_of_devices(_devices(shown)))
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
    records = memory_records(section.schedules)
    held = [share for share in _SHARES if any(each["memory"] for each in records if each["share"] == share)]
    colours = alt.Scale(domain=held, range=[_SHARES[share] for share in held])
    base = alt.Chart(alt.InlineData(values=records)).transform_filter(f"datum.name == {chosen.name}")
    y = alt.Y("device:O", title="device")
    bars = base.mark_bar().encode(
        y=y,
        x=alt.X("memory:Q", stack=True, title=titled("memory at the peak", section.units.memory)),
        order="place:O",
        color=alt.Color("share:N", scale=colours, sort=held, title=None, legend=alt.Legend(orient="top")),
        tooltip=[alt.Tooltip("share:N"), *tooltips("device", "memory", "peak", "limit", section=section)],
    )
    layers = [bars]
    if any(each["limit"] is not None for each in records):  # an axis of nothing makes Vega warn
        tick = base.transform_filter("isValid(datum.limit)").mark_tick(
            thickness=2, color=palette.OVER_LIMIT, bandSize=rows_of_devices(_devices(shown)) // _devices(shown)
        )
        layers.append(tick.encode(y=y, x="limit:Q"))
    chart: alt.LayerChart = alt.LayerChart(
        layer=layers, width="container", height=rows_of_devices(_devices(shown))
    ).add_params(chosen)
    return chart


def _with_cuts(section: Section) -> list[Presented]:
    return [each for each in section.schedules if each.cut]


def _choice(shown: Sequence[Presented]) -> Any:
    names = [label(each) for each in shown]
    return alt.param(value=names[0] if names else "", bind=alt.binding_select(options=names, name="Schedule "))


def _devices(shown: Sequence[Presented]) -> int:
    return max((each.problem.devices for each in shown), default=1)


def _has_cuts(section: Section) -> bool:
    return any(each.cut for each in section.schedules)


def cut_sentence(section: Section) -> str:
    """Say which device of the first schedule works longest for a microbatch, and which least."""
    best = next((each for each in section.schedules if each.cut), None)
    if best is None:
        return ""
    work = [0.0] * best.problem.devices
    for held in best.cut:
        work[held.device] += held.time
    least, most = min(work), max(work)
    text = f"In {best.summary.name}, device {work.index(most)} works longest per microbatch, "
    text += with_unit(grouped(most), section.units.time)
    if least < most:
        text += f"; device {work.index(least)} works least, {with_unit(grouped(least), section.units.time)}"
    again = sum(held.count for held in best.cut if held.recomputed)
    if again:
        text += f". The paler layers, {again} of {sum(held.count for held in best.cut)}, are recomputed"
    return f"{text}."


def cut_table(section: Section) -> Table:
    """Put the layers of every stage into a table."""
    rows: dict[tuple[str, int, int], list[str]] = {}
    for each in cut_records(section.schedules):
        again = ", recomputed" if each["recomputed"] == "yes" else ""
        text = f"{each['layers']} {each['kind']}{again}"
        rows.setdefault((each["name"], each["device"], each["stage"]), []).append(text)
    focus = names_in_focus(section)
    return Table(
        ["schedule, device, stage", "layers"],
        [
            [f"{name}, device {device}, stage {stage}", "; ".join(texts)]
            for (name, device, stage), texts in rows.items()
        ],
        tuple([name in focus for name, _, _ in rows]),
    )


def device_memory_sentence(section: Section) -> str:
    """Say which device of the first schedule holds most, and what its limit is."""
    best = next((each for each in section.schedules if each.cut), None)
    if best is None:
        return ""
    peaks = best.summary.figures.peak_memory
    device = max(range(len(peaks)), key=peaks.__getitem__)
    static = sum(held.static for held in best.cut if held.device == device)
    amount = partial(_amount, section.units.memory)
    text = f"In {best.summary.name}, device {device} holds most, {amount(peaks[device])}"
    text += f", {amount(static)} of it at all times" if static else ""
    limit = best.summary.limits[device]
    return f"{text}; its limit is {amount(limit)}." if limit is not None else f"{text}."


def _amount(unit: str, value: float) -> str:
    return with_unit(grouped(value), unit)


def device_memory_table(section: Section) -> Table:
    """Put the memory of every device into a table."""
    rows: dict[tuple[str, int], list[str]] = {}
    for each in memory_records(section.schedules):
        rows.setdefault((each["name"], each["device"]), []).append(each["memory_text"])
        if each["place"] == 1:
            rows[each["name"], each["device"]] += [each["peak_text"], each["limit_text"]]
    amounts = [titled(title, section.units.memory) for title in ("static", "activations", "peak", "limit")]
    focus = names_in_focus(section)
    return Table(
        ["schedule and device", *amounts],
        [[f"{name}, device {device}", *texts] for (name, device), texts in rows.items()],
        tuple([name in focus for name, _ in rows]),
    )


CUT = Panel("cut", "Where the layers lie", cut_chart, cut_sentence, cut_table, _has_cuts)
DEVICE_MEMORY = Panel(
    "device_memory",
    "Memory of each device",
    device_memory_chart,
    device_memory_sentence,
    device_memory_table,
    _has_cuts,
)
