"""Linear rows over the columns that hold for every split: totals, integral sums, the order of runs, limits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import gcd
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from solver.partitioning.problem import Numbers, PartitionProblem

NO_SIDE = 1 << 60
"""A side that does not bind."""


class Rows(NamedTuple):
    """Rows with their two sides: ``low ≤ factors · amounts ≤ high``."""

    factors: Numbers
    low: Numbers
    high: Numbers


def totals(problem: PartitionProblem) -> Rows:
    """Return rows which require that all parts of each run lie in some bin."""
    runs = np.arange(len(problem.runs))
    factors = (problem.column_runs == runs[:, None]).astype(np.int64)
    return Rows(factors, problem.counts.copy(), problem.counts.copy())


class Sums(NamedTuple):
    """Sums of columns that are integral for every split, and worth fixing before single columns.

    Attributes
    ----------
    rows : Rows
        The sums, with their initial ranges.
    ranks : array of int
        Sums of lower rank are fixed first; `POSITION` marks the sums that count the parts before a bin.
    bins : array of int
        That bin, for positions.
    steps : array of int
        Each sum is a multiple of its step, the number of parts of its items.
    """

    rows: Rows
    ranks: Numbers
    bins: Numbers
    steps: Numbers


LOAD, PART, SECOND, BIN, POSITION = 0, 1, 2, 3, 4
"""The ranks: the contents of a group; its contents of one run; a bin's contents in the second mode, if the problem
prescribes the amount; a bin's contents of one run; and positions of cuts."""

MOST_RUNS = 4
"""With more runs than this that can lie in several bins, a group's contents of each run are not used."""


def sums(problem: PartitionProblem) -> Sums:
    """List the sums that are worth fixing.

    For each group: its contents of all movable runs, in the second mode, and of each run. For each bin: its contents of
    each run with two modes. If several runs can move: the number of parts before each bin.
    """
    found: dict[bytes, tuple[Numbers, int, int]] = {}
    for chosen, rank, place in _worth_fixing(problem):
        row = chosen.astype(np.int64)
        if row.sum() >= (1 if rank == SECOND else 2):
            found.setdefault(row.tobytes(), (row, rank, place))
    for row in totals(problem).factors:
        found.pop(row.tobytes(), None)
    listed = sorted(found.values(), key=lambda each: each[1])
    factors = np.array([row for row, _, _ in listed], dtype=np.int64).reshape(len(listed), len(problem.columns))
    runs = problem.column_runs
    high = np.array([int(problem.counts[np.unique(runs[row > 0])].sum()) for row in factors], dtype=np.int64)
    ranks = np.array([rank for _, rank, _ in listed], dtype=np.int64)
    places = np.array([place for _, _, place in listed], dtype=np.int64)
    if problem.first_in_mode is not None:
        high[ranks == SECOND] = np.minimum(high[ranks == SECOND], problem.first_in_mode)
    steps = np.array([_step_of(problem, row) for row in factors], dtype=np.int64)
    return Sums(Rows(factors, np.zeros(len(factors), dtype=np.int64), high), ranks, places, steps)


def _step_of(problem: PartitionProblem, row: Numbers) -> int:
    """Return the number that a sum is a multiple of: the parts of its items if it counts whole items, else 1."""
    steps = [problem.runs[problem.columns[place].run].parts for place in np.flatnonzero(row).tolist()]
    if max(steps, default=1) == 1:
        return 1
    modes: dict[tuple[int, int], int] = {}
    for place in np.flatnonzero(row).tolist():
        column = problem.columns[place]
        modes[column.bin, column.run] = modes.get((column.bin, column.run), 0) + 1
    is_whole = all(count == len(problem.runs[run].modes) for (_, run), count in modes.items())
    return gcd(*steps) if is_whole else 1


