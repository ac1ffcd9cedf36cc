"""Searching for the best schedule, with a proven lower bound."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter

from ppopt.evaluation import InternalError, evaluate, replay_orders
from ppopt.finished import Schedule
from ppopt.garbage import collection_paused
from ppopt.incumbents import fitting_strategies, one_at_a_time, published_orders
from ppopt.infeasibility import InfeasibleError, refuse_infeasible
from ppopt.interrupt import interrupt_noted
from ppopt.search import Progress, Search
from ppopt.searching import run_tools
from solver.errors import InputError
from solver.problem import Problem
from strategies.pipeline import Pipeline
from strategies.placements import STAGES_PER_DEVICE, Placement, make_placement, takes_stages
from strategies.search_problem import build_search_problem, pipeline_actions

OBJECTIVES = ("makespan", "span")
MOST_SEARCHED_OPS = 300_000
"""A search over more operations than this would spend its time on reading the problem."""

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
        Threads of CP-SAT; by default one for each core, at most two. With one, a seed decides the result as far as the
        clock allows.
    seed : int
        For all that is random.
    progress : callable, optional
        ``progress(standing)`` is called whenever the best schedule or the bound moves.

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
    )
    outcomes = list(optimize_each(pipeline, options))
    found = [outcome for outcome in outcomes if isinstance(outcome, Schedule)]
    if not found:
        raise next(outcome for outcome in outcomes if isinstance(outcome, InfeasibleError))
    return min(found, key=lambda schedule: schedule.objective_value)


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
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise InputError(f"workers: must be a whole number of at least 1; found {workers!r}")

    @property
    def placements(self) -> list[str]:
        """The placements to be searched."""
        if self.placement != "all":
            return [self.placement]
        return [name for name in STAGES_PER_DEVICE if name != "wave"]

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
    cuts = _cuts(pipeline, options.placements)
    ends = perf_counter() + options.time_limit
    for place, (name, cut) in enumerate(cuts.items()):
        seconds = max(0.0, ends - perf_counter()) / (len(cuts) - place)
        try:
            made = _optimize_one(cut, name, options, seconds)
        except InfeasibleError as error:
            yield error
            continue
        yield made
        if made.interrupted:
            return


def _cuts(pipeline: Pipeline, placements: list[str]) -> dict[str, Pipeline]:
    """Cut the same model for each placement."""
    wanted = {name: _stages_for(pipeline, name) for name in placements}
    settled = pipeline if pipeline.stages is not None else pipeline.with_stages(min(wanted.values()))
    return {name: settled.recut(stages) for name, stages in wanted.items()}


def _stages_for(pipeline: Pipeline, placement: str) -> int:
    """Choose the number of stages: the pipeline's own where it fits, else the placement's."""
    per_device = STAGES_PER_DEVICE[placement]
    if per_device is not None:
        return per_device * pipeline.devices
    stages, devices = pipeline.stages, pipeline.devices
    if stages is not None and stages > devices and takes_stages(placement, devices, stages):
        return stages
    return 2 * devices


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
    with interrupt_noted(search.interrupt), suppress(KeyboardInterrupt):
        _offer_published(search, problem, pipeline, placement.name, split_backward)
        run_tools(search, pipeline, placement, options.threads, options.seed)
    return _finish(search, pipeline, placement, started)


def _offer_published(
    search: Search, problem: Problem, pipeline: Pipeline, placement: str, split_backward: bool
) -> None:
    """Start from every published schedule, whatever the clock says: the result is never worse than one of them."""
    for strategy in fitting_strategies(pipeline, placement, split_backward=split_backward):
        if (orders := published_orders(problem, pipeline, strategy)) is not None:
            search.offer(orders)


def _finish(search: Search, pipeline: Pipeline, placement: Placement, started: float) -> Schedule:
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
    notes = ("the search was interrupted; this is the best schedule it had found",) if search.interrupted else ()
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
        try:
            made = evaluate(schedule.pipeline, strategy.name, "graph")
        except InputError:
            continue
        compared.append(replace(made, bound=schedule.bound, objective=schedule.objective))
    return compared
