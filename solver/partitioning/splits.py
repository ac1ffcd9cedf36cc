"""Splits as cut positions: the allowed ones, the effect of moves, and where to start."""

from __future__ import annotations

import numpy as np

from solver.partitioning.problem import Numbers, PartitionProblem


class InfeasibleSplitError(Exception):
    """No split respects the bins in which items may lie."""


def settled_second(problem: PartitionProblem, held: Numbers, wanted: Numbers) -> Numbers:
    """Return how many parts are in their second mode: as wanted, at most all, or as the problem prescribes."""
    able = np.array([len(run.modes) > 1 for run in problem.runs])
    most = np.where(able, held, 0)
    if problem.first_in_mode is None:
        return np.minimum(most, wanted)
    return _first(most, problem.first_in_mode)


def first_in_second(problem: PartitionProblem, held: Numbers, first: int) -> tuple[tuple[int, ...], ...]:
    """Put the first ``first`` parts of each bin that have a second mode into it."""
    able = np.array([len(run.modes) > 1 for run in problem.runs])
    return tuple(map(tuple, _first(np.where(able, held, 0), first).tolist()))


def _first(most: Numbers, first: int) -> Numbers:
    taken: Numbers = np.clip(first - (np.cumsum(most, axis=1) - most), 0, most)
    return taken


def held_between(problem: PartitionProblem, cuts: list[int]) -> Numbers:
    """Count the parts of the items by bin and run."""
    held = np.zeros((problem.bins, len(problem.runs)), dtype=np.int64)
    bins = np.repeat(np.arange(problem.bins), np.diff(cuts))
    np.add.at(held, (bins, np.array(problem.run_of_item, dtype=np.int64)), 1)
    return held * problem.parts


def windows_of_cuts(problem: PartitionProblem) -> list[tuple[int, int]]:
    """Return the first and the last allowed place of each cut.

    Raises
    ------
    InfeasibleSplitError
        If a cut has no allowed place.
    """
    items = [problem.runs[run] for run in problem.run_of_item]
    least = 0 if problem.empty else 1
    total = len(items)
    windows: list[tuple[int, int]] = [(0, 0)]
    low = 0
    for bin_ in range(1, problem.bins):
        low += least
        while low < total and items[low].last < bin_:  # must lie before bin_
            low += 1
        windows.append((low, 0))
    windows.append((total, total))
    high = total
    for bin_ in range(problem.bins - 1, 0, -1):
        high -= least
        while high > 0 and items[high - 1].first >= bin_:  # may not lie before bin_
            high -= 1
        windows[bin_] = (windows[bin_][0], high)
    if windows[1:] and (total < least * problem.bins or any(low > high for low, high in windows)):
        raise InfeasibleSplitError
    return windows


def even_start(problem: PartitionProblem, weights: list[int]) -> list[int]:
    """Cut the row such that the bins have about equal weights.

    Parameters
    ----------
    problem : PartitionProblem
        The problem.
    weights : list of int
        The weight of an item of each run.

    Raises
    ------
    InfeasibleSplitError
        If no cut is allowed.
    """
    windows = windows_of_cuts(problem)
    heavy = np.cumsum([0, *(weights[run] for run in problem.run_of_item)])
    wanted = [heavy[-1] * place / problem.bins for place in range(problem.bins + 1)]
    cuts = np.searchsorted(heavy, wanted).tolist()
    least = 0 if problem.empty else 1
    found = [0]
    for place in range(1, problem.bins):
        low, high = windows[place]
        found.append(min(max(cuts[place], low, found[-1] + least), high))
    return [*found, len(problem.run_of_item)]
