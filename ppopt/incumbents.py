"""Schedules that a search starts from: one microbatch at a time, and every published schedule that fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from solver.errors import InputError
from solver.problem import Action, Block, Merged, Orders, Problem
from strategies.actions import Op, PipelineAction
from strategies.orders import make_orders
from strategies.pipeline import Pipeline
from strategies.placements import Placement
from strategies.registry import Strategy, all_strategies


def fitting_strategies(pipeline: Pipeline, placement: str, *, split_backward: bool, overlap: bool) -> list[Strategy]:
    """List the published schedules whose steps the search may take, on this placement and number of stages.

    Parameters
    ----------
    pipeline : Pipeline
        Cut as the search cuts it.
    placement : str
        The placement's name.
    split_backward, overlap : bool
        What the search may use.
    """
    return [
        strategy
        for strategy in all_strategies().values()
        if strategy.placement == placement
        and (split_backward or not strategy.splits_backward)
        and (overlap or not strategy.overlaps)
        and not strategy.requirements.unmet(strategy.name, pipeline)
        and strategy.requirements.takes_stages(pipeline.stages or 0, pipeline.devices)
    ]


def published_orders(
    problem: Problem, pipeline: Pipeline, strategies: Sequence[Strategy]
) -> Iterator[tuple[str, list[list[Action]]]]:
    """Write published schedules as orders of a search problem."""
    for strategy in strategies:
        try:
            _, orders = make_orders(strategy, pipeline)
        except InputError:
            continue
        yield strategy.name, [[part for action in order for part in _as_searched(problem, action)] for order in orders]


def _as_searched(problem: Problem, action: PipelineAction) -> list[Action]:
    """Write an action as the search knows it: a B may be an I and a W."""
    if isinstance(action, Block):
        (backward, *rest) = _backward(problem, action.second)
        if action.first in problem.fused_durations:
            second = Merged(backward, rest[0]) if rest else backward
            return [Block(action.first, second if not isinstance(backward, Merged) else backward)]
        return [action.first, backward, *rest]
    return _backward(problem, action) if action.kind == "B" else [action]


def _backward(problem: Problem, op: Op) -> list[Action]:
    if op in problem.tasks:
        return [op]
    to_input, to_weight = op._replace(kind="I"), op._replace(kind="W")
    if to_input in problem.merged_durations:
        return [Merged(to_input, to_weight)]
    return [to_input, to_weight]


def one_at_a_time(placement: Placement, problem: Problem) -> Orders:
    """Order the operations so that each microbatch is done before the next begins: the least memory there is."""
    orders: list[list[Action]] = [[] for _ in range(problem.devices)]
    for microbatches, homes in placement.directions():
        for microbatch in microbatches:
            for stage, device in enumerate(homes):
                orders[device].append(Op(stage, "F", microbatch))
            for stage in reversed(range(len(homes))):
                orders[homes[stage]] += _backward(problem, Op(stage, "B", microbatch))
    return orders
