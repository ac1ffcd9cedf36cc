"""Replays an order by docs/reference/semantics.md alone: times, memory, and links that take results one by one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from tests.pairs.costs import Costs

Task = tuple[int, str, int]
"""A stage, a kind (F, B, I or W), and a microbatch."""

Action = tuple[Task, ...]
"""One task, or a forward and a backward in one block."""

_TASK = re.compile(r"(\d+)([FBIW])(\d+)")


class Replayed(NamedTuple):
    """The times of every task, and the peak memory of every device."""

    starts: dict[Task, Fraction]
    ends: dict[Task, Fraction]
    peaks: list[Fraction]
    after: Fraction

    @property
    def makespan(self) -> Fraction:
        return max(self.ends.values()) - min(self.starts.values()) + self.after


class NotAnOrderError(Exception):
    """The order lacks a task, has one twice or on the wrong device, or deadlocks."""


def read_orders(texts: Sequence[Sequence[str]]) -> list[list[Action]]:
    """Read the actions of each device."""
    return [
        [tuple((int(task[1]), task[2], int(task[3])) for task in _TASK.finditer(text)) for text in order]
        for order in texts
    ]


def replay(costs: Costs, orders: Sequence[Sequence[Action]]) -> Replayed:
    """Start every action as early as the rules allow.

    Raises
    ------
    NotAnOrderError
        If the actions are no order that can run.
    """
    home = _homes(costs, orders)
    starts: dict[Task, Fraction] = {}
    ends: dict[Task, Fraction] = {}
    arrivals: dict[Task, Fraction] = {}
    free = [Fraction(0)] * len(orders)
    links: dict[tuple[int, int], Fraction] = defaultdict(Fraction)
    done = [0] * len(orders)
    while any(count < len(order) for count, order in zip(done, orders, strict=True)):
        before = list(done)
        for device, order in enumerate(orders):
            while done[device] < len(order):
                action = order[done[device]]
                inputs = [_input(costs, home, arrivals, ends, task) for task in action]
                if any(each is None for each in inputs):
                    break
                start = max([free[device], *(each for each in inputs if each is not None)])
                free[device] = start + _duration(costs, action, device)
                for task in action:
                    starts[task], ends[task] = start, free[device]
                    _send(costs, home, links, arrivals, task, free[device])
                done[device] += 1
        if before == done:
            raise NotAnOrderError(f"deadlock at {done}")
    return Replayed(starts, ends, _peaks(costs, orders, home, starts, ends), costs.after)


def _homes(costs: Costs, orders: Sequence[Sequence[Action]]) -> dict[tuple[int, int], int]:
    home: dict[tuple[int, int], int] = {}
    kinds: dict[tuple[int, int], list[str]] = defaultdict(list)
    for device, order in enumerate(orders):
        for action in order:
            for stage, kind, microbatch in action:
                if home.setdefault((stage, microbatch), device) != device:
                    raise NotAnOrderError(f"stage {stage}, microbatch {microbatch} is on two devices")
                kinds[stage, microbatch].append(kind)
    every = {(stage, k) for stage in range(len(costs.stages)) for k in range(costs.microbatches)}
    wrong = [key for key in every if sorted(kinds[key]) not in (["B", "F"], ["F", "I", "W"])]
    if wrong or set(kinds) != every:
        raise NotAnOrderError(f"lacks or repeats tasks of {wrong or set(kinds) - every}")
    return home


def _input(
    costs: Costs,
    home: dict[tuple[int, int], int],
    arrivals: dict[Task, Fraction],
    ends: dict[Task, Fraction],
    task: Task,
) -> Fraction | None:
    """Return the arrival of a task's inputs; None if their producers have not run yet."""
    stage, kind, microbatch = task
    if kind == "W":
        return ends.get((stage, "I", microbatch))
    if kind == "F":
        return Fraction(0) if stage == 0 else arrivals.get((stage, "F", microbatch))
    own = ends.get((stage, "F", microbatch))
    if own is None or stage == len(costs.stages) - 1:
        return own
    from_next = arrivals.get((stage, "B", microbatch))
    return None if from_next is None else max(own, from_next)


def _duration(costs: Costs, action: Action, device: int) -> Fraction:
    if len(action) == 2:
        forward, backward = sorted(action, key=lambda task: task[1] != "F")
        return costs.block(forward[0], backward[0], device)
    stage, kind, _ = action[0]
    return costs.lasts(kind, stage, device)


def _send(
    costs: Costs,
    home: dict[tuple[int, int], int],
    links: dict[tuple[int, int], Fraction],
    arrivals: dict[Task, Fraction],
    task: Task,
    end: Fraction,
) -> None:
    """Record when a result arrives; a device produces its results, and puts them on a link, in its own order."""
    stage, kind, microbatch = task
    other = stage + (1 if kind == "F" else -1)
    if kind == "W" or not 0 <= other < len(costs.stages):
        return
    source, destination = home[stage, microbatch], home[other, microbatch]
    consumer = (other, "F" if kind == "F" else "B", microbatch)
    if source == destination:
        arrivals[consumer] = end
        return
    hop = costs.hops[min(stage, other)]
    begins = max(end, links[source, destination]) if costs.links else end
    links[source, destination] = begins + hop.moving
    arrivals[consumer] = begins + hop.moving + hop.latency


def _peaks(
    costs: Costs,
    orders: Sequence[Sequence[Action]],
    home: dict[tuple[int, int], int],
    starts: dict[Task, Fraction],
    ends: dict[Task, Fraction],
) -> list[Fraction]:
    peaks: list[Fraction] = []
    for device, order in enumerate(orders):
        changes: list[tuple[Fraction, Fraction]] = []
        for task in (task for action in order for task in action):
            here = costs.stages[task[0]]
            amount = {"F": here.activation, "B": -here.activation, "I": here.held - here.activation, "W": -here.held}
            changes.append((starts[task] if task[1] == "F" else ends[task], amount[task[1]]))
        copies = {(stage, _direction(home, stage, k)) for (stage, k), where in home.items() if where == device}
        level = peak = sum((costs.stages[stage].static for stage, _ in copies), Fraction(0))
        for _, change in sorted(changes):
            level += change
            peak = max(peak, level)
        peaks.append(peak)
    return peaks


def _direction(home: dict[tuple[int, int], int], stage: int, microbatch: int) -> int:
    """Tell the copies of a stage apart by the device on which a microbatch enters stage 0."""
    return home[0, microbatch]
