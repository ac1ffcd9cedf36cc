"""Which forwards and backwards may share an overlapped block, and how long the block lasts."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import cast

import numpy as np

from solver.exact import common_scale, in_ticks
from solver.numbered import ClassTable, TaskTable
from solver.problem import Fusing
from strategies.model.actions import KINDS, OpNames
from strategies.model.items import Items
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.model.stage_costs import StageCosts

Pair = tuple[int, int]
"""The classes of a forward and of a backward."""


@dataclass(frozen=True)
class Halves:
    """The forwards and backwards that can share a block, in classes of equal cost on devices of equal pace.

    Where items differ, each stage counts once for each class of items. Class k then stands for cell k mod n on device
    k div n, if there are n such cells: the first of their kind.

    Attributes
    ----------
    forwards, backwards : tuple of int
        For each cell, the first one whose forwards, or whose backwards, cost the same.
    alike : tuple of int
        For each device, the first one of the same pace.
    on_devices : tuple of (frozenset, frozenset)
        The classes of forwards and of backwards on each device.
    items : Items
        What runs through the pipeline.
    """

    forwards: tuple[int, ...]
    backwards: tuple[int, ...]
    alike: tuple[int, ...]
    on_devices: tuple[tuple[frozenset[int], frozenset[int]], ...]
    items: Items

    @classmethod
    def of(cls, pipeline: Pipeline, placement: Placement) -> Halves:
        """Find the possible halves in a pipeline with a settled number of stages."""
        forwards, backwards = _cell_classes(pipeline)
        several = len(pipeline.items.classes)
        alike = _classes(pipeline.pace(device) for device in range(pipeline.devices))
        on_devices: list[tuple[frozenset[int], frozenset[int]]] = []
        for device, local in enumerate(placement.local_stages):
            stages = [each.stage for each in local if each.microbatches]
            here = [stage * several + each for stage in stages for each in range(several)]
            first = alike[device] * len(forwards)
            sides = (frozenset(first + classes[cell] for cell in here) for classes in (forwards, backwards))
            on_devices.append((next(sides), next(sides)))
        return cls(forwards, backwards, alike, tuple(on_devices), pipeline.items)

    def fusing(self, tasks: TaskTable, second_kind: str, durations: Mapping[Pair, int]) -> Fusing:
        """Write which operations of a problem may share a block.

        Parameters
        ----------
        tasks : TaskTable
            The operations.
        second_kind : {"B", "I"}
            The kind of operation that is a second half.
        durations : mapping of (int, int) to int
            The duration of each pair of classes, in ticks.
        """
        names = cast("OpNames", tasks.names)
        stage, kind, item = names.parts(tasks.codes)
        several = len(self.items.classes)
        cell = stage if several == 1 else stage * several + self.items.of[item]
        halves: list[ClassTable] = []
        for side, (half, of_stages) in enumerate((("F", self.forwards), (second_kind, self.backwards))):
            here = np.full((len(self.on_devices), len(of_stages)), -1)
            for device, classes in enumerate(self.on_devices):
                first = self.alike[device] * len(of_stages)
                here[device] = [first + each if first + each in classes[side] else -1 for each in of_stages]
            halves.append(ClassTable(tasks, np.where(kind == KINDS.index(half), here[tasks.device, cell], -1)))
        return Fusing(halves[0], halves[1], durations)


class PairDurations(Mapping[Pair, int]):
    """The duration of each block that a device can run, in ticks, computed on demand.

    A device with thousands of stages has millions of pairs, of which an order uses few.

    Parameters
    ----------
    pipeline : Pipeline
        The costs.
    halves : Halves
        The possible halves.
    scale : int
        The number of ticks in one unit of time; a multiple of `block_scale`.
    """

    def __init__(self, pipeline: Pipeline, halves: Halves, scale: int) -> None:
        self.pipeline, self.halves, self.scale = pipeline, halves, scale
        self.known: dict[Pair, int] = {}

    def __getitem__(self, pair: Pair) -> int:
        if pair not in self.known:
            self.known[pair] = in_ticks(block_duration(self.pipeline, pair), self.scale)
        return self.known[pair]

    def __iter__(self) -> Iterator[Pair]:
        return iter(dict.fromkeys(pair for classes in self.halves.on_devices for pair in product(*classes)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def block_scale(pipeline: Pipeline, halves: Halves) -> int:
    """Return the least number of ticks per unit of time that makes every block, F and B a whole number of ticks.

    A block saves a fraction of its shorter half. So only halves that are the shorter one of some block matter: an F no
    longer than the longest B on its device, or a B no longer than the longest F.
    """
    if pipeline.times.overlapped_forward_backward is not None:
        paces = {pipeline.pace(device): device for device in range(pipeline.devices)}
        times = (cost.overlapped for device in paces.values() for cost in pipeline.costs_on(device))
        return common_scale(each for each in times if each is not None)
    overhead = Fraction(0) if pipeline.overhead is None else pipeline.overhead.forward
    if pipeline.block_parts is not None:
        summed = [*pipeline.block_parts.times(), *(time for cost in pipeline.work for time in cost.durations)]
        return common_scale([overhead, *(pace * time for pace in pipeline.paces for time in summed)])
    if not pipeline.overlap:  # a block lasts as long as its halves
        return common_scale([overhead, *(time for cost in _costs(pipeline) for time in cost.durations)])
    cells = _cells(pipeline)
    shorter: set[Fraction] = set()
    whole: set[Fraction] = set()
    for device, (forwards, backwards) in enumerate(halves.on_devices):
        work, pace = cells, pipeline.pace(device)
        here = [pace * work[forward % len(work)].forward for forward in forwards]
        there = [pace * work[backward % len(work)].backward for backward in backwards]
        longest_here, longest_there = max(here, default=0), max(there, default=0)
        shorter.update(each for each in here if each <= longest_there)
        shorter.update(each for each in there if each <= longest_here)
        whole.update((*here, *there))
    return common_scale([overhead, *whole, *((pipeline.overlap or 0) * each for each in shorter)])


def block_duration(pipeline: Pipeline, pair: Pair) -> Fraction:
    """Return the duration of a block by the classes of its halves, in the user's unit."""
    device, stages, classes = _pair(pipeline, pair)
    return pipeline.block_duration(*stages, device, classes)


