"""Quick, good cuts for layers without a given cut; `ppopt plan` searches longer, and proves its answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from time import perf_counter
from typing import Any

from ppopt.cutting.fixed_order import FixedOrder, read_order
from ppopt.cutting.least_memory import missing_for_one, why_infeasible
from ppopt.cutting.order_as_partition import write_partition
from solver.deadline import OutOfTimeError, is_over
from solver.errors import InputError, TimeTooShortError
from solver.partitioning.solve import quick_split
from solver.partitioning.splits import InfeasibleSplitError
from strategies.given_model.stages import GivenModel
from strategies.language.orders import make_orders
from strategies.language.registry import all_strategies
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.order_files.given_order import GivenOrder

MOST_FOR_QUICK_CUT = 20_000
"""Above this many operations, a quick cut is the even one: dozens of replays would take too long."""

SECONDS_TO_FIT = 2.0
"""Seconds to find a cut that fits the memory, or prove that none does, if the chosen one does not fit."""


def quick_cut(
    pipeline: Pipeline,
    strategy: Any,
    *,
    stages: int | None = None,
    empty: bool = True,
    seed: int = 0,
    order: FixedOrder | None = None,
    stop: Callable[[], bool] | None = None,
    compiled: dict[str, Any] | None = None,
) -> Counts:
    """Find a good cut for an order quickly; nothing is recomputed, and nothing is proven.

    Parameters
    ----------
    pipeline, strategy, stages
        As for `plan_fixed_order`.
    empty : bool
        Whether stages may be empty.
    seed : int
        The same seed gives the same cut.
    order : FixedOrder, optional
        The order, if it is known already; the other arguments are then ignored.
    stop : callable, optional
        Called often; the search ends when it returns True.
    compiled : dict, optional
        The compiled loops, if available: the cut is the same, but found faster.

    Returns
    -------
    tuple of int
        The layers of each stage. If no cut that was tried fits the memory, the one that exceeds it least; the even cut
        if the order has more than `MOST_FOR_QUICK_CUT` operations.

    Raises
    ------
    InputError
        As `read_order`, or if the layers' pins allow no cut.
    """
    order = order or read_order(pipeline, strategy, stages=stages)
    assert order.pipeline.layers_per_stage is not None
    if sum(map(len, order.orders)) > MOST_FOR_QUICK_CUT:
        return order.pipeline.layers_per_stage
    written = write_partition(order.pipeline, order.placement, order.orders, ordered=order.ordered, empty=empty)
    try:
        found = quick_split(written.problem, seed=seed, over=stop, compiled=compiled)
    except (InfeasibleSplitError, OverflowError):
        return order.pipeline.layers_per_stage
    return written.cut(written.problem.split_of(found.amounts))[0]


def planned(order: FixedOrder) -> Pipeline:
    """Cut a model's layers for an order such that the order is short.

    Parameters
    ----------
    order : FixedOrder
        The order, with its pipeline cut evenly.

    Returns
    -------
    Pipeline
        With the cut; the even one if the order has too many operations for a quick cut. Microbatches that differ count
        as their mean.
    """
    alike = replace(order, pipeline=order.pipeline.averaged())
    return order.pipeline.with_cut(quick_cut(alike.pipeline, alike.label, order=alike))


def planned_for_file(model: GivenModel, given: GivenOrder) -> Pipeline:
    """Cut a model into the number of stages of an order from a file; layers without a given cut are cut for that order.

    Parameters
    ----------
    model : GivenModel
        The costs.
    given : GivenOrder
        The order.

    Raises
    ------
    InputError
        If the file's sizes differ from the pipeline's.
    """
    pipeline = model.for_order(given).pipeline
    if not model.leaves_cut_open(len(pipeline.costs)):
        return pipeline
    return planned(FixedOrder(given.name, pipeline, given.placement, given.orders, None, {}))


def planned_for_search(pipeline: Pipeline, placement: Placement, seconds: float, *, split_backward: bool) -> Pipeline:
    """Cut a model's layers for a placement such that some order may be short.

    The cut is the one whose bound for all orders is least. With two copies of each stage no such bound exists, and the
    cut is that of a published schedule. If one microbatch does not fit with that cut, another cut is taken with which
    it does. Microbatches that differ count as their mean.

    Parameters
    ----------
    pipeline : Pipeline
        With layers, cut evenly into as many stages as the placement has.
    placement : Placement
        Which device holds which stage.
    seconds : float
        Time limit; if it ends too early, the cut is the even one.
    split_backward : bool
        Whether backwards may be I and W.

    Raises
    ------
    InfeasibleError
        If one microbatch fits with no cut.
    TimeTooShortError
        If no such cut was found, but some may exist.
    """
    alike = pipeline.averaged()
    cut = (
        cut_of_published(alike, placement, seconds)
        if len(placement.homes) > 1
        else _of_bound(alike, placement, seconds, split_backward)
    )
    chosen = pipeline if cut is None else pipeline.with_cut(cut)
    if pipeline.has_unequal_items:  # other cuts are looked for with microbatches that are alike
        return chosen
    return chosen if missing_for_one(chosen, placement) <= 0 else _fitting(chosen, placement, seconds)


def _fitting(chosen: Pipeline, placement: Placement, seconds: float) -> Pipeline:
    from ppopt.cutting.least_memory_cut import roomiest_cut  # loads CP-SAT

    until = perf_counter() + max(seconds, SECONDS_TO_FIT)
    with suppress(OutOfTimeError):
        found = roomiest_cut(chosen, placement, until)
        if found is not None and found.missing <= 0:
            return found.pipeline
        copied = chosen.offload is not None and len(placement.homes[0]) > placement.devices  # counts less than the cut
        if found is not None and found.none_fits and not copied:
            raise why_infeasible(found.pipeline, placement, any_cut=True)
    why = str(why_infeasible(chosen, placement)).removeprefix("infeasible: ")
    raise TimeTooShortError(f"no schedule found: {why}; the time was too short to decide whether another cut fits")


def _of_bound(pipeline: Pipeline, placement: Placement, seconds: float, split_backward: bool) -> Counts | None:
    from ppopt.cutting.partitions import Partitions  # loads CP-SAT, which a replay does not need

    until = perf_counter() + seconds
    try:
        cuts = Partitions(pipeline, placement, until, split_backward=split_backward, empty=True, recompute=False)
        return None if cuts.bound(until, None) is None else cuts.take()
    except OutOfTimeError:
        return None


def cut_of_published(pipeline: Pipeline, placement: Placement, seconds: float) -> Counts | None:
    """Take the cut of the published schedule that is shortest on its own.

    Parameters
    ----------
    pipeline : Pipeline
        With layers, cut evenly into as many stages as the placement has.
    placement : Placement
        Which device holds which stage.
    seconds : float
        After this time, no further schedule is tried.

    Returns
    -------
    tuple of int or None
        None if none of them runs on it.
    """
    found: list[tuple[bool, Fraction, Counts]] = []
    until = perf_counter() + seconds
    for strategy in all_strategies().values():
        if found and is_over(until):
            break
        if strategy.placement != placement.name or strategy.requirements.unmet(strategy.name, pipeline):
            continue
        with suppress(InputError, InfeasibleSplitError, OverflowError):
            placed, orders = make_orders(strategy, pipeline)
            if placed.homes == placement.homes and sum(map(len, orders)) <= MOST_FOR_QUICK_CUT:
                written = write_partition(pipeline, placement, orders)
                quick = quick_split(written.problem, over=lambda: is_over(until))
                cut, _ = written.cut(written.problem.split_of(quick.amounts))
                found.append((quick.excess > 0, written.in_units(quick.length), cut))
    return min(found)[-1] if found else None
