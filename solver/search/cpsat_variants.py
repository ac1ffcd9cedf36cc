"""Kinds of schedules that a model allows: all, or only a kind in which good ones are found quickly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from solver.deadline import until
from solver.problem import Key, Precedence, Problem
from solver.search.cpsat_model import Pair
from solver.search.cpsat_steps import Windows, topological_ranks
from solver.states import Objective


@dataclass(frozen=True)
class Variant:
    """A kind of schedules.

    Attributes
    ----------
    name : str
        A name for people.
    pairs : tuple of (Key, Key)
        The pairs that may share a block.
    early : bool
        For spans: whether every device starts as early as it can.
    lossless : bool
        Whether all schedules are allowed, so that anything impossible here is impossible in general.
    """

    name: str
    pairs: tuple[Pair, ...] = ()
    early: bool = False
    lossless: bool = False

    def windows(self, windows: Windows, limit: int, horizon: int) -> dict[Key, tuple[int, int]] | None:
        """Return the earliest and the latest start of each task if every device's span keeps a limit."""
        problem, heads = windows.problem, windows.heads
        if not self.early:
            return {key: (head, max(head, horizon - windows.least[key])) for key, head in heads.items()}
        firsts = _first_tasks(problem, heads)
        found = {
            key: (head, heads[firsts[problem.tasks[key].device]] + limit - windows.least[key])
            for key, head in heads.items()
        }
        found |= {key: (heads[key], heads[key]) for key in firsts.values()}
        return found if all(first <= last for first, last in found.values()) else None


def _first_tasks(problem: Problem, heads: Mapping[Key, int]) -> dict[int, Key]:
    """Find the task of each device that may start first."""
    firsts: dict[int, Key] = {}
    for key, task in problem.tasks.items():
        if task.device not in firsts or heads[key] < heads[firsts[task.device]]:
            firsts[task.device] = key
    return firsts


def variants(
    problem: Problem,
    edges: list[Precedence],
    objective: Objective,
    over: Callable[[], bool] = lambda: False,
) -> list[Variant]:
    """List the kinds of schedules worth trying, the most promising first.

    Raises
    ------
    OutOfTimeError
        If the time is up first.
    """
    pairs = all_pairs(problem, edges, over)
    early = [Variant("early", pairs, early=True)] if objective == "span" else []
    return [*early, Variant("all", pairs, lossless=True)]


def all_pairs(
    problem: Problem, edges: Iterable[Precedence], over: Callable[[], bool] = lambda: False
) -> tuple[Pair, ...]:
    """List all pairs that may share a block: those in which neither half waits for the other."""
    if not problem.fusing.seconds:
        return ()
    followers = _followers(problem, edges)
    number = {key: place for place, key in enumerate(problem.tasks)}
    seconds = _by_device(problem, (key for key in problem.tasks if key in problem.fusing.seconds))
    firsts = (key for key in problem.tasks if key in problem.fusing.firsts)
    pairs = ((first, second) for first in firsts for second in seconds[problem.tasks[first].device])
    return tuple(
        (first, second)
        for first, second in until(over, pairs)
        if problem.fusing.duration(first, second) is not None
        and not (followers[first] >> number[second] | followers[second] >> number[first]) & 1
    )


def _followers(problem: Problem, edges: Iterable[Precedence]) -> dict[Key, int]:
    """Find all tasks that wait for each task, as the bits of a number."""
    edges = list(edges)
    ranks = topological_ranks(problem, edges)
    assert ranks is not None
    after: defaultdict[Key, list[Key]] = defaultdict(list)
    for source, target, _ in (*problem.precedences, *edges):
        after[source].append(target)
    bits = {key: 1 << place for place, key in enumerate(problem.tasks)}
    followers: dict[Key, int] = {}
    for key in reversed(ranks):
        reached = 0
        for target in after[key]:
            reached |= bits[target] | followers[target]
        followers[key] = reached
    return followers


def _by_device(problem: Problem, keys: Iterable[Key]) -> defaultdict[int, list[Key]]:
    lists: defaultdict[int, list[Key]] = defaultdict(list)
    for key in keys:
        lists[problem.tasks[key].device].append(key)
    return lists
