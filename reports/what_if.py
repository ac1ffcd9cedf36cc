"""The data that a page needs to replay schedules on other costs: the parts of their times, and the dependencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from reports.operation import operation
from solver.problem import Problem

StageParts: TypeAlias = Sequence[Sequence[tuple[int, float]]]
"""For each stage, the costs that its time consists of, by number, each with its amount."""


class CostItem(NamedTuple):
    """A cost that the reader can change.

    Attributes
    ----------
    key : str
        The configuration's key.
    place : str
        Its stage, or its kind of layers.
    label : str
        Its label.
    """

    key: str
    place: str
    label: str


class Effect(NamedTuple):
    """The effect of slightly shrinking or growing one thing on a makespan.

    Attributes
    ----------
    label : str
        The thing: a cost, all costs of a kind, the latency, or a device.
    shrinking, growing : float
        The shrinkage of the makespan if the thing shrinks by 1 %, and its growth if it grows by 1 %, as fractions of
        1 %.
    """

    label: str
    shrinking: float
    growing: float


@dataclass(frozen=True)
class Replayable:
    """A schedule that can be replayed on other costs.

    Attributes
    ----------
    parts : mapping of str to StageParts
        Keyed by the kind of operation, ``F``, ``B``, ``I``, ``W``, and ``block`` if blocks have times of their own.
    overlap : float or None
        σ, if the time of a block follows from its halves.
    waits : sequence of (str, int, str, int)
        The dependencies within a microbatch: kind and stage of the producer, then of the consumer. A result that
        crosses devices takes the latency.
    memory : mapping of str to sequence of float
        The memory that F takes on each stage when it starts, and that the other kinds return when they end, in the
        user's unit.
    static : sequence of float
        The memory that each device holds at all times.
    overhead : mapping of str to float
        The time before each kind of operation that is no work of its stage; a block has its forward's.
    paces : sequence of float
        How many times as long each device takes for the work.
    effects : sequence of Effect
        The effects of costs on its makespan, without those that have none.
    """

    parts: Mapping[str, StageParts]
    overlap: float | None
    waits: Sequence[tuple[str, int, str, int]]
    memory: Mapping[str, Sequence[float]]
    static: Sequence[float]
    overhead: Mapping[str, float]
    paces: Sequence[float]
    effects: Sequence[Effect]

    def to_dict(self) -> dict[str, Any]:
        """Write the data for the page's script."""
        return {
            "parts": self.parts,
            "overlap": self.overlap,
            "waits": self.waits,
            "memory": self.memory,
            "static": self.static,
            "overhead": self.overhead,
            "paces": self.paces,
        }


@dataclass(frozen=True)
class WhatIf:
    """The costs that the reader can change, and the schedules that can be replayed.

    Attributes
    ----------
    costs : sequence of CostItem
        The costs, which the parts of times refer to by number.
    latency : float
        The latency of a transfer.
    overhead : float
        The overhead of a forward.
    after : float
        The time that a step takes after its last operation.
    schedules : sequence of Replayable or None
        One for each schedule of the section; None for one that cannot be replayed on other costs.
    """

    costs: Sequence[CostItem]
    latency: float
    overhead: float
    after: float
    schedules: Sequence[Replayable | None]


def waits_of(problem: Problem, latency: int) -> list[tuple[str, int, str, int]] | None:
    """Return the dependencies as a rule for every microbatch.

    Parameters
    ----------
    problem : Problem
        Its tasks are (stage, kind, microbatch).
    latency : int
        The time of a result to another device, in ticks.

    Returns
    -------
    list of (str, int, str, int) or None
        Kind and stage of the producer, then of the consumer, both of the same microbatch. None if the problem does not
        have this form: it has lags that are no transfers, or a rule that does not hold for every microbatch.
    """
    rules: dict[tuple[str, int, str, int], int] = {}
    for before, after, lag in problem.precedences:
        one, other = operation(before), operation(after)
        crosses = problem.tasks[before].device != problem.tasks[after].device
        if one.microbatch != other.microbatch or lag != (latency if crosses else 0):
            return None
        rule = (one.kind, one.stage, other.kind, other.stage)
        rules[rule] = rules.get(rule, 0) + 1
    there = {operation(task) for task in problem.tasks}
    microbatches = {task.microbatch for task in there}
    for (kind, stage, other_kind, other_stage), count in rules.items():
        pairs = sum((stage, kind, each) in there and (other_stage, other_kind, each) in there for each in microbatches)
        if pairs != count:
            return None
    return list(rules)


def returns_of(problem: Problem, stages: int) -> dict[str, list[float]] | None:
    """Return the memory that F takes on each stage and that the other kinds return; None if microbatches differ."""
    amounts: dict[tuple[str, int], set[int]] = {}
    for hold in problem.holds:
        taker = operation(hold.take)
        amounts.setdefault((taker.kind, taker.stage), set()).add(hold.amount)
        for task, part in hold.returns:
            each = operation(task)
            amounts.setdefault((each.kind, each.stage), set()).add(part)
    if any(len(each) > 1 for each in amounts.values()):
        return None
    kinds = dict.fromkeys(kind for kind, _ in amounts)
    scale = problem.amounts_per_unit
    return {kind: [next(iter(amounts.get((kind, stage), {0}))) / scale for stage in range(stages)] for kind in kinds}


def strongest(effects: Sequence[Effect], count: int) -> Iterator[Effect]:
    """Yield the effects that shorten a step most."""
    yield from sorted(effects, key=lambda effect: (-effect.shrinking, -effect.growing))[:count]
