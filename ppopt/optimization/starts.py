"""Schedules that a search starts from: one microbatch at a time, and every published schedule that fits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import cast

from solver.errors import InputError
from solver.problem import Action, Block, Merged, Orders, Problem, tasks_of
from strategies.language.orders import make_orders
from strategies.language.registry import Strategy, all_strategies
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement, make_placement
from strategies.problem.search_problem import numbered_in_turn


def fitting_strategies(pipeline: Pipeline, placement: str, *, split_backward: bool) -> list[Strategy]:
    """List the published schedules that run on this placement and number of stages.

    Parameters
    ----------
    pipeline : Pipeline
        Cut as the search cuts it.
    placement : str
        The placement's name.
    split_backward : bool
        Whether the search may use I and W.
    """
    return [
        strategy
        for strategy in all_strategies().values()
        if (split_backward or not strategy.splits_backward)
        and strategy.requirements.takes_slices == pipeline.are_sliced
        and not strategy.requirements.unmet(strategy.name, pipeline)
        and strategy.requirements.takes_stages(pipeline.stages or 0, pipeline.devices)
        and _placement_of(strategy, pipeline) == placement
    ]


def _placement_of(strategy: Strategy, pipeline: Pipeline) -> str:
    """Name the placement on which a strategy runs here: with one wave, ``wave`` is ``v``."""
    return make_placement(strategy.placement, pipeline.devices, pipeline.stages or 0, pipeline.microbatches).name


def published_orders(
    problem: Problem, pipeline: Pipeline, strategy: Strategy, options: Mapping[str, int]
) -> list[list[Action]] | None:
    """Write a published schedule as orders of a search problem.

    Returns
    -------
    list of list of Action or None
        None if the rule does not work on this pipeline with these options.
    """
    try:
        _, orders = make_orders(strategy, pipeline, dict(options))
    except InputError:
        return None
    return as_searched(problem, orders)


def as_searched(problem: Problem, orders: Sequence[Sequence[PipelineAction]]) -> list[list[Action]] | None:
    """Write orders as those of a search problem: blocks taken apart where none are allowed, microbatches in turn.

    Returns
    -------
    list of list of Action or None
        None if they are not of this problem's operations: backwards are split where they may not be, say.
    """
    written = [[part for action in order for part in _as_searched(problem, action)] for order in orders]
    tasks = [task for order in written for action in order for task in tasks_of(action)]
    if len(tasks) != len(problem.tasks) or set(tasks) != problem.tasks.keys():
        return None
    return numbered_in_turn(problem, written)


def _as_searched(problem: Problem, action: PipelineAction) -> list[Action]:
    """Write an action as the search knows it."""
    if not isinstance(action, Block):
        return _backward(problem, action) if action.kind == "B" else [action]
    backward = cast("Op", action.second)
    whole = _whole_backward(problem, backward)
    second = whole.first if isinstance(whole, Merged) else whole
    if problem.fusing.duration(action.first, second) is not None:
        return [Block(action.first, whole)]
    return [action.first, *_backward(problem, backward)]


def _backward(problem: Problem, op: Op) -> list[Action]:
    """Write a B outside a block: as it is, merged, or as I and W."""
    to_input, to_weight = op._replace(kind="I"), op._replace(kind="W")
    if op in problem.tasks or to_input in problem.merged_durations:
        return [_whole_backward(problem, op)]
    return [to_input, to_weight]


def _whole_backward(problem: Problem, op: Op) -> Action:
    return op if op in problem.tasks else Merged(op._replace(kind="I"), op._replace(kind="W"))


def one_at_a_time(placement: Placement, problem: Problem, follows: Iterable[int] = ()) -> Orders:
    """Order the operations so that on every device each microbatch is done before the next: the least memory there is.

    Directions take turns: a microbatch enters where the backward of the one before, which came from the other end,
    ended first, and follows it from device to device. Slices of a microbatch go forth together and back together.

    Parameters
    ----------
    placement, problem
        What is scheduled.
    follows : iterable of int
        The items that are the next slice of the same microbatch as the item before.
    """
    orders: list[list[Action]] = [[] for _ in range(problem.devices)]
    directions = placement.directions()
    joined = set(follows)
    for turn in zip_longest(*(_microbatches(items, joined) for items, _ in directions)):
        for slices, (_, homes) in zip(turn, directions, strict=True):
            for stage, device in enumerate(homes):
                orders[device] += [Op(stage, "F", item) for item in slices or ()]
            for stage in reversed(range(len(homes))):
                for item in reversed(slices or ()):
                    orders[homes[stage]] += _backward(problem, Op(stage, "B", item))
    return orders


def _microbatches(items: range, follows: Collection[int]) -> list[list[int]]:
    """Gather items into microbatches."""
    gathered: list[list[int]] = []
    for item in items:
        if item in follows:
            gathered[-1].append(item)
        else:
            gathered.append([item])
    return gathered
