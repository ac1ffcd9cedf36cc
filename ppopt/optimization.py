"""Searching for the best schedule, with a proven lower bound."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter

from ppopt.evaluation import InternalError, evaluate_with, first_variant_that_runs, replay_orders
from ppopt.finished import Schedule
from ppopt.garbage import collection_paused
from ppopt.incumbents import as_searched, fitting_strategies, one_at_a_time, published_orders
from ppopt.infeasibility import InfeasibleError, refuse_infeasible
from ppopt.interrupt import interrupt_noted
from ppopt.less_memory import MOST_SECONDS, SHARE_OF_LIMIT, spare_memory
from ppopt.search import Progress, Search
from ppopt.searching import run_tools
from solver.errors import InputError
from strategies.model_notes import TWO_COPIES, halves_notes, recut_notes
from strategies.numbers import shown
from strategies.pipeline import Pipeline
from strategies.placements import STAGES_PER_DEVICE, Placement, make_placement
from strategies.registry import Strategy
from strategies.search_problem import build_search_problem, pipeline_actions

OBJECTIVES = ("makespan", "span")
MOST_SEARCHED_OPS = 300_000
"""A search over more operations than this would spend its time on reading the problem."""

USUAL_STAGES_PER_DEVICE = 2
"""Where a placement takes any number of stages a device and the pipeline has one, or leaves it open."""

FINISHING_SECONDS_PER_OP = 2e-5
"""What replaying, checking and measuring the result takes; a search leaves that much of its time."""


def optimize(
    pipeline: Pipeline,
    *,
    placement: str = "linear",
    split_backward: bool = True,
    overlap: bool = False,
    objective: str = "makespan",
    time_limit: float = 60.0,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    starts: Sequence[Schedule] = (),
) -> Schedule:
    """Search for the schedule with the least makespan (or span) on these costs and within this memory.

    Parameters
    ----------
    pipeline : Pipeline
        The costs and the memory limit.
    placement : {"linear", "interleaved", "v", "bidirectional", "all"}
        Which device holds which stage; ``all`` tries each in turn and returns the best.
    split_backward : bool
        Whether backwards are I and W.
    overlap : bool
        Whether any forward may run in one block with any full backward on its device.
    objective : {"makespan", "span"}
        What is minimised.
    time_limit : float
        Seconds.
    workers : int, optional
        Threads of CP-SAT; by default one for each core, at most two. With one, a seed decides the result as far as the
        clock allows.
    seed : int
        For all that is random.
    progress : callable, optional
        ``progress(standing)`` is called whenever the best schedule or the bound moves.
    starts : sequence of Schedule
        Where to start from, too, beside the published schedules: those of the same placement and cut, with no other
        steps than the search may use. The result is never longer than one of them that fits the memory.

    Returns
    -------
    Schedule
        With ``bound``, ``gap`` and ``status`` (``optimal`` or ``feasible``). Ctrl-C ends the search early, with the
        best so far.

    Raises
    ------
    InfeasibleError
        If no schedule fits the memory.
    InputError
        If an argument is wrong.
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
    )
    outcomes = list(optimize_each(pipeline, options))
    found = [outcome for outcome in outcomes if isinstance(outcome, Schedule)]
    if not found:
        raise next(outcome for outcome in outcomes if isinstance(outcome, InfeasibleError))
    return min(found, key=lambda schedule: (schedule.objective_value, schedule.memory_taken))


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What `optimize` takes besides the pipeline; the same names and meanings.

    Raises
    ------
    InputError
        If a value is wrong.
    """

    placement: str = "linear"
    split_backward: bool = True
    overlap: bool = False
    objective: str = "makespan"
    time_limit: float = 60.0
    workers: int | None = None
    seed: int = 0
    progress: Progress | None = None
    starts: Sequence[Schedule] = ()

    def __post_init__(self) -> None:
        if self.placement not in (*STAGES_PER_DEVICE, "all"):
            known = ", ".join([*STAGES_PER_DEVICE, "all"])
            raise InputError(f"placement: {self.placement!r} is not known; allowed are {known}")
        if self.objective not in OBJECTIVES:
            raise InputError(f"objective: {self.objective!r} is not known; allowed are {', '.join(OBJECTIVES)}")
        limit, workers = self.time_limit, self.workers
        if not (isinstance(limit, (int, float)) and 0 <= limit < math.inf):
            raise InputError(f"time_limit: must be a finite number of seconds of at least 0; found {limit!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise InputError(f"seed: must be a whole number; found {self.seed!r}")
        if not all(isinstance(each, Schedule) for each in self.starts):
            raise InputError(f"starts: must be schedules; found {shown(self.starts)}")
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise InputError(f"workers: must be a whole number of at least 1; found {workers!r}")

    @property
    def placements(self) -> list[str]:
        """The placements to be searched."""
        return list(STAGES_PER_DEVICE) if self.placement == "all" else [self.placement]

    @property
    def threads(self) -> int:
        """CP-SAT's."""
        return self.workers or min(2, os.cpu_count() or 1)


