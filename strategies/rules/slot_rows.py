"""The slots of a device, in which actions are pulled forward within a limit on the activations held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from strategies.rules.building_blocks import F0, F1, I0, I1, W0, W1, Action, input_of

CHANGE = {F0: 1, F1: 1, I1: 0, I0: 0, W1: -1, W0: -1}
"""The change in the number of activations held, by kind of action."""

WEIGHT_OF = {I1: W1, I0: W0}
INPUT_OF_WEIGHT = {W1: I1, W0: I0}


class SlotRow:
    """The slots of one device.

    Attributes
    ----------
    slots : dict of Action to int
        The slot of each action.
    row : list of Action or None
        The action in each slot.
    levels : list of int
        The activations held after each slot.
    """

    def __init__(self, slots: Mapping[Action, int]) -> None:
        self.slots = dict(slots)
        self.row: list[Action | None] = [None] * (max(slots.values()) + 1)
        for action, slot in slots.items():
            self.row[slot] = action
        self.levels: list[int] = []
        level = 0
        for each in self.row:
            level += CHANGE[each[0]] if each else 0
            self.levels.append(level)

    def at(self, slot: int) -> Action | None:
        """Return the action in a slot, which may lie beyond the last."""
        return self.row[slot] if slot < len(self.row) else None

    def first_empty(self, earliest: int) -> int:
        """Return the first empty slot from ``earliest`` on."""
        slot = earliest
        while self.at(slot) is not None:
            slot += 1
        return slot

    def pull(self, action: Action, new: int) -> None:
        """Move an action to a slot no later than its own."""
        old, change = self.slots[action], CHANGE[action[0]]
        self.row[old] = None
        self.row[new] = action
        self.slots[action] = new
        self.levels[new:old] = [level + change for level in self.levels[new:old]]


def in_slots(lanes: Sequence[SlotRow]) -> Iterator[tuple[int, Action]]:
    """Walk through the slots, and in each slot through the devices, and yield each device with its action.

    An action that is pulled forward during the walk is not visited again.
    """
    for slot in range(max(len(lane.row) for lane in lanes)):
        for device, lane in enumerate(lanes):
            if (action := lane.at(slot)) is not None:
                yield device, action


def earliest_slot(lanes: Sequence[SlotRow], device: int, action: Action, *, whole_backwards: bool = False) -> int:
    """Return the first slot after an action's input and after the same action of the previous microbatch.

    Parameters
    ----------
    lanes : sequence of SlotRow
        The lanes of all devices.
    device : int
        The device of the action.
    action : Action
        The action.
    whole_backwards : bool
        Whether a full backward takes two slots, the second of which has the kind of its W.
    """
    kind, number = action
    slots = lanes[device].slots
    after = [slots[kind, number - 1]] if number else []
    if kind in INPUT_OF_WEIGHT:
        after.append(slots[INPUT_OF_WEIGHT[kind], number])
    elif (source := input_of(kind, device, len(lanes))) is not None:
        before, there = source
        done = WEIGHT_OF.get(before, before) if whole_backwards else before
        after.append(lanes[there].slots[done, number])
    return 1 + max(after, default=-1)
