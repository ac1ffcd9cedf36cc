"""Makes schedules of problems that repeat from schedules of shorter problems.

A schedule with many tasks per chain loses time only at its ends, and short strings anneal better than long ones. So a
short problem is searched, and its result is stretched. An annealed schedule has no repeating part by itself. So a
steady state is found on a circle and inserted at some moment, or unrolled by itself if memory is tight. Then there is a
repeating part, and annealing works on the ends and leaves that part unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import NamedTuple

from solver.budget import FIRST_TURNS, ROUND_TRIPS, WHERE_TO_CUT, Budget
from solver.deadline import OutOfTimeError
from solver.problem import Orders, Problem
from solver.repetition import LONG, Repetition, is_regular, shortened
from solver.resolution import Resolution
from solver.search.compiled import CompiledProblem, Tokens, compile_problem, tokens_from
from solver.search.greedy import greedy_tokens
from solver.search.local_search import LocalSearch
from solver.search.slots import SlotSearch, TripSchedule
from solver.search.state import Progress, Search
from solver.search.steady import SteadySearch
from solver.search.stretching import (
    FEW_COPIES,
    MANY_COPIES,
    Periodic,
    Runner,
    Timed,
    Whole,
    is_a_lattice,
    orders_of,
    periods,
    stretched_length,
)

SHORTEST = 8
"""Chains shorter than this cannot be shortened."""

MIDDLE = 3
"""Tasks of each chain per device with which a schedule has room for a steady middle."""

HALVES = (2, 3, 4)
"""Sizes of the schedules that steady states are inserted into: half of this many tasks of each chain per device."""

TURN = 0.5
"""Least seconds of each part of a turn."""

PARTS = 3
"""The most parts of a turn: annealing, inserting, annealing."""

GREEDY_TURN = 1.0
"""Seconds for list schedules of a short problem."""

LOOSER = (1.0, 1.005, 1.01, 1.02)
"""Periods to try, in multiples of the work of the busiest device."""

LARGEST_WHOLE = 20_000
"""Above this many tasks, the whole problem is not annealed: a move takes too long."""

ATTEMPTS = 3
"""Attempts to find a steady state that fits the memory before giving up."""

COPIES_TIED = 3
"""The least number of copies of a repeating part that are annealed together."""

INSERTS, KEPT = 12, 3
"""Moments per turn at which a steady state is inserted, and the number of resulting schedules kept."""

LEAST_INSERTS = 3
"""Failed inserts allowed before the deadline applies."""

INSERTS_TO_STRETCH = 4
"""Insert positions tried when only a repeatable schedule is needed."""

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
    """

    short: Short
    runner: Runner
    local: LocalSearch
    has_started: bool = False

    @classmethod
    def of(cls, short: Short, seed: int) -> Workshop:
        """Start without any schedule, with compiled loops if available."""
        return cls(
            short, Runner(short.compiled, may_compile=False), LocalSearch(short.compiled, seed + short.size, span=False)
        )

    def renew(self, seed: int) -> None:
        """Switch to compiled loops if they have become available."""
        if self.local.is_jitted:
            return
        local = LocalSearch(self.short.compiled, seed, span=False)
        if local.is_jitted:
            local.tie(self.local.begins, self.local.periods, self.local.copies)
            local.add([tokens for _, tokens in self.local.elite])
            self.local, self.runner = local, Runner(self.short.compiled, may_compile=False)


@dataclass
class Tied:
    """A schedule with a repeating part, shortened to a few copies of it, which are annealed alike.

    Attributes
    ----------
    found : Stretched
        The schedule with all copies.
    copies : int
        The number of copies here.
    growth : int
        The length that each further copy adds.
    workshop : Workshop
        Anneals the schedule, with all copies alike.
    """

    found: Stretched
    copies: int
    growth: int
    workshop: Workshop


