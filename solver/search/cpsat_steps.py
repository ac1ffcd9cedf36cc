"""Time in CP-SAT: whole steps of one or more ticks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from solver.block_lengths import shortest_blocks
from solver.problem import Key, Precedence, Problem
from solver.resolution import LARGEST_HORIZON, Resolution
from solver.states import Objective


@dataclass(frozen=True)
class Steps:
    """A problem in steps.

    If a step divides all durations and lags, nothing is lost. Otherwise all are rounded down. Every schedule, with its
    starts rounded down too, is then a schedule of the problem in steps, so anything impossible in steps is impossible
    in ticks.

    Attributes
    ----------
    problem : Problem
        The problem in steps.
    size : int
        The ticks of a step.
    exact : bool
        Whether nothing was rounded.
    """

    problem: Problem
    size: int
    exact: bool

    def limit(self, ticks: int) -> int:
        """Convert an upper limit of the objective from ticks to steps."""
        return ticks // self.size

    def bound(self, ticks: int) -> int:
        """Convert a lower bound from ticks to the least objective in steps to ask for."""
        return -(-ticks // self.size) if self.exact else ticks // self.size

    def ticks(self, bound: int, objective: Objective) -> int:
        """Convert a bound in steps to ticks."""
        lost = 0 if self.exact or objective == "makespan" else 1  # a span ends and starts between steps
        return max(0, bound - lost) * self.size


def in_steps(
    problem: Problem, edges: Iterable[Precedence], enough: int = LARGEST_HORIZON
) -> tuple[Steps, list[Precedence]]:
    """Choose the step: as coarse as possible without loss, and coarser only if CP-SAT's integers require it.

    It is also coarser if fewer steps are enough (see `Resolution.for_cpsat`): more steps take more time.
    """
    edges = list(edges)
    lags = [lag for _, _, lag in edges]
    resolution = Resolution.for_cpsat(problem, lags, enough)
    size, exact = resolution.time, not resolution.loses_time(problem, lags)
    scaled = replace(resolution.rounded(problem), moves={})  # CP-SAT lets results pass each other
    return Steps(scaled, size, exact), [(before, after, lag // size) for before, after, lag in edges]


@dataclass(frozen=True)
class Windows:
    """The earliest start and the latest end of each task.

    Attributes
    ----------
    problem : Problem
        In steps.
    heads, tails : mapping of Key to int
        The least time before each task's start and after its end, in steps.
    """

    problem: Problem
    heads: Mapping[Key, int]
    tails: Mapping[Key, int]

    @cached_property
    def least(self) -> dict[Key, int]:
        """The least duration of each task: alone, merged or fused."""
        return least_durations(self.problem)

    def starts(self, limit: int) -> dict[Key, tuple[int, int]] | None:
        """Return the earliest and latest start of each task if everything ends by a limit; None if impossible."""
        windows = {key: (self.heads[key], limit - self.tails[key] - self.least[key]) for key in self.problem.tasks}
        return windows if all(first <= last for first, last in windows.values()) else None


def least_durations(problem: Problem) -> dict[Key, int]:
    """Return the least duration of each task: alone, merged, or in a block."""
    least = {key: task.duration for key, task in problem.tasks.items()}
    for task, duration in (*shortest_blocks(problem).items(), *problem.merged_durations.items()):
        _shorten(least, problem, task, duration)
    return least


def _shorten(least: dict[Key, int], problem: Problem, task: Key, duration: int) -> None:
    for part in (task, problem.partners.get(task, task)):
        least[part] = min(least[part], duration)


def in_chain_order(problem: Problem) -> Iterator[Precedence]:
    """Order every chain, even if that loses schedules."""
    for chain in problem.chains:
        for before, after in pairwise(chain):
            yield before, after, 0


def topological_ranks(problem: Problem, edges: Iterable[Precedence]) -> dict[Key, int] | None:
    """Give each task a greater number than those of the tasks it waits for; None if there is a cycle."""
    followers: dict[Key, list[Key]] = {task: [] for task in problem.tasks}
    waiting = dict.fromkeys(problem.tasks, 0)
    for before, after, _ in (*problem.precedences, *edges):
        followers[before].append(after)
        waiting[after] += 1
    ready = [task for task, count in waiting.items() if not count]
    for task in ready:  # grows during the loop
        for after in followers[task]:
            waiting[after] -= 1
            if not waiting[after]:
                ready.append(after)
    return {task: rank for rank, task in enumerate(ready)} if len(ready) == len(waiting) else None
