"""Ticks that every tool can hold: the one place where exact numbers become coarser ones, and lead back.

A problem counts in exact ticks, integers of any size; replay, checks, figures and bounds are exact. The compiled loops
of a search and CP-SAT have 64 bits, and less of them where they multiply. Where a problem's ticks are too fine for
them, they see one in *steps* of several ticks, everything rounded down. Each schedule of the problem is one of that in
steps: a length is a sum along a path, so that it takes no more steps than there are in its ticks; a sum of what is held
at one time, likewise, so it still fits. What no schedule in steps can do, none can. What is found in steps counts for
nothing until it is replayed and checked in ticks.
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
"""All durations and lags one after another, times the number of devices, stay below it in the compiled loops."""

LARGEST_MEMORY = 2**60
"""And so does all that the tasks of one device take together."""

LARGEST_HORIZON = 2**50
"""A schedule may have this many of CP-SAT's steps: its answers pass through floats, which are whole up to 2**53."""

LARGEST_DOMAINS = 2**61
"""All domains of a model of CP-SAT together must stay below twice this."""

FINEST_PER_SHORTEST = 100_000
"""Where a replay must round durations, the shortest still counts this many steps."""

VARIABLES_PER_TASK = 4
"""A task has no more of them whose domain is the horizon."""

LARGEST_ENERGY = 2**61
"""And so does what all holds take, times the horizon."""

MOST_SUMS = 20_000
"""Of so many sums of what a device may hold it is looked at whether they come near its capacity."""

ROUGH_HORIZON = 2**40
"""Where time is rounded anyway, this leaves as much for memory as it needs."""


@dataclass(frozen=True)
class Resolution:
    """How many ticks of time, and of memory, one step is.

    Attributes
    ----------
    time, memory : int
        1 where a tick is a step, and nothing is rounded.
    """

    time: int = 1
    memory: int = 1

    @classmethod
    def for_loops(cls, whole: Problem | Repetition) -> Resolution:
        """Choose steps for the compiled loops of a search, as fine as they can hold."""
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
        """Choose steps for a model of CP-SAT: as coarse as loses nothing, coarser only where that is too fine.

        Parameters
        ----------
        problem : Problem
            What the model is of.
        lags : iterable of int
            Those of precedences beside the problem's own.
        enough : int
            How many steps all durations and lags need together at most, if not all of their digits count.
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
        """Return whether some duration or lag is no whole number of steps."""
        return self.time > 1 and any(length % self.time for length in (*_lengths(problem), *lags))

    def rounded(self, problem: Problem) -> Problem:
        """Write a problem in steps; what it says of units is still said of ticks."""
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
        """Round capacities down; where nothing that fits is lost, so far that nothing that does not fit comes to fit.

        Of n parts that are held together rounding takes less than n steps. If no sum of parts lies within n steps below
        the capacity, it may be as much lower: sums above it stay above it.
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
        """Return what a bound in steps means in ticks."""
        lost = 1 if self.time > 1 and objective == "span" else 0  # a span starts and ends between steps
        return max(0, bound - lost) * self.time


def time_step(durations: Iterable[int], lags: Iterable[int]) -> int:
    """Choose how many ticks make one step of a replay by CP-SAT: 1 wherever its horizon fits.

    Parameters
    ----------
    durations, lags : iterable of int
        All that may follow one another, in ticks. Durations of 0 are not lost in any rounding.

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
    """Return how many steps a schedule of so many tasks may have in CP-SAT."""
    return min(LARGEST_HORIZON, LARGEST_DOMAINS // (variables * (tasks + 1)))


def _lengths(problem: Problem) -> Iterator[int]:
    yield from (task.duration for task in problem.tasks.values())
    yield from longest_blocks(problem).values()
    yield from problem.merged_durations.values()
    yield from (lag for _, _, lag in problem.precedences)


def _in_steps_of(total: int, most: int) -> int:
    """Return how many ticks a step is, so that a total has no more steps than that."""
    return -(-total // most) or 1


def _has_sum(parts: Sequence[tuple[int, int]], low: int, high: int) -> bool:
    """Return whether some sum, of no more of each part than there are, lies between two numbers or is one of them."""
    if high < 0:
        return False
    if not parts:
        return low <= 0
    (part, count), *others = parts
    return any(_has_sum(others, low - number * part, high - number * part) for number in range(count + 1))


def _less(hold: Hold, step: int) -> Hold:
    returns = tuple((task, part // step) for task, part in hold.returns)
    return Hold(hold.take, sum(part for _, part in returns), returns)
