"""The search for the best schedule on one placement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from time import perf_counter

from ppopt.cutting.least_memory import refuse_infeasible
from ppopt.optimization.finishing import Draft, check_result, finish, replayed
from ppopt.optimization.foreseeing import after_bounding, after_search, for_choosing, to_export, to_write_out
from ppopt.optimization.options import SearchOptions
from ppopt.optimization.periodic import search_unwritten
from ppopt.optimization.published_starts import offer_given, offer_published, offer_something
from ppopt.optimization.robust import Met, choose_robust
from ppopt.optimization.sizes import count_operations, is_large, refuse_to_write, shows_at_first, stays_unwritten
from ppopt.optimization.span_bound import first_span_bound
from ppopt.optimization.starts import fitting_strategies, one_at_a_time
from ppopt.optimization.unwritten import Long, Unwritten
from ppopt.process.garbage import collection_paused
from ppopt.process.interrupt import interrupt_noted, interrupt_put_off
from ppopt.process.single_threaded_blas import single_threaded_blas
from ppopt.process.time_limit import MOMENT, TimeLimit
from ppopt.schedules.schedule import Schedule
from solver.bounds.bound import Bound
from solver.problem import Problem
from solver.search.long_search import LongSearch, is_long, stretches
from solver.search.memory_reduction import MOST_SECONDS, SHARE_OF_LIMIT, spare_memory
from solver.search.portfolio import ToolName, long_search_of, plain_bound, quick_bound, run_tools, usual_tools
from solver.search.state import Search
from solver.states import Objective
from strategies.language.registry import Strategy
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement, make_placement
from strategies.problem.search_problem import build_search_problem

LINEAR_TOOLS: tuple[ToolName, ...] = ("local search", "cp-sat", "relaxation")
"""On a linear placement of medium size CP-SAT comes before the relaxation, and local search has one turn a round."""


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
    started = perf_counter()
    placement = make_placement(name, pipeline.devices, pipeline.stages or 0, pipeline.microbatches)
    if stays_unwritten(pipeline, placement, options):
        return _search_unwritten(pipeline, placement, options, limit)
    refuse_infeasible(pipeline, placement)
    strategies = fitting_strategies(pipeline, placement.name, split_backward=options.split_backward)
    seconds = limit.left_of_turn
    ahead = _search_ahead(Long(pipeline, placement, options.allowed, strategies), options, limit, rival)
    search, handing = _written_out(pipeline, placement, options, limit, ahead)
    problem = search.problem
    search.rival = _in_ticks(rival, problem)
    bound_first = partial(_first_bound, pipeline, placement, options.objective)
    draft: Draft | None = None
    notes: list[str] = []
    bounding = choosing = 0.0
    met = search.on_met = Met()
    with interrupt_noted(search.interrupt), suppress(KeyboardInterrupt):
        _go_on(search)
        given = offer_given(search, pipeline, placement, options.starts)
        long = _long_search(search, pipeline, placement, options, strategies)
        begins = long if ahead is None and long is not None and is_long(problem) else None
        if begins is not None and is_large(pipeline, options):
            search.proven(bound_first(problem))
            bounding = quick_bound(search)
            begins.begin()
            begins = None
        notes += offer_published(search, pipeline, strategies, limit, handing, given)
        offer_something(search, placement)
        met.starting = False
        search.proven(bound_first(problem))
        if options.known is not None:
            search.proven(options.known)
        draft = Draft.of(search, pipeline, placement)
        shown_beside = sum(options.overlap or not strategy.overlaps for strategy in strategies)
        choosing = for_choosing(draft.seconds, options, limit)
        after = after_search(draft.seconds, shown_beside, limit) + choosing
        search.deadline = limit.turn_ends - after
        limit.bounding = bounding or _bounding(search, ahead)
        after += after_bounding(pipeline, limit)
        search.deadline = limit.turn_ends - after
        if begins is not None:
            begins.begin()
        run_tools(search, _tools(problem, placement, options.objective), options.cores, options.seed, long)
        if search.closed:
            allowance = min(MOST_SECONDS, SHARE_OF_LIMIT * seconds)
            frugal = one_at_a_time(placement, problem)
            spare_memory(search, frugal, bound_first, allowance, options.cores, options.seed)
    notes += _why_it_ended(search, rival)
    offer_something(search, placement)
    if not search.bound:
        search.proven(bound_first(problem))
    if search.interrupted:
        limit.hurry()
    if draft is None or draft.orders is not search.orders:
        draft = Draft.of(search, pipeline, placement)
    limit.finishing = draft.seconds
    check_result(search, draft.result)
    result = replace(draft.result, allowed=options.allowed)
    if options.robust is not None:
        replay = partial(replayed, pipeline, placement)
        deadline = perf_counter() + max(MOMENT, choosing / 2)
        chosen, note = choose_robust(met, result, replay, options.robust, deadline)
        result = replace(chosen, allowed=options.allowed)
        notes = [note, *notes]
    return finish(search, result, notes, started)


def _in_ticks(rival: Schedule | None, problem: Problem) -> int | None:
    return None if rival is None else round(Fraction(rival.objective_value) * problem.ticks_per_unit)


def _search_ahead(long: Long, options: SearchOptions, limit: TimeLimit, rival: Schedule | None) -> Unwritten | None:
    """Search a long pipeline by its first microbatches before all of it is written out.

    That costs the same however many there are. Where the best schedule has a steady middle, as long as the work of the
    busiest device, all it loses is at its ends; then a look at the whole, if it is large, has nothing to add, and the
    search goes on so as long as there is time to write the whole out afterwards.

    Returns
    -------
    Unwritten or None
        What was found; None where the whole is searched from the beginning.
    """
    directions = long.directions
    per_direction = long.pipeline.microbatches // directions
    if not shows_at_first(long.pipeline, long.placement, options) or not stretches(
        per_direction, long.pipeline.devices
    ):
        return None
    ops = count_operations(long.pipeline, options)
    ahead = Unwritten(long, ops // per_direction, limit.left_of_turn, options.seed, options.progress)
    search = ahead.search
    search.rival = _in_ticks(rival, search.problem)
    with interrupt_noted(search.interrupt), suppress(KeyboardInterrupt):
        search.deadline = limit.turn_ends - to_write_out(long, ops, options, limit)
        ahead.begin(options.known)
        if is_large(long.pipeline, options) and search.is_steady:
            ahead.run(options.cores)
    return ahead


def _written_out(
    pipeline: Pipeline, placement: Placement, options: SearchOptions, limit: TimeLimit, ahead: Unwritten | None
) -> tuple[Search, float]:
    """Write the whole out, with what has been found ahead of that; tell how many seconds one offer takes, if any."""
    if ahead is None:
        problem = build_search_problem(pipeline, placement, **options.allowed._asdict())
        return Search(problem, options.objective, limit.left_of_turn, options.progress), 0.0
    with interrupt_put_off(ahead.search.interrupt):
        problem = build_search_problem(pipeline, placement, **options.allowed._asdict())
        search = Search(problem, options.objective, limit.left_of_turn, options.progress)
        return search, ahead.hand_over(search)


def _go_on(search: Search) -> None:
    """End what is done behind a search that was interrupted before."""
    if search.interrupted:
        raise KeyboardInterrupt


def _bounding(search: Search, ahead: Unwritten | None) -> float:
    """Raise the bound by all arguments that need no search; return how many seconds that takes."""
    if ahead is None:
        return quick_bound(search)
    if not search.closed:
        quick_bound(search, known=ahead.search.held_by)
    return ahead.bounding


def _why_it_ended(search: Search, rival: Schedule | None) -> Iterator[str]:
    if search.cannot_win and rival is not None:
        yield f"its search ended early: no schedule on this placement is as short as {rival.strategy}"


def _search_unwritten(pipeline: Pipeline, placement: Placement, options: SearchOptions, limit: TimeLimit) -> Schedule:
    """Search a pipeline of too many operations to be written out."""
    refuse_to_write(pipeline, options)
    refuse_infeasible(pipeline, placement)
    strategies = fitting_strategies(pipeline, placement.name, split_backward=options.split_backward)
    long = Long(pipeline, placement, options.allowed, strategies)
    ops = count_operations(pipeline, options)
    limit.put_aside(files=to_export(long, ops, limit))
    return search_unwritten(
        long,
        ops=ops,
        seconds=limit.left_of_turn,
        workers=options.cores,
        seed=options.seed,
        progress=options.progress,
    )


def _long_search(
    search: Search,
    pipeline: Pipeline,
    placement: Placement,
    options: SearchOptions,
    strategies: Sequence[Strategy],
) -> LongSearch | None:
    """Prepare a search of fewer microbatches, which starts from the published schedules of so many."""
    if search.problem.moves:  # how results queue on links does not repeat with the order
        return None
    long = Long(pipeline, placement, options.allowed, strategies)
    return long_search_of(search, options.seed, long.starts, long.write)


def _first_bound(pipeline: Pipeline, placement: Placement, objective: Objective, problem: Problem) -> Bound:
    """Find the bound that no clock cuts short: the work of a device and what lies around it."""
    return first_span_bound(pipeline, placement, problem) if objective == "span" else plain_bound(problem, objective)


def _tools(problem: Problem, placement: Placement, objective: Objective) -> tuple[ToolName, ...]:
    """Order the tools of the search as `usual_tools` does, but on linear placements."""
    usual = usual_tools(problem, objective)
    return LINEAR_TOOLS if placement.name == "linear" and "relaxation" in usual else usual