def _worth_fixing(problem: PartitionProblem) -> Iterator[tuple[npt.NDArray[np.bool_], int, int]]:
    """Choose the columns of each sum, its rank, and its bin."""
    bins, runs = np.array([column.bin for column in problem.columns]), problem.column_runs
    modes = np.array([column.mode for column in problem.columns])
    free = np.array([run.first < run.last for run in problem.runs])
    single = np.flatnonzero(free).tolist() if free.sum() <= MOST_RUNS else []
    for group in problem.groups:
        inside = np.isin(bins, group)
        yield inside & free[runs], LOAD, 0
        yield inside & (modes == 1), LOAD, 0
        yield from ((inside & (runs == run), PART, 0) for run in single)
    several = [number for number, run in enumerate(problem.runs) if len(run.modes) > 1]
    for place in range(problem.bins):
        if problem.first_in_mode is not None:
            yield (bins == place) & (modes == 1), SECOND, place
        yield from (((bins == place) & (runs == run), BIN, 0) for run in several)
        if free.sum() > 1:
            yield bins < place, POSITION, place


def side_rows(problem: PartitionProblem) -> Rows:
    """List further rows that every split keeps, at least ``low``: limits, non-empty bins, the order of the runs.

    Let run r, with N_r parts, precede run q, with N_q parts. If any parts of q lie before a bin, all parts of r do, so
    ``N_q · (r before the bin) − N_r · (q before the bin) ≥ 0``.
    """
    bins = np.array([column.bin for column in problem.columns])
    found = [-row for row in problem.limit_rows]
    low = [-int(most) for most in problem.limit_values]
    if not problem.empty:
        for place in range(problem.bins):
            found.append((bins == place).astype(np.int64))
            low.append(1)
    for first, second in pairwise(range(len(problem.runs))):
        one, two = problem.runs[first], problem.runs[second]
        for place in range(two.first + 1, one.last + 1):
            found.append(_in_order(problem, place, first, 0, two.all_parts))
            low.append(0)
    factors = np.array(found, dtype=np.int64).reshape(len(found), len(bins))
    return Rows(factors, np.array(low, dtype=np.int64), np.full(len(found), NO_SIDE, dtype=np.int64))


def _in_order(problem: PartitionProblem, place: int, first: int, least: int, most: int) -> Numbers:
    """Write that a run starts before a bin only if the previous run is complete there.

    If at least ``least`` of the first run's N parts lie before the bin, and at most ``most`` of the second run's, then
    ``most · (first − least) ≥ (N − least) · second``: either the second is 0, or the first is N and the second at most
    ``most``.
    """
    before = np.array([column.bin < place for column in problem.columns])
    runs = problem.column_runs
    lacking = problem.runs[first].all_parts - least
    row: Numbers = (most * (before & (runs == first)) - lacking * (before & (runs == first + 1))).astype(np.int64)
    return row


def order_rows(problem: PartitionProblem, places: Numbers, low: Numbers, high: Numbers) -> Rows:
    """Write the order of neighbouring runs, given the ranges of cuts.

    Parameters
    ----------
    problem : PartitionProblem
        The problem.
    places : array of int
        Bins.
    low, high : array of int
        The least and the most parts before each of these bins.
    """
    ends = problem.counts.cumsum()
    starts = ends - problem.counts
    found: list[Numbers] = []
    sides: list[int] = []
    for place, least, most in zip(places.tolist(), low.tolist(), high.tolist(), strict=True):
        for first in range(len(problem.runs) - 1):
            first_least = min(max(least - int(starts[first]), 0), problem.runs[first].all_parts)
            second_most = min(max(most - int(starts[first + 1]), 0), problem.runs[first + 1].all_parts)
            if first_least < problem.runs[first].all_parts and second_most > 0:
                found.append(_in_order(problem, place, first, first_least, second_most))
                sides.append(first_least * second_most)
    factors = np.array(found, dtype=np.int64).reshape(len(found), len(problem.columns))
    return Rows(factors, np.array(sides, dtype=np.int64), np.full(len(found), NO_SIDE, dtype=np.int64))
