"""What a page needs to replay schedules on other costs: what their times are made of, and what waits for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from reports.operation import operation
from solver.problem import Problem

StageParts: TypeAlias = Sequence[Sequence[tuple[int, float]]]
"""For each stage the costs, by number, that its time is made of, each with its amount."""


class CostItem(NamedTuple):
    """A cost that can be changed.

    Attributes
    ----------
    key : str
        The configuration's key.
    place : str
        Of which stage, or of which kind of layers.
    label : str
        What it is called.
    """

    key: str
    place: str
    label: str


class Effect(NamedTuple):
    """What a little less, or more, of one thing does to a makespan.

    Attributes
    ----------
    label : str
        Of what: a cost, all costs of a kind, the latency, or a device.
    shrinking, growing : float
        By which part of 1 % the makespan shrinks where it shrinks by 1 %, and grows where it grows.
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
        By the kind of operation, ``F``, ``B``, ``I``, ``W``, and ``block`` where blocks have times of their own.
    overlap : float or None
        σ, where the time of a block follows from its halves.
    waits : sequence of (str, int, str, int)
        What waits for what of the same microbatch: kind and stage of both. What crosses devices takes the latency.
    memory : mapping of str to sequence of float
        What F takes on each stage when it starts, and what the other kinds return when they end, in the user's unit.
    static : sequence of float
        What each device holds at all times.
    effects : sequence of Effect
        What each cost does to its makespan; those that do nothing left out.
    """

    parts: Mapping[str, StageParts]
    overlap: float | None
    waits: Sequence[tuple[str, int, str, int]]
    memory: Mapping[str, Sequence[float]]
    static: Sequence[float]
    effects: Sequence[Effect]

    def to_dict(self) -> dict[str, Any]:
        """Write what the page's script needs."""
        return {
            "parts": self.parts,
            "overlap": self.overlap,
            "waits": self.waits,
            "memory": self.memory,
            "static": self.static,
        }


@dataclass(frozen=True)
class WhatIf:
    """What can be changed, and the schedules that follow.

    Attributes
    ----------
    costs : sequence of CostItem
        What the parts of times name by number.
    latency : float
        Of a transfer.
    schedules : sequence of Replayable or None
        One for each schedule of the section; None for one that cannot be replayed on other costs.
    """

    costs: Sequence[CostItem]
    latency: float
    schedules: Sequence[Replayable | None]


def waits_of(problem: Problem, latency: int) -> list[tuple[str, int, str, int]] | None:
    """Sum up what waits for what, as a rule for every microbatch.

    Parameters
    ----------
    problem : Problem
        Its tasks are (stage, kind, microbatch).
    latency : int
        How long a result takes to another device, in ticks.

    Returns
    -------
    list of (str, int, str, int) or None
        Kind and stage of what is waited for, and of what waits, all of the same microbatch. None where the problem is
        not of this form: lags that are no transfers, or a rule that does not hold for every microbatch.
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
    """Sum up what F takes on each stage and what the others return; None where microbatches differ."""
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
    """List the effects that shorten a step most."""
    yield from sorted(effects, key=lambda effect: (-effect.shrinking, -effect.growing))[:count]
