"""Writes a model's layers and a fixed order as a partition problem, and reads the answer back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from math import gcd
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np

from solver.exact import common_scale
from solver.order_graph import between_actions, check_complete, deadlock, order_graph
from solver.partitioning.problem import LARGEST, Form, Limit, Numbers, PartitionProblem, Run, Split, Term
from solver.partitioning.splits import first_in_second
from solver.problem import Action, Block
from strategies.model.actions import Op, PipelineAction
from strategies.model.cuts import ByKind, Counts, counts_by_kind
from strategies.model.layers import LayerCosts, LayerKind, Layers
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.problem.dependencies import build_problem, split_as_in

Recompute: TypeAlias = Literal["none", "per-stage", "uniform-k"]
"""What may be recomputed: nothing; any number of layers of each stage; the same number of layers on every stage."""

TIMES = {"F": 0, "B": 1, "I": 2, "W": 3}
"""The attributes that are times, by the letter of the operation."""

ACTIVATION, HELD, STATIC = 4, 5, 6
"""The attributes that are memory."""

COMPUTING, COMMUNICATION = (7, 8), (9, 10)
"""The least that layers take of each stream in a block, in its forward and in its backward, if some layers have parts.

A layer that runs alone counts on both streams.
"""

Orders: TypeAlias = Sequence[Sequence[PipelineAction]]


@dataclass(frozen=True)
class Written:
    """A pipeline and an order as a partition problem: a row of items to split.

    Attributes
    ----------
    problem : PartitionProblem
        Its bins are stages, its runs are kinds of layers, its items are layers that stay together. If layers may be
        recomputed, single layers are the parts of the items.
    layers : Layers
        The model.
    ticks_per_unit, amounts_per_unit : int
        Ticks of the problem per unit of time, and per unit of memory.
    is_exact : bool
        Whether lengths and amounts are exact. If not, lengths are lower bounds, either because exact amounts would not
        fit 64 bits, or because the durations of blocks are no largest of some sums (`_forms`). In the first case
        amounts are rounded down and limits up, and a split that keeps the limits may in truth exceed them a little.
    """

    problem: PartitionProblem
    layers: Layers
    ticks_per_unit: int
    amounts_per_unit: int
    is_exact: bool = True

    def cut(self, split: Split) -> tuple[Counts, ByKind | None]:
        """Return how many layers each stage holds, and how many of each kind are recomputed; None if no layer is."""
        glue = [kind.glue for kind in self.layers.kinds]
        held = tuple(sum(n * size for n, size in zip(counts, glue, strict=True)) for counts in split.held)
        return held, split.second if any(map(any, split.second)) else None

    def split_of(self, layers_per_stage: Counts, recomputed: ByKind | None = None) -> Split:
        """Write a cut as a split; recomputation is adjusted to what this problem allows and requires."""
        glue = [kind.glue for kind in self.layers.kinds]
        able = [len(run.modes) > 1 for run in self.problem.runs]
        held = counts_by_kind(self.layers, layers_per_stage)
        again = recomputed or ((0,) * len(glue),) * len(held)
        split = Split(
            tuple(tuple(n // size for n, size in zip(counts, glue, strict=True)) for counts in held),
            tuple(tuple(n * can for n, can in zip(counts, able, strict=True)) for counts in again),
        )
        first = self.problem.first_in_mode
        return split if first is None else split._replace(second=first_in_second(self.problem, np.array(held), first))

    def in_units(self, ticks: int) -> Fraction:
        """Return a length in the user's unit of time."""
        return Fraction(ticks, self.ticks_per_unit)


class Ordered(NamedTuple):
    """The actions of a fixed order, each sorted after those that it waits for.

    Attributes
    ----------
    actions : list of (Op or Block)
        All of them.
    waits : list of list of (int, Fraction)
        For each action, the positions of those that it waits for, and the time until their results arrive.
    """

    actions: list[PipelineAction]
    waits: list[list[tuple[int, Fraction]]]


