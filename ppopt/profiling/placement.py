"""Which placement a measured pipeline has."""

from __future__ import annotations

from collections.abc import Sequence

from ppopt.profiling.measurement import MeasuredAction, Measurement
from strategies.model.placements import Placement, recognise_placement

CUSTOM = "custom"


def stages_of(actions: Sequence[MeasuredAction], devices: int) -> list[list[int]]:
    """List the stages of each device."""
    return [sorted({action.stage for action in actions if action.device == device}) for device in range(devices)]


def placement_of(measurement: Measurement) -> str:
    """Name the placement: linear, interleaved, v, bidirectional, wave, or custom for any other."""
    found = layout_of(measurement)
    return CUSTOM if found is None else found.name


def layout_of(measurement: Measurement) -> Placement | None:
    """Find which device holds which stage; None if microbatches of one half met a stage on several devices."""
    microbatches = measurement.microbatches
    half = -(-microbatches // 2)
    homes = _homes(measurement, range(microbatches))
    directions = (
        (homes,) if homes else (_homes(measurement, range(half)), _homes(measurement, range(half, microbatches)))
    )
    known = tuple(each for each in directions if each)
    if len(known) < len(directions):
        return None
    return recognise_placement(measurement.devices, microbatches, known)


def _homes(measurement: Measurement, microbatches: range) -> tuple[int, ...] | None:
    """List the device on which these microbatches meet each stage; None where that is not one."""
    homes: dict[int, set[int]] = {}
    for action in measurement.actions:
        if action.microbatch in microbatches:
            homes.setdefault(action.stage, set()).add(action.device)
    if sorted(homes) != list(range(measurement.stages)) or any(len(where) > 1 for where in homes.values()):
        return None
    return tuple(min(homes[stage]) for stage in sorted(homes))
