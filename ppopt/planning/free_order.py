"""The best cut and order together: cuts are taken in the order of a bound, and the promising ones searched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import attrgetter
from time import perf_counter

from ppopt.cutting.fixed_order import FixedOrder, plan_fixed_order
from ppopt.cutting.partitions import Partitions, partitions_of
from ppopt.cutting.quick import cut_of_published
from ppopt.optimization.optimize import optimize
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from solver.bounds.makespan import makespan_bound
from solver.deadline import OutOfTimeError
from solver.errors import InfeasibleError, InputError
from solver.search.state import Progress, Standing
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.problem.search_problem import build_search_problem

SHARE_OF_A_SEARCH = 0.08
"""Share of the time left for the first search of a cut; each further search of the same cut gets twice as much."""

SHARE_OF_START = 0.4
"""Share of the time left for continuing from the best start, if requested."""

LEAST_SECONDS = 1.0
"""Least seconds of a search of a cut."""

RECUT_SECONDS, MOST_TURNS = 0.5, 3
"""Most seconds to look for a better cut for a schedule's order, and most repetitions as long as that helps."""

ROUND = 3
"""Once this many cuts with the same bound were searched equally often, the best of them is searched longer."""

NOTHING = Fraction(0)

REFINING_SECONDS = 2.0
"""Most seconds for the quick bound of a cut."""


@dataclass(frozen=True)
class FreeOptions:
    """Options of a search for an order together with a cut.

    Attributes
    ----------
    split_backward : bool
        Whether backwards may be I and W.
    empty : bool
        Whether stages may be empty.
    recompute : bool
        Whether layers may be recomputed.
    workers, seed
        As for `ppopt.optimize`.
    least_seconds : float
        Least seconds of a search of a cut.
    begins_with_start : bool
        Whether to search the cut of the best start first, to continue from an earlier search. If no search found that
        start, the cut is that of a published schedule within the limits.
    """

    split_backward: bool = True
    empty: bool = True
    recompute: bool = False
    workers: int | None = None
    seed: int = 0
    least_seconds: float = LEAST_SECONDS
    begins_with_start: bool = False


