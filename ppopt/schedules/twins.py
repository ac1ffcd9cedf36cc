"""Merges published schedules with the same order under several names, for tables, charts and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ppopt.schedules.schedule import BETWEEN, Schedule


def twins(schedules: Sequence[Schedule]) -> list[list[Schedule]]:
    """Group published schedules that run the same on the same placement; groups are sorted by their first members.

    Schedules from a search or a file stay separate, because users look for them by name.
    """
    groups: list[list[Schedule]] = []
    for schedule in schedules:
        same = next((group for group in groups if _are_twins(group[0], schedule)), None)
        if same is None:
            groups.append([schedule])
        else:
            same.append(schedule)
    return groups


def _are_twins(one: Schedule, other: Schedule) -> bool:
    return (
        one.makespan == other.makespan
        and all(each.is_published and not each.is_searched for each in (one, other))
        and one.layout.homes == other.layout.homes
        and one.pipeline.costs == other.pipeline.costs
        and one.rows == other.rows
        and one.placed_by == other.placed_by
        and one.pipeline.sharding == other.pipeline.sharding
    )


def as_one(group: Sequence[Schedule]) -> Schedule:
    """Merge schedules that run the same into one with all their names; its share of draws won is their sum."""
    first = group[0]
    if len(group) == 1:
        return first
    noise = first.noise
    if noise is not None:
        parts = [each.noise.best for each in group if each.noise is not None and each.noise.best is not None]
        noise = replace(noise, best=sum(parts) if parts else None)
    return replace(first, strategy=BETWEEN.join(each.strategy for each in group), noise=noise)


def each_order_once(schedules: Sequence[Schedule]) -> list[Schedule]:
    """Merge schedules that run the same."""
    return [as_one(group) for group in twins(schedules)]
