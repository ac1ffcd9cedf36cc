"""Fills the slots of repeated building blocks with W's and closes the gaps, as the authors of V-Half and V-Min do.

The rules follow the repository of Qi et al. 2024 (arXiv 2405.15362). Times play no part: every slot is one unit, so the
result depends only on the numbers of devices and microbatches.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from strategies.language.steps import Step
from strategies.rules.building_blocks import F0, F1, I0, I1, W0, W1, Action, Block, as_steps, input_of, repeated

_ANY_W = 6
"""The kind of a W that is not yet assigned to one of the two stages; the n-th belongs to the n-th backward."""

_State: TypeAlias = tuple[int, int]
"""The state after a slot: activations held, and W's owed that later empty slots will take."""


@lru_cache(maxsize=2)
def squeezed(block: Callable[[int, int], Block], devices: int, microbatches: int) -> tuple[list[Step], ...]:
    """Build a schedule from its block.

    Parameters
    ----------
    block : callable
        ``block(devices, device)`` lays out a device's part of the building block.
    devices, microbatches : int
        The pipeline's sizes.

    Returns
    -------
    tuple of list of Step
        The steps of each device.
    """
    lanes = [_DeviceSlots(repeated(block(devices, device), microbatches)) for device in range(devices)]
    for lane in lanes:
        lane.place_weights()
    _pull(lanes, microbatches, with_weights=True)
    _close_gaps(lanes)
    for lane in lanes:
        lane.remove_weights()
    _pull(lanes, microbatches, with_weights=False)
    for lane in lanes:
        lane.place_weights()
    _close_gaps(lanes)
    for lane in lanes:
        lane.remove_weights()
        lane.place_weights(split=True)
    return tuple(as_steps(lane.slots) for lane in lanes)


class _DeviceSlots:
    """The slots of one device."""

    def __init__(self, slots: dict[Action, int]) -> None:
        self.slots = slots

    def settle(self, *, with_weights: bool) -> None:
        """Prepare for pulling: compute the action in each slot and the state after it."""
        self.with_weights = with_weights
        self.row: list[Action | None] = [None] * (max(self.slots.values()) + 1)
        for action, slot in self.slots.items():
            self.row[slot] = action
        self.backwards = sorted(slot for (kind, _), slot in self.slots.items() if kind in (I1, I0))
        self.states: list[_State] = []
        state = (0, 0)
        for each in self.row:
            state = self._after(state, each)
            self.states.append(state)

    @property
    def peak(self) -> int:
        return max(level for level, _ in self.states)

    def _after(self, state: _State, action: Action | None) -> _State:
        level, owed = state
        if action is None:
            return (level - 1, owed - 1) if owed else state
        kind, _ = action
        if kind in (F0, F1):
            return level + 1, owed
        if kind == _ANY_W:
            return level - 1, owed
        return state if self.with_weights else (level, owed + 1)

    def pull(self, action: Action, earliest: int, limit: int) -> None:
        """Move an action to the first empty slot from ``earliest`` on that keeps the limit, if there is one."""
        old = self.slots[action]
        for new in range(earliest, old):
            if self.row[new] is None and self._move(action, old, new, limit):
                return

    def _move(self, action: Action, old: int, new: int, limit: int) -> bool:
        """Move an action if that keeps the limit; return whether it did."""
        self.row[old], self.row[new] = None, action
        state = self.states[new - 1] if new else (0, 0)
        states: list[_State] = []
        for slot in range(new, len(self.row)):
            state = self._after(state, self.row[slot])
            if state[0] > limit:
                self.row[old], self.row[new] = action, None
                return False
            if slot >= old and state == self.states[slot]:
                break
            states.append(state)
        self.states[new : new + len(states)] = states
        self.slots[action] = new
        if action[0] in (I1, I0):
            del self.backwards[bisect_left(self.backwards, old)]
            insort(self.backwards, new)
        return True

    def remove_weights(self) -> None:
        self.slots = {(kind, number): slot for (kind, number), slot in self.slots.items() if kind <= I0}

    def place_weights(self, *, split: bool = False) -> None:
        """Put W's into empty slots as soon as they are owed, and the rest after the last backward."""
        row = {slot: kind for (kind, _), slot in self.slots.items()}
        last = max(slot for slot, kind in row.items() if kind in (I1, I0))
        owed, done = {W1: 0, W0: 0, _ANY_W: 0}, {W1: 0, W0: 0, _ANY_W: 0}
        slot = 0
        while slot <= last or any(owed.values()):
            kind = row.get(slot)
            if kind in (I1, I0):
                owed[_ANY_W if not split else W1 if kind == I1 else W0] += 1
            elif kind is None and (waiting := next((each for each in owed if owed[each]), None)) is not None:
                self.slots[waiting, done[waiting]] = slot
                owed[waiting] -= 1
                done[waiting] += 1
            slot += 1


def _in_order(lanes: Sequence[_DeviceSlots]) -> list[tuple[int, int, int, int]]:
    """List all actions as (slot, device, kind, number), sorted."""
    return sorted(
        (slot, device, kind, number) for device, lane in enumerate(lanes) for (kind, number), slot in lane.slots.items()
    )


def _pull(lanes: Sequence[_DeviceSlots], microbatches: int, *, with_weights: bool) -> None:
    """Pull actions outside the steady part forward, within the current largest peak; before it only if with weights."""
    for lane in lanes:
        lane.settle(with_weights=with_weights)
    limit = max(lane.peak for lane in lanes)
    pulled, steady = with_weights, False
    for _, device, kind, number in _in_order(lanes):
        if (kind, number, device) == (I0, 0, 0):
            pulled, steady = False, True
        if pulled:
            lanes[device].pull((kind, number), _earliest(lanes, device, kind, number), limit)
        if steady and (kind, number) == (F0, microbatches - 1):
            pulled, steady = True, False


def _earliest(lanes: Sequence[_DeviceSlots], device: int, kind: int, number: int) -> int:
    """Return the first slot after an action's inputs and after the same action of the previous microbatch."""
    lane = lanes[device]
    after = [lane.slots[kind, number - 1]] if number else []
    if kind == _ANY_W:
        after.append(lane.backwards[number])
    else:
        if (source := input_of(kind, device, len(lanes))) is not None:
            after.append(lanes[source[1]].slots[source[0], number])
        if kind > F0:
            after.append(lane.slots[kind - 1, number])
    return 1 + max(after, default=-1)


def _close_gaps(lanes: Sequence[_DeviceSlots]) -> None:
    """Move every action as early as its device's order and its input allow."""
    free = [0] * len(lanes)
    for _, device, kind, number in _in_order(lanes):
        slot = free[device]
        source = None if kind == _ANY_W else input_of(kind, device, len(lanes))
        if source is not None:
            slot = max(slot, lanes[source[1]].slots[source[0], number] + 1)
        lanes[device].slots[kind, number] = slot
        free[device] = slot + 1
