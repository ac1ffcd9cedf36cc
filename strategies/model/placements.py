"""Which device holds which stage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from solver.counted import counted
from solver.errors import InputError

STAGES_PER_DEVICE = {"linear": 1, "interleaved": None, "v": 2, "bidirectional": 1, "wave": None}
"""Stages per device of each placement; None if there is a choice, see `STAGES_COME_IN`."""

STAGES_COME_IN = {"interleaved": 1, "wave": 2}
"""If there is a choice, the stages of a device are a multiple of this: a wave has one there and one back."""


class LocalStage(NamedTuple):
    """A stage on one device, with the microbatches that pass through it there.

    Attributes
    ----------
    stage : int
        The stage.
    microbatches : range
        Those that pass through this copy of the stage.
    """

    stage: int
    microbatches: range


@dataclass(frozen=True)
class Placement:
    """A map from stages to devices.

    Attributes
    ----------
    name : str
        ``linear``, ``interleaved``, ``v``, ``bidirectional`` or ``wave``; ``custom`` if it is none of these.
    devices : int
        The number of devices.
    microbatches : int
        The number of microbatches, all directions together.
    homes : tuple of tuple of int
        For each direction, the device of each stage. Microbatches are split evenly between directions, the first
        half to direction 0.
    """

    name: str
    devices: int
    microbatches: int
    homes: tuple[tuple[int, ...], ...]

    def directions(self) -> list[tuple[range, tuple[int, ...]]]:
        """Return for each direction its microbatches and the device of each stage."""
        first = -(-self.microbatches // len(self.homes))
        parts = [range(first), range(first, self.microbatches)]
        return list(zip(parts, self.homes, strict=False))

    def device_of(self, stage: int, microbatch: int) -> int:
        """Return the device on which a microbatch passes through a stage."""
        return next(homes[stage] for part, homes in self.directions() if microbatch in part)

    @cached_property
    def local_stages(self) -> tuple[tuple[LocalStage, ...], ...]:
        """The stages of each device, in the order in which microbatches reach them, direction by direction."""
        held: list[list[LocalStage]] = [[] for _ in range(self.devices)]
        for part, homes in self.directions():
            for stage, device in enumerate(homes):
                held[device].append(LocalStage(stage, part))
        return tuple(tuple(stages) for stages in held)


def make_placement(name: str, devices: int, stages: int, microbatches: int) -> Placement:
    """Lay out stages on devices.

    Parameters
    ----------
    name : {"linear", "interleaved", "v", "bidirectional", "wave"}
        The rule: stage s on device s; on s mod p; there and back again; two copies in opposite directions; there and
        back again any number of times.
    devices, stages, microbatches : int
        The pipeline's sizes.

    Returns
    -------
    Placement
        Named as requested, except that a single wave is called ``v``.

    Raises
    ------
    InputError
        If the name is not known, or its rule needs a different number of stages.
    """
    if name not in STAGES_PER_DEVICE:
        raise InputError(f"placement: {name!r} is not known; allowed are {', '.join(STAGES_PER_DEVICE)}")
    if not takes_stages(name, devices, stages):
        per_device = STAGES_PER_DEVICE[name]
        needed = (
            counted(per_device * devices, "stage")
            if per_device
            else f"a multiple of {counted(STAGES_COME_IN[name] * devices, 'stage')}"
        )
        raise InputError(f"placement: {name} on {counted(devices, 'device')} needs {needed}, not {stages}")
    called = "v" if name == "wave" and stages == 2 * devices else name
    return Placement(called, devices, microbatches, _homes(name, devices, stages))


def takes_stages(name: str, devices: int, stages: int) -> bool:
    """Return whether a placement can lay out this number of stages on this number of devices."""
    per_device = STAGES_PER_DEVICE[name]
    if per_device is not None:
        return stages == per_device * devices
    return stages > 0 and stages % (STAGES_COME_IN[name] * devices) == 0


def _homes(name: str, devices: int, stages: int) -> tuple[tuple[int, ...], ...]:
    if name == "v":
        return ((*range(devices), *reversed(range(devices))),)
    if name == "wave":
        there_and_back = (*range(devices), *reversed(range(devices)))
        return (there_and_back * (stages // (2 * devices)),)
    if name == "bidirectional":
        return tuple(range(devices)), tuple(reversed(range(devices)))
    return (tuple(stage % devices for stage in range(stages)),)


def recognise_placement(devices: int, microbatches: int, homes: tuple[tuple[int, ...], ...]) -> Placement:
    """Name a placement that was read off an order: ``custom`` unless it equals one of the known placements.

    Parameters
    ----------
    devices, microbatches : int
        The pipeline's sizes.
    homes : tuple of tuple of int
        For each direction, the device of each stage.
    """
    stages = len(homes[0])
    usual = (
        name
        for name in STAGES_PER_DEVICE
        if takes_stages(name, devices, stages) and _homes(name, devices, stages) == homes
    )
    return Placement(next(usual, "custom"), devices, microbatches, homes)