@dataclass
class FreeResult:
    """The result for all cuts and orders on a placement.

    Attributes
    ----------
    best : Schedule or None
        The shortest schedule found, on its cut.
    makespan : Fraction or None
        Its makespan, exact.
    bound : Fraction
        A lower bound for every cut and order.
    searched : int
        The number of cuts searched.
    is_infeasible : bool
        Whether nothing fits the memory, whatever the cut.
    interrupted : bool
        Whether Ctrl-C ended the search.
    """

    best: Schedule | None = None
    makespan: Fraction | None = None
    bound: Fraction = Fraction(0)
    searched: int = 0
    is_infeasible: bool = False
    interrupted: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether the search is over: the makespan meets the bound, or Ctrl-C was pressed."""
        return self.interrupted or (self.makespan is not None and self.makespan <= self.bound)

    def offer(self, schedule: Schedule) -> None:
        """Keep a schedule that fits the memory if it is the shortest, or equally short with less memory."""
        if not schedule.fits:
            return
        makespan = schedule.exact_makespan
        found = makespan, schedule.memory_taken
        if self.best is None or self.makespan is None or found < (self.makespan, self.best.memory_taken):
            self.best, self.makespan = schedule, makespan


@dataclass
class _Cut:
    """A cut with its bound and its best schedule.

    Attributes
    ----------
    cut : tuple of int
        The layers of each stage.
    bound : Fraction
        A lower bound for every order on this cut.
    searches : int
        How often this cut was searched.
    found : Schedule or None
        The best schedule on this cut.
    makespan : Fraction
        That schedule's makespan.
    """

    cut: Counts
    bound: Fraction
    searches: int = 0
    found: Schedule | None = None
    makespan: Fraction = Fraction(0)


class FreeOrder:
    """A search over cuts and orders on one placement, best first.

    The reported bound is the least of three: the bound of all cuts not taken yet, the bounds of cuts taken but not
    refuted, and the makespan found.

    Parameters
    ----------
    pipeline : Pipeline
        With layers; its own cut is ignored.
    placement : Placement
        Which device holds which stage, in one direction.
    options : FreeOptions
        Options of the search.
    starts : sequence of Schedule
        Schedules of this placement on cuts of this model: the result is never longer than one of them that fits.
    progress : callable, optional
        Called whenever the best schedule or the bound may have changed.
    known : Fraction
        A bound already proven for every cut and order.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        placement: Placement,
        options: FreeOptions,
        starts: Sequence[Schedule] = (),
        progress: Progress | None = None,
        known: Fraction = NOTHING,
    ) -> None:
        self.pipeline, self.placement, self.options, self.progress = pipeline, placement, options, progress
        self.starts = list(starts)
        self.result = FreeResult(bound=known)
        self._began = perf_counter()
        self._open: list[_Cut] = []
        self._of_all: Fraction | None = None  # also of cuts that are not searched
        for start in starts:
            self.result.offer(start)

    def run(self, deadline: float) -> FreeResult:
        """Search until nothing is left to gain, the deadline (on the clock of `time.perf_counter`), or Ctrl-C."""
        try:
            if self.options.recompute:
                self._search_recomputed(deadline)
            else:
                self._search_best_start(deadline)
                self._search_cuts(self._cuts(deadline, recompute=False), deadline)
        except OutOfTimeError:
            pass
        except KeyboardInterrupt:
            self.result.interrupted = True
        return self.result

    def _cuts(self, deadline: float, *, recompute: bool) -> Partitions:
        options = self.options
        return partitions_of(
            self.pipeline,
            self.placement,
            deadline,
            split_backward=options.split_backward,
            empty=options.empty,
            recompute=recompute,
        )

    def _search_recomputed(self, deadline: float) -> None:
        """Search the cuts of the starts, with their recomputation, then other cuts without recomputation.

        The bound holds for all cuts with any recomputation.
        """
        bound = self._cuts(deadline, recompute=True).bound(deadline, None)
        if bound is None:
            self.result.is_infeasible = True
            return
        self._of_all = bound
        self._tell(bound)
        for place, start in enumerate(sorted(self.starts, key=attrgetter("exact_makespan"))):
            left = (deadline - perf_counter()) / 2
            if left < LEAST_SECONDS or self.result.is_settled:
                break
            self._search(start.pipeline, left / (len(self.starts) - place), [start])
            self._tell(bound)
        if not self.result.is_settled:
            self._search_cuts(self._cuts(deadline, recompute=False), deadline)
        self.result.is_infeasible = False

    def _search_best_start(self, deadline: float) -> None:
        """If requested, continue from the best start on its own cut, or start with a good cut."""
        seconds = SHARE_OF_START * (deadline - perf_counter())
        best = min(self.starts, key=attrgetter("exact_makespan"), default=None)
        if best is None or not self.options.begins_with_start or seconds < self.options.least_seconds:
            return
        cut = None if best.is_searched else cut_of_published(self.pipeline, self.placement, seconds / 4)
        pipeline = best.pipeline if cut is None else self.pipeline.with_cut(cut)
        if (found := self._search(pipeline, seconds, [best])) is not None:
            self.starts.append(found)

    def _search_cuts(self, cuts: Partitions, deadline: float) -> None:
        while perf_counter() < deadline and not self.result.is_settled:
            lowest = cuts.bound(deadline, self.result.makespan)
            self._drop_refuted()
            self._tell(lowest)
            if lowest is None and not self._open:
                self.result.is_infeasible = self.result.best is None
                return
            if (chosen := self._choose(lowest)) is None:
                self._refine(cuts.take(), lowest or Fraction(0), deadline)
            else:
                self._search_open(chosen, deadline)

    def _choose(self, lowest: Fraction | None) -> _Cut | None:
        """Choose the next cut to search among those with the least bound; None to take a new one.

        Many cuts often share a bound. Each is searched briefly; among every few cuts searched equally often, the one
        with the shortest schedule is searched longer.
        """
        least = min((each.bound for each in self._open), default=None)
        if least is None or (lowest is not None and lowest < least):
            return None
        level: dict[int, list[_Cut]] = {}
        for each in self._open:
            if each.bound == least:
                level.setdefault(each.searches, []).append(each)
        for searches in sorted(level.keys() - {0}, reverse=True):
            if len(level[searches]) >= ROUND:
                return min(level[searches], key=lambda each: each.makespan)
        if 0 in level:
            return level[0][0]
        if lowest == least:
            return None
        return min(level[min(level)], key=lambda each: each.makespan)

    def _drop_refuted(self) -> None:
        """Drop the cuts that cannot beat the best schedule found."""
        makespan = self.result.makespan
        if makespan is not None:
            self._open = [each for each in self._open if each.bound < makespan]

    def _tell(self, lowest: Fraction | None) -> None:
        """Raise the bound to the least of all open ones, and report."""
        bounds = [lowest, self.result.makespan, self._of_all, *(each.bound for each in self._open)]
        known = [each for each in bounds if each is not None]
        if known:
            self.result.bound = max(self.result.bound, min(known))
        if self.progress:
            best = None if self.result.makespan is None else float(self.result.makespan)
            self.progress(Standing(perf_counter() - self._began, best, float(self.result.bound)))

    def _refine(self, cut: Counts, bound: Fraction, deadline: float) -> None:
        """Find the quick bound of a cut, and keep the cut unless that refutes it."""
        with suppress(InfeasibleError):
            problem = build_search_problem(
                self.pipeline.with_cut(cut), self.placement, split_backward=self.options.split_backward
            )
            until = min(deadline, perf_counter() + REFINING_SECONDS)
            found = (
                Fraction(makespan_bound(problem, deadline=until).value, problem.ticks_per_unit) + self.pipeline.after
            )
            self._open.append(_Cut(cut, max(bound, found)))

    def _search_open(self, each: _Cut, deadline: float) -> None:
        left = deadline - perf_counter()
        seconds = min(left, max(self.options.least_seconds, left * SHARE_OF_A_SEARCH) * 2**each.searches)
        starts = [start for start in (each.found, *self.starts) if start is not None]
        found = self._search(self.pipeline.with_cut(each.cut), seconds, starts)
        if found is None:
            self._open.remove(each)
            return
        held = found.bound_held_by
        proven = (
            Fraction(0) if held is None else Fraction(held.value, found.problem.ticks_per_unit) + found.pipeline.after
        )
        each.bound, each.searches = max(each.bound, proven), each.searches + 1
        each.found, each.makespan = found, found.exact_makespan
        self._alternate(found, deadline)

    def _alternate(self, found: Schedule, deadline: float) -> None:
        """Re-cut the model for the order found, search the new cut, and repeat as long as that helps."""
        for _ in range(MOST_TURNS):
            left = deadline - perf_counter()
            if left < self.options.least_seconds or self.result.is_settled:
                return
            better = self._cut_anew(found, min(RECUT_SECONDS, left / 4))
            if better is None:
                return
            self.result.offer(better)
            seconds = max(self.options.least_seconds, SHARE_OF_A_SEARCH * (deadline - perf_counter()))
            searched = self._search(better.pipeline, seconds, [better])
            if searched is None:
                return
            found = searched

    def _cut_anew(self, found: Schedule, seconds: float) -> Schedule | None:
        """Find a better cut for an order; None if none is found in time."""
        cut = found.pipeline.layers_per_stage
        assert cut is not None
        order = FixedOrder(found.strategy, found.pipeline, found.layout, found.actions, None, {})
        plan = plan_fixed_order(
            found.pipeline,
            found.strategy,
            empty=self.options.empty,
            time_limit=seconds,
            seed=self.options.seed,
            starts=((cut, None),),
            order=order,
        )
        if plan.cut is None or plan.makespan is None or plan.makespan >= found.exact_makespan:
            return None
        try:
            made = replay_orders(found.strategy, plan.cut, found.layout, found.actions, "graph", searched=True)
        except InputError:  # if transfers wait, the order may hang on another cut
            return None
        return replace(made, allowed=found.allowed) if made.exact_makespan < found.exact_makespan else None

    def _search(self, cut: Pipeline, seconds: float, starts: Sequence[Schedule]) -> Schedule | None:
        options = self.options
        try:
            found = optimize(
                cut,
                placement=self.placement.name,
                split_backward=options.split_backward,
                time_limit=max(0.0, seconds),
                workers=options.workers,
                seed=options.seed,
                starts=[start for start in starts if start.pipeline == cut],
            )
        except InfeasibleError:
            return None
        self.result.searched += 1
        self.result.interrupted |= found.interrupted
        self.result.offer(found)
        return found
