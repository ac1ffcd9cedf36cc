"""The data of a section's charts as plain rows: one per schedule, per step, or per device and cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.content import Presented
from reports.idle import CAUSES
from reports.ladder import STEPS

STEP_TITLES = {
    "cut": "cut",
    "overhead": "overhead",
    "imbalance": "imbalance",
    "filling_and_draining": "filling and draining",
    "latency": "latency",
    "memory": "memory",
    "order": "order",
    "communication": "communication",
    "after": "after the last operation",
}

CAUSE_TITLES = {
    "filling": "filling",
    "data": "data from another device",
    "latency": "latency",
    "order": "idle by choice of order",
    "draining": "draining",
    "overhead": "overhead",
}

PUBLISHED, SEARCHED, OVER_LIMIT = "published", "found by the search", "over the memory limit"
MEASURED = "measured"


def label(presented: Presented) -> str:
    """Return a schedule's name in reports, with ``!`` in front if it is over the memory limit."""
    return f"! {presented.summary.name}" if presented.summary.over else presented.summary.name


def schedule_records(schedules: Sequence[Presented]) -> list[dict[str, Any]]:
    """Make a row for each schedule: its name, rank, figures and state."""
    return [
        {
            "name": label(each),
            "rank": rank,
            "makespan": each.summary.figures.makespan,
            "bubble_ratio": each.summary.figures.bubble_ratio,
            "bubble_over_ideal": each.summary.figures.bubble_over_ideal,
            "peak_memory": max(each.summary.figures.peak_memory),
            "share_of_limit": share_of_limit(each),
            "state": _state(each),
        }
        for rank, each in enumerate(schedules)
    ]


def _state(presented: Presented) -> str:
    if presented.summary.over:
        return OVER_LIMIT
    if presented.summary.status == MEASURED:
        return MEASURED
    return SEARCHED if presented.searched else PUBLISHED


def share_of_limit(presented: Presented) -> float | None:
    """Return the largest fraction of its limit that any device holds at one time; None if no device has a limit."""
    pairs = zip(presented.summary.figures.peak_memory, presented.summary.limits, strict=True)
    shares = [peak / limit if limit else float(peak > 0) for peak, limit in pairs if limit is not None]
    return max(shares, default=None)


def steps_shown(schedules: Sequence[Presented]) -> list[str]:
    """List the steps of ladders to show; the cut is shown only if another one would save something."""
    planned = any(each.ladder is not None and each.ladder.cut for each in schedules)
    return [step for step in STEPS if planned or step != "cut"]


def ladder_records(schedules: Sequence[Presented]) -> list[dict[str, Any]]:
    """Make a row for each step of each ladder: where it starts and ends, and its fraction of the makespan."""
    records: list[dict[str, Any]] = []
    for rank, each in enumerate(schedules):
        if each.ladder is None:
            continue
        reached = each.ladder.ideal - each.ladder.saved
        for place, step in enumerate(STEPS):
            height = getattr(each.ladder, step)
            records.append(
                {
                    "name": label(each),
                    "rank": rank,
                    "step": STEP_TITLES[step],
                    "place": place,
                    "from": float(reached),
                    "to": float(reached + height),
                    "time": float(height),
                    "share": float(height / each.ladder.makespan),
                }
            )
            reached += height
    return records


def idle_records(schedules: Sequence[Presented]) -> list[dict[str, Any]]:
    """Make a row for each schedule, device and cause, with the device's idle time by that cause."""
    records: list[dict[str, Any]] = []
    for rank, each in enumerate(schedules):
        scale, makespan = each.problem.ticks_per_unit, each.summary.figures.makespan
        for device, idle in enumerate(each.waiting.devices):
            for place, cause in enumerate(CAUSES):
                time = getattr(idle, cause) / scale
                records.append(
                    {
                        "name": label(each),
                        "rank": rank,
                        "device": device,
                        "cause": CAUSE_TITLES[cause],
                        "place": place,
                        "time": time,
                        "share": time / makespan,
                    }
                )
    return records


def cut_records(schedules: Sequence[Presented]) -> list[dict[str, Any]]:
    """Make a row for each set of equal layers of a stage, with their place and their costs."""
    return [
        {
            "name": label(each),
            "device": held.device,
            "stage": held.stage,
            "place": place,
            "kind": held.kind,
            "layers": held.count,
            "recomputed": "yes" if held.recomputed else "no",
            "time": held.time,
            "static": held.static,
        }
        for each in schedules
        for place, held in enumerate(each.cut)
    ]


def memory_records(schedules: Sequence[Presented]) -> list[dict[str, Any]]:
    """Make two rows for each device of a schedule with a cut: its static memory, and the rest of its peak."""
    records: list[dict[str, Any]] = []
    for each in schedules:
        if not each.cut:
            continue
        pairs = zip(each.summary.figures.peak_memory, each.summary.limits, strict=True)
        for device, (peak, limit) in enumerate(pairs):
            static = sum(held.static for held in each.cut if held.device == device)
            for place, (share, memory) in enumerate((("static", static), ("activations", peak - static))):
                records.append(
                    {
                        "name": label(each),
                        "device": device,
                        "share": share,
                        "place": place,
                        "memory": memory,
                        "peak": peak,
                        "limit": limit,
                    }
                )
    return records
