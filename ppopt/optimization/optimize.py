"""Searching for the best schedule, with a proven lower bound."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from itertools import islice
from time import perf_counter
from typing import get_args

import solver.longest_path  # noqa: F401 - what finishes a result is loaded before a clock runs
from ppopt.cutting.least_memory import refuse_infeasible
from ppopt.cutting.quick import planned_for_search
from ppopt.evaluation.evaluate import evaluate_with, first_variant_that_runs
from ppopt.noise.noise import Noise
from ppopt.noise.under_noise import under_noise
from ppopt.optimization.explain import quick_bounds_in_explanation
from ppopt.optimization.periodic import PeriodicSchedule, search_unwritten
from ppopt.optimization.robust import MOST_COMPARED, MOST_OF_TIME, REPLAYED, Met, choose_robust
from ppopt.optimization.span_bound import first_span_bound
from ppopt.optimization.starts import as_searched, fitting_strategies, one_at_a_time, published_orders
from ppopt.optimization.unwritten import Long, Unwritten, repeats
from ppopt.process.garbage import collection_paused
from ppopt.process.internal_error import InternalError, as_internal
from ppopt.process.interrupt import interrupt_noted, interrupt_put_off
from ppopt.process.single_threaded_blas import single_threaded_blas
from ppopt.process.time_limit import DRAWING, MOMENT, TimeLimit, least_seconds
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from solver.bounds.bound import Bound
from solver.counted import listed
from solver.errors import InfeasibleError, InputError, TimeTooShortError
from solver.problem import Orders, Problem
from solver.search.long_search import SHORTEST, LongSearch, is_long, stretches
from solver.search.memory_reduction import MOST_SECONDS, SHARE_OF_LIMIT, spare_memory
from solver.search.portfolio import ToolName, long_search_of, plain_bound, quick_bound, run_tools, usual_tools
from solver.search.state import NEGLIGIBLE, Progress, Search
from solver.states import Objective
from strategies.given_model.model_notes import PLANNED, TWO_COPIES, halves_notes
from strategies.given_model.stages import USUAL_STAGES_PER_DEVICE, Cut, CutChoice, GivenModel
from strategies.language.registry import Strategy
from strategies.model.numbers import check_seed, shown
from strategies.model.pipeline import Pipeline
from strategies.model.placements import STAGES_PER_DEVICE, Placement, make_placement
from strategies.model.plausibility import doubts
from strategies.problem.search_problem import Allowed, build_search_problem, pipeline_actions

OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
MOST_WRITTEN_OPS = 100_000
"""Of more operations only the first microbatches are written out, where that is enough: the rest takes seconds."""

MOST_SEARCHED_OPS = 300_000
"""A search over more operations than this would spend its time on reading the problem."""

MANY_OPS = 20_000
"""Of more operations than this, published schedules of few microbatches are stretched before those of all are tried."""

MOST_CORES = 16
"""Of all the cores that there are, so many are used where nobody says how many."""

LINEAR_TOOLS: tuple[ToolName, ...] = ("local search", "cp-sat", "relaxation")
"""On a linear placement of medium size CP-SAT comes before the relaxation, and local search has one turn a round."""

OFFERS_TO_ANSWER = 3.0
"""Before anything is finished: replay, check, figures and a bound take about this many times as long as one offer."""

CAUTION = 1.2
"""What was measured may take this much longer the next time."""

SHARE_OF_CUTS = 0.1
"""The part of the time that cutting layers may take, where their cut is left open."""

MOST_FOR_OTHERS = 0.5
"""The part of the time that schedules beside the result may take at most; more are left out."""

MOST_FOR_STARTS = 0.25
"""The part of the time that is kept at most for published schedules of all microbatches, after those of the first."""

MOST_FOR_FILES = 0.8
"""The part of the time that is kept at most for writing all of a long order as a file."""

MOST_FOR_BOUNDS = 0.25
"""The part of the time that the bounds of an explanation, and those of a report, may take at most."""

BOUNDS_OF_A_REPORT = 6.0
"""With two kinds of schedules, up to three bounds each."""


def optimize(
    pipeline: Pipeline,
    *,
    placement: str = "linear",
    split_backward: bool = True,
    overlap: bool = False,
    objective: Objective = "makespan",
    time_limit: float = 60.0,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    starts: Sequence[Schedule] = (),
    cut: CutChoice = "plan",
    robust: Noise | None = None,
) -> Schedule:
    """Search for the schedule with the least makespan (or span) on these costs and within this memory.

    Parameters
    ----------
    pipeline : Pipeline
        The costs and the memory limit.
    placement : {"linear", "interleaved", "v", "bidirectional", "wave", "all"}
        Which device holds which stage; ``all`` tries each in turn but ``wave``, which with one wave is ``v``, and
        returns the best.
    split_backward : bool
        Whether backwards are I and W.
    overlap : bool
        Whether any forward may run in one block with any full backward on its device.
    objective : {"makespan", "span"}
        What is minimised.
    time_limit : float
        Seconds.
    workers : int, optional
        How many cores the search uses in all; by default all there are, up to 16. With one, a seed decides the result
        as far as the clock allows.
    seed : int
        The seed of everything random.
    progress : callable, optional
        ``progress(standing)`` is called whenever the best schedule or the bound moves.
    starts : sequence of Schedule
        Where to start from, too, beside the published schedules: those of the same placement and cut, with no other
        steps than the search may use. The result is never longer than one of them that fits the memory.
    cut : {"plan", "even"}
        How layers are cut that come without a cut: such that some order may be short (`ppopt.plan` searches for cut and
        order together), or evenly.
    robust : Noise, optional
        How times vary: of the schedules that the search met, the result is the one with the least mean makespan then,
        and a note says what it gives up without noise.

    Returns
    -------
    Schedule
        With ``bound``, ``gap`` and ``status`` (``optimal`` or ``feasible``). Ctrl-C ends the search early, with the
        best so far.

    Raises
    ------
    InfeasibleError
        If no schedule fits the memory.
    TimeTooShortError
        If layers come without a cut, and none was found that fits the memory, nor proven that there is none.
    InputError
        If an argument is wrong.
    InternalError
        If the only search fails by our fault; of several, a note names the one that did.
    """
    options = SearchOptions(
        placement=placement,
        split_backward=split_backward,
        overlap=overlap,
        objective=objective,
        time_limit=time_limit,
        workers=workers,
        seed=seed,
        progress=progress,
        starts=starts,
        cut=cut,
        periodic=robust is None,
        robust=robust,
    )
    outcomes = list(optimize_each(pipeline, options))
    found = [outcome for outcome in outcomes if isinstance(outcome, Schedule)]
    if not found:
        raise _why_nothing(outcomes)
    faults = [f"internal error: {each}" for each in outcomes if isinstance(each, InternalError)]
    found = [replace(each, notes=(*each.notes, *faults)) for each in found]
    if robust is not None:
        found = under_noise(found, robust)
        return min(found, key=lambda schedule: schedule.noise.mean if schedule.noise else schedule.makespan)
    return min(found, key=lambda schedule: (schedule.objective_value, schedule.memory_taken))


def _why_nothing(outcomes: Sequence[Schedule | InfeasibleError | TimeTooShortError | InternalError]) -> Exception:
    """Choose why no placement has a schedule: nothing is proven where one of them was not decided."""
    errors = [outcome for outcome in outcomes if not isinstance(outcome, Schedule)]
    return next((error for error in errors if isinstance(error, TimeTooShortError)), errors[0])


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What `optimize` takes besides the pipeline; the same names and meanings.

    Attributes
    ----------
    known : Bound or None
        A bound of the objective on the one placement searched, proven before with the same freedom and limits no lower
        than now: more memory makes no schedule longer, so it holds. Its ticks are those of the same costs.
    periodic : bool
        Whether long pipelines of more than 100,000 operations may be searched by their first microbatches, as
        `optimize` does; without it there are at most 300,000. Their schedules are
        `ppopt.optimization.periodic.PeriodicSchedule`.

    Raises
    ------
    InputError
        If a value is wrong.
    """

    placement: str = "linear"
    split_backward: bool = True
    overlap: bool = False
    objective: Objective = "makespan"
    time_limit: float = 60.0
    workers: int | None = None
    seed: int = 0
    progress: Progress | None = None
    starts: Sequence[Schedule] = ()
    cut: CutChoice = "plan"
    known: Bound | None = None
    periodic: bool = False
    robust: Noise | None = None

    def __post_init__(self) -> None:
        if self.placement not in (*STAGES_PER_DEVICE, "all"):
            known = ", ".join([*STAGES_PER_DEVICE, "all"])
            raise InputError(f"placement: {self.placement!r} is not known; allowed are {known}")
        if self.objective not in OBJECTIVES:
            raise InputError(f"objective: {self.objective!r} is not known; allowed are {', '.join(OBJECTIVES)}")
        limit, workers = self.time_limit, self.workers
        if not (isinstance(limit, (int, float)) and 0 <= limit < math.inf):
            raise InputError(f"time_limit: must be a finite number of seconds of at least 0; found {limit!r}")
        check_seed(self.seed)
        if not all(isinstance(each, Schedule) for each in self.starts):
            raise InputError(f"starts: must be schedules; found {shown(self.starts)}")
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise InputError(f"workers: must be a whole number of at least 1; found {workers!r}")
        if self.robust is not None and not isinstance(self.robust, Noise):
            raise InputError(f"robust: must be a Noise; found {shown(self.robust)}")
        if self.robust is not None and self.objective != "makespan":
            raise InputError("robust: minimises the mean makespan, so the objective must be makespan, not span")

    @property
    def allowed(self) -> Allowed:
        """What the search may use."""
        return Allowed(self.split_backward, self.overlap)

    @property
    def placements(self) -> list[str]:
        """The placements to be searched."""
        if self.placement != "all":
            return [self.placement]
        return [name for name in STAGES_PER_DEVICE if name != "wave"]

    @property
    def cores(self) -> int:
        """How many the search uses."""
        return self.workers or min(MOST_CORES, os.cpu_count() or 1)


