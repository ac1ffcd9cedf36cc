"""Which device holds which stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from solver.counted import counted
from solver.errors import InputError

Homes = tuple[tuple[int, ...], ...]
"""For each direction, the device of each stage."""


@dataclass(frozen=True)
class Rule:
    """A rule that lays stages out on devices.

    Attributes
    ----------
    homes : callable
        ``homes(devices, stages)`` gives, for each direction, the device of each stage.
    stages_per_device : int or None
        The number of stages of a device; None if there is a choice.
    stages_come_in : int
        If there is a choice, the stages of a device are a multiple of this.
    copies : int
        The number of copies of each stage, one for each direction.
    in_all : bool
        Whether a search of all placements includes it.
    """

    homes: Callable[[int, int], Homes]
    stages_per_device: int | None = None
    stages_come_in: int = 1
    copies: int = 1
    in_all: bool = True

    def takes(self, devices: int, stages: int) -> bool:
        """Return whether it can lay out this number of stages on this number of devices."""
        if self.stages_per_device is not None:
            return stages == self.stages_per_device * devices
        return stages > 0 and stages % (self.stages_come_in * devices) == 0


def _loop(devices: int, stages: int) -> Homes:
    return (tuple(stage % devices for stage in range(stages)),)


def _there_and_back(devices: int, stages: int) -> Homes:
    return ((*range(devices), *reversed(range(devices))) * (stages // (2 * devices)),)


def _both_ways(devices: int, _stages: int) -> Homes:
    return tuple(range(devices)), tuple(reversed(range(devices)))


PLACEMENTS = {
    "linear": Rule(_loop, stages_per_device=1),
    "interleaved": Rule(_loop),
    "v": Rule(_there_and_back, stages_per_device=2),
    "bidirectional": Rule(_both_ways, stages_per_device=1, copies=2),
    "wave": Rule(_there_and_back, stages_come_in=2, in_all=False),
}
"""The placements by name. A wave of the usual two stages per device is a ``v``, so `all` does without it."""


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
        Its name in `PLACEMENTS`; ``custom`` if it is none of these.
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
    homes: Homes

    @property
    def is_loop(self) -> bool:
        """Whether stage k is on device k mod p."""
        return self.homes == _loop(self.devices, len(self.homes[0]))

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
    name : str
        A name in `PLACEMENTS`.
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
    rule = PLACEMENTS.get(name)
    if rule is None:
        raise InputError(f"placement: {name!r} is not known; allowed are {', '.join(PLACEMENTS)}")
    if not rule.takes(devices, stages):
        per_device = rule.stages_per_device
        needed = (
            counted(per_device * devices, "stage")
            if per_device
            else f"a multiple of {counted(rule.stages_come_in * devices, 'stage')}"
        )
        raise InputError(f"placement: {name} on {counted(devices, 'device')} needs {needed}, not {stages}")
    called = "v" if name == "wave" and stages == 2 * devices else name
    return Placement(called, devices, microbatches, rule.homes(devices, stages))


def recognise_placement(devices: int, microbatches: int, homes: Homes) -> Placement:
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
        for name, rule in PLACEMENTS.items()
        if rule.takes(devices, stages) and rule.homes(devices, stages) == homes
    )
    return Placement(next(usual, "custom"), devices, microbatches, homes)
