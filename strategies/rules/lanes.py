"""The slots of a device in which actions are pulled forward under a limit on the activations held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from strategies.rules.building_blocks import F0, F1, I0, I1, W0, W1, Action, input_of

CHANGE = {F0: 1, F1: 1, I1: 0, I0: 0, W1: -1, W0: -1}
"""How an action changes the number of activations held."""

WEIGHT_OF = {I1: W1, I0: W0}
INPUT_OF_WEIGHT = {W1: I1, W0: I0}


class Lane:
    """The slots of one device.

    Attributes
    ----------
    slots : dict of Action to int
        Where each action is.
    row : list of Action or None
        What is in each slot.
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
        """Return what is in a slot, which may lie behind the last."""
        return self.row[slot] if slot < len(self.row) else None

    def first_empty(self, earliest: int) -> int:
        """Find the first slot from the earliest on with nothing in it."""
        slot = earliest
        while self.at(slot) is not None:
            slot += 1
        return slot

    def pull(self, action: Action, new: int) -> None:
        """Move an action to a slot that is not behind its own."""
        old, change = self.slots[action], CHANGE[action[0]]
        self.row[old] = None
        self.row[new] = action
        self.slots[action] = new
        self.levels[new:old] = [level + change for level in self.levels[new:old]]


def in_slots(lanes: Sequence[Lane]) -> Iterator[tuple[int, Action]]:
    """Walk through the slots, in each through the devices, and yield each device with its action.

    What is pulled forward meanwhile is not met again.
    """
    for slot in range(max(len(lane.row) for lane in lanes)):
        for device, lane in enumerate(lanes):
            if (action := lane.at(slot)) is not None:
                yield device, action


def earliest_slot(lanes: Sequence[Lane], device: int, action: Action, *, whole_backwards: bool = False) -> int:
    """Find the first slot in which an action's input, and the same action of the microbatch before, are done.

    Parameters
    ----------
    lanes : sequence of Lane
        Those of all devices.
    device : int
        Whose action it is.
    action : Action
        The action.
    whole_backwards : bool
        Whether a backward is done when its second half is, which goes by the kind of its W.
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