def _costs(pipeline: Pipeline) -> Iterator[StageCosts]:
    """Yield different costs of stages on devices, without those of every class of items that are the same."""
    for pace in {pipeline.pace(device): device for device in range(pipeline.devices)}.values():
        unlike = {id(cost): cost for works in pipeline.costs_by_class for cost in works}
        yield from (pipeline.with_pace(cost, pace) for cost in unlike.values())


def _cell_classes(pipeline: Pipeline) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Name the cell of each stage and class of items by the first cell whose forwards, or backwards, cost the same."""
    if len(pipeline.items.classes) == 1:
        parts = [()] * len(pipeline.work) if pipeline.block_parts is None else pipeline.block_parts.runs
        works = list(zip(pipeline.work, parts, strict=True))
        forwards = _classes((cost.forward, cost.overlapped, runs) for cost, runs in works)
        backwards = _classes((cost.backward, cost.backward_input, cost.backward_weight, runs) for cost, runs in works)
        return forwards, backwards
    classes = _classes(id(cost) for cost in _cells(pipeline))  # alike stages share their costs
    return classes, classes


def _cells(pipeline: Pipeline) -> list[StageCosts]:
    """List the work of each stage and, there, of each class of items."""
    return [cost for stage in zip(*pipeline.costs_by_class, strict=True) for cost in stage]


def _pair(pipeline: Pipeline, pair: Pair) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """Return the device of a pair, the stages of both halves, and the classes of their items."""
    several = len(pipeline.items.classes)
    cells = several * (pipeline.stages or 0)
    (first, here), (second, there) = (divmod(half % cells, several) for half in pair)
    return pair[0] // cells, (first, second), (here, there)


def saving_blocks(pipeline: Pipeline, placement: Placement, *, split_backward: bool) -> tuple[Halves, frozenset[Pair]]:
    """Find the blocks that are shorter than their two halves in sequence, and the halves that can be in one.

    No schedule needs other blocks: their halves in sequence take no longer, hold no more, and end no later.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, with a settled number of stages.
    placement : Placement
        Which device holds which stage.
    split_backward : bool
        Whether a backward may be I and W if that is shorter than B.
    """
    halves = Halves.of(pipeline, placement)
    saving: set[Pair] = set()
    on_devices: list[tuple[frozenset[int], frozenset[int]]] = []
    for classes in halves.on_devices:
        pairs = [pair for pair in product(*classes) if _saves(pipeline, pair, split_backward=split_backward)]
        on_devices.append((frozenset(forward for forward, _ in pairs), frozenset(backward for _, backward in pairs)))
        saving.update(pairs)
    return replace(halves, on_devices=tuple(on_devices)), frozenset(saving)


def _saves(pipeline: Pipeline, pair: Pair, *, split_backward: bool) -> bool:
    device, stages, classes = _pair(pipeline, pair)
    return saves(pipeline, *stages, device, split_backward=split_backward, classes=classes)


def saves(
    pipeline: Pipeline,
    forward_stage: int,
    backward_stage: int,
    device: int,
    *,
    split_backward: bool,
    classes: tuple[int, int] | None = None,
) -> bool:
    """Return whether a block is shorter than its two halves in sequence: of items, or of the mean of all."""
    stages = (forward_stage, backward_stage)
    if classes is None:
        forward, backward = (pipeline.costs_on(device)[stage] for stage in stages)
    else:
        works = (pipeline.costs_by_class[each][stage] for each, stage in zip(classes, stages, strict=True))
        forward, backward = (pipeline.with_pace(work, device) for work in works)
    together = pipeline.block_duration(*stages, device, classes)
    return together < forward.forward + backward.least_backward(split_backward)


def _classes(values: Iterable[Hashable]) -> tuple[int, ...]:
    """Name each value by the index of its first occurrence."""
    first: dict[Hashable, int] = {}
    return tuple(first.setdefault(value, place) for place, value in enumerate(values))
