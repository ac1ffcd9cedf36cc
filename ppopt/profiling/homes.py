"""The placement of a measured pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ppopt.profiling.measurement import MeasuredAction, Measurement

CUSTOM = "custom"


def stages_of(actions: Sequence[MeasuredAction], devices: int) -> list[list[int]]:
    """List the stages of each device."""
    return [sorted({action.stage for action in actions if action.device == device}) for device in range(devices)]


def placement_of(measurement: Measurement) -> str:
    """Name the placement: linear, interleaved, v, bidirectional, wave, or custom for any other."""
    homes: dict[int, dict[int, set[int]]] = {}
    for action in measurement.actions:
        homes.setdefault(action.stage, {}).setdefault(action.device, set()).add(action.microbatch)
    p, stages = measurement.devices, measurement.stages
    if all(len(where) == 1 for where in homes.values()):
        return _name([next(iter(homes[stage])) for stage in sorted(homes)], p)
    return "bidirectional" if stages == p and _is_bidirectional(homes, measurement) else CUSTOM


def _name(homes: Sequence[int], p: int) -> str:
    if list(homes) == list(range(p)):
        return "linear"
    there_and_back = [*range(p), *reversed(range(p))]
    if list(homes) == there_and_back:
        return "v"
    if len(homes) % p == 0 and all(home == stage % p for stage, home in enumerate(homes)):
        return "interleaved"
    return "wave" if list(homes) == there_and_back * (len(homes) // (2 * p)) else CUSTOM


def _is_bidirectional(homes: Mapping[int, Mapping[int, set[int]]], measurement: Measurement) -> bool:
    half = measurement.microbatches // 2
    first, second = set(range(half)), set(range(half, measurement.microbatches))
    p = measurement.devices
    return all(
        where.get(stage, set()) <= first and where.get(p - 1 - stage, set()) <= second and len(where) == 2
        for stage, where in homes.items()
    )