def optimize_each(pipeline: Pipeline, options: SearchOptions) -> Iterator[Schedule | InfeasibleError]:
    """Search each placement in turn, the time shared evenly and what one leaves given to the next.

    Yields
    ------
    Schedule or InfeasibleError
        The best found on a placement, or why there is none.
    """
    settled, cuts = _cuts(pipeline, options.placements)
    ends = perf_counter() + options.time_limit
    for place, (name, cut) in enumerate(cuts.items()):
        seconds = max(0.0, ends - perf_counter()) / (len(cuts) - place)
        try:
            made = _optimize_one(cut, name, options, seconds)
            made = replace(made, notes=(*_model_notes(made, settled, options), *made.notes))
        except InfeasibleError as error:
            yield error
            continue
        yield made
        if made.interrupted:
            return


def _cuts(pipeline: Pipeline, placements: list[str]) -> tuple[Pipeline, dict[str, Pipeline]]:
    """Cut the same model for each placement; return it as it was given, too, its number of stages settled."""
    wanted = {name: _stages_for(pipeline, name) for name in placements}
    settled = pipeline if pipeline.stages is not None else pipeline.with_stages(min(wanted.values()))
    return settled, {name: settled.recut(stages) for name, stages in wanted.items()}


def _model_notes(made: Schedule, settled: Pipeline, options: SearchOptions) -> Iterator[str]:
    """Say how the model was taken."""
    yield from recut_notes(made.strategy, settled, made.layout)
    chunks, usual = made.pipeline.stages_per_device, USUAL_STAGES_PER_DEVICE
    if STAGES_PER_DEVICE[made.placement] is None and chunks > usual:
        yield (
            f"{made.strategy} runs all {made.pipeline.stages} stages as they were given, {chunks} a device; "
            f"--recut --stages {usual * made.pipeline.devices} cuts the model into {usual} a device"
        )
    if options.split_backward:
        yield from halves_notes(settled)
    if len(made.layout.homes) > 1 and not any(cost.static for cost in made.pipeline.costs):
        yield f"{made.strategy} {TWO_COPIES}"


def _stages_for(pipeline: Pipeline, placement: str) -> int:
    """Choose the number of stages: the pipeline's own where it fits, else the placement's."""
    per_device = STAGES_PER_DEVICE[placement]
    if per_device is not None:
        return per_device * pipeline.devices
    if pipeline.stages is not None and pipeline.stages % pipeline.devices == 0 and pipeline.stages > pipeline.devices:
        return pipeline.stages
    return USUAL_STAGES_PER_DEVICE * pipeline.devices


@collection_paused()
def _optimize_one(pipeline: Pipeline, name: str, options: SearchOptions, seconds: float) -> Schedule:
    started = perf_counter()
    split_backward = options.split_backward
    ops = (3 if split_backward else 2) * (pipeline.stages or 0) * pipeline.microbatches
    if ops > MOST_SEARCHED_OPS:
        raise InputError(f"optimize: these are {ops:,} operations; at most {MOST_SEARCHED_OPS:,} are searched")
    placement = make_placement(name, pipeline.devices, pipeline.stages or 0, pipeline.microbatches)
    refuse_infeasible(pipeline, placement)
    problem = build_search_problem(pipeline, placement, split_backward=split_backward, overlap=options.overlap)
    left = seconds - (perf_counter() - started) - FINISHING_SECONDS_PER_OP * ops
    search = Search(problem, options.objective, left, options.progress)
    search.offer(one_at_a_time(placement, problem))
    notes: list[str] = []
    with interrupt_noted(search.interrupt), suppress(KeyboardInterrupt):
        notes += _offer_published(search, pipeline, name, split_backward)
        _offer_given(search, pipeline, placement, options.starts)
        run_tools(search, pipeline, placement, options.threads, options.seed)
        if search.closed:
            allowance = min(MOST_SECONDS, SHARE_OF_LIMIT * seconds)
            spare_memory(search, pipeline, placement, allowance, options.threads, options.seed)
    return _finish(search, pipeline, placement, started, notes)


