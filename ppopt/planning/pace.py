"""How long orders take to be written, cut for and replayed: foreseen, so that none is begun that cannot be finished."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter

from ppopt.cutting.fixed_order import FixedOrder, plan_fixed_order, read_order
from ppopt.cutting.order_as_partition import Recompute
from ppopt.process.time_limit import least_seconds
from ppopt.schedules.replaying import replay_orders
from strategies.model.pipeline import Pipeline

MANY_ACTIONS = 20_000
"""Shorter orders than this take too little time to be foreseen."""

TRIED_ACTIONS = 2_000
"""An order of about so many actions shows how long one takes."""

CAUTION = 1.5
"""It may take this much longer than it did, action for action."""


@dataclass(frozen=True)
class Pace:
    """How many seconds each action of an order takes.

    Attributes
    ----------
    writing : float
        To write the order.
    planning : float
        To prepare it, and to find a first cut.
    replaying : float
        To replay it, to check it and for its figures.
    """

    writing: float = 0.0
    planning: float = 0.0
    replaying: float = 0.0

    @property
    def answering(self) -> float:
        """From a name to a plan."""
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
