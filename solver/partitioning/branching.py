"""Branching: where a node of the search over splits is divided in two.

A branch divides a sum over bins (the position of a cut, the load of a machine, the parts of a bin) or a single column
at a value that the point of the relaxation does not settle. Sums come first, since they say more. Of several candidates
the most promising are tried for a few rounds of cuts.

What it is worth: row `tried-branches` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from solver.partitioning.problem import PartitionProblem
from solver.partitioning.relaxation import Floats, Node, Solved
from solver.partitioning.rows import BIN, LOAD, MOST_RUNS, PART, POSITION, SECOND, sums

WHOLE = 1e-6
"""Numbers closer than this to a whole number count as whole."""

CANDIDATES = 4
"""The number of branches tried before one is chosen."""

Bounded = tuple[Node, int, Solved]
"""A node as its bound leaves it, the bound, and the solution that shows it."""


@dataclass
class Branch:
    """A column or a sum to split at a value: at most ``below``, or at least one step more."""

    is_sum: bool
    place: int
    value: float
    step: int = 1
    parts: list[Bounded | None] = field(default_factory=list)

    @property
    def below(self) -> int:
        """The largest number of the lower part."""
        return int(np.floor(self.value / self.step)) * self.step

    @property
    def above(self) -> int:
        """The least number of the upper part."""
        return self.below + self.step

    @property
    def shares(self) -> tuple[float, float]:
        """How far the value is from both parts, in steps."""
        return (self.value - self.below) / self.step, (self.above - self.value) / self.step


class Branching:
    """Chooses branches, and divides nodes by them.

    Parameters
    ----------
    problem : PartitionProblem
        The problem.
    bounded : callable
        ``bounded(node)`` bounds a node in a few rounds; None if no split in it is short enough.
    reach : callable
        ``reach()`` is the approximate length to which bounds can rise.
    """

    def __init__(
        self, problem: PartitionProblem, bounded: Callable[[Node], Bounded | None], reach: Callable[[], float]
    ) -> None:
        self.problem, self.bounded, self.reach = problem, bounded, reach
        self.sums, self.ranks, self.places, self.steps = sums(problem)
        self.bins = np.array([column.bin for column in problem.columns])
        self.plain = np.array([not c.mode and len(problem.runs[c.run].modes) > 1 for c in problem.columns])
        self.ends = problem.counts.cumsum()
        self.positions = np.cumsum([0, *(problem.runs[run].parts for run in problem.run_of_item), 1])  # and one beyond
        self.many_runs = sum(run.first < run.last for run in problem.runs) > MOST_RUNS
        runs = np.arange(len(problem.runs))[:, None] == problem.column_runs
        self.before = [(runs & (self.bins < place)).astype(float) for place in range(problem.bins)]
        self.gains = np.zeros((2, 2, len(problem.columns) + len(self.sums.low)))

    def choose(self, node: Node, solved: Solved) -> Branch | None:
        """Choose the branch that splits a node; None if nothing is left to split."""
        point = solved.point
        if point is None:
            return self._widest(node)
        mixed = self._mixed(node, point)
        if mixed is not None and self.many_runs:
            return mixed
        values = self.sums.factors @ point
        unsettled = self._unsettled(node, point, values)
        if unsettled is not None:
            return unsettled
        in_steps = values / self.steps
        away = (np.abs(in_steps - np.rint(in_steps)) > WHOLE) & (node.sum_low < node.sum_high)
        for rank in (LOAD, PART, BIN):
            places = np.flatnonzero(away & (self.ranks == rank))
            if places.size:
                loads = [Branch(True, int(at), float(values[at]), int(self.steps[at])) for at in places]
                return self._best_of(node, solved, loads, mixed)
        if mixed is not None:
            return mixed
        away = (np.abs(point - np.rint(point)) > WHOLE) & (node.low < node.high)
        places = np.flatnonzero(away)
        if places.size:
            return self._best_of(node, solved, [Branch(False, int(at), float(point[at])) for at in places])
        return self._widest(node)

    def _unsettled(self, node: Node, point: Floats, values: Floats) -> Branch | None:
        """Find a bin with parts that should be in the second mode: branch on whether it holds fewer than prescribed."""
        first = self.problem.first_in_mode
        if first is None:
            return None
        best, chosen = WHOLE, None
        for at in np.flatnonzero((self.ranks == SECOND) & (node.sum_low < first) & (node.sum_high >= first)).tolist():
            plain = float(point[self.plain & (self.bins == self.places[at])].sum())
            amount = min(plain, first - float(values[at]))
            if amount > best:
                best, chosen = amount, Branch(True, at, first - 0.5)
        return chosen

    def _mixed(self, node: Node, point: Floats) -> Branch | None:
        """Find a cut before which a run is incomplete though a later one has started: branch on its being complete."""
        best, chosen = 100 * WHOLE, None
        for at in np.flatnonzero(self.ranks == POSITION).tolist():
            before = self.before[int(self.places[at])] @ point
            missing = self.problem.counts - before
            # the most that an earlier run lacks, compared with what a later run has
            for second in np.flatnonzero(before > WHOLE).tolist():
                first = int(missing[:second].argmax()) if second else 0
                amount = min(float(missing[first]), float(before[second])) if second else 0.0
                if amount > best:
                    best = amount
                    end = int(self.ends[first])
                    here = int(np.floor(before.sum()))
                    # with many runs, branch at the cut's own place; but not twice, since that gives nothing new
                    if self.many_runs and node.sum_low[at] <= here < node.sum_high[at]:
                        end = here
                    chosen = Branch(True, at, end + 0.5)
        return chosen

    def _best_of(self, node: Node, solved: Solved, candidates: list[Branch], another: Branch | None = None) -> Branch:
        """Try the most promising candidates, and another one."""
        ranked = sorted(candidates, key=self._promise, reverse=True)[:CANDIDATES]
        if another is not None:
            ranked = [another, *ranked[: CANDIDATES - 1]]
        if len(ranked) == 1:
            return ranked[0]
        best, score = ranked[0], -1.0
        for each in ranked:
            tried = self._tried(node, solved, each)
            if tried > score:
                best, score = each, tried
            if any(part is None for part in each.parts):
                return each
        return best

    def _promise(self, branch: Branch) -> float:
        """Return how much a branch raised the bound when it was tried before; branches never tried come first."""
        at = self._at(branch)
        score = 1.0
        for up, share in enumerate(branch.shares):
            total, times = self.gains[up][:, at]
            known, tries = self.gains[up].sum(axis=1)
            mean = total / times if times else known / tries if tries else 1.0
            score *= max(mean * share, 1e-6)
        return score

    def _at(self, branch: Branch) -> int:
        return branch.place + (len(self.problem.columns) if branch.is_sum else 0)

    def _tried(self, node: Node, solved: Solved, branch: Branch) -> float:
        """Examine both parts of a branch for a few rounds, and record the results."""
        score = 1.0
        for up, part in enumerate(self.halves(node, branch)):
            tried = self.bounded(part)
            branch.parts.append(tried)
            gain = max(0.0, self.reach() - solved.length if tried is None else tried[2].length - solved.length)
            self.gains[up][:, self._at(branch)] += gain / max(branch.shares[up], 0.05), 1
            score *= max(gain, 1e-6 * solved.length)
        return score

    def _widest(self, node: Node) -> Branch | None:
        """Halve the widest range; None if everything is fixed."""
        width = node.high - node.low
        place = int(width.argmax())
        if width[place] <= 0:
            return None
        return Branch(False, place, (int(node.low[place]) + int(node.high[place])) // 2 + 0.5)

    def halves(self, node: Node, branch: Branch) -> tuple[Node, Node]:
        """Divide a node by a branch: the lower part, and the upper one."""
        below, above = copied(node), copied(node)
        for part, is_above in ((below, False), (above, True)):
            low, high = (part.sum_low, part.sum_high) if branch.is_sum else (part.low, part.high)
            if is_above:
                low[branch.place] = max(int(low[branch.place]), branch.above)
            else:
                high[branch.place] = min(int(high[branch.place]), branch.below)
            if branch.is_sum and self.ranks[branch.place] == POSITION:
                self.position_to_columns(part, branch.place)
            if branch.is_sum and self.ranks[branch.place] == SECOND and not is_above:
                # fewer than prescribed are in the second mode, so no part that has one is left in the first
                part.high[self.plain & (self.bins == self.places[branch.place])] = 0
        return below, above

    def position_to_columns(self, node: Node, at: int) -> None:
        """Move the sides of a cut's position to ends of items, and tighten the columns accordingly."""
        place = int(self.places[at])
        low, high = node.sum_low[at], node.sum_high[at]
        node.sum_low[at] = self.positions[np.searchsorted(self.positions, low)]
        node.sum_high[at] = self.positions[np.searchsorted(self.positions, high, side="right") - 1]
        starts = self.ends - self.problem.counts
        least = np.clip(node.sum_low[at] - starts, 0, self.problem.counts)
        most = np.clip(node.sum_high[at] - starts, 0, self.problem.counts)
        is_before = self.bins < place
        runs = self.problem.column_runs
        allowed = np.where(is_before, most[runs], self.problem.counts[runs] - least[runs])
        np.minimum(node.high, allowed, out=node.high)


def copied(node: Node) -> Node:
    """Copy a node's arrays, which a branch changes."""
    return Node(*(each.copy() for each in node))
