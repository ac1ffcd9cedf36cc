"""The best order in which to feed microbatches to a given schedule, with a bound that no order beats."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from ppopt.evaluation.evaluate import check_pipeline, evaluate
from ppopt.feeding.feeding import fed_best
from ppopt.optimization.ladders import Bounds, QuickBounds, freedom_of
from ppopt.schedules.order_files import read_named
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from solver.budget import BOUND, RESULT
from solver.errors import InputError
from strategies.given_model.stages import CutChoice
from strategies.model.numbers import check_seed
from strategies.model.pipeline import Pipeline

if TYPE_CHECKING:
    from os import PathLike

    from strategies.order_files.given_order import GivenOrder


def best_feed(
    pipeline: Pipeline,
    strategy: str | PathLike[str] | GivenOrder,
    *,
    time_limit: float = 20.0,
    seed: int = 0,
    cut: CutChoice = "plan",
) -> Schedule:
    """Search for the order of feeding microbatches with which a given schedule is shortest, within its memory limit.

    Parameters
    ----------
    pipeline : Pipeline
        The costs, with microbatches that differ.
    strategy : str or path
        The schedule, as for `evaluate`.
    time_limit : float
        Seconds.
    seed : int
        The seed of the search.
    cut : {"plan", "even"}
        As for `evaluate`.

    Returns
    -------
    Schedule
        With the feeding order found, ``schedule.pipeline.feed``. It is never longer than as listed or as a pyramid,
        unless these do not fit the memory. Its bound holds for every order of feeding this schedule.

    Raises
    ------
    InputError
        If transfers wait, or an argument is wrong.
    """
    check_pipeline(pipeline)
    check_seed(seed)
    if not time_limit >= 0:
        raise InputError(f"time_limit: must be at least 0 seconds; found {time_limit}")
    began = perf_counter()
    listed = pipeline.model_copy(update={"feed": "given"}) if pipeline.feed == "best" else pipeline
    given = evaluate(listed, read_named(strategy), "graph", cut=cut)
    replaying = perf_counter() - began
    bounds = _bounds(given, began + BOUND.within(time_limit))
    deadline = began + time_limit - RESULT.foreseen(replaying)
    fed, note = fed_best(given.pipeline, given.layout, given.actions, deadline=deadline, seed=seed)
    made = replay_orders(given.strategy, fed, given.layout, given.actions, "graph", notes=(*given.notes, note))
    if bounds is None:
        return replace(made, notes=(*made.notes, "feed: no bound is known for two directions"))
    held = bounds.limited if made.fits and bounds.limited is not None else bounds.delayed
    return replace(made, proven=held + made.pipeline.after)


def _bounds(schedule: Schedule, deadline: float) -> Bounds | None:
    """Bound a schedule in any order of feeding: microbatches that differ may take any order in these bounds.

    In two directions it depends on the order which microbatches pass which way, so nothing is known.
    """
    if len(schedule.layout.homes) > 1:
        return None
    quick, freedom = QuickBounds(deadline), freedom_of(schedule)
    quick.find([freedom])
    return quick.found[freedom]
