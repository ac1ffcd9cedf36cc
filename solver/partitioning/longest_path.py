"""Replays of a split: its longest path, with its length, as an inequality for all splits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from solver.partitioning import loops
from solver.partitioning.loops import Graph
from solver.partitioning.problem import LARGEST, Numbers, PartitionProblem


class Path(NamedTuple):
    """A path through the graph of the order.

    Its length, ``factors · amounts + constant``, is a lower bound of the longest path for every split: for each task on
    the path it counts one form, which is at most as long as the task.

    Attributes
    ----------
    length : int
        Its length for the replayed split, which is that of the longest path.
    factors : array of int
        By columns.
    constant : int
        The sum of the lags on the path.
    """

    length: int
    factors: Numbers
    constant: int


class Replay:
    """Finds longest paths.

    Parameters
    ----------
    problem : PartitionProblem
        With its order.
    compiled : dict or None
        The compiled loops, see `solver.jit`; None for plain Python.

    Raises
    ------
    OverflowError
        If lengths or amounts are too large.
    """

    def __init__(self, problem: PartitionProblem, compiled: dict[str, Any] | None) -> None:
        self.problem, self.compiled = problem, compiled
        starts = np.cumsum([0, *map(len, problem.waits)], dtype=np.int64)
        others = np.array([other for waits in problem.waits for other, _ in waits], dtype=np.int64)
        lags = np.array([lag for waits in problem.waits for _, lag in waits], dtype=np.int64)
        self.graph = Graph(np.asarray(problem.tasks, dtype=np.int64), starts, others, lags)
        _refuse_too_large(problem, self.graph.tasks, int(lags.sum()))
        if compiled is None:
            self.graph = Graph(*(each.tolist() for each in self.graph))
            self.ends: Any = [0] * len(problem.tasks)
            self.via: Any = [0] * len(problem.tasks)
        else:
            self.ends = np.zeros(len(problem.tasks), dtype=np.int64)
            self.via = np.zeros(len(problem.tasks), dtype=np.int64)
        self.rows, self.first_forms = problem.form_rows, problem.form_starts[:-1]
        widths = np.diff(problem.form_starts)
        self.others = [(offset, np.flatnonzero(widths > offset)) for offset in range(1, int(widths.max(initial=1)))]

    def lengths_of(self, amounts: Numbers) -> tuple[Numbers, Numbers]:
        """Compute the duration of the tasks of each class, and the form that determines it."""
        values = self.rows @ amounts
        chosen = self.first_forms.copy()
        for offset, classes in self.others:
            forms = self.first_forms[classes] + offset
            better = values[forms] > values[chosen[classes]]
            chosen[classes[better]] = forms[better]
        return values[chosen], chosen

    def longest(self, amounts: Numbers, scale: int = 1) -> Path:
        """Find the longest path of a split.

        Parameters
        ----------
        amounts : array of int
            By columns, times ``scale``; they need not be a split.
        scale : int
            A factor that multiplies everything, so that amounts can represent fractions.
        """
        lengths, chosen = self.lengths_of(amounts)
        graph, ends, via = self.graph, self.ends, self.via
        lags = graph.lags
        if self.compiled is None:
            if scale != 1:
                lags = [lag * scale for lag in lags]
            counts = [0] * len(self.rows)
            last = loops.ends_of(lengths.tolist(), graph, lags, ends, via)
            constant = loops.walk_back(last, graph, lags, via, chosen.tolist(), counts)
            found = np.array(counts, dtype=np.int64)
        else:
            if scale != 1:
                lags = lags * scale
            found = np.zeros(len(self.rows), dtype=np.int64)
            last = self.compiled["ends_of"](lengths, graph, lags, ends, via)
            constant = self.compiled["walk_back"](last, graph, lags, via, chosen, found)
        return Path(int(ends[last]), found @ self.rows, int(constant) // scale)


def _refuse_too_large(problem: PartitionProblem, tasks: Numbers, lags: int) -> None:
    """Refuse problems whose numbers might not fit 64 bits when multiplied by scales and weights."""
    widest = problem.form_rows.max(initial=0) if problem.form_rows.size else 0
    most = int(widest) * int(problem.counts.sum()) * len(tasks) + lags
    held = sum(int(row.max(initial=0)) for row in problem.limit_rows) * int(problem.counts.sum())
    if max(most, held) > LARGEST:
        raise OverflowError("lengths or amounts are too large for whole numbers of 64 bits")
