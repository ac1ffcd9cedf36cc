"""The scheduling problem of a search: any order and, if allowed, any overlapped pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np

from solver.errors import InputError
from solver.exact import in_ticks
from solver.numbered import TaskTable
from solver.problem import Action, Block, Fusing, Hold, Key, Merged, Orders, Problem, tasks_of
from solver.repetition import Repetition
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.problem.dependencies import build_problem, split_all
from strategies.problem.fusing import block_duration, saving_blocks


class Allowed(NamedTuple):
    """The freedom of a search.

    Attributes
    ----------
    split_backward : bool
        Whether backwards are I and W.
    overlap : bool
        Whether any forward may run in one block with any full backward on its device.
    """

    split_backward: bool = True
    overlap: bool = False


def left_out(pipeline: Pipeline, placement: Placement, allowed: Allowed) -> str:
    """Say what a search may not use although it may save time, in words that limit its claims; empty if nothing.

    Blocks of layers with parts may save time on other cuts, even if not on this one.
    """
    split = allowed.split_backward
    may_save = pipeline.has_parts or bool(saving_blocks(pipeline, placement, split_backward=split)[1])
    with_blocks = allowed.overlap or not may_save
    parts = [*([] if split else ["with whole backwards"]), *([] if with_blocks else ["without overlapped blocks"])]
    return f" {' and '.join(parts)}" if parts else ""


def are_divided(pipeline: Pipeline, placement: Placement) -> bool:
    """Return whether the order of feeding decides which microbatches pass which way, and some of them differ."""
    return len(placement.homes) > 1 and pipeline.has_unequal_items


TWO_WAYS = (
    "microbatches: differ, and in two directions the feed decides which of them pass which way, so no bound is known; "
    "ppopt evaluate replays such a schedule as it is fed"
)


def refuse_two_ways(pipeline: Pipeline, placement: Placement) -> None:
    """Refuse searches and bounds in two directions where microbatches differ.

    Raises
    ------
    InputError
        If the order of feeding decides which of them pass which way.
    """
    if are_divided(pipeline, placement):
        raise InputError(TWO_WAYS)


def build_search_problem(
    pipeline: Pipeline, placement: Placement, *, split_backward: bool = True, overlap: bool = False
) -> Problem:
    """Write a pipeline as a problem to be searched.

    Microbatches that are alike, and in one direction, can be numbered such that every (stage, kind) takes them in
    increasing order; of those that are cut into slices, every (stage, kind, slice). Precedences impose that order here,
    and only here, among equal ones; those that differ may run in any order. If an I can be merged with its W, only the
    unmerged W's could be numbered that way, so the order of W's is left open: otherwise I1 B2 W1 would be lost.

    Of what is offloaded, only the rest counts: it is held from the forward to the backward, whatever is copied when. So
    what no order of this problem can do within the memory, no order can do with copies.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, with a settled number of stages.
    placement : Placement
        Which device holds which stage.
    split_backward : bool
        Whether backwards are I and W. A B outside blocks is then allowed as well if it is shorter than both together.
    overlap : bool
        Whether any forward may run in one block with any full backward on its device, if that saves time.

    Returns
    -------
    Problem
        Its keys are `Op`; `pipeline_actions` translates the orders that a search makes of them.
    """
    refuse_two_ways(pipeline, placement)
    plain = build_problem(pipeline, placement, split_all(placement, split_backward))
    holds = list(plain.holds) if pipeline.offload is None else kept_of_holds(pipeline, plain.holds)
    chains = _chains(pipeline, placement, "FIW" if split_backward else "FB")
    assert isinstance(plain.tasks, TaskTable)
    ops = [op for op in plain.tasks if isinstance(op, Op)]
    inputs = [op for op in ops if op.kind == "I"]
    class_of = [0] * placement.microbatches if len(pipeline.items.classes) == 1 else pipeline.items.of.tolist()
    whole = {
        (device, stage, place): in_ticks(pipeline.with_pace(cost[stage], device).backward, plain.ticks_per_unit)
        for homes in placement.homes
        for stage, device in enumerate(homes)
        for place, cost in enumerate(pipeline.costs_by_class)
    }
    merged: dict[Key, int] = {}
    for op in inputs:
        task = plain.tasks[op]
        together = whole[task.device, op.stage, class_of[op.microbatch]]
        if together < task.duration + plain.tasks[op._replace(kind="W")].duration:
            merged[op] = together
    fusing = Fusing()
    if overlap:
        halves, pairs = saving_blocks(pipeline, placement, split_backward=split_backward)
        durations = {pair: in_ticks(block_duration(pipeline, pair), plain.ticks_per_unit) for pair in sorted(pairs)}
        fusing = halves.fusing(plain.tasks, "I" if split_backward else "B", durations)
    ordered = "FBI" if fusing.seconds or merged else "FBIW"
    order = [
        (before, after, 0)
        for chain in chains
        if cast("Op", chain[0]).kind in ordered
        for before, after in pairwise(chain)
    ]
    return replace(
        plain,
        tasks=dict(plain.tasks),
        precedences=[*plain.precedences, *order],
        holds=holds,
        fusing=fusing,
        partners={op: op._replace(kind="W") for op in inputs},
        merged_durations=merged,
        chains=chains,
        repeats=not pipeline.has_unequal_items,
    )


def kept_of_holds(pipeline: Pipeline, holds: Sequence[Hold]) -> list[Hold]:
    """Return what is held of activations if all that may be offloaded is never there.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, with ``offload``.
    holds : sequence of Hold
        What operations take and return.
    """
    kept: list[Hold] = []
    for take, _, returns in holds:
        share = 1 - pipeline.side_costs[cast("Op", take).stage].share
        left = tuple((task, int(share * part)) for task, part in returns)
        if amount := sum(part for _, part in left):
            kept.append(Hold(take, amount, left))
    return kept


def build_repetition(pipeline: Pipeline, placement: Placement, allowed: Allowed, size: int) -> Repetition:
    """Write the first microbatches of a pipeline as a problem to be searched.

    Parameters
    ----------
    pipeline, placement, allowed
        As for `build_search_problem`.
    size : int
        The number of microbatches of each direction to write, less than the pipeline has.
    """
    given = placement.directions()
    few = replace(placement, microbatches=size * len(given))
    part = pipeline.model_copy(update={"microbatches": few.microbatches})
    problem = build_search_problem(part, few, **allowed._asdict())
    left = [len(microbatches) - size for microbatches, _ in given]
    direction = {microbatch: place for place, (here, _) in enumerate(few.directions()) for microbatch in here}
    return Repetition(problem, tuple(left[direction[cast("Op", chain[0]).microbatch]] for chain in problem.chains))


def _chains(pipeline: Pipeline, placement: Placement, kinds: str) -> list[list[Key]]:
    """List the tasks of each (direction, stage, kind) by microbatch, those of equal ones together."""
    return [
        [Op(stage, kind, item) for item in equal]
        for microbatches, homes in placement.directions()
        for stage in range(len(homes))
        for equal in _equal(pipeline, microbatches)
        for kind in kinds
    ]


def _equal(pipeline: Pipeline, items: range) -> list[Sequence[int]]:
    """Group items that may change places: of microbatches whose slices are alike one by one, the same slices."""
    if pipeline.entries is None:
        return [items] if items else []
    groups: dict[Hashable, list[int]] = defaultdict(list)
    given = pipeline.items
    firsts = [*np.flatnonzero(given.slice == 0).tolist(), len(given.of)]
    for first, last in pairwise(firsts):
        alike = tuple(given.of[first:last].tolist())
        for item in range(first, last):
            if item in items:
                groups[alike, item - first].append(item)
    return list(groups.values())


def numbered_in_turn(problem: Problem, orders: Orders) -> list[list[Action]]:
    """Renumber microbatches so that every (direction, stage, kind) takes them in increasing order.

    This delays nothing. If some pairing of two kinds of tasks lets each task end before its partner starts, then so
    does the pairing in order, the j-th with the j-th. A W that is merged with its I keeps the I's number; the other W's
    take the remaining numbers in order.

    Parameters
    ----------
    problem : Problem
        As `build_search_problem` returns it.
    orders : Orders
        Orders of its actions, with the microbatches in any order.
    """
    chain_of = {task: place for place, chain in enumerate(problem.chains) for task in chain}
    found: list[list[Key]] = [[] for _ in problem.chains]
    merged: dict[Key, Key] = {}
    for order in orders:
        for action in order:
            for task in tasks_of(action):
                found[chain_of[task]].append(task)
            pair = action.second if isinstance(action, Block) else action
            if isinstance(pair, Merged):
                merged[pair.first] = pair.second
    numbers: dict[Key, Key] = {}
    for chain, tasks in zip(problem.chains, found, strict=True):
        if cast("Op", chain[0]).kind != "W":
            numbers.update(zip(tasks, chain, strict=True))
    numbers.update((after, problem.partners[numbers[task]]) for task, after in merged.items())
    taken = {numbers[task] for task in merged.values()}
    for chain, tasks in zip(problem.chains, found, strict=True):
        if cast("Op", chain[0]).kind == "W":
            left = (task for task in chain if task not in taken)
            numbers.update(zip((task for task in tasks if task not in numbers), left, strict=True))
    return [[_renamed(action, numbers) for action in order] for order in orders]


def _renamed(action: Action, numbers: Mapping[Key, Key]) -> Action:
    if isinstance(action, Block):
        return Block(numbers[action.first], _renamed(action.second, numbers))
    if isinstance(action, Merged):
        return Merged(numbers[action.first], numbers[action.second])
    return numbers[action]


def pipeline_actions(orders: Sequence[Sequence[Action]]) -> list[list[PipelineAction]]:
    """Translate the orders of a search: an I merged with its W is a B, alone or in a block."""
    return [[_pipeline_action(action) for action in order] for order in orders]


def _pipeline_action(action: Action) -> PipelineAction:
    if isinstance(action, Block):
        return Block(action.first, _as_backward(action.second))
    if isinstance(action, Merged):
        return _as_backward(action)
    assert isinstance(action, Op)
    return action


def _as_backward(action: Action) -> Op:
    op = action.first if isinstance(action, Merged) else action
    assert isinstance(op, Op)
    return op._replace(kind="B")
