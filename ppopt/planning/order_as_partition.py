"""A model's layers and a fixed order, written as the splitting of a row of items, and the answer read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Literal, TypeAlias

import numpy as np

from solver.errors import DeadlockError
from solver.exact import common_scale, in_ticks
from solver.order_graph import between_actions, check_complete, deadlock, order_graph
from solver.partitioning.problem import Form, Limit, PartitionProblem, Run, Split, Term
from solver.problem import Action, Block, Problem
from strategies.actions import Op, PipelineAction
from strategies.cuts import ByKind, Counts
from strategies.dependencies import build_problem, split_as_in
from strategies.layers import LayerCosts, Layers
from strategies.pipeline import Pipeline
from strategies.placements import Placement

Recompute: TypeAlias = Literal["none", "per-stage", "uniform-k"]
"""What may be recomputed: nothing; any number of layers of each stage; the same number of layers of every stage."""

TIMES = {"F": 0, "B": 1, "I": 2, "W": 3}
"""The attributes that are times, by the letter of the operation."""

ACTIVATION, HELD, STATIC = 4, 5, 6
"""The attributes that are memory."""

Orders: TypeAlias = Sequence[Sequence[PipelineAction]]


@dataclass(frozen=True)
class Written:
    """A pipeline and an order as the splitting of a row of items.

    Attributes
    ----------
    problem : PartitionProblem
        Its bins are stages, its runs are kinds of layers, its items are layers that stay together.
    layers : Layers
        The model.
    ticks_per_unit : int
        How many ticks of the problem make one unit of time.
    """

    problem: PartitionProblem
    layers: Layers
    ticks_per_unit: int

    def cut(self, split: Split) -> tuple[Counts, ByKind | None]:
        """Return how many layers each stage holds, and how many of each kind are recomputed; None for no layer."""
        glue = [kind.glue for kind in self.layers.kinds]
        held = tuple(sum(n * size for n, size in zip(counts, glue, strict=True)) for counts in split.held)
        again = tuple(tuple(n * size for n, size in zip(counts, glue, strict=True)) for counts in split.second)
        return held, again if any(map(any, again)) else None

    def in_units(self, ticks: int) -> Fraction:
        """Return a length in the user's unit of time."""
        return Fraction(ticks, self.ticks_per_unit)


class OrderedActions:
    """The actions of a fixed order, sorted such that none comes before what it waits for.

    Parameters
    ----------
    problem : Problem
        Any pipeline of the same sizes as a scheduling problem.
    orders : sequence of sequence of (Op or Block)
        The actions of each device.

    Attributes
    ----------
    actions : list of (Op or Block)
        All of them.
    waits : list of list of (int, bool)
        For each, the places of what it waits for, and whether the result comes from another device.

    Raises
    ------
    DeadlockError
        If actions wait for each other in a circle.
    InputError
        If the orders do not name every operation exactly once.
    """

    def __init__(self, problem: Problem, placement: Placement, orders: Orders) -> None:
        check_complete(problem, orders)
        self.actions, self.waits = _sorted(problem, placement, orders)


def _sorted(
    problem: Problem, placement: Placement, orders: Orders
) -> tuple[list[PipelineAction], list[list[tuple[int, bool]]]]:
    before: dict[Action, list[tuple[Action, bool]]] = {action: [] for order in orders for action in order}
    after: dict[Action, list[Action]] = {action: [] for action in before}
    device = {action: number for number, order in enumerate(orders) for action in order}
    for first, second, _ in between_actions(problem, orders):
        before[second].append((first, device[first] != device[second]))
        after[first].append(second)
    for order in orders:
        for first, second in zip(order, order[1:], strict=False):
            before[second].append((first, False))
            after[first].append(second)
    missing = {action: len(waits) for action, waits in before.items()}
    found = [action for action, count in missing.items() if not count]
    for action in found:
        for other in after[action]:
            missing[other] -= 1
            if not missing[other]:
                found.append(other)
    if len(found) < len(before):
        error: DeadlockError = deadlock(order_graph(problem, orders))
        raise error
    number = {action: place for place, action in enumerate(found)}
    return found, [[(number[other], far) for other, far in before[action]] for action in found]  # type: ignore[misc]