def sorted_actions(pipeline: Pipeline, placement: Placement, orders: Orders) -> Ordered:
    """Sort the actions of all devices.

    Parameters
    ----------
    pipeline : Pipeline
        Any of the same sizes.
    placement : Placement
        Which device holds which stage.
    orders : sequence of sequence of (Op or Block)
        The actions of each device.

    Raises
    ------
    DeadlockError
        If actions wait for each other in a cycle.
    InputError
        If the orders do not name every operation exactly once.
    """
    problem = build_problem(pipeline, placement, split_as_in(orders))
    check_complete(problem, orders)
    before: dict[Action, list[tuple[Action, Fraction]]] = {action: [] for order in orders for action in order}
    after: dict[Action, list[Action]] = {action: [] for action in before}
    lags = {lag: Fraction(lag, problem.ticks_per_unit) for _, _, lag in problem.precedences}
    in_order = ((first, second, 0) for order in orders for first, second in pairwise(order))
    for first, second, lag in chain(between_actions(problem, orders), in_order):
        before[second].append((first, lags.get(lag, Fraction(0))))
        after[first].append(second)
    missing = {action: len(waits) for action, waits in before.items()}
    found = [action for action, count in missing.items() if not count]
    for action in found:
        for other in after[action]:
            missing[other] -= 1
            if not missing[other]:
                found.append(other)
    if len(found) < len(before):
        raise deadlock(order_graph(problem, orders))
    number = {action: place for place, action in enumerate(found)}
    waits = [[(number[other], lag) for other, lag in before[action]] for action in found]
    return Ordered(cast("list[PipelineAction]", found), waits)


def write_partition(
    pipeline: Pipeline,
    placement: Placement,
    orders: Orders,
    *,
    ordered: Ordered | None = None,
    recompute: Recompute = "none",
    uniform: int | None = None,
    empty: bool = True,
) -> Written:
    """Write a pipeline of layers and a fixed order as a partition problem.

    Parameters
    ----------
    pipeline : Pipeline
        With layers; its cut does not matter, but its number of stages does.
    placement : Placement
        Which device holds which stage.
    orders : sequence of sequence of (Op or Block)
        The actions of each device.
    ordered : Ordered, optional
        The sorted actions, if known already.
    recompute : {"none", "per-stage", "uniform-k"}
        What may be recomputed.
    uniform : int or None
        With ``uniform-k``: the number of layers recomputed on every stage.
    empty : bool
        Whether stages may be empty.

    Raises
    ------
    InputError
        If pins allow no cut, or the orders are not complete.
    DeadlockError
        If actions wait for each other in a cycle.
    """
    layers = pipeline.layers
    assert layers is not None
    stages = len(placement.homes[0])
    ordered = _after_overheads(pipeline, ordered or sorted_actions(pipeline, placement, orders))
    lags = {lag for waits in ordered.waits for _, lag in waits}
    scale, memory_scale, is_exact = _scales(pipeline, layers, len(ordered.actions), lags)
    ticks = {lag: _in_ticks(lag, scale) for lag in lags}
    classes: dict[tuple[object, ...], int] = {}
    paces = {action: pipeline.pace(device) for device, order in enumerate(orders) for action in order}
    tasks = [
        classes.setdefault(() if action in (_BEGIN, _END) else (*_class_of(action), paces[action]), len(classes))
        for action in ordered.actions
    ]
    windows = layers.stage_windows(stages, empty=empty)
    again = recompute != "none" and not (recompute == "uniform-k" and uniform == 0)
    part = _part(pipeline)
    units = scale // part, memory_scale
    runs = tuple(
        _run(kind, window, units, recomputes=again, with_parts=pipeline.has_parts)
        for kind, window in zip(layers.kinds, windows, strict=True)
    )
    lengths = tuple(_forms(each, pipeline, part) for each in classes)
    blocks_are_sums = (pipeline.overlap or 0) <= 1 and not pipeline.has_parts
    is_exact = is_exact and (blocks_are_sums or not any(map(_is_block, ordered.actions)))
    groups = tuple(dict.fromkeys(tuple(sorted({stage for stage, _ in held})) for held in placement.local_stages))
    return Written(
        PartitionProblem(
            bins=stages,
            runs=runs,
            lengths=lengths,
            tasks=tasks,
            waits=[[(other, ticks[lag]) for other, lag in waits] for waits in ordered.waits],
            limits=tuple(_limits(pipeline, placement, orders, memory_scale)),
            groups=groups,
            empty=empty,
            first_in_mode=uniform if again and recompute == "uniform-k" else None,
            step=_step(runs, lengths, ticks.values()),
        ),
        layers,
        scale,
        memory_scale,
        is_exact,
    )


