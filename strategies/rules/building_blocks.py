"""Building blocks on a V of stages: one microbatch's actions in slots, repeated (Qi et al. 2024, arXiv 2405.15362)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from strategies.language.steps import F, I, Step, Steps, W

F0, F1, I1, I0, W1, W0 = range(6)
"""The kinds of actions on a V, in the order of a microbatch: 0 is a device's stage on the way out, 1 on the way back.
I1 and I0 are backwards for the input, or full backwards."""

INTERVAL = 6
"""Slots from one microbatch to the next: the number of actions that a device has for each microbatch."""

Action: TypeAlias = tuple[int, int]
"""A kind and a microbatch."""

_STEPS: dict[int, Steps] = {F0: F(0), F1: F(1), I1: I(1), I0: I(0), W1: W(1), W0: W(0)}


class Block(NamedTuple):
    """The slots of one device's four actions of microbatch 0 that others wait for."""

    forward_there: int
    forward_back: int
    backward_there: int
    backward_back: int


def v_min_block(devices: int, device: int) -> Block:
    """Return V-Min's block, which has the least memory, about a third of 1F1B's."""
    gap = 0 if devices % 3 else 2
    return Block(device, 2 * devices - 1 - device, 2 * devices + gap + device, 4 * devices + gap - 1 - device)


def v_half_block(devices: int, device: int) -> Block:
    """Return V-Half's block, which needs about half of 1F1B's memory."""
    gap = 0 if devices % 2 else 3
    turn = 3 * devices - 2 - device
    return Block(2 * device, turn, 3 * devices - 1 + gap + 2 * device, 6 * devices - 2 + gap - device)


def repeated(block: Block, microbatches: int) -> dict[Action, int]:
    """Return the slot of each action of every microbatch."""
    return {
        (kind, microbatch): slot + INTERVAL * microbatch
        for kind, slot in zip((F0, F1, I1, I0), block, strict=True)
        for microbatch in range(microbatches)
    }


def input_of(kind: int, device: int, devices: int) -> tuple[int, int] | None:
    """Return the kind and the device of an action's input; None for a microbatch's first action."""
    there = kind in (F0, I1)
    before = device - 1 if there else device + 1
    if 0 <= before < devices:
        return kind, before
    return (kind - 1, device) if kind > F0 else None


def as_steps(slots: Mapping[Action, int]) -> list[Step]:
    """List the steps of a device in the order of their slots."""
    return [step for kind, _ in sorted(slots, key=slots.__getitem__) for step in _STEPS[kind]]