def optimize_each(
    pipeline: Pipeline, options: SearchOptions, limit: TimeLimit | None = None
) -> Iterator[Schedule | InfeasibleError | TimeTooShortError | InternalError]:
    """Search each placement in turn, the time shared evenly and what one leaves given to the next.

    A placement whose bound is above the best schedule of those before it cannot win, and leaves its time to the others.

    Parameters
    ----------
    pipeline, options
        What is searched, and how.
    limit : TimeLimit, optional
        The clock of the command, where that does more than search. What is done with a schedule before the next is
        asked for belongs to its turn.

    Yields
    ------
    Schedule, InfeasibleError, TimeTooShortError or InternalError
        The best found on a placement, or why there is none; of several, also what went wrong on one by our fault.
    """
    limit = limit or TimeLimit(options.time_limit)
    model = GivenModel.of_several(pipeline, placements=options.placements, cut=options.cut)
    seconds = SHARE_OF_CUTS * options.time_limit / len(options.placements)
    cuts = {name: _cut_or_none(model, name, options.split_backward, seconds) for name in options.placements}
    best: Schedule | None = None
    for place, (name, cut) in enumerate(cuts.items()):
        limit.begin_turn(len(cuts) - place)
        if not isinstance(cut, Cut):
            yield cut
            continue
        try:
            result = _optimize_one(cut.pipeline, name, options, limit, best)
            result = replace(result, notes=(*_model_notes(result, cut, options), *result.notes))
        except InfeasibleError as error:
            yield error
            continue
        except InputError:
            raise
        except Exception as error:
            if len(cuts) == 1:
                raise
            yield as_internal(f"optimized-{name}", error)
            continue
        if best is None or result.objective_value < best.objective_value:
            best = result
        yield replace(result, notes=(*doubts(pipeline), *result.notes))
        if result.interrupted:
            return


