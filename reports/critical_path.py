"""The critical path: a chain of actions as long as the schedule, in which each action held up the next."""

from __future__ import annotations

from collections.abc import Sequence

from reports.idle import find_arrivals, leading_rows
from solver.problem import Placed, Problem


def critical_path(problem: Problem, rows: Sequence[Placed]) -> tuple[int, ...]:
    """Find a critical path, which makes up the makespan.

    The path goes back from an action that ends last. From each action it goes to the previous one on its device, if
    that ends when this one starts; else to the task whose result arrives when this one starts; else the path stops. In
    a replay it reaches the start of the schedule, and the durations and latencies along it add up to the makespan.

    Parameters
    ----------
    problem : Problem
        The problem that was scheduled.
    rows : sequence of Placed
        The times of all tasks, device by device in order of time; the halves of a block are adjacent.

    Returns
    -------
    tuple of int
        The indices in ``rows`` of the path's actions in order of time, with both halves of a block.
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
    """Return, for each leading row, the leading row of the action that delayed its start."""
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
