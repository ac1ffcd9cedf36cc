"""Quick, good cuts for layers without a given cut; `ppopt plan` searches longer, and proves its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import product
from time import perf_counter
from typing import Any, NamedTuple

from ppopt.cutting.fixed_order import FixedOrder, length_within_memory, read_order
from ppopt.cutting.least_memory import missing_for_one, why_infeasible
from ppopt.cutting.order_as_partition import Orders, write_partition
from solver.deadline import OutOfTimeError, is_over
from solver.errors import InputError, TimeTooShortError
from solver.partitioning.solve import quick_split
from solver.partitioning.splits import InfeasibleSplitError
from strategies.given_model.stages import GivenModel
from strategies.language.orders import make_orders
from strategies.language.registry import Strategy, all_strategies
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement, make_placement
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
    found = _published(pipeline, placement, perf_counter() + seconds, all_strategies().values())
    return found[0].cut if found else None


class _OnItsOwn(NamedTuple):
    """A published schedule with a quick cut of its own; the least is the best."""

    exceeds: bool
    length: Fraction
    cut: Counts
    orders: Orders


def _published(
    pipeline: Pipeline, placement: Placement, until: float, strategies: Iterable[Strategy]
) -> list[_OnItsOwn]:
    """Cut a model for each published schedule on a placement until the time is up; the shortest comes first."""
    found: list[_OnItsOwn] = []
    for strategy in strategies:
        if found and is_over(until):
            break
        if not _runs_on(strategy, pipeline, placement):
            continue
        with suppress(InputError, InfeasibleSplitError, OverflowError):
            placed, orders = make_orders(strategy, pipeline)
            if placed.homes == placement.homes and sum(map(len, orders)) <= MOST_FOR_QUICK_CUT:
                written = write_partition(pipeline, placement, orders)
                quick = quick_split(written.problem, over=lambda: is_over(until))
                cut, _ = written.cut(written.problem.split_of(quick.amounts))
                found.append(_OnItsOwn(quick.excess > 0, written.in_units(quick.length), cut, orders))
    return sorted(found, key=lambda each: each[:3])


def _runs_on(strategy: Strategy, pipeline: Pipeline, placement: Placement) -> bool:
    """Return whether a schedule can run on a placement; with one wave, ``wave`` is ``v``."""
    devices, stages = pipeline.devices, len(placement.homes[0])
    needs = strategy.requirements
    if needs.unmet(strategy.name, pipeline) or not needs.takes_stages(stages, devices):
        return False
    return make_placement(strategy.placement, devices, stages, pipeline.microbatches).name == placement.name


def shortest_published(
    pipeline: Pipeline, placement: Placement, seconds: float, *, split_backward: bool
) -> tuple[Fraction, Counts] | None:
    """Find the shortest published schedule, overlapped blocks included, on any of their own cuts and the even one.

    Parameters
    ----------
    pipeline : Pipeline
        With layers, cut evenly into as many stages as the placement has, its microbatches alike.
    placement : Placement
        Which device holds which stage.
    seconds : float
        After this time, nothing more is tried.
    split_backward : bool
        Whether backwards may be I and W.

    Returns
    -------
    tuple of (Fraction, tuple of int) or None
        Its makespan if transfers wait for nothing, and the cut; None if none fits the memory.
    """
    until, own = perf_counter() + seconds, perf_counter() + 0.8 * seconds
    allowed = [each for each in all_strategies().values() if split_backward or not each.splits_backward]
    made = _published(pipeline, placement, own, sorted(allowed, key=lambda each: not each.overlaps))
    cuts = dict.fromkeys([pipeline.layers_per_stage or (), *(each.cut for each in made)])
    pairs = [(each.orders, each.cut) for each in made]
    pairs += [(each.orders, cut) for each, cut in product(made, cuts) if cut != each.cut]
    found: list[tuple[Fraction, Counts]] = []
    for orders, cut in pairs:
        length = length_within_memory(pipeline.with_cut(cut), placement, orders)
        if length is not None:
            found.append((length, cut))
        if is_over(until):
            break
    return min(found) if found else None
