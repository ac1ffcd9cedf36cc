"""Writes a pipeline as a scheduling problem: its operations, their dependencies, and the memory that they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import chain, pairwise
from math import lcm
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from solver.errors import InputError
from solver.exact import common_scale, in_ticks
from solver.numbered import CodedOrders, Exact, HoldList, MoveTable, Numbers, PrecedenceList, TaskTable, integers
from solver.problem import Orders, Problem
from strategies.model.actions import KINDS, Op, OpNames
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.model.stage_costs import StageCosts
from strategies.model.static_memory import static_memory
from strategies.problem.fusing import Halves, PairDurations, block_scale

Splits: TypeAlias = NDArray[np.int64]
"""The stage and the microbatch of each backward that is I and W instead of B."""


def split_as_in(orders: Orders) -> Splits:
    """Split those backwards that orders split."""
    if isinstance(orders, CodedOrders) and isinstance(orders.names, OpNames):
        stage, kind, microbatch = orders.names.parts(orders.codes)
        inputs = kind == KINDS.index("I")
        return np.stack([stage[inputs], microbatch[inputs]], axis=1)
    split = [(op.stage, op.microbatch) for order in orders for op in order if isinstance(op, Op) and op.kind == "I"]
    return np.array(split, dtype=np.int64).reshape(-1, 2)


def split_all(placement: Placement, split: bool) -> Splits:
    """Split all backwards, or none."""
    return np.argwhere(np.full((len(placement.homes[0]), placement.microbatches), split))


def build_problem(pipeline: Pipeline, placement: Placement, splits: Splits) -> Problem:
    """Write a pipeline as a scheduling problem.

    F(k, s) waits for F(k, s − 1). B or I (k, s) waits for B or I (k, s + 1), at the last stage for F(k, s), and always
    for its own F. W(k, s) waits for I(k, s). A result that crosses devices arrives one hop later (`Pipeline.hop`). On
    every stage, F of a slice waits for F of the slice before, and B or I for B or I of the slice after.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, with a settled number of stages.
    placement : Placement
        Which device holds which stage.
    splits : array of int
        Which backwards are I and W.

    Returns
    -------
    Problem
        Its keys are `Op`.
    """
    halves = Halves.of(pipeline, placement)
    if pipeline.are_sliced and len(placement.homes) > 1:
        raise InputError("microbatches: are cut into slices, which all pass in one direction; found two directions")
    hops = _hops(pipeline, placement)
    costs = _costs(pipeline, placement)
    unlike = list({id(cost): cost for cost in costs}.values())
    durations = [*chain.from_iterable(hops), *(value for cost in unlike for value in cost.durations)]
    durations += pipeline.side_times
    time_scale = lcm(common_scale(durations), block_scale(pipeline, halves))
    cells = _Cells.of(pipeline, placement, splits)
    tasks = _tasks(costs, cells, time_scale)
    lags = _table(hops, time_scale, cells)
    precedences, moves = _waits(cells, tasks, lags, pipeline.items.follows)
    limits = [limit for limit in pipeline.limits if limit is not None]
    amounts = (value for cost in unlike for value in cost.amounts)
    memory_scale = common_scale([*limits, *amounts, *pipeline.side_amounts])
    static = static_memory(pipeline, placement)
    return Problem(
        devices=pipeline.devices,
        tasks=tasks,
        precedences=precedences,
        holds=_holds(costs, cells, tasks, memory_scale),
        capacities=[
            None if limit is None else in_ticks(limit - always, memory_scale)
            for limit, always in zip(pipeline.limits, static, strict=True)
        ],
        static=[in_ticks(always, memory_scale) for always in static] if any(static) else (),
        fusing=halves.fusing(tasks, "B", PairDurations(pipeline, halves, time_scale)),
        ticks_per_unit=time_scale,
        amounts_per_unit=memory_scale,
        moves=moves if pipeline.semantics == "links" else {},
    )


class _Cells(NamedTuple):
    """A cell for each microbatch and stage, microbatch by microbatch: its F, and its B or its I and W.

    Attributes
    ----------
    stage, device : array of int
        Its stage, and where that is.
    row : array of int
        The row of its costs: they are listed for each direction, stage and class of items.
    split : array of bool
        Whether its backward is I and W.
    forward : array of int
        The number of its F; B or I is the next, W that behind I.
    """

    stage: Numbers
    row: Numbers
    device: Numbers
    split: NDArray[np.bool_]
    forward: Numbers

    @classmethod
    def of(cls, pipeline: Pipeline, placement: Placement, splits: Splits) -> _Cells:
        """Lay out the cells of a placement."""
        items = pipeline.items
        microbatches, stages = placement.microbatches, len(placement.homes[0])
        ways = [len(part) for part, _ in placement.directions()]
        direction = np.repeat(np.arange(len(ways)), ways)
        split = np.zeros((stages, microbatches), dtype=np.bool_)
        known = ((splits >= 0) & (splits < (stages, microbatches))).all(axis=1)
        split[tuple(splits[known].T)] = True
        tasks = 2 + split.T.ravel()
        stage = np.tile(np.arange(stages), microbatches)
        row = np.repeat(direction, stages) * stages + stage
        if len(items.classes) > 1:
            row = row * len(items.classes) + np.repeat(items.of, stages)
        return cls(
            stage=stage,
            row=row,
            device=np.array(placement.homes, dtype=np.int64)[direction].ravel(),
            split=split.T.ravel(),
            forward=np.cumsum(tasks) - tasks,
        )


def _tasks(costs: Sequence[StageCosts], cells: _Cells, scale: int) -> TaskTable:
    stages = int(cells.stage[-1]) + 1
    names = OpNames(stages, len(cells.stage) // stages)
    whole = ~cells.split
    present = np.stack([np.ones_like(whole), whole, cells.split, cells.split], axis=1)
    cell, kind = np.nonzero(present)
    lengths = _table(_shared(costs, lambda cost: cost.durations), scale, cells)
    return TaskTable(names, np.flatnonzero(present), cells.device[cell], lengths[cells.row[cell], kind])


def _shared(
    costs: Sequence[StageCosts], values: Callable[[StageCosts], tuple[Fraction, ...]]
) -> list[tuple[Fraction, ...]]:
    """List values of costs; the same object gives the same object."""
    known = {id(cost): values(cost) for cost in {id(cost): cost for cost in costs}.values()}
    return [known[id(cost)] for cost in costs]


def _costs(pipeline: Pipeline, placement: Placement) -> list[StageCosts]:
    """List the costs of each direction, stage and class of items."""
    if pipeline.entries is None:
        return [cost for homes in placement.homes for cost in pipeline.costs_at(homes)]
    works = list(zip(*pipeline.costs_by_class, strict=True))
    known: dict[tuple[int, Fraction], StageCosts] = {}
    costs: list[StageCosts] = []
    for homes in placement.homes:
        for stage, device in enumerate(homes):
            pace = pipeline.pace(device)
            for work in works[stage]:
                if (id(work), pace) not in known:
                    known[id(work), pace] = pipeline.with_pace(work, device)
                costs.append(known[id(work), pace])
    return costs


def _hops(pipeline: Pipeline, placement: Placement) -> list[list[Fraction]]:
    """List as often the lags over the boundary behind the stage (none, F's, B's), then the time of both on links."""
    classes = pipeline.items.classes
    different = classes if pipeline.communication is not None else classes[:1]
    hops = (
        (pipeline.hop(boundary, here, there, "F", each), pipeline.hop(boundary, there, here, "B", each))
        for homes in placement.homes
        for boundary, (here, there) in enumerate(pairwise((*homes, homes[-1])))
        for each in different
    )
    rows = [[Fraction(0), one.lag, other.lag, one.transfer, other.transfer] for one, other in hops]
    return rows if len(different) == len(classes) else [row for row in rows for _ in classes]


def _table(rows: Sequence[Sequence[Fraction]], scale: int, cells: _Cells) -> Exact:
    """Write a row of values for each stage in ticks; sums over all cells fit."""
    known: dict[int, list[int]] = {}
    written: list[list[int]] = []
    for row in rows:  # alike stages share their rows
        if id(row) not in known:
            known[id(row)] = [in_ticks(value, scale) for value in row]
        written.append(known[id(row)])
    return integers(chain.from_iterable(written), len(cells.stage) * max(map(max, written))).reshape(len(written), -1)


def _waits(cells: _Cells, tasks: TaskTable, lags: Exact, follows: Numbers) -> tuple[PrecedenceList, MoveTable]:
    """List what waits for what, cell by cell, and behind that what waits between slices.

    B or I waits for its F and for B or I of the next stage, W for its I, and F of the next stage for F.
    """
    stages = int(cells.stage[-1]) + 1
    forward, backward = cells.forward, cells.forward + 1
    passes = cells.stage < stages - 1
    always = np.ones_like(passes)
    exists = np.stack([always, cells.split, passes, passes], axis=1)
    before = np.stack([forward, backward, forward, np.roll(backward, -1)], axis=1)[exists]
    after = np.stack([backward, backward + 1, np.roll(forward, -1), backward], axis=1)[exists]
    of_cell = lags[cells.row]
    lag = of_cell[:, [0, 0, 1, 2]][exists]
    moving = np.where(tasks.device[before] != tasks.device[after], of_cell[:, [0, 0, 3, 4]][exists], -1)
    if len(follows):
        here = (follows[:, np.newaxis] * stages + np.arange(stages)).ravel()
        before = np.concatenate([before, forward[here - stages], backward[here]])
        after = np.concatenate([after, forward[here], backward[here - stages]])
        none = np.zeros(2 * len(here), dtype=lag.dtype)
        lag, moving = np.concatenate([lag, none]), np.concatenate([moving, none - 1])
    precedences = PrecedenceList(tasks, before, after, lag)
    return precedences, MoveTable(tasks, precedences, moving)


def _holds(rows: Sequence[StageCosts], cells: _Cells, tasks: TaskTable, scale: int) -> HoldList:
    """List what each cell holds: from F to B, or partly to I and partly to W."""
    costs = _shared(rows, lambda cost: (cost.activation, cost.activation - cost.held_for_weight, cost.held_for_weight))
    amounts = _table(costs, scale, cells)[cells.row]
    exists = np.stack([np.ones_like(cells.split), cells.split], axis=1)
    returner = np.stack([cells.forward + 1, cells.forward + 2], axis=1)[exists]
    first = np.where(cells.split, amounts[:, 1], amounts[:, 0])
    part = np.stack([first, amounts[:, 2]], axis=1)[exists]
    return HoldList(tasks, cells.forward, amounts[:, 0], np.nonzero(exists)[0], returner, part)
