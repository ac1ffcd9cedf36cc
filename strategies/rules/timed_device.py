"""A device to which the Zero Bubble heuristics append one action after another, timing each immediately."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from strategies.language.steps import F, I, Step, Steps, W

_STEPS: dict[str, Steps] = {"F": F, "I": I, "W": W}


class DeviceCosts(NamedTuple):
    """The costs of actions on a device, in whole ticks and whole units of memory.

    Attributes
    ----------
    durations : dict of str to int
        The durations of F, I and W.
    changes : dict of str to int
        The changes of the memory held by F, I and W: at least 0 for F, at most 0 for I and W, and 0 in sum.
    """

    durations: dict[str, int]
    changes: dict[str, int]


class TimedDevice:
    """The steps of one device so far, and the state after them.

    Attributes
    ----------
    free : int
        The end of its last action.
    begun : int or None
        The start of its first action.
    idle : int
        Its total idle time between actions.
    memory : int
        The memory that it holds.
    owed : deque of int
        The chunk of each W that it owes, the oldest first.
    steps : list of Step
        Its steps.
    """

    def __init__(self, costs: DeviceCosts) -> None:
        self.costs = costs
        self.free = 0
        self.begun: int | None = None
        self.idle = 0
        self.memory = 0
        self.owed: deque[int] = deque()
        self.steps: list[Step] = []

    def run(self, kind: str, chunk: int, arrival: int) -> int:
        """Append an action whose input arrives at ``arrival``; return its end."""
        start = max(self.free, arrival)
        if self.begun is None:
            self.begun = start
        else:
            self.idle += start - self.free
        self.free = start + self.costs.durations[kind]
        self.memory += self.costs.changes[kind]
        if kind == "I":
            self.owed.append(chunk)
        self.steps += _STEPS[kind](chunk)
        return self.free

    def run_weight(self) -> None:
        """Append the W that has been owed longest."""
        self.run("W", self.owed.popleft(), self.free)

    def run_all_weights(self) -> None:
        """Append every W that is owed."""
        while self.owed:
            self.run_weight()

    def make_room(self, kind: str, limit: int | None) -> bool:
        """Append W's until one more action of this kind fits the limit; return whether it does."""
        if limit is None:
            return True
        while self.owed and self.memory + self.costs.changes[kind] > limit:
            self.run_weight()
        return self.memory + self.costs.changes[kind] <= limit

    def fill(self, arrival: int) -> int:
        """Append the W's that fit before an arrival; return how long the device would still wait for it."""
        while self.owed and self.free + self.costs.durations["W"] <= arrival:
            self.run_weight()
        return arrival - self.free
