"""Makes schedules of problems that repeat from schedules of shorter problems.

A schedule with many tasks per chain loses time only at its ends, and short strings anneal better than long ones. So a
short problem is searched, and its result is stretched: a part in its middle is repeated.

What it is worth: row `short-problems` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

from solver.budget import FIRST_TURNS, WHERE_TO_CUT, Budget
from solver.deadline import OutOfTimeError
from solver.problem import Orders, Problem
from solver.repetition import LONG, Repetition, is_regular, shortened
from solver.resolution import Resolution
from solver.search.compiled import CompiledProblem, Tokens, compile_problem, tokens_from
from solver.search.greedy import greedy_tokens
from solver.search.local_search import LocalSearch
from solver.search.state import Progress, Search
from solver.search.stretching import periods
from solver.search.string_runner import (
    Periodic,
    Runner,
    Timed,
    Whole,
    is_a_lattice,
    orders_of,
)

SHORTEST = 8
"""Chains shorter than this cannot be shortened."""

MIDDLE = 3
"""Tasks of each chain per device with which a schedule has room for a steady middle."""

TURN = 1.5
"""Least seconds of a turn."""

GREEDY_TURN = 1.0
"""Seconds for list schedules of a short problem."""

STEADY = 1.02
"""A repeating part is steady if it is at most this many times as long as the work of the busiest device."""

LARGEST_WHOLE = 20_000
"""Above this many tasks, the whole problem is not annealed: a move takes too long."""

Starts = Callable[[Problem], Iterable[Orders]]
"""Returns schedules of a short problem to start from."""

Write = Callable[[int], Problem]
"""Writes the problem with a given number of tasks of each chain."""


class Stretched(NamedTuple):
    """A stretched schedule of a short problem."""

    length: int
    periodic: Periodic
    copies: int


@dataclass(frozen=True)
class Short:
    """A problem with fewer tasks of each chain, or the whole.

    Attributes
    ----------
    size : int
        The number of tasks of each chain.
    problem : Problem
        The problem.
    compiled : CompiledProblem
        The problem in whole numbers.
    """

    size: int
    problem: Problem
    compiled: CompiledProblem


@dataclass
class Workshop:
    """A short problem, and the search for its schedules.

    Attributes
    ----------
    short : Short
        The problem.
    runner : Runner
        Runs its strings.
    local : LocalSearch
        Its local search, with the best schedules.
    has_started : bool
        Whether list schedules have been made.
    best : int or None
        The least length of a stretched schedule so far.
    """

    short: Short
    runner: Runner
    local: LocalSearch
    has_started: bool = False
    best: int | None = None

    @classmethod
    def of(cls, short: Short, seed: int) -> Workshop:
        """Start without any schedule, with compiled loops if available."""
        return cls(
            short, Runner(short.compiled, may_compile=False), LocalSearch(short.compiled, seed + short.size, span=False)
        )

    def renew(self, seed: int) -> None:
        """Switch to compiled loops if they have become available."""
        local = self.local.renewed(seed)
        if local is not self.local:
            self.local, self.runner = local, Runner(self.short.compiled, may_compile=False)


class LongSearch:
    """Searches shorter problems for the schedule of one that repeats.

    Two sizes are searched: the shortest with a steady middle, and the whole if it is not too large. Which one suits a
    problem is only seen in the results. So each takes a turn, and the better one has all the time that is left.

    Parameters
    ----------
    search : Search
        The search for the whole problem; it receives all results.
    seed : int
        Seed of all random numbers.
    starts : callable
        Returns schedules of a shorter problem to start from, besides list schedules.
    write : callable, optional
        Writes the problem with a given number of tasks of each chain; by default the first ones of the whole.
    lane : (int, int)
        The number of this search among several, and their count: they divide the sizes among themselves.
    length : int, optional
        The number of tasks of each chain of the whole, if only the first ones are written out.
    """

    def __init__(
        self,
        search: Search,
        seed: int,
        starts: Starts = lambda _: (),
        write: Write | None = None,
        lane: tuple[int, int] = (0, 1),
        length: int | None = None,
    ) -> None:
        self.search, self.seed, self.starts, self.lane = search, seed, starts, lane
        self.write = write
        problem = search.rounded
        self.length = length or len(problem.chains[0])
        self.devices = problem.devices
        self.middle = MIDDLE * self.devices if stretches(self.length, self.devices) else self.length
        self.shorts: dict[int, Short] = {}
        self.left: list[Workshop] = []
        self.waiting: list[Workshop] = []
        self.seconds = TURN
        self.turns = 0
        loads = [0] * self.devices
        for chain in problem.chains:
            loads[problem.tasks[chain[0]].device] += problem.tasks[chain[0]].duration
        self.load = max(loads)

    def beside(self, number: int, lanes: int) -> LongSearch:
        """Make another one of several searches that divide the sizes among themselves."""
        return LongSearch(self.search, self.seed + number, self.starts, self.write, (number, lanes), self.length)

    @property
    def stretches(self) -> bool:
        """Whether the whole is so long, compared with a steady middle, that shorter problems are searched instead."""
        return self.middle < self.length

    def _first(self, size: int) -> Problem:
        if size == self.length:
            return self.search.rounded
        part = shortened(self.search.rounded, size)
        assert part is not None
        return part.problem

    def begin(self) -> None:
        """Stretch the given starts, as time permits."""
        with suppress(OutOfTimeError):
            self._add_starts(self._workshop(self.middle))

    def run(self) -> None:
        """Let sizes take turns until the search is done."""
        while not self.search.done():
            self.take_turn()

    def run_until(self, deadline: float) -> None:
        """Let sizes take turns until a deadline, or until the search is done."""
        while not self.search.done() and perf_counter() < deadline:
            self.take_turn()

    def take_turn(self) -> None:
        """Anneal the next size; once all had their turn, the better half continues, twice as long.

        Raises
        ------
        OutOfTimeError
            If time is up before a shorter problem is written.
        """
        self.waiting = self.waiting or (self._better_half() if self.left else self._workshops(*self.lane))
        workshop = self.waiting.pop(0)
        workshop.renew(self.seed + self.turns)
        self.turns += 1
        self._start(workshop)
        known = self.search.best_so_far()
        if workshop.short.size == self.length and known is not None:
            self._add(workshop, known[1])
        self._anneal(workshop, self.seconds)
        self.left.append(workshop)

    def _better_half(self) -> list[Workshop]:
        never = max((each.best for each in self.left if each.best is not None), default=0) + 1
        ranked = sorted(self.left, key=lambda each: never if each.best is None else each.best)
        self.left = []
        self.seconds *= 2
        return ranked[: -(-len(ranked) // 2)]

    def _workshops(self, number: int, of: int) -> list[Workshop]:
        """Choose the sizes to search: the shortest with a steady middle, and the whole if it is not too large."""
        sizes = [self.middle]
        if self.middle < self.length and len(self.search.problem.chains) * self.length <= LARGEST_WHOLE:
            sizes.append(self.length)
        chosen = [size for place, size in enumerate(sizes) if (place - number) % of == 0] or sizes
        self.seconds = max(TURN, FIRST_TURNS.within(self.search.seconds_left) / len(chosen))
        return [self._workshop(size) for size in chosen]

    def _short(self, size: int) -> Short:
        if size not in self.shorts:
            problem = self._first(size) if self.write is None else self.search.resolution.rounded(self.write(size))
            self.shorts[size] = Short(size, problem, compile_problem(problem, deadline=self.search.deadline))
        return self.shorts[size]

    def _workshop(self, size: int) -> Workshop:
        return Workshop.of(self._short(size), self.seed)

    def _add_starts(self, workshop: Workshop) -> None:
        """Add the given starts, and stretch the shortest one that can be stretched."""
        longest, began = 0.0, perf_counter()
        for orders in self.starts(workshop.short.problem):
            self._add(workshop, orders)
            longest, began = max(longest, perf_counter() - began), perf_counter()
            if self.search.done() or self.search.seconds_left < longest:
                break
        for length, tokens in list(workshop.local.elite):
            if self.search.done() or self._stretch(workshop, length, tokens):
                break

    def _add(self, workshop: Workshop, orders: Orders) -> None:
        """Add a schedule."""
        tokens = tokens_from(workshop.short.compiled, orders)
        if tokens is not None:
            workshop.local.add([tokens])

    def _start(self, workshop: Workshop) -> None:
        """Collect schedules to start from, once."""
        if workshop.has_started:
            return
        workshop.has_started = True
        local, compiled = workshop.local, workshop.short.compiled
        self._add_starts(workshop)
        enough = self.search.until(GREEDY_TURN)
        for _, tokens in greedy_tokens(compiled, deadline=enough, seed=self.seed, stop=self.search.done):
            local.add([tokens])
        if not local.elite:  # at least one, whatever the time
            made = next(greedy_tokens(compiled, deadline=self.search.deadline, stop=self.search.done), None)
            local.add([] if made is None else [made[1]])
        self._stretch_best(workshop)

    def _least(self, makespan: int, size: int) -> int:
        """Return the least length of a stretched schedule: every task of each chain adds the largest load."""
        return makespan + (self.length - size) * self.load

    def _anneal(self, workshop: Workshop, seconds: float) -> None:
        """Anneal for some rounds; stretch each improvement."""
        until = self.search.until(seconds)
        local, size = workshop.local, workshop.short.size
        target = self.search.target - (self.length - size) * self.load

        def tell() -> None:
            if size == self.length:
                self._stretch_best(workshop)

        def over() -> bool:
            return perf_counter() > until or self.search.done()

        local.ends = self.search.deadline
        while local.elite and local.best > target and not over():
            before = local.best
            local.run_round(target, over, tell)
            if local.best < before and size >= self.middle:
                self._stretch_best(workshop)

    def _stretch_best(self, workshop: Workshop) -> None:
        """Stretch the best schedule of a short problem and offer it, if that can beat the best known one."""
        if workshop.local.elite:
            self._stretch(workshop, *workshop.local.elite[0])

    def _stretch(self, workshop: Workshop, makespan: int, tokens: Tokens) -> bool:
        """Stretch a schedule of a short problem and offer it, if that can beat the best known one.

        Returns
        -------
        bool
            Whether the schedule could be stretched; also true if the result could not be better.
        """
        least = self._least(makespan, workshop.short.size)
        if workshop.best is not None and least >= workshop.best:
            return True
        timed = workshop.runner.timed(tokens)
        found = None if timed is None else self._stretched(workshop, timed, least)
        if found is None:
            return False
        workshop.best = found.length if workshop.best is None else min(workshop.best, found.length)
        self._offer(workshop, found)
        return True

    def _stretched(self, workshop: Workshop, timed: Timed, least: int) -> Stretched | None:
        more = self.length - workshop.runner.sizes(timed.tokens)[0]
        if not more:
            empty: Tokens = [[] for _ in timed.tokens]
            return Stretched(timed.makespan, Periodic(timed.tokens, empty, empty, 1), 0)
        until = self.search.until(WHERE_TO_CUT.within(self.search.seconds_left))
        made = periods(workshop.runner, timed, more, least, lambda: self.search.done() or perf_counter() > until)
        return None if made is None else Stretched(*made)

    def _offer(self, workshop: Workshop, found: Stretched) -> None:
        if self.search.best_in_steps is not None and found.length >= self.search.best_in_steps:
            return
        if isinstance(self.search, UnwrittenSearch):
            self.search.offer_periodic(workshop.runner, found)
            return
        tokens = found.periodic.unrolled(found.copies)
        self.search.offer(orders_of(self.search.problem.chains, workshop.short.compiled, tokens))


class UnwrittenSearch(Search):
    """A search for a problem with only the first tasks of each chain written out.

    Parameters
    ----------
    repetition : Repetition
        What is written down, and how much is not.
    seconds, progress
        As for `Search`.

    Attributes
    ----------
    found : Stretched or None
        The best schedule.
    whole : Whole or None
        The result of running all of it.
    is_steady : bool
        Whether its repeating part is hardly longer than the work of the busiest device. It then loses time only at its
        ends, and longer chains do not add to the loss.
    """

    def __init__(self, repetition: Repetition, seconds: float | Budget, progress: Progress | None = None) -> None:
        super().__init__(repetition.problem, "makespan", seconds, progress, repetition)
        self.repetition = repetition
        self._exact: Runner | None = None
        self.found: Stretched | None = None
        self.whole: Whole | None = None
        self.is_steady = False
        loads = [0] * repetition.problem.devices
        for chain in repetition.problem.chains:
            task = repetition.problem.tasks[chain[0]]
            loads[task.device] += task.duration
        self._steady_period = STEADY * max(loads)

    def offer_periodic(self, runner: Runner, found: Stretched) -> None:
        """Run the whole schedule, and keep it if it is better than the best."""
        exact, periodic = self._in_ticks(runner, found.periodic)
        whole = exact.whole(periodic, found.copies)
        fits = whole is not None and all(
            peak <= capacity for peak, capacity in zip(whole.peaks, exact.compiled.capacities, strict=True)
        )
        if whole is None or not fits:
            return
        period = exact.period(periodic)
        with self._lock:
            if self.best is None or whole.makespan < self.best:
                self.best, self.found, self.whole = whole.makespan, found, whole
                self.is_steady = period is not None and period <= self._steady_period
                self._tell()

    def _in_ticks(self, runner: Runner, periodic: Periodic) -> tuple[Runner, Periodic]:
        """Convert a schedule of the problem in steps: return a runner in ticks, and the schedule in its tokens."""
        if self.resolution == Resolution():
            return runner, periodic
        if self._exact is None:
            self._exact = Runner(compile_problem(self.problem), may_compile=False, fits=False)
        modes = {(mode.chains, mode.fused): number for number, mode in enumerate(self._exact.compiled.modes)}
        number = [modes[mode.chains, mode.fused] for mode in runner.compiled.modes]
        before, period, after = ([[number[mode] for mode in row] for row in part] for part in periodic.parts)
        return self._exact, Periodic(before, period, after, periodic.tasks)

    def best_so_far(self) -> None:
        """Return nothing: no schedule of the whole is written out."""


def repeats(problem: Problem) -> bool:
    """Return whether a problem can be searched through shorter ones: chains of one length, joined at equal places."""
    lengths: Sequence[int] = [len(chain) for chain in problem.chains]
    if len(set(lengths)) != 1 or lengths[0] < SHORTEST or not is_regular(problem):
        return False
    part = shortened(problem, 2)
    return part is not None and is_a_lattice(compile_problem(part.problem))


def stretches(length: int, devices: int) -> bool:
    """Return whether chains are long enough, compared with a steady middle, to search shorter problems first."""
    return length >= 2 * MIDDLE * devices


def is_long(problem: Problem) -> bool:
    """Return whether a problem has many more tasks of each chain than a steady middle needs."""
    return bool(problem.chains) and min(map(len, problem.chains)) >= LONG * problem.devices
