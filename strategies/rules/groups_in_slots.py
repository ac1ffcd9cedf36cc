"""The slots of interleaving in small groups, each for one operation: `interleaved-group` and PipeOffload."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, gcd

from strategies.model.actions import Op
from strategies.model.pipeline import Pipeline


def groups_in_slots(pipeline: Pipeline, device: int, group: int) -> list[tuple[int, Op]]:
    """Return the operations of a device, each with its slot, in their order.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline; its costs decide how many microbatches are in flight at least.
    device : int
        The device.
    group : int
        The number of microbatches in a group, at most that of the devices.
    """
    p = pipeline.devices
    shifts = _shifts(pipeline, group)
    turn = shifts[-1] + device + 3 * (p - 1 - device) + 1
    slotted = []
    for microbatch in range(pipeline.microbatches):
        entered = 3 * group * len(shifts) * (microbatch // group) + 3 * (microbatch % group)
        for chunk, shift in enumerate(shifts):
            back, there = entered + shift + turn, (len(shifts) - 1 - chunk) * p + device
            slotted.append((entered + shift + device, Op(chunk * p + device, "F", microbatch)))
            slotted += [(back, Op(there, "I", microbatch)), (back + 1, Op(there, "W", microbatch))]
    return sorted(slotted)


def latest_delay(pipeline: Pipeline, group: int) -> int:
    """Return by how many slots device p − 1 can start later without making a later chunk wait, at most p − 1."""
    shifts = _shifts(pipeline, group)
    between = (after - before for before, after in pairwise(shifts))
    return min([pipeline.devices - 1, *(gap - pipeline.devices for gap in between)])


def _shifts(pipeline: Pipeline, group: int) -> list[int]:
    """Return the slot in which the first microbatch enters each chunk on device 0."""
    chunks, rounds = pipeline.stages_per_device, ceil(_least_in_flight(pipeline) / group)
    lap = chunks // gcd(chunks, rounds)
    return [3 * rounds * group * chunk + 3 * group * (chunk // lap) for chunk in range(chunks)]


def _least_in_flight(pipeline: Pipeline) -> int:
    """Return how many microbatches keep a device busy until the first comes back, at least half the devices."""
    forward = sum(cost.forward for cost in pipeline.costs)
    to_input = sum(cost.backward_input for cost in pipeline.costs)
    whole = forward + to_input + sum(cost.backward_weight for cost in pipeline.costs)
    return max(ceil(pipeline.devices / 2), ceil(pipeline.devices * max(forward, to_input) / whole))
