"""Fills and closes the gaps of repeated building blocks as AMD's Primus does.

The rules follow the schedules ``v-half`` and ``v-min`` of Primus, a variant of Qi et al. 2024 (arXiv 2405.15362). If
all times are equal, the result is never longer than the authors'; with unequal times it can be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache

from strategies.language.steps import Step
from strategies.rules.building_blocks import F1, I0, Action, Block, as_steps, repeated
from strategies.rules.slot_rows import CHANGE, INPUT_OF_WEIGHT, WEIGHT_OF, SlotRow, earliest_slot, in_slots


@lru_cache(maxsize=2)
def squeezed_as_in_primus(
    block: Callable[[int, int], Block], devices: int, microbatches: int
) -> tuple[list[Step], ...]:
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
    blocks = [repeated(block(devices, device), microbatches) for device in range(devices)]
    lanes = [SlotRow(_with_weights(slots)) for slots in blocks]
    tails = [_tail(lane, microbatches) for lane in lanes]
    limit = max(max(lane.levels) for lane in lanes)
    for device, action in in_slots(lanes):
        _pull_within(limit, lanes[device], action, earliest_slot(lanes, device, action))
    _close_tails(lanes, tails)
    return tuple(as_steps(lane.slots) for lane in lanes)


def _with_weights(slots: Mapping[Action, int]) -> dict[Action, int]:
    """Put each W into the first empty slot, the W of the oldest I first."""
    row = {slot: action for action, slot in slots.items()}
    filled = dict(slots)
    owed: deque[Action] = deque()
    slot, last = 0, max(row)
    while slot <= last or owed:
        if slot in row:
            kind, number = row[slot]
            owed += [(WEIGHT_OF[kind], number)] if kind in WEIGHT_OF else []
        elif owed:
            filled[owed.popleft()] = slot
        slot += 1
    return filled


def _tail(lane: SlotRow, microbatches: int) -> frozenset[Action]:
    """Choose the actions of the tail, which starts after the last microbatch's second forward."""
    tail, closing = set(), False
    for action in filter(None, lane.row):
        if closing:
            tail.add(action)
        if action == (F1, microbatches - 1):
            closing = True
        elif action == (I0, 0):
            closing = False
    return frozenset(tail)


def _pull_within(limit: int, lane: SlotRow, action: Action, earliest: int) -> None:
    """Move an action to the first empty slot from ``earliest`` on that keeps the level within the limit."""
    old, change = lane.slots[action], CHANGE[action[0]]
    for new in range(earliest, old):
        if lane.row[new] is None and max(lane.levels[new:old]) + change <= limit:
            lane.pull(action, new)
            return


def _close_tails(lanes: list[SlotRow], tails: list[frozenset[Action]]) -> None:
    """Take the W's out of the tails, move the other actions as far forward as possible, and put the W's back."""
    taken_out: list[tuple[int, Action]] = []
    for device, action in in_slots(lanes):
        lane = lanes[device]
        if action not in tails[device]:
            continue
        if action[0] in INPUT_OF_WEIGHT:
            lane.row[lane.slots[action]] = None
            taken_out.append((device, action))
            continue
        new = lane.first_empty(earliest_slot(lanes, device, action))
        if new < lane.slots[action]:
            lane.pull(action, new)
    for device, action in taken_out:
        lane = lanes[device]
        slot = lane.first_empty(earliest_slot(lanes, device, action))
        lane.row += [None] * (slot + 1 - len(lane.row))
        lane.row[slot] = action
        lane.slots[action] = slot
