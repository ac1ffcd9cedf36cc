"""The best cut and order together: cuts are taken in the order of a bound, and the promising ones searched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from time import perf_counter

from ppopt.cutting.partitions import Partitions
from ppopt.cutting.quick import cut_of_published
from ppopt.cutting.work_bound import work_bound
from ppopt.optimization.optimize import optimize
from ppopt.schedules.schedule import Schedule
from solver.bounds.makespan import makespan_bound
from solver.deadline import OutOfTimeError
from solver.errors import InfeasibleError
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

SHARE_OF_PROMISING = 0.5
"""Share of the time for searches while cuts not taken yet may have a lower bound."""

SHARE_OF_BOUND = 0.5
"""Share of the time left for the bound of all cuts not taken yet, if there is something to search."""

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
        assert pipeline.layers is not None
        self.result = FreeResult(bound=max(known, work_bound(pipeline.layers, pipeline)))
        self._began = perf_counter()
        self._open: list[_Cut] = []
        self._lowest: Fraction | None = NOTHING  # bounds all cuts not taken yet; None if there are none
        self._taking = self._searching = 0.0  # seconds
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
        return Partitions(
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
        now = perf_counter()
        until = now + SHARE_OF_BOUND * (deadline - now) if self.starts else deadline
        bound: Fraction | None = NOTHING
        try:
            bound = self._cuts(until, recompute=True).bound(until, None)
        except OutOfTimeError:
            if not self.starts:
                raise
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
        """Take cuts and search those that may have the least bound; in some of the time, search the most promising.

        The bounds of cuts not taken yet may long stay below that of any cut taken.
        """
        self._open_starts(deadline)
        while perf_counter() < deadline and not self.result.is_settled:
            self._drop_refuted()
            if self._open and self._is_time_to_search(deadline):
                self._search_open(self._most_promising(), deadline)
                self._tell(self._lowest)
                continue
            began = perf_counter()
            is_known = self._bound_of_others(cuts, deadline)
            self._drop_refuted()
            self._tell(self._lowest)
            if self._lowest is None and not self._open:
                self.result.is_infeasible = self.result.best is None
                return
            chosen = self._choose(self._lowest) if is_known else None
            if chosen is None and is_known:
                self._refine(cuts.take(), self._lowest or NOTHING, deadline)
            self._taking += perf_counter() - began
            if chosen is not None:
                self._search_open(chosen, deadline)

    def _is_time_to_search(self, deadline: float) -> bool:
        """Return whether a search of a cut now would leave enough of the time so far for taking cuts."""
        searching = self._searching + self._seconds(self._most_promising(), deadline)
        return searching <= SHARE_OF_PROMISING * (self._taking + searching)

    def _open_starts(self, deadline: float) -> None:
        """Open the cut of the best start."""
        best = min(self.starts, key=attrgetter("exact_makespan"), default=None)
        cut = None if best is None else best.pipeline.layers_per_stage
        if best is not None and cut is not None and best.pipeline == self.pipeline.with_cut(cut):
            self._refine(cut, NOTHING, deadline)

    def _bound_of_others(self, cuts: Partitions, deadline: float) -> bool:
        """Bound the cuts not taken yet; False if that takes too much of the time while there are cuts to search."""
        until = deadline
        if self._open:
            until = perf_counter() + max(LEAST_SECONDS, SHARE_OF_BOUND * (deadline - perf_counter()), self._taking)
        try:
            self._lowest = cuts.bound(min(until, deadline), self.result.makespan)
        except OutOfTimeError:
            if not self._open:
                raise
            return False
        return True

    def _choose(self, lowest: Fraction | None) -> _Cut | None:
        """Choose the next cut to search among those with the least bound; None to take a new one.

        Many cuts often share a bound. Each is searched briefly; among every few cuts searched equally often, the one
        with the shortest schedule is searched longer.
        """
        least = min((each.bound for each in self._open), default=None)
        if least is None or (lowest is not None and lowest < least):
            return None
        cuts = [each for each in self._open if each.bound == least]
        return _of_round(cuts) or (None if lowest == least else min(cuts, key=attrgetter("searches", "makespan")))

    def _most_promising(self) -> _Cut:
        """Choose the next cut to search among all that were taken, in the same way."""
        return _of_round(self._open) or min(self._open, key=attrgetter("searches", "makespan"))

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
        """Find the quick bound of a cut, and keep the cut unless that refutes it, or it is kept already."""
        if any(each.cut == cut for each in self._open):
            return
        with suppress(InfeasibleError):
            problem = build_search_problem(
                self.pipeline.with_cut(cut), self.placement, split_backward=self.options.split_backward
            )
            until = min(deadline, perf_counter() + REFINING_SECONDS)
            found = (
                Fraction(makespan_bound(problem, deadline=until).value, problem.ticks_per_unit) + self.pipeline.after
            )
            self._open.append(_Cut(cut, max(bound, found)))

    def _seconds(self, each: _Cut, deadline: float) -> float:
        """Return how long the next search of a cut takes."""
        left = deadline - perf_counter()
        return min(left, max(self.options.least_seconds, left * SHARE_OF_A_SEARCH) * 2.0**each.searches)

    def _search_open(self, each: _Cut, deadline: float) -> None:
        began = perf_counter()
        seconds = self._seconds(each, deadline)
        starts = [start for start in (each.found, *self.starts) if start is not None]
        found = self._search(self.pipeline.with_cut(each.cut), seconds, starts)
        self._searching += perf_counter() - began
        if found is None:
            self._open.remove(each)
            return
        held = found.bound_held_by
        proven = (
            Fraction(0) if held is None else Fraction(held.value, found.problem.ticks_per_unit) + found.pipeline.after
        )
        each.bound, each.searches = max(each.bound, proven), each.searches + 1
        each.found, each.makespan = found, found.exact_makespan

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


def _of_round(cuts: Sequence[_Cut]) -> _Cut | None:
    """Choose the best of enough cuts searched equally often, or the one with the least bound that was not searched."""
    level: dict[int, list[_Cut]] = {}
    for each in cuts:
        level.setdefault(each.searches, []).append(each)
    for searches in sorted(level.keys() - {0}, reverse=True):
        if len(level[searches]) >= ROUND:
            return min(level[searches], key=attrgetter("makespan"))
    return min(level.get(0, ()), key=attrgetter("bound"), default=None)