_BEGIN = Op(-1, "F", -1)
"""Lasts no time, and comes before whatever waits for nothing."""

_END = Op(-1, "F", -2)
"""Lasts no time, and comes after everything, with what a step takes after its last operation."""


def _after_overheads(pipeline: Pipeline, ordered: Ordered) -> Ordered:
    """Let each action start later by its overhead, which no cut changes, as part of the lags of what it waits for.

    Likewise, the end of a step comes later by what it takes after its last operation.
    """
    overheads = pipeline.overheads
    if not any(overheads.values()) and not pipeline.after:
        return ordered
    waits: list[list[tuple[int, Fraction]]] = [[]]
    for action, given in zip(ordered.actions, ordered.waits, strict=True):
        overhead = overheads["F" if isinstance(action, Block) else action.kind]
        waits.append([(other + 1, lag + overhead) for other, lag in given] or [(0, overhead)])
    waited_for = {other for given in waits for other, _ in given}
    waits.append([(last, pipeline.after) for last in range(len(waits)) if last not in waited_for])
    return Ordered([_BEGIN, *ordered.actions, _END], waits)


def _part(pipeline: Pipeline) -> int:
    """Return a number of which σ and every pace are whole multiples, together, of one divided by it."""
    return (pipeline.overlap or Fraction(0)).denominator * common_scale(pipeline.paces)


