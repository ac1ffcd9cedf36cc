"""Compiled simulated annealing of splits: known paths judge the moves, a thousand times faster than replays would."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from solver.deadline import is_over
from solver.partitioning.descent import FoundSplit
from solver.partitioning.longest_path import Path, Replay
from solver.partitioning.loops import Fixed, Walk
from solver.partitioning.pool import Pool
from solver.partitioning.problem import Numbers, PartitionProblem
from solver.partitioning.splits import windows_of_cuts
from solver.random_numbers import state_of

NEW_PATHS = 2000
"""The most paths that may be added in one round."""

KEPT_PATHS = 40
"""The number of these paths kept for other tools: the longest ones where the round ended."""

MOVES, MOVES_A_COLUMN = 20_000, 200
"""The most moves of a round, and the moves per column."""

HOT, COLD = (0.02, 0.01, 0.005), 1e-4
"""Temperatures relative to the length: the starting ones, used in turn by the rounds, and the final one."""


PRICES = (0.2, 0.4, 1.0, 3.0)
"""The price of exceeding a limit by 100 %, in lengths; used in turn by the rounds."""


class Annealing:
    """Rounds of annealing.

    Parameters
    ----------
    problem : PartitionProblem
        The problem.
    replay : Replay
        With compiled loops.
    pool : Pool
        Judges moves, and collects paths.
    seed : int
        Seed of everything random.
    """

    def __init__(self, problem: PartitionProblem, replay: Replay, pool: Pool, seed: int) -> None:
        assert replay.compiled is not None
        self.problem, self.replay, self.pool = problem, replay, pool
        self.anneal: Any = replay.compiled["anneal"]
        self.state = np.array([state_of(seed)], dtype=np.int64)
        windows = np.array(windows_of_cuts(problem), dtype=np.int64)
        column_of = np.full((problem.bins, len(problem.runs), 2), -1, dtype=np.int64)
        for place, column in enumerate(problem.columns):
            column_of[column] = place
        self.fixed = Fixed(
            low=windows[:, 0].copy(),
            high=windows[:, 1].copy(),
            least=0 if problem.empty else 1,
            run_of_item=np.array(problem.run_of_item, dtype=np.int64),
            column_of=column_of,
            parts=problem.parts,
            seconds=np.array([at for at, column in enumerate(problem.columns) if column.mode], dtype=np.int64),
            limits=problem.limit_rows,
            most=problem.limit_values,
            owners=problem.limit_owners,
            rows=problem.form_rows,
            form_starts=problem.form_starts,
        )
        self.rounds = 0

    def round(self, start: FoundSplit, best: int | None, *, deadline: float | None) -> FoundSplit | None:
        """Anneal once from a split.

        Parameters
        ----------
        start : FoundSplit
            The split to start from.
        best : int or None
            The length to beat.
        deadline : float or None
            On the clock of `time.perf_counter`.

        Returns
        -------
        FoundSplit or None
            A split that keeps all limits and is shorter than the length to beat, if one was found.
        """
        if is_over(deadline):
            return None
        problem, pool = self.problem, self.pool
        size = pool.count + NEW_PATHS
        paths = np.zeros((len(problem.columns), size), dtype=np.int64)
        paths[:, : pool.count] = pool.factors.T
        constants = np.zeros(size, dtype=np.int64)
        constants[: pool.count] = pool.constants
        hot, price = HOT[self.rounds % len(HOT)], PRICES[self.rounds % len(PRICES)]
        self.rounds += 1
        scale = max(1, start.length)
        walk = self._walk(start, best, paths, constants)
        known, found = pool.count, walk.best_amounts
        moves = min(MOVES, MOVES_A_COLUMN * len(problem.columns))
        count = self.anneal(moves, hot * scale, COLD * scale, price, known, self.replay.graph, self.fixed, walk)
        end = found if found.any() else start.amounts
        lengths = end @ paths[:, known:count] + constants[known:count]
        for place in (known + np.argsort(-lengths)[:KEPT_PATHS]).tolist():
            pool.add(Path(0, paths[:, place].copy(), int(constants[place])))
        return FoundSplit(int(walk.best[0]), 0.0, found) if found.any() else None

    def _walk(self, start: FoundSplit, best: int | None, paths: Numbers, constants: Numbers) -> Walk:
        problem = self.problem
        columns, classes, forms = len(problem.columns), len(problem.lengths), len(problem.form_rows)
        cuts = np.array(self._cuts(start.amounts), dtype=np.int64)

        def zeros(size: int) -> Numbers:
            return np.zeros(size, dtype=np.int64)

        return Walk(
            state=self.state,
            cuts=cuts,
            amounts=start.amounts.copy(),
            new_cuts=zeros(len(cuts)),
            new_amounts=zeros(columns),
            paths=paths,
            constants=constants,
            values=zeros(len(constants)),
            trial=zeros(len(constants)),
            best=np.array([(1 << 60) if best is None else best, 0], dtype=np.int64),
            best_amounts=zeros(columns),
            ends=self.replay.ends,
            via=self.replay.via,
            lengths=zeros(classes),
            chosen=zeros(classes),
            counts=zeros(forms),
        )

    def near(self, amounts: Numbers, best: int | None) -> FoundSplit | None:
        """Look for a split near another one that is shorter than the best; see `round`."""
        scale = best if best is not None else self.replay.longest(amounts).length
        return self.round(FoundSplit(scale, 1.0, amounts), best, deadline=None)

    def _cuts(self, amounts: Numbers) -> list[int]:
        held = self.problem.split_of(amounts).held
        return [0, *accumulate(map(sum, held))]
