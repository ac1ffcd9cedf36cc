"""Predicts the time to write, cut for and replay an order, so that none is started that cannot be finished."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter

from ppopt.cutting.best_cut import plan_fixed_order
from ppopt.cutting.fixed_order import FixedOrder, read_order
from ppopt.cutting.order_as_partition import Recompute
from ppopt.process.time_limit import least_seconds
from ppopt.schedules.replaying import replay_orders
from strategies.model.pipeline import Pipeline

MANY_ACTIONS = 20_000
"""Orders with fewer actions are so quick that their time is not predicted."""

TRIED_ACTIONS = 2_000
"""About the number of actions of the order that is timed."""

CAUTION = 1.5
"""Safety factor on the measured time per action."""


@dataclass(frozen=True)
class Pace:
    """Seconds per action of an order.

    Attributes
    ----------
    writing : float
        For writing the order.
    planning : float
        For preparing it and finding a first cut.
    replaying : float
        For replaying and checking it and computing its figures.
    """

    writing: float = 0.0
    planning: float = 0.0
    replaying: float = 0.0

    @property
    def answering(self) -> float:
        """For everything from a name to a plan."""
        return self.writing + self.planning + self.replaying


def size_of(order: FixedOrder) -> int:
    """Count the actions of an order."""
    return sum(map(len, order.orders))


def measured_pace(pipeline: Pipeline, recompute: Recompute, *, empty: bool) -> Pace:
    """Write, cut for and replay one order on a few microbatches.

    Parameters
    ----------
    pipeline : Pipeline
        With layers.
    recompute : {"none", "per-stage", "uniform-k"}
        What may be recomputed.
    empty : bool
        Whether stages may be empty.
    """
    count = max(2, TRIED_ACTIONS // 2 // pipeline.devices)
    few = pipeline.model_copy(update={"microbatches": count})
    return Pace(*(CAUTION * seconds for seconds in least_seconds(partial(_tried, few, recompute, empty))))


def _tried(few: Pipeline, recompute: Recompute, empty: bool) -> tuple[float, float, float]:
    began = perf_counter()
    order = read_order(few, "1f1b")
    written = perf_counter()
    found = plan_fixed_order(few, order.label, recompute=recompute, empty=empty, time_limit=0.0, order=order)
    planned = perf_counter()
    replay_orders(order.label, found.cut or order.pipeline, order.placement, order.orders, "graph")
    size = size_of(order)
    return (written - began) / size, (planned - written) / size, (perf_counter() - planned) / size
