"""The shortest and the longest possible block of each task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from solver.problem import Key, Problem


def block_durations(problem: Problem) -> Iterator[tuple[int, int, int, int]]:
    """Yield the blocks that each device can run: the device, the classes of both halves, and the duration."""
    firsts, seconds = _classes(problem, problem.fusing.firsts), _classes(problem, problem.fusing.seconds)
    durations = problem.fusing.durations
    for device, classes in firsts.items():
        for first in classes:
            for second in seconds.get(device, ()):
                if (first, second) in durations:
                    yield device, first, second, durations[first, second]


def _classes(problem: Problem, classes: Mapping[Key, int]) -> dict[int, dict[int, None]]:
    """Collect the classes of each device, in a fixed order."""
    found: dict[int, dict[int, None]] = defaultdict(dict)
    for key, each in classes.items():
        found[problem.tasks[key].device][each] = None
    return found


def shortest_blocks(problem: Problem) -> dict[Key, int]:
    """Find the duration of each task's shortest possible block; tasks without blocks are omitted."""
    least_of_first: dict[tuple[int, int], int] = {}
    least_of_second: dict[tuple[int, int], int] = {}
    for device, first, second, duration in block_durations(problem):
        least_of_first[device, first] = min(duration, least_of_first.get((device, first), duration))
        least_of_second[device, second] = min(duration, least_of_second.get((device, second), duration))
    shortest: dict[Key, int] = {}
    for classes, least in ((problem.fusing.firsts, least_of_first), (problem.fusing.seconds, least_of_second)):
        for key, duration in _by_task(problem, classes, least):
            shortest[key] = min(duration, shortest.get(key, duration))
    return shortest


def longest_blocks(problem: Problem) -> dict[Key, int]:
    """Find the duration of each first half's longest possible block."""
    longest: dict[tuple[int, int], int] = {}
    for device, first, _, duration in block_durations(problem):
        longest[device, first] = max(duration, longest.get((device, first), duration))
    return dict(_by_task(problem, problem.fusing.firsts, longest))


def _by_task(
    problem: Problem, classes: Mapping[Key, int], durations: Mapping[tuple[int, int], int]
) -> Iterator[tuple[Key, int]]:
    for key, each in classes.items():
        duration = durations.get((problem.tasks[key].device, each))
        if duration is not None:
            yield key, duration
