"""The data of a section's charts as plain rows: one per schedule, per step, or per device and cause.

Each row of a schedule says whether the schedule is in focus, and has the texts of its figures as sentences and tables
write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.content import Presented, Section
from reports.focus import in_focus
from reports.idle import CAUSES
from reports.ladder import STEPS
from reports.numbers import digits_of, grouped, percent

STEP_TITLES = {
    "saved": "saved by overlap or shorter halves",
    "cut": "cut",
    "overhead": "overhead",
    "imbalance": "imbalance",
    "filling_and_draining": "filling and draining",
    "latency": "latency",
    "memory": "memory",
    "order": "choice of order, at most",
    "communication": "waiting communication",
    "after": "after the last operation",
}

CAUSE_TITLES = {
    "filling": "filling",
    "data": "waiting for data",
    "latency": "latency",
    "order": "idle by choice of order",
    "draining": "draining",
    "overhead": "overhead",
}

PUBLISHED, SEARCHED, OVER_LIMIT = "published", "found by the search", "over the memory limit"
MEASURED, GIVEN = "measured", "given order"


def label(presented: Presented) -> str:
    """Return a schedule's name in reports, with ``!`` in front if it is over the memory limit."""
    return f"! {presented.summary.name}" if presented.summary.over else presented.summary.name


def makespan_text(presented: Presented) -> str:
    """Write a schedule's makespan, with fewer digits if it was measured."""
    return grouped(presented.summary.figures.makespan, digits_of(presented.summary.status))


def schedule_records(section: Section) -> list[dict[str, Any]]:
    """Make a row for each schedule: its name, rank, figures and state, and whether it is in focus."""
    focus = in_focus(section)
    return [
        {
            "name": label(each),
            "rank": rank,
            "focus": rank in focus,
            "state": _state(each),
            "makespan": each.summary.figures.makespan,
            "makespan_text": makespan_text(each),
            "bubble_ratio": each.summary.figures.bubble_ratio,
            "bubble_ratio_text": percent(each.summary.figures.bubble_ratio),
            "bubble_over_ideal": each.summary.figures.bubble_over_ideal,
            "bubble_over_ideal_text": percent(each.summary.figures.bubble_over_ideal),
            "peak_memory": each.peak,
            "peak_memory_text": grouped(each.peak),
            "share_of_limit": share_of_limit(each),
            "share_of_limit_text": share_text(each),
        }
        for rank, each in enumerate(section.schedules)
    ]


def names_in_focus(section: Section) -> frozenset[str]:
    """Return the names of the schedules in focus, as labels."""
    return frozenset(label(section.schedules[rank]) for rank in in_focus(section))


def focus_of(section: Section, schedules: Sequence[Presented]) -> tuple[bool, ...]:
    """Return for each of some schedules whether it is in focus, for the rows of a table."""
    chosen = {id(section.schedules[rank]) for rank in in_focus(section)}
    return tuple([id(each) in chosen for each in schedules])


def _state(presented: Presented) -> str:
    if presented.summary.over:
        return OVER_LIMIT
    if presented.summary.status == MEASURED:
        return MEASURED
    return SEARCHED if presented.searched else GIVEN if presented.given else PUBLISHED


def share_of_limit(presented: Presented) -> float | None:
    """Return the largest fraction of its limit that any device holds at one time; None if no device has a limit."""
    pairs = zip(presented.summary.figures.peak_memory, presented.summary.limits, strict=True)
    shares = [peak / limit if limit else float(peak > 0) for peak, limit in pairs if limit is not None]
    return max(shares, default=None)


def share_text(presented: Presented) -> str:
    """Write the largest fraction of its limit that any device holds."""
    share = share_of_limit(presented)
    return "no limit" if share is None else percent(share)


def ladder_records(section: Section) -> list[dict[str, Any]]:
    """Make a row for each step of each ladder that is not zero: where it starts and ends, as parts of the ideal time.

    What is saved lies below 0, and the losses follow each other from 0 up.
    """
    focus = in_focus(section)
    records: list[dict[str, Any]] = []
    for rank, each in enumerate(section.schedules):
        if each.ladder is None:
            continue
        ideal, reached = each.ladder.ideal, -each.ladder.saved
        for place, step in enumerate(("saved", *STEPS)):
            height = getattr(each.ladder, step)
            if height:
                records.append(
                    {
                        "name": label(each),
                        "focus": rank in focus,
                        "step": STEP_TITLES[step],
                        "place": place,
                        "from": float(reached / ideal),
                        "to": float((reached + height) / ideal),
                        "time_text": grouped(float(height)),
                        "share_text": percent(float(height / ideal)),
                    }
                )
            reached += height
    return records


def idle_records(section: Section) -> list[dict[str, Any]]:
    """Make a row for each schedule and device: its causes of idle time, with their shares and times.

    There are many, so a row has the schedule's rank and the causes' places in `CAUSES`.
    """
    records: list[dict[str, Any]] = []
    for rank, each in enumerate(section.schedules):
        scale, makespan = each.problem.ticks_per_unit, each.summary.figures.makespan
        for device, idle in enumerate(each.waiting.devices):
            times = {place: getattr(idle, cause) / scale for place, cause in enumerate(CAUSES)}
            held = {place: time for place, time in times.items() if time} or {0: 0.0}
            records.append(
                {
                    "rank": rank,
                    "device": device,
                    "place": list(held),
                    "share": [round(time / makespan, 7) for time in held.values()],
                    "time_text": [grouped(time) for time in held.values()],
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
            "time_text": grouped(held.time),
            "static_text": grouped(held.static),
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
                        "memory_text": grouped(memory),
                        "peak_text": grouped(peak),
                        "limit": limit,
                        "limit_text": "no limit" if limit is None else grouped(limit),
                    }
                )
    return records
