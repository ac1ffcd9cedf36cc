"""For schedules whose order depends on the costs: cuts to start from, and the bound for every order.

The order of such a schedule changes with the cut, so the proof for a fixed order does not apply. The bound for every
order on its placement does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

from ppopt.cutting.fixed_order import FixedOrder, work_bound
from ppopt.cutting.partitions import partitions_of
from ppopt.cutting.quick import cut_of_published, planned_for_search
from solver.deadline import OutOfTimeError
from solver.errors import InfeasibleError, TimeTooShortError
from strategies.model.cuts import Counts


def cuts_to_begin_with(order: FixedOrder, seconds: float) -> Iterator[Counts]:
    """Yield cuts to start from: the one with the least bound for every order, and that of a published schedule.

    Parameters
    ----------
    order : FixedOrder
        The schedule, with its order on the even cut.
    seconds : float
        Time limit for each.
    """
    with suppress(InfeasibleError, TimeTooShortError):  # with recomputation, a cut may still fit
        pipeline = planned_for_search(order.pipeline, order.placement, seconds, split_backward=_splits(order))
        if pipeline.layers_per_stage is not None:
            yield pipeline.layers_per_stage
    if (cut := cut_of_published(order.pipeline, order.placement, seconds)) is not None:
        yield cut


def bound_of_all_orders(order: FixedOrder, deadline: float, *, empty: bool, recompute: bool) -> Fraction:
    """Bound the makespan of every order on the placement, whatever the cut; by the total work if time is short.

    Parameters
    ----------
    order : FixedOrder
        The schedule.
    deadline : float
        On the clock of `time.perf_counter`.
    empty : bool
        Whether stages may be empty.
    recompute : bool
        Whether layers may be recomputed.
    """
    assert order.pipeline.layers is not None
    work = work_bound(order.pipeline.layers, order.pipeline)
    overlaps = order.strategy is None or order.strategy.overlaps
    if len(order.placement.homes) > 1 or (overlaps and order.pipeline.blocks_may_save):
        return work
    with suppress(OutOfTimeError):
        cuts = partitions_of(
            order.pipeline,
            order.placement,
            deadline,
            split_backward=_splits(order),
            empty=empty,
            recompute=recompute,
        )
        return max(work, cuts.bound(deadline, None) or work)
    return work


def _splits(order: FixedOrder) -> bool:
    return order.strategy is None or order.strategy.splits_backward
