"""The layout of a timeline: rows of devices, halves of blocks, shades of stages, memory strips.

One layout serves both the chart in a notebook, whose rows are made here, and the page, whose rows the browser makes
from the same columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.charts import palette
from reports.content import Presented
from reports.critical_path import critical_path
from reports.idle import leading_rows
from reports.memory import memory_steps
from reports.numbers import grouped, with_unit
from reports.operation import operation
from solver.problem import Key

BAR_TOP, BAR_BOTTOM, STRIP_TOP, STRIP_BOTTOM = 0.06, 0.66, 0.71, 0.96
LINE_TOP, LINE_BOTTOM = 0.665, 0.705
"""The positions of a device's bars, transfer line and memory strip in its row, as fractions of its height."""

DIGITS = 10
"""Significant digits of drawn times; figures in text have all of theirs."""

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


def columns(presented: Presented) -> dict[str, Any]:
    """Write a timeline as columns for JSON, as small as possible.

    Returns
    -------
    dict
        ``devices``; ``unit`` of time; ``counts`` (rows of each device, which come device by device); ``stage``,
        ``microbatch``, ``start``, ``end``, one entry per operation; ``kind``, one letter per operation; ``place``, the
        index of its stage on its device; ``blocks``, the index of each block's first half (the second follows);
        ``critical``, indices on the critical path; ``waits``, for each operation with idle time before it: its index,
        the idle time, its parts for data, latency and the order itself, and the binding input as text (empty for none);
        ``memory``, moments and levels for each device; ``limits``; ``colours`` for each kind and place, with the colour
        of the text; ``transfers``, for each end of a transfer its device, its name, and when it was ready, began and
        ended; ``items``, what slices of microbatches are called, if there are any.
    """
    operations = [operation(row.task) for row in presented.timeline]
    places = _places(presented)
    homes = {row.task: row.device for row in presented.timeline}
    scale = presented.problem.ticks_per_unit
    counts = [0] * presented.problem.devices
    for row in presented.timeline:
        counts[row.device] += 1
    return {
        "devices": presented.problem.devices,
        "unit": presented.summary.unit,
        "counts": counts,
        "stage": [each.stage for each in operations],
        "microbatch": [each.microbatch for each in operations],
        "kind": "".join(each.kind for each in operations),
        "place": places,
        "start": [_short(row.start / scale) for row in presented.timeline],
        "end": [_short(row.end / scale) for row in presented.timeline],
        "blocks": _first_halves(presented),
        "critical": list(critical_path(presented.problem, presented.timeline)),
        "waits": [
            [
                at,
                *(_short(part / scale) for part in (wait.idle, wait.data, wait.latency, wait.order)),
                _source(wait.producer, homes),
            ]
            for at, wait in enumerate(presented.waiting.before)
            if wait.idle
        ],
        "memory": _memory(presented),
        "limits": list(presented.summary.limits),
        "colours": _colours(max(places, default=0) + 1),
        "transfers": [
            [each.device, each.name, *(_short(moment / scale) for moment in (each.ready, each.start, each.end))]
            for each in presented.transfers
        ],
        **({"items": list(presented.items)} if presented.items else {}),
    }


def _source(task: Key | None, homes: dict[Key, int]) -> str:
    if task is None:
        return ""
    stage, kind, microbatch = operation(task)
    return f"{stage}{kind}{microbatch} of device {homes[task]}"


def _short(value: float) -> float | int:
    """Round a number to the digits that are drawn."""
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def _places(presented: Presented) -> list[int]:
    """Return for each operation the index of its stage on its device, in the order of the model."""
    known: dict[tuple[int, int], list[tuple[range, int]]] = {}
    for device, stages in enumerate(presented.local_stages):
        for place, (stage, microbatches) in enumerate(stages):
            known.setdefault((device, stage), []).append((microbatches, place))
    places = []
    for row in presented.timeline:
        stage, _, microbatch = operation(row.task)
        here = known.get((row.device, stage), ())
        places.append(next((place for part, place in here if microbatch in part), 0))
    return places


