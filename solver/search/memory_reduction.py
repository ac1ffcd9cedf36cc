"""Finds a schedule as short as the best with less memory: the same search within tighter and tighter capacities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial, reduce
from itertools import count
from math import gcd
from time import perf_counter

from solver.bounds.bound import Bound
from solver.budget import BRIEF_BOUND, BRIEF_LISTS, CAPACITY
from solver.deadline import OutOfTimeError
from solver.problem import Orders, Problem
from solver.search.compiled import CompiledProblem, compile_problem
from solver.search.first_bounds import quick_bound
from solver.search.portfolio import Tool
from solver.search.state import Search
from solver.search.tools import SMALL, Annealing, counted, list_schedules, run_cpsat

LEAST_TRY = 0.1
"""The least time that a capacity is tried for, in seconds."""

FINEST = 100
"""Capacities are tried in steps no finer than the peak divided by this."""

SECONDS_TO_SET_UP_A_TASK = 2.5e-4
"""Seconds per task to set up a try; a try gets at least twice its setup time."""


def spare_memory(
    search: Search,
    frugal: Orders,
    first_bound: Callable[[Problem], Bound],
    seconds: float,
    workers: int,
    seed: int,
) -> None:
    """Look for a schedule as short as the best one that takes less memory.

    The largest peak of a device is bisected: the tools of the search try each capacity in between, until one finds a
    schedule that is as short, or proves that none exists, or the time for this capacity is up. Capacities left open are
    tried again as time permits.

    Parameters
    ----------
    search : Search
        The search; its best schedule is proven to be the shortest. It receives the results.
    frugal : Orders
        A schedule with the least memory of all schedules, whatever its length.
    first_bound : callable
        ``first_bound(problem)`` bounds the objective of the same problem within smaller capacities, whatever the time;
        see `solver.search.first_bounds.plain_bound`.
    seconds : float
        The time limit; the search's own deadline also applies.
    workers, seed : int
        Workers of CP-SAT, and the seed of everything random.
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
            tried = TightSearch(search, capacity, min(left, max(CAPACITY.within(left), LEAST_TRY, 2 * setting_up)))
            tried.offer(frugal)
            tried.proven(first_bound(tried.problem))
            _run_briefly(tried, search.orders, workers, next(seeds))
            if tried.reached:
                search.offer(tried.orders)
            else:
                below = capacity
                excluded = capacity if tried.excluded else excluded


def _run_briefly(search: Search, start: Orders, workers: int, seed: int) -> None:
    """Give each tool one turn in the little time that a search has.

    Parameters
    ----------
    search, workers, seed
        As for `run_tools`; the search has a schedule already.
    start : Orders
        What local search starts from, too; what does not fit the memory is put off.
    """
    quick_bound(search, BRIEF_BOUND)
    with suppress(OutOfTimeError):
        if not search.done():
            compiled = compile_problem(search.rounded, deadline=search.deadline)
            _take_one_turn(search, compiled, start, workers, seed)


def _take_one_turn(search: Search, compiled: CompiledProblem, start: Orders, workers: int, seed: int) -> None:
    list_schedules(search, compiled, seed, BRIEF_LISTS)
    tools = [Tool(Annealing(search, compiled, seed, start).run)]
    if len(search.problem.tasks) <= SMALL:
        tools.insert(0, Tool(partial(run_cpsat, search, workers, counted(seed))))
    for place, tool in enumerate(tools):
        if not search.done():
            tool.take_turn(search.until(search.seconds_left / (len(tools) - place)))


class TightSearch(Search):
    """A search for a schedule as short as another search's best one, but with less memory.

    Parameters
    ----------
    whole : Search
        The other search.
    capacity : int
        The limit of each device, including static memory, in ticks of memory; smaller limits stay.
    seconds : float
        The time limit.
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
        """Whether a schedule that is as short was found."""
        return self.best is not None and self.whole.best is not None and self.best <= self.whole.best

    @property
    def excluded(self) -> bool:
        """Whether it is proven that none exists."""
        return self.infeasible or (self.whole.best is not None and self.bound > self.whole.best)

    def done(self) -> bool:
        """Return whether the answer is known, or the time is up."""
        return self.whole.interrupted or self.reached or self.excluded or perf_counter() >= self.deadline


def _grain(problem: Problem) -> int:
    """Find the common divisor of all levels of memory."""
    return reduce(gcd, _amounts(problem), 0)


def _amounts(problem: Problem) -> Iterator[int]:
    yield from problem.static
    for hold in problem.holds:
        yield hold.amount
        yield from (part for _, part in hold.returns)


def _between(low: int, high: int, grain: int) -> int | None:
    """Choose a capacity halfway between two; None if they are adjacent."""
    middle = low + max(grain, (high - low) // (2 * grain) * grain)
    return middle if middle < high else None
