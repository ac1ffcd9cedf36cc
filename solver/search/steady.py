"""Steady states: a period is found on a circle, and unrolled into a schedule or inserted into a smaller one."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from solver import jit
from solver.search import circle
from solver.search.circle import Circle, Turning
from solver.search.compiled import CompiledProblem, Tokens
from solver.search.stretching import Runner, Timed

IDLE_PIECES = 4
"""The most pieces into which a device's idle time is divided."""

MOVES_ALONE, MOVES_AT_STATE = 300_000, 100_000
"""Moves for 96 chains; more chains get more moves."""

CHAINS_OF_MOVES = 96

SLOWER = 60
"""In plain Python, the number of moves is divided by this."""

BATCHES = 40
"""The moves are divided into this many parts; the search checks between them whether to stop."""

HOT_ALONE, COLD_ALONE = 3.0, 0.05
HOT_AT_STATE, COLD_AT_STATE = 2.0, 0.02
"""Temperatures, in units of the cost: a unit of missing memory costs three."""

REACH = 3
"""A device is rotated by at most the mean duration divided by this."""


@dataclass(frozen=True)
class Steady:
    """A steady state.

    Attributes
    ----------
    period : int
        The time between two tasks of a chain.
    times : list of int
        The start of each chain's task number 0.
    cost : float
        The annealed cost.
    missing : int
        By how much the memory is exceeded.
    """

    period: int
    times: list[int]
    cost: float
    missing: int


