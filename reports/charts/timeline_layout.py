"""The layout of a timeline: rows of devices, halves of blocks, shades of stages, memory strips.

One layout serves both the chart in a notebook or a picture, whose rows are made here, and the page, whose script draws
from columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from reports.charts import palette
from reports.content import Presented
from reports.critical_path import critical_path
from reports.idle import leading_rows
from reports.numbers import grouped, with_unit
from reports.operation import Operation, operation

BAR_TOP, BAR_BOTTOM, STRIP_TOP, STRIP_BOTTOM = 0.04, 0.54, 0.61, 0.97
LINE_TOP, LINE_BOTTOM = 0.55, 0.59
"""The positions of a device's bars, transfer line and memory strip in its row, as fractions of its height."""

LIMIT_SHARE = 0.8
"""The height of the memory limit in a strip; the rest is room for what is above it."""

MOST_ROWS = 16
"""Above this many devices, a page shows only some of them at first."""

MEMORY_COLOUR, OVER_COLOUR, CRITICAL_COLOUR = palette.ACTIVATIONS, palette.OVER_LIMIT, palette.CRITICAL

RAMP = palette.MICROBATCHES
"""Colours from the first microbatch to the last."""

WAITING_TEXTS = {
    "none": "did not wait",
    "idle": "idle {time} before it ({parts})",
    "source": ", waiting for {source}",
    "filling": "filling {time}",
    "data": "data {time}",
    "latency": "latency {time}",
    "order": "other work was ready {time}",
}
"""Tooltip texts for the time before an operation; the page's script fills in the same texts."""


def colours(places: int) -> dict[str, list[list[str]]]:
    """Return the colour of each kind of operation and of its text, for each place of a stage on its device."""
    shades = {
        kind: [palette.shaded(colour, place, places) for place in range(places)]
        for kind, colour in palette.KINDS.items()
    }
    return {kind: [[colour, palette.ink_on(colour)] for colour in each] for kind, each in shades.items()}


def ramp(microbatches: int) -> list[str]:
    """Return the colours of microbatches: from light to dark, in their order."""
    return [_on_ramp(each / max(1, microbatches - 1)) for each in range(microbatches)]


def _on_ramp(share: float) -> str:
    place = share * (len(RAMP) - 1)
    at = min(int(place), len(RAMP) - 2)
    low, high = ([int(colour[each : each + 2], 16) for each in (1, 3, 5)] for colour in RAMP[at : at + 2])
    return "#" + "".join(f"{round(a + (b - a) * (place - at)):02X}" for a, b in zip(low, high, strict=True))


def row_height(devices: int) -> int:
    """Choose the height of a device's row, in pixels; a memory strip is at least 14 pixels high."""
    return 50 if devices <= 8 else 40


def idle_ticks(presented: Presented) -> list[int]:
    """Return how long each device does not run any operation, from the first start of all to the last end of all."""
    return [each.filling + each.data + each.latency + each.order + each.draining for each in presented.waiting.devices]