def _cut_or_none(
    model: GivenModel, name: str, split_backward: bool, seconds: float
) -> Cut | InfeasibleError | TimeTooShortError:
    """Cut a model as `_cut_for` does, or tell why there is no cut to be searched."""
    try:
        return _cut_for(model, name, split_backward, seconds)
    except (InfeasibleError, TimeTooShortError) as error:
        return error


def _cut_for(model: GivenModel, name: str, split_backward: bool, seconds: float) -> Cut:
    """Cut a model for the search of a placement, within so many seconds."""
    cut = model.for_placement(name)
    pipeline = cut.pipeline
    if not model.leaves_cut_open(len(pipeline.costs)):
        return cut
    placement = make_placement(name, pipeline.devices, len(pipeline.costs), pipeline.microbatches)
    return cut._replace(pipeline=_planned_once(pipeline, placement, seconds, split_backward=split_backward))


_planned_once = lru_cache(maxsize=16)(planned_for_search)
"""A comparison asks for the cut of a search first for its bounds: it must be the same, and takes its time once."""


def searched_cuts(
    pipeline: Pipeline, placements: Sequence[str], options: SearchOptions
) -> Iterator[tuple[Pipeline, Placement]]:
    """List what is searched for each placement: the model as it is cut, and where its stages are, without a name."""
    for name in placements:
        with suppress(InputError, InfeasibleError, TimeTooShortError):
            cut, placement = searched_cut(pipeline, name, options, shares=len(placements))
            yield cut, replace(placement, name="")


