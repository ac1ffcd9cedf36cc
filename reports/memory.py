"""The memory of each device over time, including static memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

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
    start_of_all = min((row.start for row in rows), default=0)
    changes: list[list[tuple[int, int]]] = [
        [(start_of_all, always)] if (always := problem.static_of(device)) else [] for device in range(problem.devices)
    ]
    placed = {row.task: row for row in rows}
    for hold in problem.holds:
        taker = placed[hold.take]
        changes[taker.device].append((taker.start, hold.amount))
        changes[taker.device] += [(placed[task].end, -part) for task, part in hold.returns if part]
    return [_levels(each) for each in changes]


def _levels(changes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    changes.sort()
    levels: list[tuple[int, int]] = []
    level = 0
    for moment, together in groupby(changes, key=itemgetter(0)):
        level += sum(change for _, change in together)
        levels.append((moment, level))
    return levels