def shown_devices(presented: Presented) -> list[int]:
    """Choose the devices that a page shows at first: the first, the last, and those that idle longest.

    Of devices that idle equally long, some are chosen at equal distances.
    """
    idle = idle_ticks(presented)
    if len(idle) <= MOST_ROWS:
        return list(range(len(idle)))
    chosen = {0, len(idle) - 1}
    others = sorted(range(1, len(idle) - 1), key=lambda device: -idle[device])
    for _, group in groupby(others, key=idle.__getitem__):
        equal, room = list(group), MOST_ROWS - len(chosen)
        count = min(room, len(equal))
        chosen |= {equal[(2 * place + 1) * len(equal) // (2 * count)] for place in range(count)}
    return sorted(chosen)


def places(presented: Presented) -> list[int]:
    """Return for each operation the index of its stage on its device, in the order of the model."""
    known: dict[tuple[int, int], list[tuple[range, int]]] = {}
    for device, stages in enumerate(presented.local_stages):
        for place, (stage, microbatches) in enumerate(stages):
            known.setdefault((device, stage), []).append((microbatches, place))
    found = []
    for row in presented.timeline:
        stage, _, microbatch = operation(row.task)
        here = known.get((row.device, stage), ())
        found.append(here[0][1] if len(here) == 1 else next((place for part, place in here if microbatch in part), 0))
    return found


def bar_rows(presented: Presented) -> list[dict[str, Any]]:
    """Make the rows of a timeline chart, one per bar, with texts for tooltips."""
    scale, unit = presented.problem.ticks_per_unit, presented.summary.units.time
    where, homes = places(presented), {row.task: row.device for row in presented.timeline}
    shades = colours(max(where, default=0) + 1)
    tints = ramp(max((operation(row.task).microbatch for row in presented.timeline), default=0) + 1)
    path = set(critical_path(presented.problem, presented.timeline))
    rows = []
    for at, (row, place, wait) in enumerate(zip(presented.timeline, where, presented.waiting.before, strict=True)):
        each = operation(row.task)
        idle, data, latency, order = (part / scale for part in (wait.idle, wait.data, wait.latency, wait.order))
        source = "" if wait.producer is None else _source(presented, operation(wait.producer), homes[wait.producer])
        rows.append(
            {
                **_bar(presented, each, row.device, shades[each.kind][place], tints[each.microbatch]),
                "start": row.start / scale,
                "end": row.end / scale,
                "critical": at in path,
                "idle": idle,
                "waited": waiting_text(idle, data, latency, order, source, unit)
                if wait.idle
                else WAITING_TEXTS["none"],
            }
        )
    middle = (BAR_TOP + BAR_BOTTOM) / 2
    for at in _first_halves(presented):
        rows[at]["bottom"] = rows[at]["device"] + middle
        rows[at + 1]["top"] = rows[at + 1]["device"] + middle
    return rows


def _first_halves(presented: Presented) -> list[int]:
    return [lead for at, lead in enumerate(leading_rows(presented.timeline)) if lead != at]


def _item(presented: Presented, each: Operation) -> str | int:
    """Name the microbatch of an operation, or the slice of it."""
    return presented.items[each.microbatch] if presented.items else each.microbatch


def _action(presented: Presented, each: Operation) -> str:
    return f"{each.stage}{each.kind}{_item(presented, each)}"


def _source(presented: Presented, each: Operation, device: int) -> str:
    return f"{_action(presented, each)} of device {device}"


def _bar(presented: Presented, each: Operation, device: int, colour: Sequence[str], tint: str) -> dict[str, Any]:
    return {
        "action": _action(presented, each),
        "device": device,
        "stage": each.stage,
        "microbatch": _item(presented, each),
        "top": device + BAR_TOP,
        "bottom": device + BAR_BOTTOM,
        "fill": colour[0],
        "ink": colour[1],
        "tint": tint,
        "tintInk": palette.ink_on(tint),
    }


def waiting_text(idle: float, data: float, latency: float, order: float, source: str, unit: str = "") -> str:
    """Say how long a device idled before an operation, by cause, and what it waited for.

    Parameters
    ----------
    idle, data, latency, order : float
        The idle time and its parts, which are all 0 for a device's first operation.
    source : str
        The binding input; empty for none.
    unit : str
        The unit of time.
    """
    if not idle:
        return WAITING_TEXTS["none"]
    named = [("data", data), ("latency", latency), ("order", order)]
    parts = [_part(name, part, unit) for name, part in named if part] or [_part("filling", idle, unit)]
    text = WAITING_TEXTS["idle"].format(time=with_unit(grouped(idle), unit), parts=", ".join(parts))
    return text + (WAITING_TEXTS["source"].format(source=source) if source else "")


def _part(name: str, time: float, unit: str) -> str:
    return WAITING_TEXTS[name].format(time=with_unit(grouped(time), unit))


def transfer_rows(presented: Presented) -> list[dict[str, Any]]:
    """Make the rows of the thin lines: one while an end waits for the other, and one while the data moves."""
    rows: list[dict[str, Any]] = []
    scale = presented.problem.ticks_per_unit
    for device, name, *moments, does in presented.transfers:
        ready, start, end = (moment / scale for moment in moments)
        place = {"device": device, "transfer": name, "top": device + LINE_TOP, "bottom": device + LINE_BOTTOM}
        if start > ready:
            rows.append({**place, "state": "waits", "start": ready, "end": start})
        rows.append({**place, "state": does, "start": start, "end": end})
    return rows


def memory_rows(presented: Presented, highest: float) -> list[dict[str, Any]]:
    """Make the rows of a timeline's memory strips: the top of the level, and the part above the limit.

    Parameters
    ----------
    presented : Presented
        The schedule.
    highest : float
        The level that fills the strip of a device without a limit; see `highest_peak`.
    """
    problem = presented.problem
    scale, amounts = problem.ticks_per_unit, problem.amounts_per_unit
    start, end = presented.extent
    return [
        _strip(device, time / scale, level / amounts, presented.summary.limits[device], highest)
        for device, steps in enumerate(presented.memory_steps)
        for time, level in [(start, 0), *steps, (end, 0)]
    ]


def _strip(device: int, time: float, level: float, limit: float | None, highest: float) -> dict[str, Any]:
    full = full_strip(limit, highest)
    return {
        "device": device,
        "time": time,
        "level": level,
        "top": device + strip_height(level / full),
        "base": device + STRIP_BOTTOM,
        "over": None if limit is None else device + strip_height(max(level, limit) / full),
        "limit": None if limit is None else device + strip_height(limit / full),
    }


def highest_peak(schedules: Sequence[Presented]) -> float:
    """Return the most memory that a device holds in any of the schedules; 1 if none holds anything."""
    return max((level for each in schedules for level in each.summary.figures.peak_memory), default=0) or 1


def full_strip(limit: float | None, highest: float) -> float:
    """Choose the level that fills a memory strip.

    The limit is at `LIMIT_SHARE` of the height, so that what is above it is seen; without a limit, or with one of 0,
    the highest peak fills the strip.

    Parameters
    ----------
    limit : float or None
        The device's limit.
    highest : float
        The highest peak of all schedules that are shown together.
    """
    return limit / LIMIT_SHARE if limit else highest


def strip_height(share: float) -> float:
    """Convert a fraction of a full strip to a height within its row; anything above 1 is not drawn."""
    return STRIP_BOTTOM - (STRIP_BOTTOM - STRIP_TOP) * min(1.0, share)