def searched_cut(
    pipeline: Pipeline, name: str, options: SearchOptions, *, shares: int = 1
) -> tuple[Pipeline, Placement]:
    """Cut the model as a search of a placement does, and lay out its stages.

    Parameters
    ----------
    pipeline : Pipeline
        The costs.
    name : str
        The placement.
    options : SearchOptions
        What the search may do.
    shares : int
        Among how many placements its time is shared.

    Raises
    ------
    InputError
        If the model cannot be cut so.
    InfeasibleError, TimeTooShortError
        As for `planned_for_search`.
    """
    seconds = SHARE_OF_CUTS * options.time_limit / shares
    cut = _cut_for(GivenModel(pipeline, cut=options.cut), name, options.split_backward, seconds).pipeline
    return cut, make_placement(name, cut.devices, cut.stages or 0, cut.microbatches)


def _model_notes(result: Schedule, cut: Cut, options: SearchOptions) -> Iterator[str]:
    """Say how the model was taken."""
    if cut.pipeline.layers is not None and cut.given.layers_per_stage != cut.pipeline.layers_per_stage:
        yield PLANNED if options.cut == "plan" else next(cut.notes(result.strategy, result.layout))
    else:
        yield from cut.notes(result.strategy, result.layout)
    chunks, usual = result.pipeline.stages_per_device, USUAL_STAGES_PER_DEVICE
    if STAGES_PER_DEVICE[result.placement] is None and chunks > usual:
        yield (
            f"{result.strategy} runs all {result.pipeline.stages} stages as they were given, {chunks} per device; "
            f"--recut --stages {usual * result.pipeline.devices} cuts the model into {usual} per device"
        )
    if options.split_backward:
        yield from halves_notes(cut.given)
    if len(result.layout.homes) > 1 and not any(cost.static for cost in result.pipeline.costs):
        yield f"{result.strategy} {TWO_COPIES}"


@collection_paused()
@single_threaded_blas()
def _optimize_one(
    pipeline: Pipeline, name: str, options: SearchOptions, limit: TimeLimit, rival: Schedule | None = None
) -> Schedule:
    started = perf_counter()
    split_backward = options.split_backward
    ops = (3 if split_backward else 2) * (pipeline.stages or 0) * pipeline.microbatches
    placement = make_placement(name, pipeline.devices, pipeline.stages or 0, pipeline.microbatches)
    if ops > MOST_SEARCHED_OPS or (ops > MOST_WRITTEN_OPS and _may_stay_unwritten(pipeline, placement, options)):
        return _optimize_unwritten(pipeline, placement, ops, options, limit)
    refuse_infeasible(pipeline, placement)
    strategies = fitting_strategies(pipeline, placement.name, split_backward=split_backward)
    seconds = limit.left_of_turn
    ahead = _search_ahead(Long(pipeline, placement, options.allowed, strategies), ops, options, limit, rival)
    search, handing = _written_out(pipeline, placement, options, limit, ahead)
    problem = search.problem
    search.rival = _in_ticks(rival, problem)
    bound_first = partial(_first_bound, pipeline, placement, options.objective)
    draft: _Draft | None = None
    notes: list[str] = []
    choosing = 0.0
    met = search.on_met = Met()
    with interrupt_noted(search.interrupt), suppress(KeyboardInterrupt):
        _go_on(search)
        given = _offer_given(search, pipeline, placement, options.starts)
        long = _long_search(search, pipeline, placement, options, strategies)
        begins = long if ahead is None and long is not None and is_long(problem) else None
        if begins is not None and len(problem.tasks) > MANY_OPS:
            search.proven(bound_first(problem))
            limit.bounding = quick_bound(search)
            begins.begin()
            begins = None
        notes += _offer_published(search, pipeline, strategies, limit, handing, given)
        _offer_something(search, placement)
        met.starting = False
        search.proven(bound_first(problem))
        if options.known is not None:
            search.proven(options.known)
        draft = _Draft.of(search, pipeline, placement)
        shown_beside = sum(options.overlap or not strategy.overlaps for strategy in strategies)
        choosing = _for_choosing(draft.seconds, options, limit)
        after = _after_search(draft.seconds, shown_beside, limit) + choosing
        search.deadline = limit.turn_ends - after
        limit.bounding = _bounding(search, limit, ahead)
        after += _after_bounding(pipeline, limit)
        search.deadline = limit.turn_ends - after
        if begins is not None:
            begins.begin()
        run_tools(search, _tools(problem, placement, options.objective), options.cores, options.seed, long)
        if search.closed:
            allowance = min(MOST_SECONDS, SHARE_OF_LIMIT * seconds)
            frugal = one_at_a_time(placement, problem)
            spare_memory(search, frugal, bound_first, allowance, options.cores, options.seed)
    notes += _why_it_ended(search, rival)
    _offer_something(search, placement)
    if not search.bound:
        search.proven(bound_first(problem))
    if search.interrupted:
        limit.hurry()
    if draft is None or draft.orders is not search.orders:
        draft = _Draft.of(search, pipeline, placement)
    limit.finishing = draft.seconds
    _check(search, draft.result)
    result = replace(draft.result, allowed=options.allowed)
    if options.robust is not None:
        replay = partial(_replayed, pipeline, placement)
        deadline = perf_counter() + max(MOMENT, choosing / 2)
        chosen, note = choose_robust(met, result, replay, options.robust, deadline)
        result = replace(chosen, allowed=options.allowed)
        notes = [note, *notes]
    return _finish(search, result, notes, started)


