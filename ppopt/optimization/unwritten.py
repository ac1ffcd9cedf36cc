"""The search of a long pipeline by its first microbatches, none of the others written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from time import perf_counter

from ppopt.optimization.starts import one_at_a_time, published_orders
from solver.bounds.bound import Bound
from solver.bounds.makespan import WITH_SECOND, bounds_of_long, sizes_to_write
from solver.budget import BOUND, Budget
from solver.problem import Action, Key, Merged, Orders, Problem
from solver.repetition import LONG
from solver.search.compiled import Tokens, compile_problem, tokens_from
from solver.search.long_search import LongSearch, Stretched, UnwrittenSearch
from solver.search.shorter_problems import begin_unwritten, run_unwritten
from solver.search.state import Progress, Search
from solver.search.string_runner import Periodic, Runner, orders_of
from strategies.language.registry import Strategy
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.problem.search_problem import Allowed, build_repetition, build_search_problem


@dataclass(frozen=True)
class Long:
    """A pipeline that is too long to be written out, and what is searched.

    Attributes
    ----------
    pipeline, placement, allowed
        As for `build_search_problem`.
    strategies : sequence of Strategy
        Published schedules to start from.
    """

    pipeline: Pipeline
    placement: Placement
    allowed: Allowed
    strategies: Sequence[Strategy]

    @property
    def directions(self) -> int:
        """How many directions microbatches go in."""
        return len(self.placement.homes)

    def fewer(self, size: int) -> tuple[Pipeline, Placement]:
        """Return the same with ``size`` microbatches of each direction."""
        count = size * self.directions
        return self.pipeline.model_copy(update={"microbatches": count}), replace(self.placement, microbatches=count)

    def write(self, size: int) -> Problem:
        """Write the problem with ``size`` microbatches of each direction."""
        return build_search_problem(*self.fewer(size), **self.allowed._asdict())

    def starts(self, problem: Problem) -> Iterator[Orders]:
        """List the published schedules of a shorter problem."""
        part, _ = self.fewer(len(problem.chains[0]))
        for strategy in self.strategies:
            for variant in strategy.variants(part):
                orders = published_orders(problem, part, strategy, variant)
                if orders is not None:
                    yield orders


def repeats(pipeline: Pipeline, placement: Placement) -> bool:
    """Return whether there are microbatches enough for a steady middle, and equally many in each direction."""
    is_even = pipeline.microbatches % len(placement.homes) == 0
    return (
        is_even and not pipeline.has_unequal_items and pipeline.microbatches >= least_microbatches(pipeline, placement)
    )


def least_microbatches(pipeline: Pipeline, placement: Placement) -> int:
    """Return how many microbatches a pipeline has at least that is searched by the first of them."""
    return LONG * pipeline.devices * len(placement.homes)


class Unwritten:
    """The search of a long pipeline by its first microbatches.

    Parameters
    ----------
    long : Long
        What is searched.
    chains : int
        How many chains its problem has: the operations of one microbatch of each direction.
    seconds, seed, progress
        As for `ppopt.optimize`.

    Attributes
    ----------
    search : UnwrittenSearch
        Where all report.
    """

    def __init__(self, long: Long, chains: int, seconds: float | Budget, seed: int, progress: Progress | None) -> None:
        self.long, self.seed = long, seed
        size = sizes_to_write(long.pipeline.devices, chains)[-1]
        repetition = build_repetition(long.pipeline, long.placement, long.allowed, size)
        self.search = UnwrittenSearch(repetition, seconds, progress)
        self._bounded: list[float] = []
        self._first: LongSearch | None = None

    def begin(self, known: Bound | None = None) -> bool:
        """Find the bound, and stretch the published schedules of few microbatches.

        Parameters
        ----------
        known : Bound, optional
            What has been proven before.

        Returns
        -------
        bool
            Whether the problem repeats, so that there is something to go on with.

        Raises
        ------
        InfeasibleError
            If no schedule fits the memory.
        """
        search, long = self.search, self.long
        if known is not None:
            search.proven(known)
        bounds = bounds_of_long(search.repetition, deadline=search.until(BOUND.within(search.seconds_left)))
        self._prove(bounds, 1)
        self._first = begin_unwritten(search, self.seed, long.starts, long.write)
        if not search.done():
            self._prove(bounds, None)
        return self._first is not None

    def _prove(self, bounds: Iterator[Bound], count: int | None) -> None:
        began = perf_counter()
        for bound in islice(bounds, count):
            self.search.proven(bound)
            self._bounded.append(perf_counter() - began)
            began = perf_counter()

    @property
    def bounding(self) -> float:
        """How many seconds its bounds take; where the second was not needed, as long as it is expected to take."""
        return sum(self._bounded) if len(self._bounded) != 1 else self._bounded[0] * WITH_SECOND

    def run(self, workers: int) -> None:
        """Search on some cores until the schedule meets the bound or time is up."""
        if self._first is not None and not self.search.done():
            run_unwritten(self.search, self._first, workers)

    def hand_over(self, search: Search, plain: Bound) -> float:
        """Give what was found to a search of the whole, which goes on from here; return how many seconds that took.

        A plain bound of the whole is named as the reason where it is as high.
        """
        began, ahead = perf_counter(), self.search
        progress, search.progress = search.progress, None
        search.started, search.interrupted = ahead.started, ahead.interrupted
        search.proven(plain)
        if ahead.held_by is not None:
            search.proven(ahead.held_by)
        if ahead.found is not None:
            compiled = compile_problem(ahead.rounded)
            tokens = ahead.found.periodic.unrolled(ahead.found.copies)
            search.offer(orders_of(search.problem.chains, compiled, tokens))
        search.progress = progress
        return perf_counter() - began

    def offer_one_at_a_time(self) -> None:
        """Where nothing has been found, do one microbatch of each direction after the other."""
        search, long = self.search, self.long
        compiled = compile_problem(search.rounded)
        _, layout = long.fewer(1)
        one = long.write(1)
        names = {here[0]: there[0] for here, there in zip(one.chains, search.problem.chains, strict=True)}
        orders = [[_renamed(action, names) for action in order] for order in one_at_a_time(layout, one)]
        tokens = tokens_from(compiled, orders)
        assert tokens is not None
        nothing: Tokens = [[] for _ in tokens]
        copies = len(search.problem.chains[0]) + search.repetition.more[0]
        search.offer_periodic(
            Runner(compiled, may_compile=False), Stretched(0, Periodic(nothing, tokens, nothing, 1), copies)
        )


def _renamed(action: Action, names: Mapping[Key, Key]) -> Action:
    if isinstance(action, Merged):
        return Merged(names[action.first], names[action.second])
    return names[action]
