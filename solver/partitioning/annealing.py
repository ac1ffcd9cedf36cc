"""Simulated annealing of splits, compiled: known paths judge its moves, a thousand times as fast as replays would."""

from __future__ import annotations

from typing import Any

import numpy as np

from solver.deadline import is_over
from solver.partitioning.descent import Found
from solver.partitioning.longest_path import Path, Replay
from solver.partitioning.pool import Pool
from solver.partitioning.problem import Numbers, PartitionProblem
from solver.partitioning.splits import windows_of_cuts

NEW_PATHS = 2000
"""So many paths may be added in one round."""

KEPT_PATHS = 40
"""Of those, so many are kept for others: those that matter most where it ended."""

MOVES, MOVES_A_COLUMN = 20_000, 200
"""So many moves does a round have at most, and for each column."""

HOT, COLD = (0.02, 0.01, 0.005), 1e-4
"""The temperatures of a round, in parts of the length: where it begins, each in turn, and where it ends."""


PRICES = (0.2, 0.4, 1.0, 3.0)
"""What exceeding a limit by all of it costs, in lengths, in each round in turn."""


class Annealing:
    """Rounds of annealing.

    Parameters
    ----------
    problem : PartitionProblem
        What is split.
    replay : Replay
        With compiled loops.
    pool : Pool
        Judges moves, and gathers paths.
    seed : int
        Of everything random.
    """

    def __init__(self, problem: PartitionProblem, replay: Replay, pool: Pool, seed: int) -> None:
        assert replay.compiled is not None
        self.problem, self.replay, self.pool = problem, replay, pool
        self.anneal: Any = replay.compiled["anneal"]
        self.state = np.array([seed * 2654435761 % (1 << 48) + 1], dtype=np.int64)
        windows = np.array(windows_of_cuts(problem), dtype=np.int64)
        self.low, self.high = windows[:, 0].copy(), windows[:, 1].copy()
        self.column_of = np.full((problem.bins, len(problem.runs), 2), -1, dtype=np.int64)
        for place, column in enumerate(problem.columns):
            self.column_of[column] = place
        self.seconds = np.array([at for at, column in enumerate(problem.columns) if column.mode], dtype=np.int64)
        self.rounds = 0

    def round(self, start: Found, best: int | None, *, deadline: float | None) -> Found | None:
        """Anneal once from a split.

        Parameters
        ----------
        start : Found
            Where to begin.
        best : int or None
            The length to beat.
        deadline : float or None
            On the clock of `time.perf_counter`.

        Returns
        -------
        Found or None
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
        record = np.array([(1 << 60) if best is None else best], dtype=np.int64)
        found = np.zeros(len(problem.columns), dtype=np.int64)
        hot = HOT[self.rounds % len(HOT)] * start.length
        self.rounds += 1
        known = pool.count
        count = self.anneal(
            min(MOVES, MOVES_A_COLUMN * len(problem.columns)),
            float(hot),
            float(COLD * start.length),
            self.state,
            np.array(self._cuts(start.amounts), dtype=np.int64),
            start.amounts.copy(),
            record,
            found,
            paths,
            constants,
            known,
            problem.limit_rows,
            problem.limit_values,
            problem.limit_owners,
            PRICES[self.rounds % len(PRICES)],
            self.low,
            self.high,
            0 if problem.empty else 1,
            np.array(problem.run_of_item, dtype=np.int64),
            self.column_of,
            np.array([len(run.modes) > 1 for run in problem.runs]),
            self.seconds,
            problem.form_rows,
            problem.form_starts,
            *self.replay.arrays,
            self.replay.ends,
            self.replay.via,
            *(np.zeros(n, dtype=np.int64) for n in (len(problem.lengths),) * 2),
            np.zeros(len(problem.form_rows), dtype=np.int64),
            *(np.zeros(size, dtype=np.int64) for _ in range(2)),
            np.zeros(problem.bins + 1, dtype=np.int64),
            np.zeros(len(problem.columns), dtype=np.int64),
        )
        end = found if found.any() else start.amounts
        lengths = end @ paths[:, known:count] + constants[known:count]
        for place in (known + np.argsort(-lengths)[:KEPT_PATHS]).tolist():
            pool.add(Path(0, paths[:, place].copy(), int(constants[place])))
        return Found(int(record[0]), 0.0, found) if found.any() else None

    def near(self, amounts: Numbers, best: int | None) -> Found | None:
        """Look for a split near another one that is shorter than the best; see `round`."""
        scale = best if best is not None else self.replay.longest(amounts).length
        return self.round(Found(scale, 1.0, amounts), best, deadline=None)

    def _cuts(self, amounts: Numbers) -> list[int]:
        held = np.zeros(self.problem.bins, dtype=np.int64)
        for column, amount in zip(self.problem.columns, amounts.tolist(), strict=True):
            held[column.bin] += amount
        return [0, *np.cumsum(held).tolist()]
