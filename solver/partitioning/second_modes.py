"""Guesses of which parts of a split should be in their second mode, so that it keeps its limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from solver.partitioning.problem import PartitionProblem, Split
from solver.partitioning.splits import first_in_second


def second_modes(problem: PartitionProblem, split: Split) -> Iterator[Split]:
    """Yield a split as it is, and with parts in the second mode as limits may require: the cheapest ones, and evenly.

    An order whose bins work in lockstep is shorter if all bins have as many parts in the second mode as one needs.

    Parameters
    ----------
    problem : PartitionProblem
        The problem; any part that has a second mode may be in it.
    split : Split
        The split.
    """
    yield split
    yield mended(problem, split)
    held = np.array(split.held, dtype=np.int64) * problem.parts
    low, high = 0, int(held.sum(axis=1).max())
    while low < high:
        middle = (low + high) // 2
        if problem.keeps_limits(problem.amounts_of(split._replace(second=first_in_second(problem, held, middle)))):
            high = middle
        else:
            low = middle + 1
    yield split._replace(second=first_in_second(problem, held, high))


def mended(problem: PartitionProblem, split: Split) -> Split:
    """Choose which parts of a split are in their second mode, so that it keeps the limits, at little cost.

    The most exceeded limit is reduced first, each time by the column with the best ratio of reduction to added length;
    changes that turn out to be unnecessary are undone. If no choice keeps the limits, the excess is reduced.

    Parameters
    ----------
    problem : PartitionProblem
        The problem; any part that has a second mode may be in it.
    split : Split
        The split; its current second modes are ignored.
    """
    held = np.array(split.held, dtype=np.int64) * problem.parts
    second = np.zeros_like(held)
    columns = [(place, column) for place, column in enumerate(problem.columns) if column.mode]
    if not columns or not problem.limits:
        return split._replace(second=tuple(map(tuple, second.tolist())))
    places = np.array([place for place, _ in columns])
    plain = np.array([held[column.bin, column.run] for _, column in columns])
    saved = problem.limit_rows[:, places - 1] - problem.limit_rows[:, places]
    longer = (problem.form_rows[:, places] - problem.form_rows[:, places - 1]).sum(axis=0)
    none = split._replace(second=tuple(map(tuple, second.tolist())))
    over = problem.limit_rows @ problem.amounts_of(none) - problem.limit_values
    chosen = np.zeros_like(plain)
    while (worst := int((over / np.maximum(1, problem.limit_values)).argmax())) >= 0 and over[worst] > 0:
        able = (chosen < plain) & (saved[worst] > 0)
        if not able.any():
            break
        best = int(np.where(able, saved[worst] / np.maximum(longer, 1), -1.0).argmax())
        count = min(int(plain[best] - chosen[best]), -(-int(over[worst]) // int(saved[worst, best])))
        chosen[best] += count
        over -= count * saved[:, best]
    for column in np.argsort(-longer, kind="stable").tolist():
        gives = saved[:, column] > 0
        spare = int((-over[gives] // saved[gives, column]).min(initial=chosen[column]))
        count = max(0, min(int(chosen[column]), spare)) if (over <= 0).all() else 0
        chosen[column] -= count
        over += count * saved[:, column]
    for (_, column), count in zip(columns, chosen.tolist(), strict=True):
        second[column.bin, column.run] = count
    return split._replace(second=tuple(map(tuple, second.tolist())))