def _in_ticks(rival: Schedule | None, problem: Problem) -> int | None:
    return None if rival is None else round(Fraction(rival.objective_value) * problem.ticks_per_unit)


def _search_ahead(
    long: Long, ops: int, options: SearchOptions, limit: TimeLimit, rival: Schedule | None
) -> Unwritten | None:
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
    fits = _needs_first_only(long.pipeline, long.placement, options)
    if not fits or not stretches(per_direction, long.pipeline.devices):
        return None
    ahead = Unwritten(long, ops // per_direction, limit.left_of_turn, options.seed, options.progress)
    search = ahead.search
    search.rival = _in_ticks(rival, search.problem)
    with interrupt_noted(search.interrupt), suppress(KeyboardInterrupt):
        search.deadline = limit.turn_ends - _to_write_out(long, ops, options, limit)
        ahead.begin(options.known)
        if ops > MANY_OPS and search.is_steady:
            ahead.run(options.cores)
    return ahead


def _to_write_out(long: Long, ops: int, options: SearchOptions, limit: TimeLimit) -> float:
    """Estimate how many seconds it takes to write a whole out and finish it, by what a few microbatches take."""
    scale = CAUTION * ops / _few_operations(long)
    least = least_seconds(partial(_seconds_to_write_few, long, options.objective))
    writing, offering, finishing = (scale * seconds for seconds in least)
    shown = sum(options.overlap or not strategy.overlaps for strategy in long.strategies)
    published = min(offering * len(long.strategies), MOST_FOR_STARTS * limit.left_of_turn)
    behind, files = _after(finishing, shown, limit)
    return writing + offering + published + behind + files


def _seconds_to_write_few(long: Long, objective: Objective) -> tuple[float, float, float]:
    """Write a few microbatches out, offer a schedule of them and finish it; return how many seconds each takes."""
    part, layout = long.fewer(SHORTEST)
    began = perf_counter()
    search = Search(long.write(SHORTEST), objective, 0.0)
    written = perf_counter()
    search.offer(one_at_a_time(layout, search.problem))
    offered = perf_counter()
    return written - began, offered - written, _Draft.of(search, part, layout).seconds


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


def _bounding(search: Search, limit: TimeLimit, ahead: Unwritten | None) -> float:
    """Raise the bound by all arguments that need no search; return how many seconds that takes."""
    if ahead is None:
        return limit.bounding or quick_bound(search)
    if not search.closed:
        quick_bound(search, known=ahead.search.held_by)
    return ahead.bounding


def _for_choosing(finishing: float, options: SearchOptions, limit: TimeLimit) -> float:
    """Count the seconds of a turn in which the robust schedule is chosen: each of those met is replayed, too."""
    if options.robust is None:
        return 0.0
    seconds = CAUTION * finishing * (REPLAYED + DRAWING * MOST_COMPARED * options.robust.samples)
    return min(seconds, MOST_OF_TIME * limit.left_of_turn)


def _why_it_ended(search: Search, rival: Schedule | None) -> Iterator[str]:
    if search.cannot_win and rival is not None:
        yield f"its search ended early: no schedule on this placement is as short as {rival.strategy}"


def _may_stay_unwritten(pipeline: Pipeline, placement: Placement, options: SearchOptions) -> bool:
    """Return whether a search may do with the first microbatches, and has nothing that needs the others."""
    return options.periodic and not options.starts and _needs_first_only(pipeline, placement, options)


def _needs_first_only(pipeline: Pipeline, placement: Placement, options: SearchOptions) -> bool:
    """Return whether the first microbatches show what is searched for."""
    needs_all = options.robust is not None or pipeline.semantics != "async"
    return options.objective == "makespan" and not needs_all and repeats(pipeline, placement)


def _optimize_unwritten(
    pipeline: Pipeline, placement: Placement, ops: int, options: SearchOptions, limit: TimeLimit
) -> Schedule:
    """Search a pipeline of too many operations to be written out."""
    if not options.periodic or options.objective != "makespan":
        beyond = " for the span" if options.periodic else ""
        raise InputError(f"optimize: these are {ops:,} operations; at most {MOST_SEARCHED_OPS:,} are searched{beyond}")
    if pipeline.semantics != "async":
        raise InputError(
            f"optimize: these are {ops:,} operations; where transfers wait (communication: p2p: {pipeline.semantics}), "
            f"at most {MOST_SEARCHED_OPS:,} are searched"
        )
    refuse_infeasible(pipeline, placement)
    strategies = fitting_strategies(pipeline, placement.name, split_backward=options.split_backward)
    long = Long(pipeline, placement, options.allowed, strategies)
    limit.put_aside(files=_to_export(long, ops, limit))
    return search_unwritten(
        long,
        ops=ops,
        seconds=limit.left_of_turn,
        workers=options.cores,
        seed=options.seed,
        progress=options.progress,
    )


def _to_export(long: Long, ops: int, limit: TimeLimit) -> float:
    """Estimate how many seconds it takes to write the whole order as a file, where that is asked for."""
    exporting = limit.afterwards.exporting_unwritten
    if not exporting:
        return 0.0
    *_, finishing = least_seconds(partial(_seconds_to_write_few, long, "makespan"))
    seconds = CAUTION * exporting * finishing * ops / _few_operations(long)
    return min(seconds, MOST_FOR_FILES * limit.left_of_turn)


def _few_operations(long: Long) -> int:
    """Count the operations of a few microbatches."""
    kinds = 3 if long.allowed.split_backward else 2
    return kinds * (long.pipeline.stages or 0) * long.directions * SHORTEST


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


def _offer_published(
    search: Search,
    pipeline: Pipeline,
    strategies: Sequence[Strategy],
    limit: TimeLimit,
    longest: float = 0.0,
    given: Collection[str] = (),
) -> list[str]:
    """Start from the published schedules: the result is never worse than one that was offered.

    Of each, first the variants until one does not deadlock; then the others. Until something has been found that fits
    the memory, there is always time for the next.

    Parameters
    ----------
    search, pipeline, strategies, limit
        What is searched, and the clock.
    longest : float
        How many seconds one offer has taken, if any has.
    given : collection of str
        The labels of schedules that the search has started from before.

    Returns
    -------
    list of str
        What there was no time for, if so.
    """
    untried: list[str] = []
    begun = dict(_begun(given))
    strategies = [] if search.closed else strategies
    others: list[tuple[Strategy, Iterator[dict[str, int]]]] = [
        (each, islice(each.variants(pipeline), begun[each.name], None)) for each in strategies if each.name in begun
    ]
    for strategy in (each for each in strategies if each.name not in begun):
        if _is_too_late(search, longest):
            untried.append(strategy.name)
            continue
        began = perf_counter()
        variants = strategy.variants(pipeline)
        for options in variants:
            orders = published_orders(search.problem, pipeline, strategy, options)
            if orders is not None and search.offer(orders):
                break
        others.append((strategy, variants))
        longest = max(longest, perf_counter() - began)
    if untried:
        return [f"the search did not start from {listed(untried)}: {limit.used_up}"]
    for strategy, variants in others:
        for options in variants:
            if search.seconds_left <= (1 + OFFERS_TO_ANSWER) * longest:
                return [f"the time was up before all proposed options of {strategy.name} had been tried"]
            orders = published_orders(search.problem, pipeline, strategy, options)
            if orders is not None:
                search.offer(orders)
    return []


def _begun(given: Iterable[str]) -> Iterator[tuple[str, int]]:
    """List the strategies of given schedules, with how many of their variants have been tried: the default or none."""
    for label in given:
        name, _, options = label.partition(":")
        yield name, int(all(option.startswith("stages=") for option in options.split(",") if option))


def _is_too_late(search: Search, offering: float) -> bool:
    """Return whether another offer, which takes so many seconds, would leave too little time to answer."""
    return search.best is not None and search.seconds_left + MOMENT < (1 + OFFERS_TO_ANSWER) * offering


def _offer_given(
    search: Search, pipeline: Pipeline, placement: Placement, starts: Sequence[Schedule]
) -> frozenset[str]:
    """Start from given schedules, the shortest first, until none that is left can be shorter than the best.

    Returns
    -------
    frozenset of str
        The labels of those on this placement and cut.
    """
    here = [each for each in starts if each.layout.homes == placement.homes and each.pipeline == pipeline]
    taken: list[str] = []
    for given in sorted(here, key=lambda each: (each.makespan, *each.memory_taken)):
        length = Fraction(given.makespan) * search.problem.ticks_per_unit
        if search.objective == "makespan" and search.best is not None and length > search.best:
            taken.append(given.strategy)
            continue
        orders = as_searched(search.problem, given.actions)
        if orders is not None and search.offer(orders):
            taken.append(given.strategy)
    return frozenset(taken)


def _offer_something(search: Search, placement: Placement) -> None:
    """Where nothing fits yet, do one microbatch after the other."""
    if search.best is None:
        search.offer(one_at_a_time(placement, search.problem))


def _after_search(finishing: float, published: int, limit: TimeLimit) -> float:
    """Count the seconds of a turn that belong to what follows the search; put aside those for files."""
    seconds, files = _after(CAUTION * finishing, published, limit)
    limit.put_aside(files=files)
    return seconds


def _after(finishing: float, published: int, limit: TimeLimit) -> tuple[float, float]:
    """Count the seconds of a turn that belong to what follows the search, and those for files."""
    after = limit.afterwards
    beside = min(finishing * published, MOST_FOR_OTHERS * limit.left_of_turn) if after.beside else 0.0
    shown = finishing * (1 + after.shown) + beside
    files = finishing * (after.per_result + after.exporting) + shown * after.per_schedule
    return finishing + beside, files


def _after_bounding(pipeline: Pipeline, limit: TimeLimit) -> float:
    """Count the seconds that an explanation will take, none where they are too many; put aside those for a report."""
    most = MOST_FOR_BOUNDS * limit.left_of_turn
    if limit.afterwards.bounded:
        limit.put_aside(bounds=min(BOUNDS_OF_A_REPORT * limit.bounding, most))
    if not limit.afterwards.explained:
        return 0.0
    seconds = CAUTION * limit.bounding * quick_bounds_in_explanation(pipeline)
    return seconds if seconds < most else 0.0


@dataclass(frozen=True)
class _Draft:
    """The best orders of a search so far, finished, and how long that took: its last ones will take as long."""

    orders: Orders
    result: Schedule
    seconds: float

    @classmethod
    def of(cls, search: Search, pipeline: Pipeline, placement: Placement) -> _Draft:
        """Replay the best orders in the pipeline's own terms, and check them against the memory limit too."""
        began = perf_counter()
        result = _replayed(pipeline, placement, search.orders)
        return cls(search.orders, result, perf_counter() - began)


def _replayed(pipeline: Pipeline, placement: Placement, orders: Orders) -> Schedule:
    label = f"optimized-{placement.name}"
    actions = pipeline_actions(orders)
    return replay_orders(label, pipeline, placement, actions, "graph", check_memory=True, searched=True)


def _check(search: Search, result: Schedule) -> None:
    """Check the best schedule of a search against its replay, and against the bound."""
    label = result.strategy
    scale = search.problem.ticks_per_unit
    value = result.makespan if search.objective == "makespan" else result.span
    assert search.best is not None
    waits = result.pipeline.semantics in ("rendezvous", "batched")  # then the result may be longer than was found
    if value < search.best / scale or (value > search.best / scale and not waits):
        raise InternalError(f"{label}: the search found {search.best / scale}, the replay {value}")
    if search.bound > search.best:
        raise InternalError(f"{label}: the bound {search.bound / scale} is above the schedule found, {value}")


def _finish(search: Search, result: Schedule, notes: Sequence[str], started: float) -> Schedule:
    """Give a result of a search its bound."""
    scale = search.problem.ticks_per_unit
    value = result.makespan if search.objective == "makespan" else result.span
    if search.interrupted:
        notes = ("the search was interrupted; this is the best schedule found so far", *notes)
    notes = (*notes, *_digit_notes(search, result.strategy), *_placement_notes(result.pipeline))
    return replace(
        result,
        objective=search.objective,
        proven=Fraction(search.bound, scale),
        bound_held_by=search.held_by,
        status="optimal" if search.closed and value == search.bound / scale else "feasible",
        seconds=perf_counter() - started,
        interrupted=search.interrupted,
        notes=(*result.notes, *notes),
    )


def _digit_notes(search: Search, label: str) -> Iterator[str]:
    """Say that what is open lies beyond the digits that CP-SAT can count in."""
    if search.best is not None and not search.closed and (search.best - search.bound) * NEGLIGIBLE <= search.best:
        yield (
            f"{label}: no schedule is shorter by more than {1 / NEGLIGIBLE:.0e} of it; it is not proven that none is "
            "shorter at all, because the costs have more digits than that"
        )


def _placement_notes(pipeline: Pipeline) -> Iterator[str]:
    """Say that a searched order's communication is placed by time, where the pipeline asks for something else."""
    asked = pipeline.lowering if pipeline.semantics == "rendezvous" else pipeline.semantics
    if asked in ("pytorch", "given", "batched"):
        key = "p2p" if asked == "batched" else "lowering"
        yield f"{key}: {asked} applies to orders of frameworks; this order gets its transfers placed by time"


def compared_with_published(schedule: Schedule, limit: TimeLimit | None = None) -> tuple[list[Schedule], list[str]]:
    """Evaluate the published schedules that run on the same placement, cut and kinds of steps.

    One that deadlocks with its default options is there with the first options worth trying that run.

    Parameters
    ----------
    schedule : Schedule
        The result of a search; its bound is theirs too.
    limit : TimeLimit, optional
        The clock of the command.

    Returns
    -------
    tuple of (list of Schedule, list of str)
        Those evaluated, and the names of those for which there was no time.
    """
    compared: list[Schedule] = []
    left_out: list[str] = []
    if isinstance(schedule, PeriodicSchedule):
        return [], []  # they are not written out either
    longest = 0.0 if limit is None else limit.finishing
    split_backward, overlap = schedule.allowed
    for strategy in fitting_strategies(schedule.pipeline, schedule.placement, split_backward=split_backward):
        if strategy.overlaps and not overlap:
            continue
        if limit is not None and perf_counter() + longest > limit.last_moment:
            left_out.append(strategy.name)
            continue
        began = perf_counter()
        try:
            result = _made_beside(schedule, strategy)
        except KeyboardInterrupt:
            if limit is None:
                raise
            limit.hurry()
            left_out.append(strategy.name)
            continue
        if result is not None:
            compared.append(
                replace(
                    result,
                    proven=schedule.proven if result.fits else None,  # what takes more memory may be shorter
                    objective=schedule.objective,
                    allowed=schedule.allowed,
                )
            )
        longest = max(longest, perf_counter() - began)
    return compared, left_out


def _made_beside(schedule: Schedule, strategy: Strategy) -> Schedule | None:
    """Evaluate a published schedule beside a result, with options that run where its own do not."""
    model = GivenModel(schedule.pipeline)
    try:
        return evaluate_with(model, strategy.name, "graph", {}, cured=False)
    except InputError:
        return first_variant_that_runs(model, strategy.name, "graph")
