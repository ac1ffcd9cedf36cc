"""Writes a pipeline as a scheduling problem: its operations, their dependencies, and the memory that they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from math import lcm
from typing import NamedTuple

from solver.exact import common_scale, in_ticks
from solver.problem import Hold, Key, Precedence, Problem, Task
from strategies.model.actions import Op, PipelineAction
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.model.static_memory import static_memory
from strategies.problem.fusing import Halves, PairDurations, block_scale

Splits = Callable[[int, int], bool]
"""``splits(stage, microbatch)`` says whether that backward is I and W instead of B."""


def split_as_in(orders: Iterable[Iterable[PipelineAction]]) -> Splits:
    """Split the backwards that the orders split."""
    split = {(op.stage, op.microbatch) for order in orders for op in order if isinstance(op, Op) and op.kind == "I"}
    return lambda stage, microbatch: (stage, microbatch) in split


def build_problem(pipeline: Pipeline, placement: Placement, splits: Splits) -> Problem:
    """Write a pipeline as a scheduling problem.

    F(k, s) waits for F(k, s − 1). B or I (k, s) waits for B or I (k, s + 1), at the last stage for F(k, s), and always
    for its own F. W(k, s) waits for I(k, s). A result that crosses devices arrives one hop later (`Pipeline.hop`).

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, with a settled number of stages.
    placement : Placement
        Which device holds which stage.
    splits : callable
        Says which backwards are I and W.

    Returns
    -------
    Problem
        Its keys are `Op`.
    """
    halves = Halves.of(pipeline, placement)
    hops = (part for homes in placement.homes for hop in pipeline.hops(homes) for part in hop)
    durations = [*hops, *(value for cost in pipeline.costs for value in cost.durations)]
    time_scale = lcm(common_scale(durations), block_scale(pipeline, halves))
    tasks: dict[Key, Task] = {}
    precedences: list[Precedence] = []
    moves: dict[tuple[Key, Key], int] = {}
    for microbatches, homes in placement.directions():
        kinds = _tasks_by_kind(pipeline, homes, time_scale)
        lags = [_Lags.of(pipeline, boundary, pair, time_scale) for boundary, pair in enumerate(pairwise(homes))]
        for microbatch in microbatches:
            ops = _ops_of(microbatch, len(homes), splits)
            tasks.update((op, kinds[op.kind][op.stage]) for stage in ops for op in stage)
            precedences += _waits(ops, lags)
            if pipeline.semantics == "links":
                moves.update(_moves(ops, lags, homes))
    limits = [limit for limit in pipeline.limits if limit is not None]
    memory_scale = common_scale([*limits, *(value for cost in pipeline.costs for value in cost.amounts)])
    static = static_memory(pipeline, placement)
    return Problem(
        devices=pipeline.devices,
        tasks=tasks,
        precedences=precedences,
        holds=_holds(pipeline, splits, memory_scale),
        capacities=[
            None if limit is None else in_ticks(limit - always, memory_scale)
            for limit, always in zip(pipeline.limits, static, strict=True)
        ],
        static=[in_ticks(always, memory_scale) for always in static] if any(static) else (),
        fusing=halves.fusing(tasks, "B", PairDurations(pipeline, halves, time_scale)),
        ticks_per_unit=time_scale,
        amounts_per_unit=memory_scale,
        moves=moves,
    )


class _Lags(NamedTuple):
    """The lags of results over a boundary, and their times on its links, in ticks."""

    forward: int
    backward: int
    forward_moves: int
    backward_moves: int

    @classmethod
    def of(cls, pipeline: Pipeline, boundary: int, pair: tuple[int, int], scale: int) -> _Lags:
        """Convert the two hops over a boundary to ticks."""
        here, there = pair
        forward, backward = pipeline.hop(boundary, here, there, "F"), pipeline.hop(boundary, there, here, "B")
        return cls(*(in_ticks(value, scale) for value in (forward.lag, backward.lag, forward[0], backward[0])))


def _moves(
    ops: Sequence[tuple[Op, ...]], lags: Sequence[_Lags], homes: Sequence[int]
) -> Iterator[tuple[tuple[Key, Key], int]]:
    for here, there, lag, (one, other) in zip(ops, ops[1:], lags, pairwise(homes), strict=False):
        if one != other:
            yield (here[0], there[0]), lag.forward_moves
            yield (there[1], here[1]), lag.backward_moves


def _tasks_by_kind(pipeline: Pipeline, homes: Sequence[int], scale: int) -> dict[str, list[Task]]:
    """Make the tasks of each kind and stage, which all microbatches share."""
    columns = {"F": "forward", "B": "backward", "I": "backward_input", "W": "backward_weight"}
    return {
        kind: [
            Task(home, in_ticks(getattr(cost, column), scale)) for home, cost in zip(homes, pipeline.costs, strict=True)
        ]
        for kind, column in columns.items()
    }


def _ops_of(microbatch: int, stages: int, splits: Splits) -> list[tuple[Op, ...]]:
    """List the operations of one microbatch, stage by stage: (F, B) or (F, I, W)."""
    return [
        tuple(Op(stage, kind, microbatch) for kind in ("FIW" if splits(stage, microbatch) else "FB"))
        for stage in range(stages)
    ]


def _waits(ops: Sequence[tuple[Op, ...]], lags: Sequence[_Lags]) -> Iterator[Precedence]:
    for stage, here in enumerate(ops):
        yield here[0], here[1], 0
        if len(here) == 3:
            yield here[1], here[2], 0
        if stage + 1 < len(ops):
            there, lag = ops[stage + 1], lags[stage]
            yield here[0], there[0], lag.forward
            yield there[1], here[1], lag.backward


def _holds(pipeline: Pipeline, splits: Splits, scale: int) -> list[Hold]:
    """List the memory that each stage and microbatch holds: from F to B, or partly to I and partly to W."""
    amounts = [in_ticks(cost.activation, scale) for cost in pipeline.costs]
    held = [in_ticks(cost.held_for_weight, scale) for cost in pipeline.costs]
    holds: list[Hold] = []
    for microbatch in range(pipeline.microbatches):
        for stage, amount in enumerate(amounts):
            returns: tuple[tuple[Key, int], ...] = ((Op(stage, "B", microbatch), amount),)
            if splits(stage, microbatch):
                to_weight = (Op(stage, "W", microbatch), held[stage])
                returns = ((Op(stage, "I", microbatch), amount - held[stage]), to_weight)
            holds.append(Hold(Op(stage, "F", microbatch), amount, returns))
    return holds
