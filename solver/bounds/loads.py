"""The least time for which each device is busy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from solver.bounds.pairing import Half, Pairing
from solver.problem import Key, Problem


def least_loads(problem: Problem, copies: Callable[[Key], int] = lambda _key: 1) -> list[int]:
    """Find for each device the least time for which it is busy in any schedule.

    That is all its tasks one by one, merged where that is shorter, less the most that blocks can save of it
    (`solver.bounds.pairing.Pairing`).

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    copies : callable
        For how many alike tasks each task of the problem stands.

    Returns
    -------
    list of int
        In ticks.
    """
    loads = [0] * problem.devices
    firsts: list[dict[tuple[int, int], int]] = [{} for _ in loads]
    seconds: list[dict[tuple[int, int], int]] = [{} for _ in loads]
    partners = set(problem.partners.values())
    for key, task in problem.tasks.items():
        if key in partners:
            continue
        alone, count = sum(alone_times(problem, key)), copies(key)
        loads[task.device] += count * alone
        for halves, classes in ((firsts, problem.fusing.firsts), (seconds, problem.fusing.seconds)):
            if key in classes:
                kind = classes[key], alone
                halves[task.device][kind] = halves[task.device].get(kind, 0) + count
    durations = problem.fusing.durations
    return [
        load - Pairing(_halves(here), _halves(there), durations).most_saved()
        for load, here, there in zip(loads, firsts, seconds, strict=True)
    ]


def alone_times(problem: Problem, key: Key) -> tuple[int, int]:
    """Return how long a task takes at least outside blocks, and how much longer the end of its partner is away."""
    duration = problem.tasks[key].duration
    if key not in problem.partners:
        return duration, 0
    both = duration + problem.tasks[problem.partners[key]].duration
    both = min(both, problem.merged_durations.get(key, both))
    return min(duration, both), both - min(duration, both)


def _halves(counts: Mapping[tuple[int, int], int]) -> list[Half]:
    return [Half(*half, number) for half, number in counts.items()]
