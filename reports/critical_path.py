"""The critical path: one chain of actions, each of which held up the next, that is as long as the schedule."""

from __future__ import annotations

from collections.abc import Sequence

from reports.idle import find_arrivals, leading_rows
from solver.problem import Placed, Problem


def critical_path(problem: Problem, rows: Sequence[Placed]) -> tuple[int, ...]:
    """Find what the makespan is made of.

    The path goes back from an action that ends last: from each action to the one before it on its device, if that ends
    when this one starts; else to the task whose result arrives when this one starts; else it ends. In a replay it
    starts with the schedule, and the durations and latencies along it add up to the makespan.

    Parameters
    ----------
    problem : Problem
        What was scheduled.
    rows : sequence of Placed
        When each task runs; device by device in the order of time, the halves of a block one after the other.

    Returns
    -------
    tuple of int
        The places in ``rows`` of the path's actions in the order of time; of a block, both halves.
    """
    if not rows:
        return ()
    leads = leading_rows(rows)
    holding = _holding_actions(problem, rows, leads)
    here: int | None = max(leads, key=lambda lead: rows[lead].end)
    path: list[int] = []
    while here is not None:
        path.append(here)
        here = holding[here]
    return tuple(place for lead in reversed(path) for place in _rows_of(lead, leads))


def _rows_of(lead: int, leads: Sequence[int]) -> tuple[int, ...]:
    return (lead, lead + 1) if leads[lead + 1 : lead + 2] == [lead] else (lead,)


def _holding_actions(problem: Problem, rows: Sequence[Placed], leads: Sequence[int]) -> list[int | None]:
    """Find, for each leading row, that of the action which it had to wait for until it started."""
    arrivals = find_arrivals(problem, rows, leads)
    holding: list[int | None] = [None] * len(rows)
    last_on_device: dict[int, int] = {}
    for place, lead in enumerate(leads):
        if place != lead:
            continue
        row, producer = rows[place], arrivals.producers[place]
        previous = last_on_device.get(row.device)
        if previous is not None and rows[previous].end == row.start:
            holding[place] = previous
        elif producer is not None and arrivals.moments[place] == row.start:
            holding[place] = leads[producer]
        last_on_device[row.device] = place
    return holding
