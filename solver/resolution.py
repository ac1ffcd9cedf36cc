"""Ticks that every tool can hold: the only place where exact numbers are coarsened and converted back.

A problem counts in exact ticks, integers of any size; replay, checks, figures and bounds are exact. The compiled loops
of a search and CP-SAT have 64 bits, and fewer where they multiply. If a problem's ticks are too fine for them, they get
a problem in *steps* of several ticks, with everything rounded down. Each schedule of the problem is also one of the
problem in steps: a length is a sum along a path, so it takes no more steps than its ticks make; a sum of memory held at
one time is likewise no more, so it still fits. So anything impossible in steps is impossible in ticks. A schedule found
in steps counts only after it has been replayed and checked in ticks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

from solver.block_lengths import longest_blocks
from solver.errors import InputError
from solver.problem import Hold, Problem, Task
from solver.repetition import Repetition
from solver.states import Objective

LARGEST_LENGTH = 2**54
"""In the compiled loops, the sum of all durations and lags, times the number of devices, stays below this."""

LARGEST_MEMORY = 2**60
"""In the compiled loops, the total memory taken by the tasks of one device stays below this."""

LARGEST_HORIZON = 2**50
"""The most CP-SAT steps of a schedule: its answers pass through floats, which are whole up to 2**53."""

LARGEST_DOMAINS = 2**61
"""The sum of all domains of a CP-SAT model must stay below twice this."""

FINEST_PER_SHORTEST = 100_000
"""If a replay must round durations, the shortest one still has at least this many steps."""

VARIABLES_PER_TASK = 4
"""The most variables of a task whose domain is the horizon."""

LARGEST_ENERGY = 2**61
"""The total memory taken by all holds, times the horizon, stays below this."""

MOST_SUMS = 20_000
"""The most sums of amounts on a device that are tested for being close to its capacity."""

ROUGH_HORIZON = 2**40
"""If time is rounded anyway, this horizon leaves enough range for memory."""


@dataclass(frozen=True)
class Resolution:
    """The number of ticks of time, and of memory, per step.

    Attributes
    ----------
    time, memory : int
        1 if a step is a tick, and nothing is rounded.
    """

    time: int = 1
    memory: int = 1

    @classmethod
    def for_loops(cls, whole: Problem | Repetition) -> Resolution:
        """Choose steps for the compiled loops of a search, as fine as the loops can hold."""
        problem = whole.problem if isinstance(whole, Repetition) else whole
        copies = whole.copies() if isinstance(whole, Repetition) else dict.fromkeys(problem.tasks, 1)
        length = max(copies.values(), default=1) * sum(_lengths(problem))
        taken: dict[int, int] = defaultdict(int)
        for hold in problem.holds:
            taken[problem.tasks[hold.take].device] += hold.amount * copies[hold.take]
        return cls(
            _in_steps_of(length, LARGEST_LENGTH // (problem.devices + 1)),
            _in_steps_of(max(taken.values(), default=0), LARGEST_MEMORY),
        )

    @classmethod
    def for_cpsat(cls, problem: Problem, lags: Iterable[int] = (), enough: int = LARGEST_HORIZON) -> Resolution:
        """Choose steps for a CP-SAT model: as coarse as possible without loss, and coarser only if that is too fine.

        Parameters
        ----------
        problem : Problem
            The problem of the model.
        lags : iterable of int
            Lags of precedences besides the problem's own.
        enough : int
            The most steps that all durations and lags need together, if not all of their digits matter.
        """
        lengths = [*_lengths(problem), *lags]
        horizon, most = sum(lengths), min(enough, largest_horizon(len(problem.tasks)))
        limited = (hold for hold in problem.holds if problem.capacities[problem.tasks[hold.take].device] is not None)
        taken = sum(hold.amount for hold in limited)
        time = gcd(*lengths) or 1
        if horizon // time >= most:
            rough = ROUGH_HORIZON if taken * most >= LARGEST_ENERGY else most
            time = _in_steps_of(horizon, min(rough, most))
        return cls(time, _in_steps_of(taken, LARGEST_ENERGY // (horizon // time + 1)))

    def loses_time(self, problem: Problem, lags: Iterable[int] = ()) -> bool:
        """Return whether some duration or lag is not a whole number of steps."""
        return self.time > 1 and any(length % self.time for length in (*_lengths(problem), *lags))

    def rounded(self, problem: Problem) -> Problem:
        """Write a problem in steps; its ``ticks_per_unit`` and ``amounts_per_unit`` still refer to ticks."""
        if self == Resolution():
            return problem
        time, memory = self.time, self.memory
        return replace(
            problem,
            tasks={key: Task(task.device, task.duration // time) for key, task in problem.tasks.items()},
            precedences=[(before, after, lag // time) for before, after, lag in problem.precedences],
            moves={pair: moving // time for pair, moving in problem.moves.items()},
            fusing=problem.fusing.scaled(lambda duration: duration // time),
            merged_durations={key: duration // time for key, duration in problem.merged_durations.items()},
            holds=problem.holds if memory == 1 else [_less(hold, memory) for hold in problem.holds],
            capacities=problem.capacities if memory == 1 else list(self._capacities(problem)),
            static=[each // memory for each in problem.static],
        )

    def _capacities(self, problem: Problem) -> Iterator[int | None]:
        """Round capacities down; if no fitting sum is lost, so far down that no excessive sum becomes a fitting one.

        Rounding n parts that are held together takes away less than n steps. If no sum of parts lies within n steps
        below the capacity, the capacity may be lower by as much: sums above it stay above it.
        """
        parts: dict[int, Counter[int]] = defaultdict(Counter)
        for hold in problem.holds:
            parts[problem.tasks[hold.take].device].update(part for _, part in hold.returns if part)
        for device, capacity in enumerate(problem.capacities):
            if capacity is None:
                yield None
                continue
            counts = {part: min(count, capacity // part + 1) for part, count in parts[device].items()}
            lower = capacity - self.memory * sum(counts.values())
            few = prod(count + 1 for count in counts.values()) <= MOST_SUMS
            is_free = few and lower > 0 and not _has_sum(list(counts.items()), lower, capacity)
            yield (lower if is_free else capacity) // self.memory

    def ticks(self, bound: int, objective: Objective) -> int:
        """Convert a bound in steps to ticks."""
        lost = 1 if self.time > 1 and objective == "span" else 0  # a span starts and ends between steps
        return max(0, bound - lost) * self.time


def time_step(durations: Iterable[int], lags: Iterable[int]) -> int:
    """Choose the ticks per step of a replay by CP-SAT: 1 whenever its horizon fits.

    Parameters
    ----------
    durations, lags : iterable of int
        All durations and lags that may follow one another, in ticks. No rounding loses durations of 0.

    Raises
    ------
    InputError
        If the shortest duration would be lost in rounding.
    """
    lengths = list(durations)
    horizon = sum(lengths) + sum(lags)
    step = _in_steps_of(horizon, largest_horizon(len(lengths), variables=1))
    shortest = min((length for length in lengths if length), default=1)
    if step > 1 and step * FINEST_PER_SHORTEST > shortest:
        raise InputError(
            "engine: cpsat cannot tell the shortest duration from rounding beside the longest "
            f"(all together are {horizon // shortest:.1e} times the shortest); use --engine graph, which is exact"
        )
    return step


def largest_horizon(tasks: int, variables: int = VARIABLES_PER_TASK) -> int:
    """Return the most steps that a schedule with this many tasks may have in CP-SAT."""
    return min(LARGEST_HORIZON, LARGEST_DOMAINS // (variables * (tasks + 1)))


def _lengths(problem: Problem) -> Iterator[int]:
    yield from (task.duration for task in problem.tasks.values())
    yield from longest_blocks(problem).values()
    yield from problem.merged_durations.values()
    yield from (lag for _, _, lag in problem.precedences)


def _in_steps_of(total: int, most: int) -> int:
    """Return the ticks per step such that a total has at most ``most`` steps."""
    return -(-total // most) or 1


def _has_sum(parts: Sequence[tuple[int, int]], low: int, high: int) -> bool:
    """Return whether some sum of parts, each used at most as often as it occurs, lies from ``low`` to ``high``."""
    if high < 0:
        return False
    if not parts:
        return low <= 0
    (part, count), *others = parts
    return any(_has_sum(others, low - number * part, high - number * part) for number in range(count + 1))


def _less(hold: Hold, step: int) -> Hold:
    returns = tuple((task, part // step) for task, part in hold.returns)
    return Hold(hold.take, sum(part for _, part in returns), returns)