def _first_halves(presented: Presented) -> list[int]:
    return [lead for at, lead in enumerate(leading_rows(presented.timeline)) if lead != at]


def _memory(presented: Presented) -> list[dict[str, list[float | int]]]:
    scale, amounts = presented.problem.ticks_per_unit, presented.problem.amounts_per_unit
    return [
        {
            "time": [_short(moment / scale) for moment, _ in steps],
            "level": [_short(level / amounts) for _, level in steps],
        }
        for steps in memory_steps(presented.problem, presented.timeline)
    ]


def _colours(places: int) -> dict[str, list[list[str]]]:
    shades = {
        kind: [palette.shaded(colour, place, places) for place in range(places)]
        for kind, colour in palette.KINDS.items()
    }
    return {kind: [[colour, palette.ink_on(colour)] for colour in each] for kind, each in shades.items()}


def row_height(devices: int) -> int:
    """Choose the height of a device's row, in pixels."""
    return 50 if devices <= 8 else 36 if devices <= 16 else 26 if devices <= 32 else 20


def bar_rows(timeline: dict[str, Any]) -> list[dict[str, Any]]:
    """Make the rows of a timeline chart, one per bar, with texts for tooltips."""
    rows = [_bar(timeline, at, device) for at, device in enumerate(_devices(timeline["counts"]))]
    middle = (BAR_TOP + BAR_BOTTOM) / 2
    for at in timeline["blocks"]:
        rows[at]["bottom"] = rows[at]["device"] + middle
        rows[at + 1]["top"] = rows[at + 1]["device"] + middle
    for at in timeline["critical"]:
        rows[at]["critical"] = True
    for at, idle, data, latency, order, source in timeline["waits"]:
        rows[at]["waited"] = waiting_text(idle, data, latency, order, source, timeline["unit"])
        rows[at]["idle"] = idle
    return rows


def _devices(counts: Sequence[int]) -> list[int]:
    return [device for device, count in enumerate(counts) for _ in range(count)]


