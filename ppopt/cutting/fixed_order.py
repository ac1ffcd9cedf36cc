"""An order of a model whose layers are not cut yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from ppopt.cutting.order_as_partition import (
    Ordered,
    Orders,
    sorted_actions,
)
from ppopt.cutting.order_dependence import depends_on_costs
from ppopt.schedules.order_files import read_named
from solver.errors import InputError
from solver.search.sweep import Sweeper
from strategies.given_model.stages import GivenModel
from strategies.language.orders import make_orders, parse_strategy
from strategies.language.registry import Strategy
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.order_files.given_order import GivenOrder
from strategies.problem.dependencies import build_problem, split_as_in

MOST_STAGES = 1024
"""The most stages: the data kept for a cut grows with their square."""


@dataclass(frozen=True)
class FixedOrder:
    """An order on a pipeline of layers that is not cut yet.

    Attributes
    ----------
    label : str
        The order's name.
    pipeline : Pipeline
        Cut evenly, into as many stages as the order has.
    placement : Placement
        Which device holds which stage.
    orders : sequence of sequence of (Op or Block)
        The actions of each device.
    strategy : Strategy or None
        The rule that made the order; None for a file.
    options : dict of str to int
        The rule's options.
    """

    label: str
    pipeline: Pipeline
    placement: Placement
    orders: Orders
    strategy: Strategy | None
    options: dict[str, int]

    @cached_property
    def ordered(self) -> Ordered:
        """The actions, each after those that it waits for."""
        return sorted_actions(self.pipeline, self.placement, self.orders)

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.placement.homes[0])

    @cached_property
    def is_fixed(self) -> bool:
        """Whether the order is the same for all cuts."""
        if self.strategy is None:
            return True
        return not depends_on_costs(self.strategy, self.pipeline, self.options)

    def prepare(self) -> None:
        """Compute in advance the properties that planning reads many times."""
        _ = self.ordered, self.is_fixed

    def without_limit(self) -> FixedOrder:
        """Return the same order without a memory limit."""
        return self.with_limit(None)

    def with_limit(self, limit: Sequence[Fraction | None] | None) -> FixedOrder:
        """Return the same order with other limits, one for each device; the sorting is reused."""
        changed = replace(self, pipeline=self.pipeline.with_limit(limit))
        changed.__dict__["ordered"], changed.__dict__["is_fixed"] = self.ordered, self.is_fixed
        return changed

    def orders_on(self, pipeline: Pipeline) -> Orders:
        """Return the actions of each device on another cut into the same number of stages.

        Raises
        ------
        InputError
            If the schedule's rule finds no order for that cut.
        """
        if self.is_fixed or self.strategy is None:
            return self.orders
        return make_orders(self.strategy, pipeline, self.options)[1]


def read_order(pipeline: Pipeline, strategy: Any, *, stages: int | None = None) -> FixedOrder:
    """Write out the order of a strategy, or of a file, for a model of layers.

    Parameters
    ----------
    pipeline : Pipeline
        With layers; its cut, if any, is ignored.
    strategy : str, path or GivenOrder
        As `ppopt.evaluate` takes it.
    stages : int, optional
        The number of stages; by default the strategy's.

    Raises
    ------
    InputError
        If the strategy is unknown or does not fit the pipeline, the layers' pins allow no cut, or there are too many
        stages.
    """
    if pipeline.layers is None:
        raise InputError("layers: are needed to plan a cut, and this pipeline gives the times of its stages")
    open_ = pipeline
    if pipeline.layers_per_stage is not None:
        open_ = pipeline.model_copy(update={"stages": None, "layers_per_stage": None, "recomputed_per_stage": None})
    named = read_named(strategy)
    if isinstance(named, GivenOrder):
        cut = GivenModel(open_).for_order(named).pipeline
        _refuse_many_stages(cut)
        return FixedOrder(named.name, cut, named.placement, named.orders, None, {})
    found, options = parse_strategy(named)
    if stages is not None:
        options = {"stages": stages} | options
    cut = GivenModel(open_).for_strategy(found, options).pipeline
    _refuse_many_stages(cut)
    options = {key: value for key, value in options.items() if key != "stages"}
    placement, orders = make_orders(found, cut, options)
    return FixedOrder(named, cut, placement, orders, found, options)


def length_within_memory(pipeline: Pipeline, placement: Placement, orders: Orders) -> Fraction | None:
    """Replay orders exactly, transfers waiting for nothing; None if they exceed the memory.

    Parameters
    ----------
    pipeline, placement, orders
        What is replayed, on the cut of the pipeline.
    """
    pipeline = pipeline.without_waiting()
    problem = build_problem(pipeline, placement, split_as_in(orders))
    sweeper = Sweeper(problem)
    makespan = sweeper.objective(orders, "makespan")
    if makespan is None or not sweeper.fits_memory(orders):
        return None
    return Fraction(makespan, problem.ticks_per_unit) + pipeline.after


def _refuse_many_stages(pipeline: Pipeline) -> None:
    stages = pipeline.stages or 0
    if stages > MOST_STAGES:
        raise InputError(
            f"stages: a plan has at most {MOST_STAGES:,}; found {stages:,}, {pipeline.stages_per_device:,} per device"
        )
