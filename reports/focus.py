"""The few schedules that a section shows at first; all others are folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.content import Presented, Section
from reports.table import compared_rows

FEW = 8
"""Up to this many schedules, all are shown."""


def in_focus(section: Section) -> frozenset[int]:
    """Return the ranks of the schedules that decide: a reader who sees no others still sees every candidate.

    They are the winner, the fastest of all, the baseline, the best published schedule, the best that each framework
    runs, and the Pareto front of makespan and peak memory among those that fit. A frontier's own points and a section
    with few schedules are shown whole.

    Parameters
    ----------
    section : Section
        The schedules, best first.
    """
    schedules = section.schedules
    if len(schedules) <= FEW:
        return frozenset(range(len(schedules)))
    ranks = {id(each): rank for rank, each in enumerate(schedules)}
    named = {id(each.summary): rank for rank, each in enumerate(schedules)}
    chosen = {ranks[id(each)] for each in (section.winner, section.fastest) if each is not None}
    baseline = "" if section.baseline is None else section.baseline.name
    chosen |= {rank for rank, each in enumerate(schedules) if each.summary.name == baseline}
    if section.frontier is not None:
        chosen |= {point.rank for point in section.frontier.points if point.rank is not None}
        if section.frontier.copies is not None:
            chosen |= {point.rank for point in section.frontier.copies.points if point.rank is not None}
    fair = {named[id(row)] for row in compared_rows([each.summary for each in schedules])}
    fitting = sorted(
        (rank for rank in fair if not schedules[rank].summary.over),
        key=lambda rank: (schedules[rank].summary.figures.makespan, schedules[rank].peak, rank),
    )
    chosen |= {*_leaders(schedules, fitting), *pareto_front(schedules, fitting)}
    return frozenset(chosen)


def _leaders(schedules: Sequence[Presented], fitting: Sequence[int]) -> Iterator[int]:
    """Yield the best published schedule, and the best that each framework runs."""
    yield from [rank for rank in fitting if not schedules[rank].searched][:1]
    frameworks = {letter for rank in fitting for letter in schedules[rank].summary.runs_in or {}}
    for letter in sorted(frameworks):
        yield next(rank for rank in fitting if letter in (schedules[rank].summary.runs_in or {}))


def pareto_front(schedules: Sequence[Presented], ranks: Sequence[int]) -> Iterator[int]:
    """Yield the schedules for which no other takes less time and less memory.

    Parameters
    ----------
    schedules : sequence of Presented
        All schedules.
    ranks : sequence of int
        The ranks to choose from, sorted by makespan, then by peak memory.
    """
    least = float("inf")
    for rank in ranks:
        if schedules[rank].peak < least:
            least = schedules[rank].peak
            yield rank