def write_partition(
    pipeline: Pipeline,
    placement: Placement,
    orders: Orders,
    *,
    recompute: Recompute = "none",
    uniform: int | None = None,
    empty: bool = True,
) -> Written:
    """Write a pipeline of layers and a fixed order as the splitting of a row of items.

    Parameters
    ----------
    pipeline : Pipeline
        With layers; its cut does not matter, but its number of stages does.
    placement : Placement
        Which device holds which stage.
    orders : sequence of sequence of (Op or Block)
        The actions of each device.
    recompute : {"none", "per-stage", "uniform-k"}
        What may be recomputed.
    uniform : int or None
        With ``uniform-k``: how many layers of every stage.
    empty : bool
        Whether stages may be empty.

    Raises
    ------
    InputError
        If pins allow no cut, or the orders are not complete.
    DeadlockError
        If actions wait for each other in a circle.
    """
    layers = pipeline.layers
    assert layers is not None
    stages = len(placement.homes[0])
    overlap = pipeline.overlap or Fraction(0)
    scale = time_scale(layers, pipeline.p2p_latency) * overlap.denominator
    memory_scale = _memory_scale(layers, pipeline)
    ordered = OrderedActions(build_problem(pipeline, placement, split_as_in(orders)), placement, orders)
    latency = in_ticks(pipeline.p2p_latency, scale)
    classes: dict[tuple[object, ...], int] = {}
    tasks = [classes.setdefault(_class_of(action), len(classes)) for action in ordered.actions]
    windows = layers.stage_windows(stages, empty=empty)
    again = recompute != "none" and not (recompute == "uniform-k" and uniform == 0)
    runs = tuple(
        Run(
            kind.count // kind.glue,
            *window,
            tuple(
                _amounts(costs.times(kind.glue), scale // overlap.denominator, memory_scale)
                for costs in (kind.costs, *([kind.recomputed] if again and kind.recomputed is not None else []))
            ),
        )
        for kind, window in zip(layers.kinds, windows, strict=True)
    )
    lengths = tuple(_forms(each, overlap) for each in classes)
    groups = tuple(dict.fromkeys(tuple(sorted({stage for stage, _ in held})) for held in placement.local_stages))
    return Written(
        PartitionProblem(
            bins=stages,
            runs=runs,
            lengths=lengths,
            tasks=tasks,
            waits=[[(other, latency if far else 0) for other, far in waits] for waits in ordered.waits],
            limits=tuple(_limits(pipeline, placement, orders, memory_scale)),
            groups=groups,
            empty=empty,
            first_in_mode=uniform if again and recompute == "uniform-k" else None,
            step=_step(runs, lengths, latency),
        ),
        layers,
        scale,
    )


def time_scale(layers: Layers, latency: Fraction) -> int:
    """Return how many ticks to a unit of time make all durations of single layers whole."""
    return common_scale([latency, *(value for costs in _all_costs(layers) for value in costs[:4])])


def _memory_scale(layers: Layers, pipeline: Pipeline) -> int:
    limits = [limit for limit in pipeline.limits if limit is not None]
    return common_scale([*limits, *(value for costs in _all_costs(layers) for value in costs[4:])])


def _all_costs(layers: Layers) -> list[LayerCosts]:
    both = [(kind.costs, kind.recomputed) for kind in layers.kinds]
    return [costs for pair in both for costs in pair if costs is not None]


def _amounts(costs: LayerCosts, ticks: int, units: int) -> tuple[int, ...]:
    return (
        *(in_ticks(value, ticks) for value in costs[:4]),
        *(in_ticks(value, units) for value in (costs.activation, costs.held_for_weight, costs.static)),
    )


def _class_of(action: PipelineAction) -> tuple[object, ...]:
    """Name what an action lasts by: its kind and stage, or those of both halves of a block."""
    if isinstance(action, Block):
        first, second = action.first, action.second
        assert isinstance(first, Op)
        assert isinstance(second, Op)
        return first.stage, second.stage
    return action.kind, action.stage


def _forms(named: tuple[object, ...], overlap: Fraction) -> tuple[Form, ...]:
    """Write how long a class of actions lasts; in ticks that are so much finer that σ of a duration is whole.

    A block lasts F + B − σ · min(F, B), which is the larger of F + (1 − σ) B and (1 − σ) F + B.
    """
    whole, part = overlap.denominator, overlap.denominator - overlap.numerator
    first, second = named
    if isinstance(first, str):
        assert isinstance(second, int)
        return ((Term(second, TIMES[first], whole),),)
    assert isinstance(first, int)
    assert isinstance(second, int)
    factors = [(whole, part), (part, whole)] if overlap else [(whole, whole)]
    return tuple(
        (Term(first, TIMES["F"], forward), Term(second, TIMES["B"], backward)) for forward, backward in factors
    )


def _step(runs: tuple[Run, ...], lengths: tuple[tuple[Form, ...], ...], latency: int) -> int:
    """Return a number that divides every length and lag."""
    used = {(term.attribute, term.factor) for forms in lengths for form in forms for term in form}
    values = [factor * amounts[attribute] for attribute, factor in used for run in runs for amounts in run.modes]
    return max(1, gcd(latency, *values))


def _limits(pipeline: Pipeline, placement: Placement, orders: Orders, scale: int) -> list[Limit]:
    """Write the limit of each device for each moment at which it may hold most.

    What a device holds when an action has taken its memory follows from its order alone: so many activations of each
    stage, and so many parts that wait for W. Of two moments of which one holds no more of anything, the other is enough.
    """
    found: list[Limit] = []
    for device, limit in enumerate(pipeline.limits):
        if limit is None:
            continue
        stages = [stage for stage, _ in placement.local_stages[device]]
        static = tuple(Term(stage, STATIC, stages.count(stage)) for stage in dict.fromkeys(stages))
        most = in_ticks(limit, scale)
        for moment in most_held(orders[device], len(placement.homes[0])):
            held = tuple(Term(*key, count) for key, count in moment.items())
            found.append(Limit(held + static, most, device))
    return found


def most_held(order: Sequence[PipelineAction], stages: int) -> list[dict[tuple[int, int], int]]:
    """List what a device holds at the moments at which it may hold most, by (stage, attribute)."""
    held = np.zeros(2 * stages, dtype=np.int64)
    seen: dict[bytes, None] = {}
    for action in order:
        halves = action if isinstance(action, Block) else (action,)
        for op in halves:
            assert isinstance(op, Op)
            if op.kind == "F":
                held[op.stage] += 1
                seen[held.tobytes()] = None
        for op in halves:
            assert isinstance(op, Op)
            if op.kind in "BI":
                held[op.stage] -= 1
            if op.kind in "IW":
                held[stages + op.stage] += 1 if op.kind == "I" else -1
    return [
        {
            (place % stages, ACTIVATION if place < stages else HELD): count
            for place, count in enumerate(vector.tolist())
            if count
        }
        for vector in _largest(np.array([np.frombuffer(each, dtype=np.int64) for each in seen]))
    ]


def _largest(
    vectors: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Leave out vectors that are nowhere larger than another."""
    kept: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = []
    for vector in vectors[np.argsort(-vectors.sum(axis=1), kind="stable")]:
        if not any((vector <= other).all() for other in kept):
            kept.append(vector)
    return kept
