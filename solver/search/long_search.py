"""Schedules of problems that repeat, from those of shorter ones.

What a schedule of many tasks a chain loses, it loses at its ends, and short strings anneal better than long ones. So a
short problem is searched, and what it ends with is stretched. A schedule that has been annealed does not repeat
anywhere by itself. So a steady state is found on a circle and inserted at a moment of it, or unrolled by itself where
memory is tight; then there is a part that repeats, and annealing leaves it alone while it works on the ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import NamedTuple

from solver.deadline import OutOfTimeError
from solver.problem import Orders, Problem
from solver.repetition import is_regular, shortened
from solver.search.compiled import CompiledProblem, Tokens, compile_problem, tokens_from
from solver.search.greedy import greedy_tokens
from solver.search.local_search import LocalSearch
from solver.search.state import Search
from solver.search.steady import SteadySearch
from solver.search.stretching import Periodic, Runner, Timed, is_a_lattice, orders_of, periods

LONG = 4
"""A problem is long that has so many tasks of each chain for every device."""

MIDDLE = 3
"""A schedule with so many tasks of each chain for every device has room for a steady middle."""

HALVES = (2, 3, 4)
"""Steady states are inserted into schedules with half as many tasks of each chain for every device."""

TURN, LONGEST_TURN = 0.5, 8.0
"""How long a route works in its first turn, in seconds, and at most."""

GREEDY_TURN = 1.0
"""Seconds for list schedules of a short problem."""

LOOSER = (1.0, 1.005, 1.01, 1.02)
"""Periods that are tried, in multiples of the work of the busiest device."""

SHARE_TO_STRETCH = 0.1
"""Where a schedule is cut best is looked for in at most this part of the time that is left."""

ATTEMPTS = 3
"""Where no steady state fits the memory after so many attempts, none is looked for any more."""

INSERTS, KEPT = 12, 3
"""A steady state is inserted at so many moments in one turn, and so many of the schedules are kept."""

INSERTS_TO_STRETCH = 4
"""And at so many only to be repeated."""

Starts = Callable[[Problem], Iterable[Orders]]
"""Gives schedules of a short problem to start from."""

Write = Callable[[int], Problem]
"""Writes the problem with so many tasks of each chain."""


class Stretched(NamedTuple):
    """A schedule of few tasks a chain, stretched."""

    length: int
    periodic: Periodic
    copies: int


@dataclass
class Short:
    """A problem with fewer tasks of each chain, or the whole.

    Attributes
    ----------
    size : int
        How many tasks each chain has.
    problem : Problem
        It.
    compiled : CompiledProblem
        In whole numbers.
    runner : Runner
        Of its strings.
    local : LocalSearch
        Its best schedules.
    has_started : bool
        Whether list schedules have been made.
    """

    size: int
    problem: Problem
    compiled: CompiledProblem
    runner: Runner
    local: LocalSearch
    has_started: bool = False


@dataclass
class Route:
    """A way to a schedule, which takes turns with others.

    Attributes
    ----------
    take_turn : callable
        ``take_turn(seconds)``
    seconds : float
        How long its next turn is: twice as long as the last one if that brought something, else half as long.
    """

    take_turn: Callable[[float], None]
    seconds: float = TURN


class LongSearch:
    """Searches shorter problems for the schedule of one that repeats.

    Parameters
    ----------
    search : Search
        Of the whole; it gets whatever is found.
    seed : int
        Of all that is drawn.
    starts : callable
        Gives schedules of a shorter problem to start from, beside list schedules.
    write : callable, optional
        Writes the problem with so many tasks of each chain; by default the first ones of the whole.
    """

    def __init__(self, search: Search, seed: int, starts: Starts = lambda _: (), write: Write | None = None) -> None:
        self.search, self.seed, self.starts = search, seed, starts
        self.write = write or self._first
        problem = search.problem
        self.length = len(problem.chains[0])
        self.devices = problem.devices
        self.middle = min(self.length, MIDDLE * self.devices)
        self.shorts: dict[int, Short] = {}
        self.routes: list[Route] = []
        self.turns = 0
        self.without_steady = 0

    def _first(self, size: int) -> Problem:
        if size == self.length:
            return self.search.problem
        part = shortened(self.search.problem, size)
        assert part is not None
        return part.problem

    def begin(self) -> None:
        """Stretch the schedules that there are to start from, as far as there is time."""
        with suppress(OutOfTimeError):
            self._add_starts(self._short(self.middle))

    def run(self, number: int = 0) -> None:
        """Let the routes take turns until the search is done, beginning with one of them."""
        self.turns += number
        while not self.search.done():
            self.take_turn()

    def run_until(self, deadline: float) -> None:
        """Let the routes take turns until a moment, or until the search is done."""
        while not self.search.done() and perf_counter() < deadline:
            self.take_turn()

    def take_turn(self) -> None:
        """Let the next route take its turn.

        Raises
        ------
        OutOfTimeError
            If time is up before a shorter problem is written.
        """
        self.routes = self.routes or self._routes()
        route = self.routes[self.turns % len(self.routes)]
        self._renew()
        self.turns += 1
        before = self.search.best
        route.take_turn(route.seconds)
        brought = self.search.best != before
        route.seconds = min(LONGEST_TURN, 2 * route.seconds) if brought else max(TURN, route.seconds / 2)

    def _renew(self) -> None:
        """Take compiled loops where they have been compiled meanwhile."""
        for short in self.shorts.values():
            if not short.local.is_jitted:
                local = LocalSearch(short.compiled, self.seed + self.turns, span=False)
                if local.is_jitted:
                    local.add([tokens for _, tokens in short.local.elite])
                    short.local, short.runner = local, Runner(short.compiled, may_compile=False)

    def _routes(self) -> list[Route]:
        """List what can be done."""
        routes = [Route(self._anneal_middle)]
        if _runs_single_tasks(self._short(self.middle).compiled):
            sizes = dict.fromkeys(min(half * self.devices, self.length) // 2 for half in HALVES)
            routes.insert(0, Route(self._unroll))
            routes += [Route(partial(self._insert, size)) for size in sizes if 2 <= size < self.middle]
        return routes

    def _short(self, size: int) -> Short:
        if size not in self.shorts:
            problem = self.write(size)
            compiled = compile_problem(problem, deadline=self.search.deadline)
            local = LocalSearch(compiled, self.seed + size, span=False)
            self.shorts[size] = Short(size, problem, compiled, Runner(compiled, may_compile=False), local)
        return self.shorts[size]

    def _add_starts(self, short: Short) -> None:
        for orders in self.starts(short.problem):
            if self._add(short, orders):
                self._stretch_best(short)
            if self.search.done():
                return

    def _add(self, short: Short, orders: Orders) -> bool:
        """Add a schedule; return whether it is the best one."""
        tokens = tokens_from(short.compiled, orders)
        before = short.local.best if short.local.elite else None
        if tokens is not None:
            short.local.add([tokens])
        return bool(short.local.elite) and short.local.best != before

    def _start(self, short: Short) -> None:
        """Gather schedules to begin with, once."""
        if short.has_started:
            return
        short.has_started = True
        self._add_starts(short)
        enough = self.search.until(GREEDY_TURN)
        for _, tokens in greedy_tokens(short.compiled, deadline=enough, seed=self.seed, stop=self.search.done):
            short.local.add([tokens])
        if not short.local.elite:  # one at least, whatever the time
            made = next(greedy_tokens(short.compiled, deadline=self.search.deadline, stop=self.search.done), None)
            short.local.add([] if made is None else [made[1]])
        self._stretch_best(short)

    def _target(self, size: int) -> int:
        """Return how long a schedule of a short problem is that cannot be too long when it is stretched."""
        return self.search.bound - (self.length - size) * self._load

    @property
    def _load(self) -> int:
        """The least that one more task of each chain adds."""
        return max(
            (sum(short.compiled.modes[chain].duration for chain in local))
            for short in self.shorts.values()
            for local in short.compiled.local_chains
        )

    def _anneal_middle(self, seconds: float) -> None:
        """Anneal the schedules that are stretched."""
        short = self._short(self.middle)
        if not short.local.elite:
            self._start(short)
        known = self.search.best_so_far()
        if short.size == self.length and known is not None:
            self._add(short, known[1])
        self._anneal(short, seconds)

    def _anneal(self, short: Short, seconds: float) -> None:
        """Anneal, and stretch what is better than before."""
        until = self.search.until(seconds)
        target = self._target(short.size)

        def over() -> bool:
            return perf_counter() > until or self.search.done()

        while short.local.elite and not over() and short.local.best > target:
            before = short.local.best
            told = partial(self._stretch_best, short) if short.size == self.length else lambda: None
            short.local.run_round(target, over, told)
            if short.local.best < before and short.size >= self.middle:
                self._stretch_best(short)

    def _insert(self, size: int, seconds: float) -> None:
        """Anneal a short problem, insert a steady state where it stands, and anneal that."""
        short, longer = self._short(size), self._short(self.middle)
        self._start(short)
        self._anneal(short, seconds)
        if not short.local.elite or self.search.done():
            return
        found = self._inserted(short, longer.size - short.size, INSERTS)
        longer.local.add(tokens for _, tokens in found[:KEPT])
        self._stretch_best(longer)
        self._anneal(longer, seconds)

    def _inserted(self, short: Short, more: int, tries: int) -> list[tuple[int, Tokens]]:
        """Insert a steady state at some moments of the best schedule; the shortest come first."""
        if more <= 0 or not _runs_single_tasks(short.compiled):
            return []
        timed = short.runner.timed(short.local.elite[0][1])
        assert timed is not None
        steady = SteadySearch(short.runner, self.seed + self.turns, may_compile=False, stop=self.search.done)
        found: list[tuple[int, Tokens]] = []
        for number in range(tries):
            if self.search.done():
                break
            share = steady.random.uniform(0.3, 0.7) if number else 0.5
            moment = int(timed.makespan * share)
            state, ahead = steady.at_state(timed, moment, steady.least_period)
            tokens = steady.inserted(timed, moment, state, ahead, more)
            length = None if tokens is None or not short.runner.fits(tokens) else short.runner.makespan(tokens)
            if tokens is not None and length is not None:
                found.append((length, tokens))
                if length <= timed.makespan + more * steady.least_period:
                    break  # nothing is lost by it
        return sorted(found, key=lambda each: each[0])

    def _unroll(self, seconds: float) -> None:
        """Unroll a steady state by itself, and anneal it."""
        short = self._short(self.middle)
        if self.without_steady >= ATTEMPTS:
            return
        steady = SteadySearch(short.runner, self.seed + self.turns, may_compile=False, stop=self.search.done)
        until = self.search.until(max(seconds, 4 * TURN))
        for looser in LOOSER:
            if self.search.done() or perf_counter() > until:
                break
            state = steady.alone(int(looser * steady.least_period))
            tokens = None if state.missing else steady.unrolled(state, short.size)
            if tokens is not None:
                short.local.add([tokens])
                break
        else:
            self.without_steady += 1
        if short.local.elite:
            self._stretch_best(short)
            self._anneal(short, seconds)

    def _stretch_best(self, short: Short) -> None:
        """Stretch the best schedule of a short problem, and offer what comes of it."""
        if not short.local.elite:
            return
        timed = short.runner.timed(short.local.elite[0][1])
        if timed is None:
            return
        found = [self._stretched(short, timed)]
        least = timed.makespan + (self.length - short.size) * self._load
        if found[0] is None or found[0].length > least:
            more = min(self.devices, self.length - short.size)
            for _, tokens in self._inserted(short, more, INSERTS_TO_STRETCH)[:1]:
                longer = short.runner.timed(tokens)
                found.append(None if longer is None else self._stretched(short, longer))
        some = [each for each in found if each is not None]
        if some:
            self._offer(short, min(some, key=lambda each: each.length))

    def _stretched(self, short: Short, timed: Timed) -> Stretched | None:
        more = self.length - short.runner.sizes(timed.tokens)[0]
        if not more:
            empty: Tokens = [[] for _ in timed.tokens]
            return Stretched(timed.makespan, Periodic(timed.tokens, empty, empty, 1), 0)
        until = self.search.until(SHARE_TO_STRETCH * self.search.seconds_left)
        made = periods(
            short.runner, timed, more, self.search.bound, lambda: self.search.done() or perf_counter() > until
        )
        return None if made is None else Stretched(*made)

    def _offer(self, short: Short, found: Stretched) -> None:
        if self.search.best is not None and found.length >= self.search.best:
            return
        tokens = found.periodic.unrolled(found.copies)
        self.search.offer(orders_of(self.search.problem.chains, short.compiled, tokens))


def _runs_single_tasks(compiled: CompiledProblem) -> bool:
    return len(compiled.modes) == len(compiled.chains)


def repeats(problem: Problem) -> bool:
    """Return whether a problem can be searched by way of shorter ones: chains of one length, joined at equal places."""
    lengths: Sequence[int] = [len(chain) for chain in problem.chains]
    if len(set(lengths)) != 1 or lengths[0] < 2 * LONG or not is_regular(problem):
        return False
    part = shortened(problem, 2)
    return part is not None and is_a_lattice(compile_problem(part.problem))


def is_long(problem: Problem) -> bool:
    """Return whether a problem has many more tasks of each chain than a steady middle needs."""
    return bool(problem.chains) and min(map(len, problem.chains)) >= LONG * problem.devices
