"""The search on one placement: starts, bounds, rounds in which tools take turns, and the result."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from time import perf_counter

from ppopt.cutting.least_memory import refuse_infeasible
from ppopt.optimization.beside_computing import BesideComputing
from ppopt.optimization.fed_starts import offer_fed
from ppopt.optimization.finishing import Draft, check_result, finish, replayed
from ppopt.optimization.foreseeing import keep_for_bounds, keep_for_result, keep_for_whole, to_export
from ppopt.optimization.ladders import Freedom
from ppopt.optimization.options import SearchOptions
from ppopt.optimization.periodic import search_unwritten
from ppopt.optimization.published_starts import offer_given, offer_published, offer_something
from ppopt.optimization.robust import OfferedSchedules, choose_robust
from ppopt.optimization.sizes import count_operations, is_large, refuse_to_write, starts_with_few, stays_unwritten
from ppopt.optimization.span_bound import first_span_bound
from ppopt.optimization.starts import as_searched, fitting_strategies, one_at_a_time
from ppopt.optimization.unwritten import Long, Unwritten
from ppopt.process.garbage import collection_paused
from ppopt.process.interrupt import interrupt_noted, interrupt_put_off
from ppopt.process.single_threaded_blas import single_threaded_blas
from ppopt.process.time_limit import MOMENT, TimeLimit
from ppopt.schedules.schedule import Schedule
from solver.bounds.bound import Bound
from solver.budget import CHOICE, COPIES, FIRST_PART, LESS_MEMORY, RESULT, STARTS, STRETCHING, WHOLE
from solver.errors import InfeasibleError
from solver.problem import Orders, Problem
from solver.search.first_bounds import plain_bound, quick_bound
from solver.search.long_search import LongSearch, is_long
from solver.search.memory_reduction import spare_memory
from solver.search.portfolio import work
from solver.search.shorter_problems import long_search_of
from solver.search.state import Progress, Search, Standing
from solver.search.tools import usual_tools
from strategies.model.pipeline import Pipeline
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem

MOST_ALIKE = 16
"""Of the schedules that a search meets, so many of each length are tried with what runs beside computing."""


@collection_paused()
@single_threaded_blas()
def search_placement(
    pipeline: Pipeline, name: str, options: SearchOptions, limit: TimeLimit, rival: Schedule | None = None
) -> Schedule:
    """Search a pipeline that is cut into stages on one placement, until the turn of the limit ends.

    Parameters
    ----------
    pipeline, name, options, limit
        What is searched, on which placement, how, and the clock.
    rival : Schedule, optional
        The best schedule of other placements: the search ends once it is proven that it cannot be as short.
    """
    placement = make_placement(name, pipeline.devices, pipeline.stages or 0, pipeline.microbatches)
    unwritten = stays_unwritten(pipeline, placement, options)
    if unwritten:
        refuse_to_write(pipeline, options)
    refuse_infeasible(pipeline, placement)
    strategies = fitting_strategies(pipeline, placement.name, split_backward=options.split_backward)
    long = Long(pipeline, placement, options.allowed, strategies)
    return _search_first_part(long, options, limit) if unwritten else _Whole(long, options, limit, rival).run()


def _search_first_part(long: Long, options: SearchOptions, limit: TimeLimit) -> Schedule:
    """Search a pipeline of too many operations to be written out."""
    ops = count_operations(long.pipeline, options)
    limit.put_aside(files=to_export(long, ops, limit))
    with limit.running(FIRST_PART):
        progress = options.progress_on(long.pipeline)
        return search_unwritten(
            long, ops=ops, seconds=limit, workers=options.cores, seed=options.seed, progress=progress
        )


class _Whole:
    """The search of a pipeline that is written out.

    Parameters
    ----------
    long : Long
        What is searched.
    options, limit, rival
        As for `search_placement`.
    """

    def __init__(self, long: Long, options: SearchOptions, limit: TimeLimit, rival: Schedule | None) -> None:
        self.started = perf_counter()
        self.long, self.options, self.limit, self.rival = long, options, limit, rival
        self.pipeline, self.placement = long.pipeline, long.placement
        self.for_memory = LESS_MEMORY.within(limit.left_of_turn)
        self.beside: BesideComputing | None = None
        if self.pipeline.streams:
            self.beside = BesideComputing(self.pipeline, self.placement, options, self.show_better)
        self.ahead = self.search_ahead()
        self.search, self.handing = self.write_out()
        self.search.rival = self.rival_in_ticks(self.search.problem)
        self.met = OfferedSchedules() if self.beside is None else OfferedSchedules(MOST_ALIKE)
        self.search.on_offer = None if options.robust is None and self.beside is None else self.met
        self.fewer: LongSearch | None = None
        self.draft: Draft | None = None
        self.notes: list[str] = []

    def run(self) -> Schedule:
        """Search, and finish the best schedule."""
        search, options = self.search, self.options
        with interrupt_noted(search.interrupt), suppress(KeyboardInterrupt):
            if search.interrupted:  # while it was written out
                raise KeyboardInterrupt
            self.fewer = self.search_of_fewer()
            tools = usual_tools(search.problem, options.objective)
            work(search, [self.start, self.bound], tools, options.cores, options.seed, self.fewer)
            offer_fed(search, self.pipeline, self.placement, self.options.seed + 1)
            if search.closed and self.pipeline.offload is None:  # the memory of the search counts no copies
                self.spare_memory()
            if self.beside is not None:
                self.run_beside(self.beside)
        return self.result()

    def start(self) -> None:
        """Start from given schedules, from stretched and from published ones; keep time for what follows the search."""
        search, limit, placement = self.search, self.limit, self.placement
        with limit.running(STARTS, limit.left_of_turn):
            given = offer_given(search, self.pipeline, placement, self.options.starts)
            is_enough = search.closed and self.options.robust is None  # a robust one is chosen from all that are met
            published = [] if is_enough else self.long.strategies
            self.notes += offer_published(search, self.pipeline, published, limit, self.handing, given)
            offer_something(search, placement, self.pipeline.items.follows.tolist())
            offer_fed(search, self.pipeline, placement, self.options.seed)
            self.met.starting = False
        search.proven(self.first_bound(search.problem))
        if self.options.known is not None:
            search.proven(self.options.known)
        if self.beside is not None:
            self.start_beside(self.beside)
            return
        self.draft = Draft.of(search, self.pipeline, placement)
        keep_for_result(self.draft.seconds, self.long, self.options, limit)

    def start_beside(self, beside: BesideComputing) -> None:
        """See which starts fit with all that runs beside computing; keep time for doing so with what is found."""
        limit = self.limit
        with limit.running(STARTS, STARTS.within(limit.left_of_turn)) as deadline:
            beside.consider_given(self.search.problem, self.options.starts)
            beside.consider_given(self.search.problem, list(beside.published(self.long.strategies)))
            beside.try_all(self.met_so_far(), deadline)
        keep_for_result(beside.longest, self.long, self.options, limit)
        limit.release(RESULT)  # the best is replayed already
        limit.keep(COPIES, COPIES.within(max(0.0, limit.deadline - perf_counter())))

    def run_beside(self, beside: BesideComputing) -> None:
        """Choose the order, and what is copied, by replays with all that runs beside computing.

        Orders come from this search, whose memory counts only what is never copied, and from searches without copies,
        within the given limits and within higher ones; or, where nothing is copied, within limits that leave room for
        what is gathered and reduced.
        """
        search, limit = self.search, self.limit
        limit.release(COPIES)
        with limit.running(COPIES, max(0.0, limit.deadline - perf_counter())) as deadline:
            beside.try_all(self.met_so_far(), deadline)
            others = beside.within_room if self.pipeline.offload is None else beside.without_copies
            plain = [] if perf_counter() > deadline else list(others(search.orders))
            for place, pipeline in enumerate(plain):
                seconds = (deadline - perf_counter()) / (len(plain) - place + 1)
                if seconds <= beside.longest or self.is_best(beside):
                    break
                self.search_without_copies(pipeline, seconds)
                beside.try_all(self.met_so_far(), deadline)
                if search.interrupted:
                    return
            if self.is_best(beside):
                deadline = min(deadline, perf_counter() + self.for_memory)
            beside.copy_better(deadline)

    def met_so_far(self) -> list[tuple[Fraction, Orders]]:
        """List the orders that the search has met, with their values without anything beside them."""
        scale = self.search.problem.ticks_per_unit
        return [(Fraction(value, scale), orders) for value, orders in self.met.shortest_first()]

    def is_best(self, beside: BesideComputing) -> bool:
        """Return whether the best schedule that fits meets the bound."""
        return beside.value == Fraction(self.search.bound, self.search.problem.ticks_per_unit)

    def search_without_copies(self, pipeline: Pipeline, seconds: float) -> None:
        """Search for the best order without copies within other limits, and offer it here."""
        options = replace(
            self.options, placement=self.placement.name, starts=(), known=None, quick={}, progress=None, offload=False
        )
        with suppress(InfeasibleError):
            found = search_placement(pipeline, self.placement.name, options, TimeLimit(seconds))
            orders = as_searched(self.search.problem, found.actions)
            if orders is not None:
                self.search.offer(orders)
            if found.interrupted:
                self.search.interrupt()

    def show_better(self) -> None:
        """Show that a better schedule fits."""
        self.search.show_progress()

    def bound(self) -> None:
        """Raise the bound by all arguments that need no search; keep time for the bounds that follow the search.

        Where the whole is long, but not so long that it was searched ahead, schedules of few microbatches are stretched
        then, if the bound is not met.
        """
        freedom = Freedom(self.pipeline, replace(self.placement, name=""), *self.options.allowed)
        quick = self.options.quick.get(freedom)
        if quick is not None:
            self.search.proven(quick.bound)
            self.limit.bounding = quick.seconds
        elif self.ahead is None:
            self.limit.bounding = quick_bound(self.search)
        else:
            if not self.search.closed:
                quick_bound(self.search, known=self.ahead.search.held_by)
            self.limit.bounding = self.ahead.bounding
        keep_for_bounds(self.pipeline, self.limit)
        if self.ahead is None and self.fewer is not None and is_long(self.search.problem):
            with self.limit.running(STRETCHING):
                self.fewer.begin()

    def spare_memory(self) -> None:
        """Look for a schedule that is as short and takes less memory."""
        frugal = one_at_a_time(self.placement, self.search.problem, self.pipeline.items.follows.tolist())
        with self.limit.running(LESS_MEMORY, self.for_memory):
            spare_memory(self.search, frugal, self.first_bound, self.for_memory, self.options.cores, self.options.seed)

    def result(self) -> Schedule:
        """Finish the best schedule, or the robust one, with its bound."""
        search, limit, robust = self.search, self.limit, self.options.robust
        if search.cannot_win and self.rival is not None:
            reason = f"no schedule on this placement is as short as {self.rival.strategy}"
            self.notes.append(f"its search ended early: {reason}")
        offer_something(search, self.placement, self.pipeline.items.follows.tolist())
        if not search.bound:
            search.proven(self.first_bound(search.problem))
        if search.interrupted:
            limit.hurry()
        with limit.running(RESULT):
            result = self.best_in_order() if self.beside is None else self.best_beside(self.beside)
            check_result(search, result)
        if robust is not None:
            kept = limit.release(CHOICE)
            deadline = perf_counter() + max(MOMENT, kept / 2)
            with limit.running(CHOICE, kept):
                replay = partial(replayed, self.pipeline, self.placement)
                result, note = choose_robust(self.met, result, replay, robust, deadline)
            self.notes.insert(0, note)
        return finish(search, replace(result, allowed=self.options.allowed), self.notes, self.started)

    def best_in_order(self) -> Schedule:
        """Finish the best order of the search."""
        if self.draft is None or self.draft.orders is not self.search.orders:
            self.draft = Draft.of(self.search, self.pipeline, self.placement)
        self.limit.finishing = self.draft.seconds
        return self.draft.result

    def best_beside(self, beside: BesideComputing) -> Schedule:
        """Return the best schedule that fits with all that runs beside computing.

        Raises
        ------
        TimeTooShortError
            If none was found.
        """
        if beside.best is None:
            frugal = one_at_a_time(self.placement, self.search.problem, self.pipeline.items.follows.tolist())
            beside.try_one(frugal)
            beside.try_all(self.met_so_far(), perf_counter() + MOMENT)
        self.limit.finishing = beside.longest
        if beside.cut_short:
            what = "its copies" if self.pipeline.offload is not None else "all that runs beside computing"
            self.notes.append(f"not every order that was found was replayed with {what}: {self.limit.used_up}")
        return beside.chosen()

    def search_ahead(self) -> Unwritten | None:
        """Search a long pipeline by its first microbatches before all of it is written out.

        That costs the same however many there are. Where the best schedule has a steady middle, as long as the work of
        the busiest device, all it loses is at its ends; then a look at the whole, if it is large, has nothing to add,
        and the search goes on so as long as there is time to write the whole out afterwards.

        Returns
        -------
        Unwritten or None
            What was found; None where the whole is searched from the beginning.
        """
        long, options, limit = self.long, self.options, self.limit
        if not starts_with_few(self.pipeline, self.placement, options):
            return None
        ops = count_operations(self.pipeline, options)
        chains = ops // self.pipeline.microbatches * long.directions
        ahead = Unwritten(long, chains, limit, options.seed, options.progress_on(self.pipeline))
        search = ahead.search
        search.rival = self.rival_in_ticks(search.problem)
        with limit.running(FIRST_PART), interrupt_noted(search.interrupt), suppress(KeyboardInterrupt):
            keep_for_whole(long, ops, options, limit)
            ahead.begin(options.known)
            if options.robust is None and is_large(self.pipeline, options) and search.is_steady:
                ahead.run(options.cores)
        return ahead

    def write_out(self) -> tuple[Search, float]:
        """Write the whole out, with what has been found ahead; tell how many seconds one offer takes, if any."""
        ahead, limit = self.ahead, self.limit
        putting_off = nullcontext() if ahead is None else interrupt_put_off(ahead.search.interrupt)
        with putting_off, limit.running(WHOLE):
            problem = build_search_problem(self.pipeline, self.placement, **self.options.allowed._asdict())
            search = Search(problem, self.options.objective, limit, self.progress())
            if ahead is None:
                return search, 0.0
            return search, ahead.hand_over(search, self.first_bound(problem))

    def progress(self) -> Progress | None:
        """Return the callback of the search; what runs beside computing is part of the best that it shows."""
        tell, beside = self.options.progress_on(self.pipeline), self.beside
        if tell is None or beside is None:
            return tell

        def told(standing: Standing) -> None:
            tell(replace(standing, best=None if beside.value is None else float(beside.value)))

        return told

    def search_of_fewer(self) -> LongSearch | None:
        """Prepare a search of fewer microbatches, which starts from their published schedules."""
        if self.search.problem.moves:  # how results queue on links does not repeat with the order
            return None
        return long_search_of(self.search, self.options.seed, self.long.starts, self.long.write)

    def first_bound(self, problem: Problem) -> Bound:
        """Find the bound that no clock cuts short: the work of a device and what lies around it."""
        if self.options.objective == "span":
            return first_span_bound(self.pipeline, self.placement, problem)
        return plain_bound(problem, self.options.objective)

    def rival_in_ticks(self, problem: Problem) -> int | None:
        """Return the length of the rival in the ticks of a problem."""
        if self.rival is None:
            return None
        after = self.pipeline.after if self.options.objective == "makespan" else 0
        return round((Fraction(self.rival.objective_value) - after) * problem.ticks_per_unit)