@dataclass
class Route:
    """A way to find schedules.

    Attributes
    ----------
    take_turn : callable
        ``take_turn(route, seconds)``, with the seconds of each part of the turn.
    before : Workshop or None
        The short problem into whose schedules a steady state is inserted.
    middle : Workshop
        The problem whose schedules are stretched.
    best : int or None
        The least length of a stretched schedule so far.
    slots : SlotSearch or None
        Finds steady states if memory is a row of slots.
    found : Stretched or None
        The schedule of that length, if it has a repeating part.
    tied : Tied or None
        The last of these schedules that was annealed with all copies alike.
    brought : dict of bool
        Whether the last turn of each kind (copies alike, or not) improved the route; true before the first.
    last : bool
        The kind of the last turn.
    """

    take_turn: Callable[[Route, float], None]
    middle: Workshop
    before: Workshop | None = None
    best: int | None = None
    slots: SlotSearch | None = None
    found: Stretched | None = None
    tied: Tied | None = None
    brought: dict[bool, bool] = field(default_factory=lambda: {False: True, True: True})
    last: bool = True

    def take(self, found: Stretched) -> None:
        """Keep the best schedule, unless its period has one task per chain, which annealing leaves unchanged."""
        if found.length == self.best:
            self.found = found if found.periodic.tasks > 1 else None

    def anneals_tied_copies_next(self) -> bool:
        """Choose whether the next turn keeps copies alike: the kinds alternate, but one that brought nothing waits."""
        other = not self.last
        if self.found is None:
            self.last = False
        elif self.brought[other] or not self.brought[self.last]:
            self.last = other
        return self.last