def _scales(pipeline: Pipeline, layers: Layers, actions: int, lags: Iterable[Fraction]) -> tuple[int, int, bool]:
    """Choose the ticks per unit of time and of memory; all amounts are whole if that fits 64 bits."""
    times = [*lags, *(value for costs in all_costs(layers) for value in costs[:4])]
    times += [time for kind in layers.kinds if kind.parts is not None for time in kind.parts.sums]
    limits = [limit for limit in pipeline.limits if limit is not None]
    amounts = [*limits, *(value for costs in all_costs(layers) for value in costs[4:])]
    part = _part(pipeline)
    most_times = int(max(times) * pipeline.paces[-1] * (layers.total + 1) * actions) + 1
    most_amounts = int(max(amounts) * layers.total * (pipeline.microbatches + 1) * 4) + 1
    scale, memory_scale = common_scale(times) * part, common_scale(amounts)
    coarse = max(1, LARGEST // (most_times * part * 4)) * part, max(1, LARGEST // most_amounts)
    is_exact = scale <= coarse[0] and memory_scale <= coarse[1]
    return min(scale, coarse[0]), min(memory_scale, coarse[1]), is_exact


def _in_ticks(value: Fraction, scale: int) -> int:
    return value.numerator * scale // value.denominator


def all_costs(layers: Layers) -> list[LayerCosts]:
    """List the costs of each kind of layers, without and with recomputation."""
    both = [(kind.costs, kind.recomputed) for kind in layers.kinds]
    return [costs for pair in both for costs in pair if costs is not None]


def _amounts(costs: LayerCosts, ticks: int, units: int) -> tuple[int, ...]:
    return (
        *(_in_ticks(value, ticks) for value in costs[:4]),
        *(_in_ticks(value, units) for value in (costs.activation, costs.held_for_weight, costs.static)),
    )


def _least_of_streams(kind: LayerKind, costs: LayerCosts, glue: int, ticks: int) -> tuple[int, ...]:
    """Write the least that layers of a kind take of each stream in a block: their parts, or alone."""
    alone = costs.forward, costs.backward
    each = (alone, alone)
    if kind.parts is not None:
        each = kind.parts.computing, kind.parts.communication
    return tuple(
        _in_ticks(glue * min(part, whole), ticks) for parts in each for part, whole in zip(parts, alone, strict=True)
    )


def _run(
    kind: LayerKind, window: tuple[int, int], units: tuple[int, int], *, recomputes: bool, with_parts: bool
) -> Run:
    """Write a row of layers: glued layers are one item; single layers of it may be recomputed."""
    single = recomputes and kind.recomputed is not None
    glue = 1 if single else kind.glue
    each = [kind.costs, *([kind.recomputed] if single and kind.recomputed is not None else [])]
    modes = tuple(
        _amounts(costs.times(glue), *units) + (_least_of_streams(kind, costs, glue, units[0]) if with_parts else ())
        for costs in each
    )
    return Run(kind.count // kind.glue, *window, modes, parts=kind.glue if single else 1)


def _is_block(action: PipelineAction) -> bool:
    return isinstance(action, Block)


def _class_of(action: PipelineAction) -> tuple[object, ...]:
    """Return the key of an action's duration: its kind and stage, or those of both halves of a block."""
    if isinstance(action, Block):
        first, second = action.first, action.second
        assert isinstance(first, Op)
        assert isinstance(second, Op)
        return first.stage, second.stage
    return action.kind, action.stage


def _forms(named: tuple[object, ...], pipeline: Pipeline, part: int) -> tuple[Form, ...]:
    """Write the duration of a class of actions without its overhead, in ticks of which ``part`` are one of a time.

    A block lasts F + B − σ · min(F, B), which is the larger of F + (1 − σ) B and (1 − σ) F + B; with σ > 1 at least
    (2 − σ) · max(F, B). A block of layers with parts lasts at least as long as each of its streams is busy, where a
    layer that runs alone keeps both. All of it takes as many times as long as its device does.
    """
    if not named:
        return ((),)
    first, second, pace = named
    assert isinstance(pace, Fraction)
    overlap = pipeline.overlap or Fraction(0)
    whole, less = int(part * pace), int(part * pace * (1 - overlap))
    if isinstance(first, str):
        assert isinstance(second, int)
        return ((Term(second, TIMES[first], whole),),)
    assert isinstance(first, int)
    assert isinstance(second, int)
    if pipeline.has_parts:
        streams = (COMPUTING, COMMUNICATION)
        return tuple((Term(first, here, whole), Term(second, there, whole)) for here, there in streams)
    if overlap > 1:
        return tuple((Term(*half, whole + less),) for half in ((first, TIMES["F"]), (second, TIMES["B"])))
    factors = [(whole, less), (less, whole)] if overlap else [(whole, whole)]
    return tuple(
        (Term(first, TIMES["F"], forward), Term(second, TIMES["B"], backward)) for forward, backward in factors
    )


def _step(runs: tuple[Run, ...], lengths: tuple[tuple[Form, ...], ...], lags: Iterable[int]) -> int:
    """Return a number that divides every length and lag."""
    used = {(term.attribute, term.factor) for forms in lengths for form in forms for term in form}
    values = [factor * amounts[attribute] for attribute, factor in used for run in runs for amounts in run.modes]
    return max(1, gcd(*lags, *values))


def _limits(pipeline: Pipeline, placement: Placement, orders: Orders, scale: int) -> list[Limit]:
    """Write the limit of each device for each moment at which it may hold the most.

    After each action, the order alone determines how many activations of each stage a device holds, and how many parts
    that wait for W. If one moment holds no more of anything than another does, only the other needs a limit.
    """
    found: list[Limit] = []
    for device, limit in enumerate(pipeline.limits):
        if limit is None:
            continue
        stages = [stage for stage, _ in placement.local_stages[device]]
        static = tuple(Term(stage, STATIC, stages.count(stage)) for stage in dict.fromkeys(stages))
        most = -_in_ticks(-limit, scale)
        for moment in most_held(orders[device], len(placement.homes[0])):
            held = tuple(Term(*key, count) for key, count in moment.items())
            found.append(Limit(held + static, most, device))
    return found


def most_held(order: Sequence[PipelineAction], stages: int) -> list[dict[tuple[int, int], int]]:
    """List the amounts that a device holds, by (stage, attribute), at each moment at which it may hold the most."""
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
    """Drop vectors that are nowhere larger than another."""
    kept: list[Numbers] = []
    for vector in vectors[np.argsort(-vectors.sum(axis=1), kind="stable")]:
        if not any((vector <= other).all() for other in kept):
            kept.append(vector)
    return kept
