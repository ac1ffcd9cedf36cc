"""The time that a quickly found other cut of the layers would save a schedule."""

from __future__ import annotations

from fractions import Fraction
from time import perf_counter

from ppopt.cutting.fixed_order import FixedOrder
from ppopt.cutting.order_as_partition import write_partition
from ppopt.cutting.quick import MOST_FOR_QUICK_CUT
from ppopt.schedules.schedule import Schedule
from solver.errors import InputError
from solver.partitioning.solve import quick_split
from solver.partitioning.splits import InfeasibleSplitError
from strategies.given_model.model_notes import PLANNED


def saved_by_another_cut(schedule: Schedule, deadline: float) -> Fraction:
    """Return how much shorter the same order is on a quickly found other cut that fits the memory.

    Parameters
    ----------
    schedule : Schedule
        A published order, or one from a file. For a schedule that was searched on its cut, or whose cut was found in
        the same way, nothing is known.
    deadline : float
        On the clock of `time.perf_counter`; after it, no cut is looked for.

    Returns
    -------
    Fraction
        0 if nothing is known.
    """
    pipeline = schedule.pipeline
    if pipeline.layers is None or schedule.is_searched or PLANNED in schedule.notes:
        return Fraction(0)
    if pipeline.has_unequal_items:  # a cut is judged by microbatches that are alike
        return Fraction(0)
    if pipeline.waits:  # cuts are judged as if nothing but results were waited for
        return Fraction(0)
    if any(map(any, pipeline.recomputed_per_stage or ())) or not schedule.fits:
        return Fraction(0)
    if sum(map(len, schedule.actions)) > MOST_FOR_QUICK_CUT or perf_counter() > deadline:
        return Fraction(0)
    order = FixedOrder(schedule.strategy, pipeline, schedule.layout, schedule.actions, None, {})
    try:
        written = write_partition(order.pipeline, order.placement, order.orders)
        found = quick_split(written.problem)
    except (InputError, InfeasibleSplitError, OverflowError):
        return Fraction(0)
    if found.excess > 0 or not written.is_exact:
        return Fraction(0)
    return max(Fraction(0), schedule.exact_makespan - written.in_units(found.length))
