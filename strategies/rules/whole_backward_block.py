"""The building block of 1F1B-V, with full backwards of two slots each, repeated and pulled forward once.

The rules follow the repository of Qi et al. 2024 (arXiv 2405.15362). The result depends only on the numbers of devices
and microbatches.
"""

from __future__ import annotations

from functools import lru_cache

from strategies.language.steps import B, F, Step, Steps
from strategies.rules.building_blocks import F0, F1, I0, I1, INTERVAL, Action
from strategies.rules.slot_rows import WEIGHT_OF, SlotRow, earliest_slot, in_slots

_STEPS: dict[int, Steps] = {F0: F(0), F1: F(1), I1: B(1), I0: B(0)}
"""A backward's first slot has the kind of its I here; the second has the kind of its W, and is no separate step."""


@lru_cache(maxsize=2)
def one_forward_one_backward_on_a_v(devices: int, microbatches: int) -> tuple[list[Step], ...]:
    """Build the schedule.

    Parameters
    ----------
    devices, microbatches : int
        The pipeline's sizes.

    Returns
    -------
    tuple of list of Step
        The steps of each device.
    """
    lanes = [SlotRow(_repeated(block, microbatches)) for block in _block(devices)]
    limit = max(max(lane.levels) for lane in lanes)
    for device, action in in_slots(lanes):
        _pull(lanes[device], action, earliest_slot(lanes, device, action, whole_backwards=True), limit)
    return tuple([step for action in lane.row if action for step in _STEPS.get(action[0], ())] for lane in lanes)


def _block(devices: int) -> list[dict[int, int]]:
    """Return the slots of microbatch 0: the slot of each kind on each device."""
    block = [{F0: device, F1: 2 * devices - 1 - device} for device in range(devices)]
    slot = 2 * devices + (0 if devices % 3 else 3)
    since_gap = (3 - (devices + 2) % 3) % 3
    there_and_back = [(I1, device) for device in range(devices)] + [(I0, device) for device in reversed(range(devices))]
    for kind, device in there_and_back:
        block[device] |= {kind: slot, WEIGHT_OF[kind]: slot + 1}
        since_gap += 1
        slot += 2
        if since_gap == 3:
            since_gap = 0
            slot += 3
    return block


def _repeated(block: dict[int, int], microbatches: int) -> dict[Action, int]:
    return {
        (kind, microbatch): slot + INTERVAL * microbatch
        for kind, slot in block.items()
        for microbatch in range(microbatches)
    }


def _pull(lane: SlotRow, action: Action, earliest: int, limit: int) -> None:
    """Move an action forward if it fits into an empty slot."""
    kind, old = action[0], lane.slots[action]
    if kind in WEIGHT_OF:
        free = (slot for slot in range(earliest, old - 1) if lane.row[slot : slot + 2] == [None, None])
    else:
        first = _within(lane, limit, old, earliest) if kind in (F0, F1) else earliest
        free = (slot for slot in range(first, old) if lane.row[slot] is None)
    lane.pull(action, next(free, old))


def _within(lane: SlotRow, limit: int, slot: int, earliest: int) -> int:
    """Go back from a slot as long as one more activation fits the limit."""
    while slot > earliest and lane.levels[slot - 1] < limit:
        slot -= 1
    return slot