class SteadySearch:
    """Finds steady states of a problem.

    Parameters
    ----------
    runner : Runner
        Runs the problem; its devices run single tasks only.
    seed : int
        Seed of all random numbers.
    may_compile : bool
        Whether numba may take time to compile.
    stop : callable
        Called regularly; the search ends with its result so far when it returns True.
    """

    def __init__(
        self, runner: Runner, seed: int, *, may_compile: bool = True, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.runner, self.stop = runner, stop
        self.compiled = runner.compiled
        self.random = random.Random(seed)  # noqa: S311
        functions = jit.jitted(circle, may_compile=may_compile)
        self.is_jitted = functions is not None
        self.functions = functions or jit.interpreted(circle)
        compiled = self.compiled
        self.durations = [compiled.modes[chain].duration for chain in range(len(compiled.chains))]
        self.loads = [sum(self.durations[chain] for chain in local) for local in compiled.local_chains]
        self.unit = float(max((compiled.modes[chain].take for chain in range(len(compiled.chains))), default=1) or 1)
        self.sorted = _sorted(compiled)

    def _packed(self, numbers: Sequence[int]) -> Any:
        return np.array(numbers, dtype=np.int64) if self.is_jitted else list(numbers)

    @property
    def least_period(self) -> int:
        """The work of the busiest device."""
        return max(self.loads)

    def alone(self, period: int) -> Steady:
        """Look for a steady state that holds as little memory as possible."""
        orders = []
        for local in self.compiled.local_chains:
            order = list(local)
            self.random.shuffle(order)
            orders.append(order)
        rotations = [self.random.randrange(period) for _ in orders]
        zeros = [0] * len(self.durations)
        return self._annealed(period, orders, rotations, zeros, zeros, wanted=False)

    def at_state(self, timed: Timed, moment: int, period: int) -> tuple[Steady, list[int]]:
        """Look for a steady state that continues from the state of a schedule at a moment.

        Returns
        -------
        (Steady, list of int)
            The steady state, with the times of tasks number 0, even if fewer had started; and the number of tasks of
            each chain that are ahead.
        """
        ahead, following = self._state(timed, moment)
        wanted, lower = [], []
        for count, then in zip(ahead, following, strict=True):
            time = then if then is not None and then < moment + 2 * period else moment + period // 2
            wanted.append(min(time, moment + period - 1) - count * period)
            lower.append(moment - count * period)
        orders, rotations = [], []
        for local in self.compiled.local_chains:
            order = sorted(local, key=lambda chain: wanted[chain] % period)
            orders.append(order)
            rotations.append(wanted[order[0]] % period if order else 0)
        return self._annealed(period, orders, rotations, lower, wanted, wanted=True), ahead

    def _state(self, timed: Timed, moment: int) -> tuple[list[int], list[int | None]]:
        """For each chain, count the tasks started before a moment, and find the start of the next one."""
        ahead = [0] * len(self.durations)
        following: list[int | None] = [None] * len(self.durations)
        for string, starts in zip(timed.tokens, timed.starts, strict=True):
            cut = bisect_left(starts, moment)
            for chain in string[:cut]:
                ahead[chain] += 1
            for chain, start in zip(string[cut:], starts[cut:], strict=True):
                if following[chain] is None:
                    following[chain] = start
        return ahead, following

    def _annealed(
        self,
        period: int,
        orders: Sequence[Sequence[int]],
        rotations: Sequence[int],
        lower: Sequence[int],
        targets: Sequence[int],
        *,
        wanted: bool,
    ) -> Steady:
        durations, chains = list(self.durations), len(self.durations)
        pieces: list[list[int]] = []
        for order, load in zip(orders, self.loads, strict=True):
            row = list(order)
            slack = period - load
            parts = min(IDLE_PIECES, slack) if row else 0
            for part in range(parts):
                row.append(len(durations))
                durations.append(slack * (part + 1) // parts - slack * part // parts)
            pieces.append(row)
        made = self._circle(durations, pieces, lower, targets)
        turning = self._turning(pieces, rotations, len(durations), chains)
        share = max(1.0, chains / CHAINS_OF_MOVES)
        moves = int(share * (MOVES_AT_STATE if wanted else MOVES_ALONE))
        hot, cold = (HOT_AT_STATE, COLD_AT_STATE) if wanted else (HOT_ALONE, COLD_ALONE)
        reach = max(1, sum(self.durations) // chains // REACH)
        batches = BATCHES
        if not self.is_jitted:  # more chains get more moves, and each move walks all chains
            moves = max(BATCHES, moves // SLOWER)
            batches = min(moves, int(BATCHES * share * share))
        moves = max(1, moves // batches)
        best = float(self.functions["begin"](made, turning, period, self.unit, wanted))
        for batch in range(batches):
            if self.stop():
                break
            now, then = (hot * (cold / hot) ** (number / batches) for number in (batch, batch + 1))
            anneal = self.functions["anneal_circle"]
            best = float(anneal(made, turning, moves, now, then, period, reach, self.unit, wanted, best))
        cost = self.functions["settle"](made, turning, period, self.unit, wanted)
        return Steady(period, [int(time) for time in turning.time], float(cost), int(sum(turning.over)))

    def _circle(
        self, durations: list[int], pieces: list[list[int]], lower: Sequence[int], targets: Sequence[int]
    ) -> Any:
        modes, lattice = self.compiled.modes, self.runner.lattice
        chains = range(len(self.durations))
        return Circle(
            sorted=self._packed(self.sorted),
            wait_start=self._packed([int(value) for value in lattice.wait_start]),
            wait_chain=self._packed([int(value) for value in lattice.wait_chain]),
            wait_lag=self._packed([int(value) for value in lattice.wait_lag]),
            duration=self._packed(durations),
            take=self._packed([modes[chain].take for chain in chains]),
            give=self._packed([modes[chain].give for chain in chains]),
            capacity=self._packed(self.compiled.capacities),
            row=self._packed([0, *accumulate(map(len, pieces))]),
            lower=self._packed(lower),
            wanted=self._packed(targets),
        )

    def _turning(self, pieces: list[list[int]], rotations: Sequence[int], phases: int, chains: int) -> Any:
        flat = [piece for row in pieces for piece in row]
        return Turning(
            piece=self._packed(flat),
            rotation=self._packed(rotations),
            phase=self._packed([0] * phases),
            time=self._packed([0] * chains),
            over=self._packed([0] * len(pieces)),
            ready=self._packed([0] * chains),
            best_piece=self._packed(flat),
            best_rotation=self._packed(rotations),
            old_piece=self._packed(flat),
            slots=self._packed([self.random.randrange(1, 2147483647)]),
        )

    def unrolled(self, steady: Steady, tasks: int) -> Tokens | None:
        """Write a steady state as strings with ``tasks`` tasks per chain; None if they cannot be made to run."""
        planned: list[list[tuple[int, int]]] = []
        for local in self.compiled.local_chains:
            events = [(steady.times[chain] + place * steady.period, chain) for chain in local for place in range(tasks)]
            planned.append(sorted(events))
        return self.runner.repaired(planned)

    def inserted(self, timed: Timed, moment: int, steady: Steady, ahead: Sequence[int], more: int) -> Tokens | None:
        """Insert ``more`` periods at a moment of a schedule; None if the result cannot be made to run."""
        planned: list[list[tuple[int, int]]] = []
        for local, string, starts in zip(self.compiled.local_chains, timed.tokens, timed.starts, strict=True):
            later = more * steady.period
            events = [
                (start if start < moment else start + later, chain) for chain, start in zip(string, starts, strict=True)
            ]
            for chain in local:
                begin = steady.times[chain] + ahead[chain] * steady.period
                events += [(begin + number * steady.period, chain) for number in range(more)]
            planned.append(sorted(events))
        return self.runner.repaired(planned)


def _sorted(compiled: CompiledProblem) -> list[int]:
    """Sort the chains such that each comes after those that it waits for."""
    place = {task: number for number, task in enumerate(compiled.topological)}
    return sorted(range(len(compiled.chains)), key=lambda chain: place[compiled.chains[chain][0]])
