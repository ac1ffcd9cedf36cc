"""Of schedules as short as the best, one with less memory: the same search within tighter and tighter capacities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from itertools import count
from math import gcd
from time import perf_counter

from solver.bounds.bound import Bound
from solver.problem import Orders, Problem
from solver.search.portfolio import run_briefly
from solver.search.state import Search

SHARE_OF_LIMIT, MOST_SECONDS = 0.1, 5.0
"""What looking for less memory may take of a time limit, and at most."""

SHARE_OF_TRY, LEAST_TRY = 0.5, 0.1
"""The part of what is left of it that a capacity is tried for, and the least, in seconds."""

FINEST = 100
"""Capacities are tried down to this part of the peak."""

SECONDS_TO_SET_UP_A_TASK = 2.5e-4
"""A try is not begun with less time than it needs to be set up."""


def spare_memory(
    search: Search,
    frugal: Orders,
    first_bound: Callable[[Problem], Bound],
    seconds: float,
    workers: int,
    seed: int,
) -> None:
    """Look for a schedule as short as the best one that takes less memory.

    The largest peak of a device is bisected: each capacity in between is given to the tools of the search, until one
    finds a schedule that is as short, or proves that there is none, or its time is up. Where some stayed open, they
    are tried again as long as there is time.

    Parameters
    ----------
    search : Search
        Whose best schedule is proven to be the shortest; it gets what is found.
    frugal : Orders
        A schedule that takes the least memory that any schedule takes, however long it is.
    first_bound : callable
        ``first_bound(problem)`` bounds the objective of the same problem within smaller capacities, whatever the time;
        see `solver.search.portfolio.plain_bound`.
    seconds : float
        Until when to look; never beyond the deadline of the search.
    workers, seed : int
        For CP-SAT, and for all that is random.
    """
    ends = search.until(seconds)
    setting_up = SECONDS_TO_SET_UP_A_TASK * len(search.problem.tasks)
    least = search.sweeper.memory(frugal)[0]
    grain = max(1, _grain(search.problem), search.memory[0] // FINEST)
    seeds = count(seed)
    excluded = least - grain
    search.look_for_memory()
    while search.memory[0] - excluded > grain:
        below = excluded
        while (capacity := _between(below, search.memory[0], grain)) is not None:
            left = ends - perf_counter()
            if left <= setting_up or search.interrupted:
                return
            tried = TightSearch(search, capacity, min(left, max(SHARE_OF_TRY * left, LEAST_TRY, 2 * setting_up)))
            tried.offer(frugal)
            tried.proven(first_bound(tried.problem))
            run_briefly(tried, search.orders, workers, next(seeds))
            if tried.reached:
                search.offer(tried.orders)
            else:
                below = capacity
                excluded = capacity if tried.excluded else excluded


class TightSearch(Search):
    """A search for a schedule as short as another search's best one, but within less memory.

    Parameters
    ----------
    whole : Search
        The other search.
    capacity : int
        What each device may hold at most, static memory included, in ticks of memory; where it has less, that stays.
    seconds : float
        The time there is.
    """

    def __init__(self, whole: Search, capacity: int, seconds: float) -> None:
        given = whole.problem.capacities
        rooms = [capacity - whole.problem.static_of(device) for device in range(whole.problem.devices)]
        capacities = [room if each is None else min(room, each) for room, each in zip(rooms, given, strict=True)]
        super().__init__(replace(whole.problem, capacities=capacities), whole.objective, seconds)
        self.whole = whole
        self.bound, self.held_by = whole.bound, whole.held_by

    @property
    def reached(self) -> bool:
        """Whether it has found a schedule that is as short."""
        return self.best is not None and self.whole.best is not None and self.best <= self.whole.best

    @property
    def excluded(self) -> bool:
        """Whether it has proven that there is none."""
        return self.infeasible or (self.whole.best is not None and self.bound > self.whole.best)

    def done(self) -> bool:
        """Return whether the answer is known, or there is no time left to find it."""
        return self.whole.interrupted or self.reached or self.excluded or perf_counter() >= self.deadline


def _grain(problem: Problem) -> int:
    """Find what all levels of memory are multiples of."""
    return reduce(gcd, _amounts(problem), 0)


def _amounts(problem: Problem) -> Iterator[int]:
    yield from problem.static
    for hold in problem.holds:
        yield hold.amount
        yield from (part for _, part in hold.returns)


def _between(low: int, high: int, grain: int) -> int | None:
    """Choose a capacity halfway between two; None if they are neighbours."""
    middle = low + max(grain, (high - low) // (2 * grain) * grain)
    return middle if middle < high else None
