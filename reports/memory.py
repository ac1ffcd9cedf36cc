"""The memory of each device over time, including static memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from solver.numbered import Exact, Numbered, Timeline, integers, sorting
from solver.problem import Placed, Problem


def memory_steps(problem: Problem, rows: Sequence[Placed]) -> list[list[tuple[int, int]]]:
    """Return the memory of each device over time.

    Parameters
    ----------
    problem : Problem
        The problem, whose holds define what is taken and returned.
    rows : sequence of Placed
        The times of all tasks.

    Returns
    -------
    list of list of (int, int)
        For each device the moments (in ticks) at which its level changes, with the level from then on. Memory returned
        at a moment is free before anything is taken at that moment. Static memory is held from the first start of all.
    """
    steps: list[list[tuple[int, int]]] = []
    for moment, level in _levels(problem, rows):
        last = np.append(moment[1:] != moment[:-1], True)[: len(moment)].astype(np.bool_)
        steps.append(list(zip(moment[last].tolist(), level[last].tolist(), strict=True)))
    return steps


def peak_memory(problem: Problem, rows: Sequence[Placed]) -> list[int]:
    """Find the most memory that each device holds at one time, in ticks of memory."""
    return [int(level.max()) if len(level) else 0 for _, level in _levels(problem, rows)]


def _levels(problem: Problem, rows: Sequence[Placed]) -> Iterator[tuple[Exact, Exact]]:
    """Give for each device when something is taken or returned, and the level then, what is returned first."""
    holds, timeline = Numbered(problem).holds, Timeline.of(problem, rows)
    row_of = np.empty(len(problem.tasks), dtype=np.int64)
    row_of[timeline.number] = np.arange(len(timeline))
    taker, returner, parts = row_of[holds.take], row_of[holds.returner], np.flatnonzero(holds.part)
    device = timeline.device[np.concatenate([taker, taker[holds.hold[parts]]])]
    moment = np.concatenate([timeline.start[taker], timeline.end[returner[parts]]])
    change = np.concatenate([holds.amount, -holds.part[parts]])
    order = sorting(device, moment, change)
    bounds = np.searchsorted(device[order], np.arange(problem.devices + 1)).tolist()
    beginning = timeline.start.min() if len(timeline) else 0
    for place, (first, last) in enumerate(pairwise(bounds)):
        here, always = order[first:last], integers([problem.static_of(place)])
        moments, level = moment[here], np.cumsum(change[here]) + always
        if always[0]:
            moments, level = np.insert(moments, 0, beginning), np.concatenate([always, level])
        yield moments, level