class LongSearch:
    """Searches shorter problems for the schedule of one that repeats.

    There are several routes: a steady state by itself, a steady state inserted into a schedule of a short problem, list
    schedules. Which one suits a problem is only seen in the results. So all routes take a turn, the better half takes
    another one, twice as long, and so on (successive halving: Karnin, Koren and Somekh, Almost optimal exploration in
    multi-armed bandits, 2013), until one has all the time.

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
        The number of this search among several, and their count: they divide the routes among themselves.
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
        self.left: list[Route] = []
        self.waiting: list[Route] = []
        self.seconds = TURN
        self.turns = 0
        self.without_steady = 0
        loads = [0] * self.devices
        for chain in problem.chains:
            loads[problem.tasks[chain[0]].device] += problem.tasks[chain[0]].duration
        self.load = max(loads)
        self.likely: int | None = None

    def beside(self, number: int, lanes: int) -> LongSearch:
        """Make another one of several searches that divide the routes among themselves."""
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
        """Let routes take turns until the search is done."""
        while not self.search.done():
            self.take_turn()

    def run_until(self, deadline: float) -> None:
        """Let routes take turns until a deadline, or until the search is done."""
        while not self.search.done() and perf_counter() < deadline:
            self.take_turn()

    def take_turn(self) -> None:
        """Let the next route take its turn; after the last one, the better half continues.

        Raises
        ------
        OutOfTimeError
            If time is up before a shorter problem is written.
        """
        self.waiting = self.waiting or (self._better_half() if self.left else self._routes(*self.lane))
        route = self.waiting.pop(0)
        for workshop in (route.before, route.middle):
            if workshop is not None:
                workshop.renew(self.seed + self.turns)
        self.turns += 1
        before = route.best
        tied_copies = route.anneals_tied_copies_next()
        if tied_copies:
            self._work_on_ends(route, PARTS * self.seconds)
        else:
            route.take_turn(route, self.seconds)
        route.brought[tied_copies] = route.best != before
        self.left.append(route)

    def _better_half(self) -> list[Route]:
        never = max((route.best for route in self.left if route.best is not None), default=0) + 1
        ranked = sorted(self.left, key=lambda route: never if route.best is None else route.best)
        self.left = []
        self.seconds *= 2
        return ranked[: -(-len(ranked) // 2)]

    def _routes(self, number: int, of: int) -> list[Route]:
        """List the routes."""
        makers: list[Callable[[], Route]] = []
        slots = self._slot_search()
        is_tight = slots is not None and slots.needed > LOOSER[-1] * self.load
        if _runs_single_tasks(self._short(self.middle).compiled) and not is_tight:
            sizes = dict.fromkeys(min(half * self.devices, self.length) // 2 for half in HALVES)
            makers += [partial(self._inserting, size) for size in sizes if 2 <= size < self.middle]
            makers.insert(1, lambda: Route(self._unroll, self._workshop(self.middle)))
        makers.insert(0, lambda: Route(self._list, self._workshop(self.middle)))
        if self.middle < self.length and len(self.search.problem.chains) * self.length <= LARGEST_WHOLE:
            makers.insert(1, lambda: Route(self._list, self._workshop(self.length)))
        chosen = [maker for place, maker in enumerate(makers) if (place - number) % of == 0] or makers
        if slots is not None:
            chosen.insert(0, partial(self._turning, slots))
        self.seconds = max(TURN, FIRST_TURNS.within(self.search.seconds_left) / PARTS / len(chosen))
        return [maker() for maker in chosen]

    def _inserting(self, size: int) -> Route:
        return Route(self._insert, self._workshop(self.middle), self._workshop(size))

    def _slot_search(self) -> SlotSearch | None:
        """Make a search for steady states of jobs that go out and back; None if none can be found."""
        runner = Runner(self._short(self.middle).compiled, may_compile=False)
        slots = SlotSearch(runner, self.length, self.seed, may_compile=False, stop=self.search.done)
        return slots if slots.track is not None else None

    def look_for_turns(self) -> None:
        """Find steady states of jobs that go out and back, and offer the best, as time permits."""
        with suppress(OutOfTimeError):
            slots = self._slot_search()
            if slots is not None and slots.is_possible:
                self._look_for_turns(self._turning(slots), slots, FIRST_TURNS.within(self.search.seconds_left))

    def _turning(self, slots: SlotSearch) -> Route:
        """Anneal the whole, or a number of tasks of each chain that leaves whole periods to repeat."""
        size = self.length
        if len(self.search.problem.chains) * self.length > LARGEST_WHOLE:
            size = min(size, self.middle + (self.length - self.middle) % slots.jobs)
        self.likely = slots.jobs
        return Route(self._turn, self._workshop(size), slots=slots)

    def _turn(self, route: Route, seconds: float) -> None:
        """Find steady states of jobs that go out and back, and anneal the schedules made of them."""
        slots = route.slots
        assert slots is not None
        if not slots.is_jitted:
            again = self._slot_search()
            slots = route.slots = again if again is not None and again.is_jitted else slots
        if not slots.is_possible:
            return
        until = self.search.until(PARTS * seconds)
        self._look_for_turns(route, slots, ROUND_TRIPS.within(PARTS * seconds))
        self._anneal(route.middle, until - perf_counter(), route)

    def _look_for_turns(self, route: Route, slots: SlotSearch, seconds: float) -> None:
        """Look for steady states until no better one was found for as long as the search took before."""
        began = last = perf_counter()
        until = self.search.until(seconds)

        def stop() -> bool:
            now = perf_counter()
            return self.search.done() or now > until or now - last > max(TURN, last - began)

        slots.stop = stop
        known = slots.best
        for turned in slots.run():
            last = perf_counter()
            if known is None and route.best is None:
                self._offer_turned(route, slots, turned)
        slots.stop = self.search.done
        if slots.best is not None and slots.best is not known:
            self._offer_turned(route, slots, slots.best)
            less = (self.length - route.middle.short.size) // slots.jobs
            tokens = slots.unrolled(slots.best.steady, slots.best.first, less)
            route.middle.local.add([] if tokens is None else [tokens])

    def _offer_turned(self, route: Route, slots: SlotSearch, turned: TripSchedule) -> None:
        """Offer the schedule made of a steady state."""
        route.best = turned.length if route.best is None else min(route.best, turned.length)
        if self.search.best_in_steps is not None and turned.length >= self.search.best_in_steps:
            return
        if isinstance(self.search, UnwrittenSearch):
            made = slots.periodic(turned)
            if made is not None:
                self.search.offer_periodic(slots.runner, Stretched(turned.length, *made))
            return
        tokens = slots.unrolled(turned.steady, turned.first)
        if tokens is not None:
            self.search.offer(orders_of(self.search.problem.chains, slots.compiled, tokens))

    def _short(self, size: int) -> Short:
        if size not in self.shorts:
            problem = self._first(size) if self.write is None else self.search.resolution.rounded(self.write(size))
            self.shorts[size] = Short(size, problem, compile_problem(problem, deadline=self.search.deadline))
        return self.shorts[size]

    def _workshop(self, size: int) -> Workshop:
        return Workshop.of(self._short(size), self.seed)

    def _add_starts(self, workshop: Workshop, route: Route | None = None) -> None:
        """Add the given starts, and stretch the shortest one that can be stretched."""
        longest, began = 0.0, perf_counter()
        for orders in self.starts(workshop.short.problem):
            self._add(workshop, orders)
            longest, began = max(longest, perf_counter() - began), perf_counter()
            if self.search.done() or self.search.seconds_left < longest:
                break
        for length, tokens in list(workshop.local.elite):
            if self.search.done() or self._stretch(workshop, length, tokens, route):
                break

    def _add(self, workshop: Workshop, orders: Orders) -> None:
        """Add a schedule."""
        tokens = tokens_from(workshop.short.compiled, orders)
        if tokens is not None:
            workshop.local.add([tokens])

    def _start(self, workshop: Workshop, route: Route) -> None:
        """Collect schedules to start from, once."""
        if workshop.has_started:
            return
        workshop.has_started = True
        local, compiled = workshop.local, workshop.short.compiled
        self._add_starts(workshop, route)
        enough = self.search.until(GREEDY_TURN)
        for _, tokens in greedy_tokens(compiled, deadline=enough, seed=self.seed, stop=self.search.done):
            local.add([tokens])
        if not local.elite:  # at least one, whatever the time
            made = next(greedy_tokens(compiled, deadline=self.search.deadline, stop=self.search.done), None)
            local.add([] if made is None else [made[1]])
        self._stretch_best(workshop, route)

    def _least(self, makespan: int, size: int) -> int:
        """Return the least length of a stretched schedule: every task of each chain adds the largest load."""
        return makespan + (self.length - size) * self.load

    def _list(self, route: Route, seconds: float) -> None:
        """Anneal the given starts, list schedules, and the results of others."""
        workshop = route.middle
        begins = not workshop.has_started
        self._start(workshop, route)
        if begins and route.found is not None:
            self._work_on_ends(route, PARTS * seconds)
            return
        known = self.search.best_so_far()
        if workshop.short.size == self.length and known is not None:
            self._add(workshop, known[1])
        self._anneal(workshop, 2 * seconds, route)

    def _anneal(self, workshop: Workshop, seconds: float, route: Route) -> None:
        """Anneal for some rounds; stretch each improvement."""
        until = self.search.until(seconds)
        local, size = workshop.local, workshop.short.size
        target = self.search.target - (self.length - size) * self.load

        def tell() -> None:
            if size == self.length:
                self._stretch_best(workshop, route)

        while local.elite and perf_counter() < until and not self.search.done() and local.best > target:
            before = local.best
            local.run_round(target, self.search.done, tell)
            if local.best < before and size >= self.middle:
                self._stretch_best(workshop, route)

    def _insert(self, route: Route, seconds: float) -> None:
        """Anneal a short problem, insert a steady state that fits its state at some moment, and anneal the result."""
        before, middle = route.before, route.middle
        assert before is not None
        self._start(before, route)
        self._anneal(before, seconds, route)
        if not before.local.elite or self.search.done():
            return
        timed = before.runner.timed(before.local.elite[0][1])
        assert timed is not None
        found = self._inserted(before, timed, middle.short.size - before.short.size, INSERTS, seconds / 2)
        middle.local.add(tokens for _, tokens in found[:KEPT])
        self._stretch_best(middle, route)
        self._anneal(middle, seconds, route)

    def _inserted(
        self, workshop: Workshop, timed: Timed, more: int, tries: int, seconds: float
    ) -> list[tuple[int, Tokens]]:
        """Insert a steady state at some moments of a schedule; the shortest come first."""
        runner = workshop.runner
        if more <= 0 or not _runs_single_tasks(workshop.short.compiled):
            return []
        until = self.search.until(seconds)
        steady = SteadySearch(runner, self.seed + self.turns, may_compile=False, stop=self.search.done)
        found: list[tuple[int, Tokens]] = []
        for number in range(tries):
            if self.search.done() or (perf_counter() > until and (found or number >= LEAST_INSERTS)):
                break
            share = steady.random.uniform(0.3, 0.7) if number else 0.5
            moment = int(timed.makespan * share)
            state, ahead = steady.at_state(timed, moment, steady.least_period)
            tokens = steady.inserted(timed, moment, state, ahead, more)
            length = None if tokens is None or not runner.fits(tokens) else runner.makespan(tokens)
            if tokens is not None and length is not None:
                found.append((length, tokens))
                if length <= timed.makespan + more * steady.least_period:
                    break  # nothing is lost
        return sorted(found, key=lambda each: each[0])

    def _unroll(self, route: Route, seconds: float) -> None:
        """Unroll a steady state by itself, and anneal it."""
        middle = route.middle
        if self.without_steady < ATTEMPTS:
            steady = SteadySearch(middle.runner, self.seed + self.turns, may_compile=False, stop=self.search.done)
            self.without_steady += not self._unrolled(steady, middle)
        if not middle.local.elite:
            return
        self._stretch_best(middle, route)
        self._anneal(middle, 2 * seconds, route)

    def _unrolled(self, steady: SteadySearch, middle: Workshop) -> bool:
        """Add a steady state, unrolled; return whether one was found."""
        for looser in LOOSER:
            if self.search.done():
                break
            state = steady.alone(int(looser * steady.least_period))
            tokens = None if state.missing else steady.unrolled(state, middle.short.size)
            if tokens is not None:
                middle.local.add([tokens])
                return True
        return False

    def _work_on_ends(self, route: Route, seconds: float) -> None:
        """Anneal the best schedule with a repeating part, with a few copies of that part, which are kept alike."""
        assert route.found is not None
        if route.tied is None or route.tied.found is not route.found:
            route.tied = self._tied(route.middle.runner, route.found)
        tied = route.tied
        workshop, until = tied.workshop, self.search.until(seconds)
        workshop.renew(self.seed + self.turns)
        target = self.search.target - (tied.found.copies - tied.copies) * tied.growth

        def over() -> bool:
            return perf_counter() > until or self.search.done()

        if workshop.local.elite and workshop.local.best > target:
            workshop.local.run_round(target, over, partial(self._stretch_tied, route, tied), seconds)

    def _tied(self, runner: Runner, found: Stretched) -> Tied:
        """Take enough copies to show the length of all of them, and at least a few."""
        lengths = [runner.makespan(found.periodic.unrolled(copies + 1)) or 0 for copies in range(MANY_COPIES)]
        growth = (lengths[MANY_COPIES - 1] - lengths[FEW_COPIES - 1]) // (MANY_COPIES - FEW_COPIES)
        steady = (
            copies
            for copies in range(1, MANY_COPIES)
            if lengths[-1] - lengths[copies - 1] == (MANY_COPIES - copies) * growth
        )
        copies = min(max(next(steady, MANY_COPIES), COPIES_TIED), found.copies)
        tokens = found.periodic.unrolled(copies)
        workshop = self._workshop(runner.sizes(tokens)[0])
        begins, sizes = ([*map(len, part)] for part in (found.periodic.before, found.periodic.period))
        workshop.local.tie(begins, sizes, copies)
        workshop.local.add([tokens])
        return Tied(found, copies, growth, workshop)

    def _stretch_tied(self, route: Route, tied: Tied) -> None:
        """Offer an annealed schedule with a repeating part, extended to all copies."""
        local, runner = tied.workshop.local, tied.workshop.runner
        parts = [
            (string[:begin], string[begin : begin + size], string[begin + tied.copies * size :])
            for string, begin, size in local.with_ties(local.elite[0][1])
        ]
        before, period, after = ([part[place] for part in parts] for place in range(3))
        periodic = Periodic(before, period, after, tied.found.periodic.tasks)
        length = stretched_length(runner, periodic, tied.found.copies)
        if length is None or (route.best is not None and length >= route.best):
            return
        tied.found = Stretched(length, periodic, tied.found.copies)
        route.best = length
        route.take(tied.found)
        self._offer(tied.workshop, tied.found)
        copies, rest = divmod(route.middle.short.size - runner.sizes(periodic.unrolled(0))[0], periodic.tasks)
        if copies > 0 and not rest:
            route.middle.local.add([periodic.unrolled(copies)])

    def _stretch_best(self, workshop: Workshop, route: Route | None) -> None:
        """Stretch the best schedule of a short problem and offer it, if that can beat the best known one."""
        if workshop.local.elite:
            self._stretch(workshop, *workshop.local.elite[0], route)

    def _stretch(self, workshop: Workshop, makespan: int, tokens: Tokens, route: Route | None) -> bool:
        """Stretch a schedule of a short problem and offer it, if that can beat the best known one.

        Returns
        -------
        bool
            Whether the schedule could be stretched; also true if the result could not be better.
        """
        least = self._least(makespan, workshop.short.size)
        known = self.search.best_in_steps if route is None else route.best
        if known is not None and least >= known:
            return True
        timed = workshop.runner.timed(tokens)
        if timed is None:
            return False
        found = self._stretched(workshop, timed, least)
        self._note(workshop, found, route)
        if (found is None or found.length > least) and self.likely is None:
            self._stretch_longer(workshop, timed, least, route)
        return found is not None

    def _stretch_longer(self, workshop: Workshop, timed: Timed, least: int, route: Route | None) -> None:
        """Insert a steady state into a schedule only to get a part that repeats exactly, and stretch the result."""
        more = min(self.devices, self.length - workshop.short.size)
        for _, tokens in self._inserted(workshop, timed, more, INSERTS_TO_STRETCH, TURN)[:1]:
            longer = workshop.runner.timed(tokens)
            if longer is not None:
                self._note(workshop, self._stretched(workshop, longer, least), route)

    def _note(self, workshop: Workshop, found: Stretched | None, route: Route | None) -> None:
        """Offer a stretched schedule, and record the progress of a route."""
        if found is None:
            return
        if route is not None:
            route.best = found.length if route.best is None else min(route.best, found.length)
            if found.copies and _runs_single_tasks(workshop.short.compiled):
                route.take(found)
        self._offer(workshop, found)

    def _stretched(self, workshop: Workshop, timed: Timed, least: int) -> Stretched | None:
        more = self.length - workshop.runner.sizes(timed.tokens)[0]
        if not more:
            empty: Tokens = [[] for _ in timed.tokens]
            return Stretched(timed.makespan, Periodic(timed.tokens, empty, empty, 1), 0)
        until = self.search.until(WHERE_TO_CUT.within(self.search.seconds_left))
        made = periods(
            workshop.runner, timed, more, least, lambda: self.search.done() or perf_counter() > until, self.likely
        )
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
        self._steady_period = LOOSER[-1] * max(loads)

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


def _runs_single_tasks(compiled: CompiledProblem) -> bool:
    return len(compiled.modes) == len(compiled.chains)


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
