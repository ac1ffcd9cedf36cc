"""The best cut and the best order together: cuts in the order of a bound, the promising ones searched."""

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
"""The part of the time left that the first search of a cut may take; the next one of the same cut takes twice it."""

SHARE_OF_START = 0.4
"""The part of the time that going on from the best start may take, where that is asked for."""

LEAST_SECONDS = 1.0
"""A search of a cut is not cut shorter than this."""

RECUT_SECONDS, MOST_TURNS = 0.5, 3
"""A better cut for the order of a schedule is looked for so long, and so often in a row where that helps."""

ROUND = 3
"""When so many cuts of the same bound have been searched equally often, the best of them is searched longer."""

NOTHING = Fraction(0)

REFINING_SECONDS = 2.0
"""The quick bound of a cut may take so long."""


@dataclass(frozen=True)
class FreeOptions:
    """How an order is searched together with a cut.

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
        A search of a cut is not cut shorter than this.
    begins_with_start : bool
        Whether the cut of the best start is searched first: what an earlier search has found is then gone on from.
        Where no search has found it, the cut is that of a published schedule within the limits.
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
    """What is known of all cuts and orders on a placement.

    Attributes
    ----------
    best : Schedule or None
        The shortest schedule found, on its cut.
    makespan : Fraction or None
        How long it takes, exactly.
    bound : Fraction
        No cut and no order takes less.
    searched : int
        How many cuts were searched.
    is_infeasible : bool
        Whether nothing fits the memory, whatever the cut.
    interrupted : bool
        Whether Ctrl-C ended it.
    """

    best: Schedule | None = None
    makespan: Fraction | None = None
    bound: Fraction = Fraction(0)
    searched: int = 0
    is_infeasible: bool = False
    interrupted: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether there is no more to be searched: the makespan meets the bound, or Ctrl-C was pressed."""
        return self.interrupted or (self.makespan is not None and self.makespan <= self.bound)

    def offer(self, schedule: Schedule) -> None:
        """Keep a schedule that fits the memory if it is the shortest, of equal ones that with the least memory."""
        if not schedule.fits:
            return
        makespan = schedule.exact_makespan
        found = makespan, schedule.memory_taken
        if self.best is None or self.makespan is None or found < (self.makespan, self.best.memory_taken):
            self.best, self.makespan = schedule, makespan


@dataclass
class _Cut:
    """A cut with what is known of it.

    Attributes
    ----------
    cut : tuple of int
        The layers of each stage.
    bound : Fraction
        No order on it takes less.
    searches : int
        How often it was searched.
    found : Schedule or None
        The best schedule on it.
    makespan : Fraction
        How long that takes.
    """

    cut: Counts
    bound: Fraction
    searches: int = 0
    found: Schedule | None = None
    makespan: Fraction = Fraction(0)


class FreeOrder:
    """A search over cuts and orders on one placement, best first.

    The bound that is reported is the least of: the bound of all cuts that have not been taken yet, the bounds of those
    that have been taken and not been refuted, and the makespan found.

    Parameters
    ----------
    pipeline : Pipeline
        With layers; its own cut does not matter.
    placement : Placement
        Which device holds which stage, in one direction.
    options : FreeOptions
        How.
    starts : sequence of Schedule
        Schedules of this placement on cuts of this model: the result is never longer than one of them that fits.
    progress : callable, optional
        Told whenever the best schedule or the bound may have moved.
    known : Fraction
        What is proven already that no cut and no order beats.
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
        self._of_all: Fraction | None = None  # of cuts that are not searched, too
        for start in starts:
            self.result.offer(start)

    def run(self, deadline: float) -> FreeResult:
        """Search until nothing is left to gain, a deadline on the clock of `time.perf_counter`, or Ctrl-C."""
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
        """Search the cuts of the starts, whose recomputation fits, then other cuts without any.

        The bound is that of all cuts however their layers are recomputed.
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
        """Go on from the best start on its own cut, or begin with a good one, if that is asked for."""
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
        """Choose what to search next among the cuts with the least bound; None for one that is not taken yet.

        Many cuts often share a bound. Each is searched for a moment; of every few that have been searched as often,
        the one on which the shortest schedule was found is searched longer.
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
        """Forget the cuts that cannot beat what has been found."""
        makespan = self.result.makespan
        if makespan is not None:
            self._open = [each for each in self._open if each.bound < makespan]

    def _tell(self, lowest: Fraction | None) -> None:
        """Raise the bound to the least of all that is open, and report."""
        bounds = [lowest, self.result.makespan, self._of_all, *(each.bound for each in self._open)]
        known = [each for each in bounds if each is not None]
        if known:
            self.result.bound = max(self.result.bound, min(known))
        if self.progress:
            best = None if self.result.makespan is None else float(self.result.makespan)
            self.progress(Standing(perf_counter() - self._began, best, float(self.result.bound)))

    def _refine(self, cut: Counts, bound: Fraction, deadline: float) -> None:
        """Find the quick bound of a cut, and keep it where that does not refute it."""
        with suppress(InfeasibleError):
            problem = build_search_problem(
                self.pipeline.with_cut(cut), self.placement, split_backward=self.options.split_backward
            )
            until = min(deadline, perf_counter() + REFINING_SECONDS)
            found = Fraction(makespan_bound(problem, deadline=until).value, problem.ticks_per_unit)
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
        proven = Fraction(0) if held is None else Fraction(held.value, found.problem.ticks_per_unit)
        each.bound, each.searches = max(each.bound, proven), each.searches + 1
        each.found, each.makespan = found, found.exact_makespan
        self._alternate(found, deadline)

    def _alternate(self, found: Schedule, deadline: float) -> None:
        """Cut the model anew for the order that was found, search the new cut, and so on, as long as that helps."""
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
        """Find a better cut for an order; None if there is none in so many seconds."""
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
        except InputError:  # where transfers wait, the order may hang on another cut
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
