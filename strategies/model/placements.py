"""Which device holds which stage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from solver.counted import counted
from solver.errors import InputError

STAGES_PER_DEVICE = {"linear": 1, "interleaved": None, "v": 2, "bidirectional": 1, "wave": None}
"""How many stages a placement needs for each device; None where there is a choice, see `STAGES_COME_IN`."""

STAGES_COME_IN = {"interleaved": 1, "wave": 2}
"""Where there is a choice, the stages of a device are a multiple of this: a wave is one there and one back."""


class LocalStage(NamedTuple):
    """A stage as one device sees it, with the microbatches that meet it there.

    Attributes
    ----------
    stage : int
        Which stage.
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
        ``linear``, ``interleaved``, ``v``, ``bidirectional`` or ``wave``; ``custom`` for what is none of these.
    devices : int
        How many devices there are.
    microbatches : int
        How many microbatches there are, of all directions together.
    homes : tuple of tuple of int
        For each direction, the device of each stage. Microbatches are split evenly between directions, the first
        half to direction 0.
    """

    name: str
    devices: int
    microbatches: int
    homes: tuple[tuple[int, ...], ...]

    def directions(self) -> list[tuple[range, tuple[int, ...]]]:
        """List each direction's microbatches with the device of each stage."""
        first = -(-self.microbatches // len(self.homes))
        parts = [range(first), range(first, self.microbatches)]
        return list(zip(parts, self.homes, strict=False))

    def device_of(self, stage: int, microbatch: int) -> int:
        """Return on which device a microbatch meets a stage."""
        return next(homes[stage] for part, homes in self.directions() if microbatch in part)

    @cached_property
    def local_stages(self) -> tuple[tuple[LocalStage, ...], ...]:
        """The stages of each device, in the order in which microbatches meet them, direction by direction."""
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
        Named as wished, but a single wave is called what it is, ``v``.

    Raises
    ------
    InputError
        If the rule does not know the name or needs another number of stages.
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
    """Return whether a placement can lay so many stages out on so many devices."""
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
    """Name a placement that was read off an order: one of the usual where it equals it, else ``custom``.

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