def _offer_published(search: Search, pipeline: Pipeline, placement: str, split_backward: bool) -> list[str]:
    """Start from the published schedules.

    Of each, whatever the clock says, until one of its variants does not deadlock: the result is never worse than that.
    The other variants follow while there is time.

    Returns
    -------
    list of str
        That there was no time for all of them, if so.
    """
    others: list[tuple[Strategy, Iterator[dict[str, int]]]] = []
    for strategy in fitting_strategies(pipeline, placement, split_backward=split_backward):
        variants = strategy.variants(pipeline)
        for options in variants:
            orders = published_orders(search.problem, pipeline, strategy, options)
            if orders is not None and search.offer(orders):
                break
        others.append((strategy, variants))
    for strategy, variants in others:
        for options in variants:
            if search.seconds_left == 0:
                return [f"the time was up before all options of {strategy.name} had been tried that it proposes"]
            orders = published_orders(search.problem, pipeline, strategy, options)
            if orders is not None:
                search.offer(orders)
    return []


def _offer_given(search: Search, pipeline: Pipeline, placement: Placement, starts: Sequence[Schedule]) -> None:
    """Start from given schedules, those of another placement or cut left out."""
    for given in starts:
        if given.layout.homes == placement.homes and given.pipeline == pipeline:
            orders = as_searched(search.problem, given.actions)
            if orders is not None:
                search.offer(orders)


def _finish(search: Search, pipeline: Pipeline, placement: Placement, started: float, notes: Sequence[str]) -> Schedule:
    """Replay the best orders in the pipeline's own terms, and hold them against the memory limit too."""
    orders = pipeline_actions(search.orders)
    label = f"optimized-{placement.name}"
    made = replay_orders(label, pipeline, placement, orders, "graph", check_memory=True)
    scale = search.problem.ticks_per_unit
    value = made.makespan if search.objective == "makespan" else made.span
    assert search.best is not None
    if value != search.best / scale:
        raise InternalError(f"{label}: the search found {search.best / scale}, the replay {value}")
    if search.bound > search.best:
        raise InternalError(f"{label}: the bound {search.bound / scale} is above the schedule found, {value}")
    if search.interrupted:
        notes = ("the search was interrupted; this is the best schedule it had found",)
    return replace(
        made,
        objective=search.objective,
        bound=search.bound / scale,
        bound_held_by=search.held_by,
        status="optimal" if search.closed else "feasible",
        seconds=perf_counter() - started,
        interrupted=search.interrupted,
        notes=(*made.notes, *notes),
    )


def compared_with_published(schedule: Schedule, *, split_backward: bool, overlap: bool) -> list[Schedule]:
    """Evaluate every published schedule that runs on the same placement, cut and kinds of steps.

    One that deadlocks with its default options is there with the first options worth trying that run.

    Parameters
    ----------
    schedule : Schedule
        The result of a search; its bound is theirs too.
    split_backward, overlap : bool
        What the search was allowed to use.
    """
    placement = schedule.placement
    compared: list[Schedule] = []
    for strategy in fitting_strategies(schedule.pipeline, placement, split_backward=split_backward):
        if strategy.overlaps and not overlap:
            continue
        made: Schedule | None
        try:
            made = evaluate_with(schedule.pipeline, strategy.name, "graph", {}, None, cured=False)
        except InputError:
            made = first_variant_that_runs(schedule.pipeline, strategy.name, "graph", base=None)
        if made is not None:
            compared.append(replace(made, bound=schedule.bound, objective=schedule.objective))
    return compared
