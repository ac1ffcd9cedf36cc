"""Memory of stages from what devices reserved: devices that hold more microbatches at a time hold more memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

from ppopt.profiling.measurement import MeasuredAction
from reports.numbers import milliseconds

FEWEST_DEVICES = 4
"""Below this, no two devices are neither first nor last, and embedding and head hide what a microbatch takes."""


class HeldMemory(NamedTuple):
    """Memory of stages, in GiB.

    Attributes
    ----------
    activation : float
        What one microbatch keeps on a stage.
    static : list of float
        The rest, for each stage.
    """

    activation: float
    static: list[float]


def divide_memory(
    memory: Sequence[float], step: Sequence[MeasuredAction], stages: Sequence[Sequence[int]]
) -> HeldMemory | None:
    """Divide the memory of devices into activations and the rest.

    The devices between the first and the last differ in the number of microbatches that they hold at a time, and in
    little else. So the median of their differences, for each microbatch, is what one takes.

    Parameters
    ----------
    memory : sequence of float
        The most memory of each device.
    step : sequence of MeasuredAction
        The actions of one step.
    stages : sequence of sequence of int
        The stages of each device.

    Returns
    -------
    HeldMemory or None
        None if the devices do not tell.
    """
    devices = len(memory)
    held = [_most_held([action for action in step if action.device == device]) for device in range(devices)]
    slopes = [
        (memory[one] - memory[other]) / (held[one] - held[other])
        for one, other in combinations(range(1, devices - 1), 2)
        if held[one] != held[other]
    ]
    if devices < FEWEST_DEVICES or not slopes or sum(map(len, stages)) != len(set().union(*stages)):
        return None
    activation = median(slopes)
    rest = [each - activation * count for each, count in zip(memory, held, strict=True)]
    if activation <= 0 or min(rest) < 0:
        return None
    static = {stage: left / len(own) for left, own in zip(rest, stages, strict=True) for stage in own}
    return HeldMemory(activation, [static[stage] for stage in sorted(static)])


def _most_held(actions: Sequence[MeasuredAction]) -> int:
    """Count the microbatches, of any stage, that a device holds at a time: from the start of F to the end of B or W."""
    split = {(action.stage, action.microbatch) for action in actions if action.kind == "W"}
    changes: dict[float, list[int]] = defaultdict(list)
    for action in actions:
        if action.kind == "F":
            changes[action.start].append(1)
        elif action.kind == "W" or (action.stage, action.microbatch) not in split:
            changes[action.end].append(-1)
    count = most = 0
    for moment in sorted(changes):
        for change in sorted(changes[moment]):
            count += change
            most = max(most, count)
    return most


def listed_memory(memory: Sequence[float]) -> str:
    """Write the memory of each device."""
    return ", ".join(milliseconds(each) for each in memory)
