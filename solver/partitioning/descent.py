"""A quick search for a good split, with few replays: moves are judged by known paths.

All moves of a split are judged at once; the best one is replayed. If it is worse than estimated, its own longest path
joins the known paths, so that it is not tried again.

What it is worth: row `descent` of docs/development/ablation.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from solver.partitioning.longest_path import Replay
from solver.partitioning.pool import Pool
from solver.partitioning.problem import Column, Numbers, PartitionProblem, Split
from solver.partitioning.splits import held_between, settled_second, windows_of_cuts

Floats = npt.NDArray[np.float64]

MOST_CHANGES = 4_000_000
"""The most column changes to examine per step. If all blocks of neighbouring cuts have more, single cuts and a random
sample of blocks are examined."""

EXCESS_PRICE = 3.0
"""The price of exceeding a limit by 100 %, in lengths."""


class FoundSplit(NamedTuple):
    """A split and its value.

    Attributes
    ----------
    length : int
        Its longest path.
    excess : float
        The excess over limits, relative to them; 0 if it keeps all.
    amounts : array of int
        By columns.
    """

    length: int
    excess: float
    amounts: Numbers

    @property
    def cost(self) -> float:
        """The length plus the price of the excess."""
        return self.length * (1 + EXCESS_PRICE * self.excess)

    @property
    def rank(self) -> tuple[bool, float]:
        """The sort key: splits that keep all limits come first."""
        return self.excess > 0, self.cost


class Place(NamedTuple):
    """A split, as cuts and second modes, and as columns."""

    cuts: list[int]
    second: Numbers
    amounts: Numbers


class Moves(NamedTuple):
    """Changes of a split: cuts ``firsts`` to ``lasts`` by ``steps``, or the second mode of ``runs`` in a bin.

    ``runs`` is −1 for moves of cuts. Each row of ``changes`` has the changes of the columns if all moved parts stay in
    their mode.
    """

    firsts: Numbers
    lasts: Numbers
    steps: Numbers
    runs: Numbers
    changes: Numbers


class Descent:
    """The search.

    Parameters
    ----------
    problem : PartitionProblem
        The problem.
    replay : Replay
        Finds longest paths.
    pool : Pool
        Judges moves, and collects paths.
    seed : int
        Seed of the moves that escape local optima.
    """

    def __init__(self, problem: PartitionProblem, replay: Replay, pool: Pool, seed: int) -> None:
        self.problem, self.replay, self.pool = problem, replay, pool
        self.draw = random.Random(seed)  # noqa: S311 - no secret
        self.draw_blocks = np.random.default_rng(seed)
        windows = np.array(windows_of_cuts(problem), dtype=np.int64)
        self.low, self.high = windows[1:-1, 0], windows[1:-1, 1]
        self.limits = problem.limit_rows / np.maximum(1, problem.limit_values)[:, None]
        self.owners = np.flatnonzero(np.diff(problem.limit_owners, prepend=-1))
        self.has_second = problem.first_in_mode is None and any(len(run.modes) > 1 for run in problem.runs)
        self.replays = 0

    def place(self, cuts: list[int], second: Numbers) -> Place:
        """Fix the second modes of a split and count its columns."""
        problem = self.problem
        held = held_between(problem, cuts)
        settled = settled_second(problem, held, second)
        amounts = np.array(
            [
                settled[place, run] if mode else held[place, run] - settled[place, run]
                for place, run, mode in problem.columns
            ],
            dtype=np.int64,
        )
        return Place(cuts, settled, amounts)

    def placed(self, split: Split) -> Place:
        """Place a split."""
        return self.place([0, *accumulate(map(sum, split.held))], np.array(split.second, dtype=np.int64))

    def judged(self, place: Place) -> FoundSplit:
        """Replay a split."""
        self.replays += 1
        path = self.replay.longest(place.amounts)
        self.pool.add(path)
        return FoundSplit(path.length, float(self._excess(place.amounts[:, None].astype(float))[0]), place.amounts)

    def run(self, start: Place, *, replays: int, over: Callable[[], bool] | None = None) -> FoundSplit:
        """Search from a split.

        Parameters
        ----------
        start : Place
            The split to start from.
        replays : int
            The most splits to replay.
        over : callable or None
            Called before each step; the search ends when it returns True.
        """
        here, cost = start, self.judged(start)
        best = cost
        best_place = here
        while self.replays < replays and not (over is not None and over()):
            improved = self._improve(here, cost, replays, over)
            if improved is not None:
                here, cost = improved
                if cost.rank < best.rank:
                    best, best_place = cost, here
                continue
            here = self._shaken(best_place)
            cost = self.judged(here)
        return best

    def _improve(
        self, here: Place, found: FoundSplit, replays: int, over: Callable[[], bool] | None
    ) -> tuple[Place, FoundSplit] | None:
        """Make the best move that shortens a split; None if no move does."""
        moves = self._moves(here)
        if not moves.steps.size:
            return None
        after = (here.amounts + moves.changes).T.astype(float)
        excess = self._excess(after)
        lengths = self.pool.lengths(after).max(axis=0)
        factors = 1 + EXCESS_PRICE * excess
        tried: list[int] = []
        while self.replays < replays and not (over is not None and over()):
            costs = lengths * factors
            costs[tried] = np.inf
            move = int(costs.argmin())
            if costs[move] > found.cost * (1 - 1e-12):
                return None
            there = self._moved(here, moves, move)
            known = self.pool.count
            seen = self.judged(there)
            if seen.cost < found.cost:
                return there, seen
            tried.append(move)
            if self.pool.count > known:
                newest = self.pool.factors[known] @ after + self.pool.constants[known]
                lengths = np.maximum(lengths, newest)
        return None

    def _excess(self, amounts: Floats) -> Floats:
        over = self.limits @ amounts - (self.problem.limit_values > 0)[:, None]
        if not len(over):
            return np.zeros(amounts.shape[1])
        worst: Floats = np.maximum(np.maximum.reduceat(over, self.owners, axis=0), 0.0).sum(axis=0)
        return worst

    def _moves(self, here: Place) -> Moves:
        """List the moves: blocks of cuts by one, and second modes by one."""
        down, up = self._blocks(here, -1), self._blocks(here, 1)
        parts = [down, up, *([self._modes(here)] if self.has_second else [])]
        return Moves(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _blocks(self, here: Place, step: int) -> Moves:
        """Move some neighbouring cuts by one, which takes an item from one bin and adds one to another.

        A moved part stays in its mode; parts that are not in the second mode are moved first.
        """
        least, cuts = 0 if self.problem.empty else 1, np.array(here.cuts)
        inner = cuts[1:-1]
        allowed = (self.low <= inner + step) & (inner + step <= self.high)
        changes = np.zeros((len(inner) + 1, len(self.problem.columns)), dtype=np.int64)
        column_of = self.problem.column_of
        for cut in np.flatnonzero(allowed).tolist():
            run = self.problem.run_of_item[inner[cut] - (step < 0)]
            source, target = (cut, cut + 1) if step < 0 else (cut + 1, cut)
            parts = self.problem.runs[run].parts
            plain = parts
            if here.second[source, run]:
                plain = min(parts, int(here.amounts[column_of[Column(source, run, 0)]]))
            for mode, count in enumerate((plain, parts - plain)):
                if count:
                    changes[cut + 1, column_of[Column(source, run, mode)]] -= count
                    changes[cut + 1, column_of[Column(target, run, mode)]] += count
        summed = changes.cumsum(axis=0)
        forbidden = np.concatenate([[0], (~allowed).cumsum()])
        first, last = self._neighbours(len(inner))
        possible = forbidden[last + 1] == forbidden[first]
        if step < 0:
            possible &= cuts[first + 1] - 1 >= cuts[first] + least
        else:
            possible &= cuts[last + 1] + 1 <= cuts[last + 2] - least
        first, last = first[possible], last[possible]
        none = np.full(len(first), -1)
        return Moves(first + 1, last + 1, np.full(len(first), step), none, summed[last + 1] - summed[first])

    def _neighbours(self, cuts: int) -> tuple[Numbers, Numbers]:
        """List the first and the last cut of each block to examine."""
        most = MOST_CHANGES // len(self.problem.columns)
        if cuts * (cuts + 1) // 2 <= most:
            return np.triu_indices(cuts)
        drawn = np.sort(self.draw_blocks.integers(0, cuts, size=(2, most)), axis=0)
        alone = np.arange(cuts)
        return np.concatenate([alone, drawn[0]]), np.concatenate([alone, drawn[1]])

    def _modes(self, here: Place) -> Moves:
        """Change the mode of one part."""
        made: list[tuple[int, int, int, int]] = []
        changes: list[Numbers] = []
        for place, (bin_, run, mode) in enumerate(self.problem.columns):
            plain = place - 1
            for step in (-1, 1) if mode else ():
                if here.amounts[place if step < 0 else plain] > 0:
                    change = np.zeros(len(self.problem.columns), dtype=np.int64)
                    change[plain], change[place] = -step, step
                    made.append((bin_, bin_, step, run))
                    changes.append(change)
        firsts, lasts, steps, runs = np.array(made, dtype=np.int64).reshape(-1, 4).T
        return Moves(
            firsts, lasts, steps, runs, np.array(changes, dtype=np.int64).reshape(-1, len(self.problem.columns))
        )

    def _moved(self, here: Place, moves: Moves, number: int) -> Place:
        first, last, step, run = (int(each[number]) for each in moves[:4])
        second = here.second.copy()
        if run >= 0:
            second[first, run] += step
            return self.place(here.cuts, second)
        cuts = list(here.cuts)
        for cut in range(first, last + 1):
            cuts[cut] += step
        for column in np.flatnonzero(moves.changes[number]).tolist():
            bin_, of, mode = self.problem.columns[column]
            if mode:
                second[bin_, of] += moves.changes[number, column]
        return self.place(cuts, np.maximum(second, 0))

    def _shaken(self, here: Place) -> Place:
        for _ in range(self.draw.randint(2, 4)):
            moves = self._moves(here)
            if moves.steps.size:
                here = self._moved(here, moves, self.draw.randrange(moves.steps.size))
        return here
