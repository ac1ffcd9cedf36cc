"""Bounds on every order if devices hold several stages, as rows that are linear in the cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from ppopt.cutting.linear_bound import Scales, least_overhead, least_totals, scales_of
from solver.deadline import check_time
from solver.exact import in_ticks
from solver.partitioning.greatest_row import Row
from solver.partitioning.problem import Limit, Run, Split, Term
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement

FORWARD, TO_INPUT, TO_WEIGHT, ACTIVATION, STATIC = range(5)
"""The attributes of an item; the times on slow devices follow, three for each further pace."""


class Part(NamedTuple):
    """The operations of one kind of a stage."""

    stage: int
    attribute: int


class End(NamedTuple):
    """A moment before, or after, all of a device's work with some exceptions.

    Attributes
    ----------
    outside : list of Part
        The operations that one microbatch must pass outside, before a first moment or after a last one.
    transfers : int
        The number of transfers between devices on that way.
    leaves_out : frozenset of Part
        The exceptions: the device's operations that may lie on the other side of the moment.
    """

    outside: list[Part]
    transfers: int
    leaves_out: frozenset[Part]


def items_of(pipeline: Pipeline, stages: int, scales: Scales, *, split_backward: bool, recompute: bool) -> list[Run]:
    """Write the layers of a model as items; glued layers are one item.

    Parameters
    ----------
    pipeline : Pipeline
        With layers.
    stages : int
        The number of stages.
    scales : Scales
        The ticks.
    split_backward : bool
        Whether backwards may be I and W.
    recompute : bool
        Whether layers may be recomputed: each cost is then the least possible.
    """
    layers = pipeline.layers
    assert layers is not None
    runs: list[Run] = []
    for kind, (first, last) in zip(layers.kinds, layers.stage_windows(stages), strict=True):
        recomputed = kind.recomputed if recompute else None
        each = least_totals(kind.costs, recomputed, scales, kind.glue, split_backward=split_backward)
        costs = [each.forward, each.to_input, each.to_weight, each.activation, each.static]
        for slowed in map(each.slowed, pipeline.paces):
            costs += [slowed.forward, slowed.to_input, slowed.to_weight]
        runs.append(Run(kind.count // kind.glue, first, last, (tuple(costs),)))
    return runs


def layers_of(pipeline: Pipeline, split: Split) -> Counts:
    """Return how many layers each stage holds, from the items of `items_of` that it holds."""
    layers = pipeline.layers
    assert layers is not None
    return tuple(sum(count * kind.glue for count, kind in zip(held, layers.kinds, strict=True)) for held in split.held)


def rows_for_any_order(
    pipeline: Pipeline, placement: Placement, *, split_backward: bool, deadline: float | None = None
) -> list[Row]:
    """List bounds of the makespan that hold for every order and every cut, linear in the stages' contents.

    A device holds the stages a₁ < … < a_v. A microbatch's operations there come in the order F(a₁) … F(a_v), I(a_v) …
    I(a₁), and W of a stage comes after its I. Choose a moment before some of the device's work:

    - the first F of a_j: a microbatch has passed all stages before a_j. All the device's work comes after this moment
      except F of a₁ … a_{j−1}, because it does so for each microbatch.
    - the first I of a_j: a microbatch has passed all forwards, and I of all stages after a_j. All the device's work
      comes after this moment except all F, and I and W of a_{j+1} … a_v.

    Choose a moment after some of it:

    - the end (if backwards are split);
    - the last I of a_j: the microbatch still has to pass I of all stages before a_j and W of stage 0. All the device's
      work comes before this moment except all W, and I of a₁ … a_{j−1}.
    - the last F of a_j: the microbatch still has to pass all forwards after a_j, all I, and W of stage 0. All the
      device's work comes before this moment except all I and W, and F of a_{j+1} … a_v.

    The work that neither moment excepts lies between them, m times, on one device. If there is any such work, the step
    takes at least as long as this work and the ways outside together. A whole backward counts as I, without W. Each
    operation counts with its overhead, and in the pace of its device.

    Parameters
    ----------
    pipeline : Pipeline
        Its latency and its microbatches.
    placement : Placement
        Which device holds which stage, in one direction.
    split_backward : bool
        Whether backwards may be I and W.
    deadline : float or None
        When to give up, on the clock of `time.perf_counter`.

    Raises
    ------
    OutOfTimeError
        If the deadline passes first.
    """
    (homes,) = placement.homes
    scales = scales_of(pipeline)
    latency, after = in_ticks(pipeline.least_lag, scales.time), in_ticks(pipeline.after, scales.time)
    least = least_overhead(pipeline, scales, split_backward=split_backward)
    overheads = {FORWARD: least.forward, TO_INPUT: least.to_input, TO_WEIGHT: least.to_weight}
    first_of_pace = [STATIC + 1 + 3 * pipeline.paces.index(pipeline.pace(device)) for device in homes]
    rows: list[Row] = []
    for device in range(placement.devices):
        held = [stage for stage, home in enumerate(homes) if home == device]
        work = frozenset(Part(stage, kind) for stage in held for kind in (FORWARD, TO_INPUT, TO_WEIGHT))
        backs = list(_backs(held, homes, split_backward=split_backward))
        for front in _fronts(held, homes):
            check_time(deadline)
            for back in backs:
                inside = work - front.leaves_out - back.leaves_out
                if not any(split_backward or part.attribute != TO_WEIGHT for part in inside):
                    continue
                counts = [(part, 1) for part in (*front.outside, *back.outside)]
                counts += [(part, placement.microbatches) for part in sorted(inside)]
                form = [Term(part.stage, first_of_pace[part.stage] + part.attribute, count) for part, count in counts]
                constant = after + sum(count * overheads[part.attribute] for part, count in counts)
                rows.append(Row(tuple(form), latency * (front.transfers + back.transfers) + constant))
    return rows


def _fronts(held: Sequence[int], homes: Sequence[int]) -> Iterator[End]:
    everything = [Part(stage, FORWARD) for stage in range(len(homes))]
    for place, stage in enumerate(held):
        before = frozenset(Part(each, FORWARD) for each in held[:place])
        yield End(everything[:stage], _crossings(homes[: stage + 1]), before)
        behind = range(stage + 1, len(homes))
        left_out = {Part(each, FORWARD) for each in held}
        left_out |= {Part(each, kind) for each in held[place + 1 :] for kind in (TO_INPUT, TO_WEIGHT)}
        outside = [*everything, *(Part(each, TO_INPUT) for each in behind)]
        yield End(outside, _crossings(homes) + _crossings(homes[stage:]), frozenset(left_out))


def _backs(held: Sequence[int], homes: Sequence[int], *, split_backward: bool) -> Iterator[End]:
    if split_backward:
        yield End([], 0, frozenset())
    weights = {Part(each, TO_WEIGHT) for each in held}
    for place, stage in enumerate(held):
        outside = [*(Part(each, TO_INPUT) for each in range(stage)), Part(0, TO_WEIGHT)]
        left_out = weights | {Part(each, TO_INPUT) for each in held[:place]}
        yield End(outside, _crossings(homes[: stage + 1]), frozenset(left_out))
        outside = [Part(each, FORWARD) for each in range(stage + 1, len(homes))]
        outside += [*(Part(each, TO_INPUT) for each in range(len(homes))), Part(0, TO_WEIGHT)]
        left_out = weights | {Part(each, TO_INPUT) for each in held}
        left_out |= {Part(each, FORWARD) for each in held[place + 1 :]}
        yield End(outside, _crossings(homes) + _crossings(homes[stage:]), frozenset(left_out))


def _crossings(homes: Sequence[int]) -> int:
    return sum(here != there for here, there in pairwise(homes))


def memory_limits(pipeline: Pipeline, placement: Placement) -> list[Limit]:
    """List the limits that every cut must keep: on each device, static memory plus one activation of every stage.

    When a microbatch reaches the last of a device's stages, the activations of the others are still held.
    """
    scale = scales_of(pipeline).memory
    limits: list[Limit] = []
    for device, limit in enumerate(pipeline.limits):
        if limit is not None:
            form = [
                Term(stage, attribute, 1)
                for stage, home in enumerate(placement.homes[0])
                if home == device
                for attribute in (ACTIVATION, STATIC)
            ]
            limits.append(Limit(tuple(form), in_ticks(limit, scale)))
    return limits