def _bar(timeline: dict[str, Any], at: int, device: int) -> dict[str, Any]:
    kind, stage, microbatch = timeline["kind"][at], timeline["stage"][at], timeline["microbatch"][at]
    fill, ink = timeline["colours"][kind][timeline["place"][at]]
    tint = palette.MICROBATCHES[microbatch % len(palette.MICROBATCHES)]
    item = timeline["items"][microbatch] if "items" in timeline else microbatch
    return {
        "action": f"{stage}{kind}{item}",
        "device": device,
        "stage": stage,
        "microbatch": item,
        "start": timeline["start"][at],
        "end": timeline["end"][at],
        "top": device + BAR_TOP,
        "bottom": device + BAR_BOTTOM,
        "fill": fill,
        "ink": ink,
        "tint": tint,
        "tintInk": palette.ink_on(tint),
        "critical": False,
        "idle": 0,
        "waited": WAITING_TEXTS["none"],
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
    named = [("data", data), ("latency", latency), ("order", order)]
    parts = [_part(name, part, unit) for name, part in named if part] or [_part("filling", idle, unit)]
    text = WAITING_TEXTS["idle"].format(time=with_unit(grouped(idle), unit), parts=", ".join(parts))
    return text + (WAITING_TEXTS["source"].format(source=source) if source else "")


def _part(name: str, time: float, unit: str) -> str:
    return WAITING_TEXTS[name].format(time=with_unit(grouped(time), unit))


def transfer_rows(timeline: dict[str, Any]) -> list[dict[str, Any]]:
    """Make the rows of the transfer lines: one while an end waits for the other, and one while the data moves."""
    rows: list[dict[str, Any]] = []
    for device, name, ready, start, end in timeline["transfers"]:
        place = {"device": device, "transfer": name, "top": device + LINE_TOP, "bottom": device + LINE_BOTTOM}
        if start > ready:
            rows.append({**place, "state": "waits", "start": ready, "end": start})
        rows.append({**place, "state": "moves", "start": start, "end": end})
    return rows


def memory_rows(timeline: dict[str, Any], start: float, end: float, full: float) -> list[dict[str, Any]]:
    """Make the rows of a timeline's memory strips: the top of the level, and the part above the limit.

    Parameters
    ----------
    timeline : dict
        As `columns` returns it.
    start, end : float
        The part of it that is shown.
    full : float
        The level that fills a strip; anything above it is not drawn.
    """
    return [
        _strip(device, time, level, timeline["limits"][device], full)
        for device, steps in enumerate(timeline["memory"])
        for time, level in [(start, 0), *zip(steps["time"], steps["level"], strict=True), (end, 0)]
    ]


def _strip(device: int, time: float, level: float, limit: float | None, full: float) -> dict[str, Any]:
    return {
        "device": device,
        "time": time,
        "level": level,
        "top": device + strip_height(level / full),
        "base": device + STRIP_BOTTOM,
        "over": None if limit is None else device + strip_height(max(level, limit) / full),
        "limit": None if limit is None else device + strip_height(limit / full),
    }


def memory_scale(schedules: Sequence[Presented]) -> float:
    """Choose the level that fills a memory strip, the same for all schedules shown together.

    It is the limit (the highest one if devices differ). If a schedule holds more, it is the highest peak, but at most
    twice the limit: otherwise one schedule far over the limit would flatten the strips of all others. Without a limit,
    or with one of 0, it is the highest peak.

    Parameters
    ----------
    schedules : sequence of Presented
        The schedules shown together.
    """
    peak = max((level for each in schedules for level in each.summary.figures.peak_memory), default=0)
    limit = max((limit for each in schedules for limit in each.summary.limits if limit is not None), default=0)
    return min(max(peak, limit), 2 * limit) or peak or 1


def strip_height(share: float) -> float:
    """Convert a fraction of a full strip to a height within its row; anything above 1 is not drawn."""
    return STRIP_BOTTOM - (STRIP_BOTTOM - STRIP_TOP) * min(1.0, share)


def cut_out(timeline: dict[str, Any], start: float, end: float) -> dict[str, Any]:
    """Cut a stretch of time out of a timeline's columns.

    Parameters
    ----------
    timeline : dict
        As `columns` returns it.
    start, end : float
        The stretch; everything that touches it is kept.
    """
    spans = zip(timeline["start"], timeline["end"], strict=True)
    kept = [at for at, (begins, ends) in enumerate(spans) if ends > start and begins < end]
    renumbered = {at: new for new, at in enumerate(kept)}
    devices = _devices(timeline["counts"])
    counts = [0] * timeline["devices"]
    for at in kept:
        counts[devices[at]] += 1
    return timeline | {
        "counts": counts,
        **{key: [timeline[key][at] for at in kept] for key in ("stage", "microbatch", "place", "start", "end")},
        "kind": "".join(timeline["kind"][at] for at in kept),
        "blocks": [renumbered[at] for at in timeline["blocks"] if at in renumbered],
        "critical": [renumbered[at] for at in timeline["critical"] if at in renumbered],
        "waits": [[renumbered[at], *wait] for at, *wait in timeline["waits"] if at in renumbered],
        "memory": [_cut_steps(steps, start, end) for steps in timeline["memory"]],
        "transfers": [each for each in timeline["transfers"] if each[4] > start and each[2] < end],
    }


def _cut_steps(steps: dict[str, list[Any]], start: float, end: float) -> dict[str, list[Any]]:
    pairs = list(zip(steps["time"], steps["level"], strict=True))
    before = [(start, level) for time, level in pairs if time <= start][-1:]
    inside = [pair for pair in pairs if start < pair[0] < end]
    after = [(end, level) for _, level in [*before, *inside][-1:]]
    times, levels = zip(*(before + inside + after), strict=True) if before + inside else ((), ())
    return {"time": list(times), "level": list(levels)}
