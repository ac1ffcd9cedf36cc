"""Cuts for a schedule whose order depends on the costs: its order is cut for, made again for that cut, and so on.

The order of such a schedule changes with the cut, so the proof for a fixed order does not hold for it. The bound for
every order does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from time import perf_counter

from ppopt.evaluation.evaluate import replay_orders
from ppopt.planning.fixed_order import FixedOrder, FixedPlan, plan_fixed_order
from ppopt.planning.free_order import exact_makespan
from ppopt.planning.order_as_partition import Orders, Recompute
from ppopt.planning.partitions import partitions_of
from ppopt.planning.quick import cut_of_published, planned_for_search
from solver.deadline import OutOfTimeError
from solver.errors import InputError
from strategies.pipeline import Pipeline

NOTE = (
    "its order depends on the costs of the stages, so it was made again for each cut that was tried; its bound is one "
    "of all orders"
)

SECONDS_PER_ORDER = 1.0
"""A cut for one of its orders is looked for so long at most."""


@dataclass
class _Best:
    makespan: Fraction | None = None
    pipeline: Pipeline | None = None

    def offer(self, order: FixedOrder, pipeline: Pipeline) -> Orders | None:
        """Replay the schedule's own order on a cut, and keep that if it fits and is shortest; None if it has none."""
        try:
            orders = order.orders_on(pipeline)
        except InputError:
            return None
        made = replay_orders(order.label, pipeline, order.placement, orders, "graph")
        makespan = exact_makespan(made)
        if made.fits and (self.makespan is None or makespan < self.makespan):
            self.makespan, self.pipeline = makespan, pipeline
        return orders


def plan_dependent_order(
    order: FixedOrder,
    *,
    recompute: Recompute,
    empty: bool,
    time_limit: float,
    seed: int,
    stop: Callable[[], bool],
) -> FixedPlan:
    """Find a good cut for a schedule whose order depends on the costs.

    Parameters
    ----------
    order : FixedOrder
        The schedule, with its order on the even cut.
    recompute, empty, seed, stop
        As for `plan_fixed_order`.
    time_limit : float
        Seconds.
    """
    began = perf_counter()
    deadline = began + time_limit
    best = _Best()
    seen: set[object] = set()
    for start in _starts(order, time_limit):
        pipeline = start
        while (pipeline.layers_per_stage, pipeline.recomputed_per_stage) not in seen:
            seen.add((pipeline.layers_per_stage, pipeline.recomputed_per_stage))
            orders = best.offer(order, pipeline)
            left = deadline - perf_counter()
            if orders is None or left <= 0 or stop():
                break
            given = FixedOrder(order.label, order.pipeline, order.placement, orders, None, {})
            found = plan_fixed_order(
                order.pipeline,
                order.label,
                recompute=recompute,
                empty=empty,
                time_limit=min(left, SECONDS_PER_ORDER),
                seed=seed,
                stop=stop,
                order=given,
            )
            if found.cut is None:
                break
            pipeline = found.cut
    bound = _bound_of_all_orders(order, recompute, empty=empty, deadline=max(deadline, perf_counter() + 1))
    return _plan(order, best, bound, perf_counter() - began)


def _starts(order: FixedOrder, seconds: float) -> Iterator[Pipeline]:
    """Yield the cuts to begin with: the even one, that of the bound of all orders, and that of a published schedule."""
    yield order.pipeline
    splits = order.strategy is None or order.strategy.splits_backward
    yield planned_for_search(order.pipeline, order.placement, seconds / 4, split_backward=splits)
    if (cut := cut_of_published(order.pipeline, order.placement)) is not None:
        yield order.pipeline.with_cut(cut)


def _bound_of_all_orders(order: FixedOrder, recompute: Recompute, *, empty: bool, deadline: float) -> Fraction:
    if len(order.placement.homes) > 1 or (order.strategy is not None and order.strategy.overlaps):
        return Fraction(0)
    with suppress(OutOfTimeError):
        cuts = partitions_of(
            order.pipeline,
            order.placement,
            deadline,
            split_backward=order.strategy is None or order.strategy.splits_backward,
            empty=empty,
            recompute=recompute != "none",
        )
        return cuts.bound(deadline, None) or Fraction(0)
    return Fraction(0)


def _plan(order: FixedOrder, best: _Best, bound: Fraction, seconds: float) -> FixedPlan:
    cut, makespan = best.pipeline, best.makespan
    plan = FixedPlan(
        strategy=order.label,
        stages=order.stages,
        layers_per_stage=None if cut is None else cut.layers_per_stage,
        recomputed_per_stage=None if cut is None else cut.recomputed_per_stage,
        makespan=makespan,
        bound=bound if makespan is None else min(bound, makespan),
        status="unknown" if makespan is None else "feasible",
        seconds=seconds,
        is_fixed=False,
        notes=(NOTE,),
        cut=cut,
        placement=order.placement,
        orders=order.orders,
    )
    return replace(plan, status="optimal") if makespan is not None and makespan == bound else plan
