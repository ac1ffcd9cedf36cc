"""A device to which the Zero Bubble heuristics append one action after the other, each timed at once."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from strategies.language.steps import F, I, Step, Steps, W

_STEPS: dict[str, Steps] = {"F": F, "I": I, "W": W}


class DeviceCosts(NamedTuple):
    """What actions cost on a device, in whole ticks and whole units of memory.

    Attributes
    ----------
    durations : dict of str to int
        Of F, I and W.
    changes : dict of str to int
        How F, I and W change the memory held: the first is at least 0, the others at most, and the sum is 0.
    """

    durations: dict[str, int]
    changes: dict[str, int]


class TimedDevice:
    """What one device has done so far, and when it is free again.

    Attributes
    ----------
    free : int
        When its last action ends.
    begun : int or None
        When its first action started.
    idle : int
        How long it has waited between its actions.
    memory : int
        What it holds.
    owed : deque of int
        The chunks that a W is owed for, the oldest first.
    steps : list of Step
        What it does.
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
        """Append an action whose input arrives then; return when it ends."""
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
        """Append W's until one action more is within the limit; return whether it is."""
        if limit is None:
            return True
        while self.owed and self.memory + self.costs.changes[kind] > limit:
            self.run_weight()
        return self.memory + self.costs.changes[kind] <= limit

    def fill(self, arrival: int) -> int:
        """Append the W's that fit before an arrival; return how long the device would wait for it then."""
        while self.owed and self.free + self.costs.durations["W"] <= arrival:
            self.run_weight()
        return arrival - self.free
