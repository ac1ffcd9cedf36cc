"""Reads the output of `ppopt rehearse`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ppopt.profiling.measurement import MeasuredAction, Measurement
from solver.errors import InputError
from strategies.model.actions import KINDS
from strategies.model.numbers import in_one_line, shown

_COLUMNS = ", ".join(MeasuredAction._fields)


def read_rehearsal(path: str, content: Mapping[str, Any]) -> Measurement:
    """Read the measurement of a rehearsal.

    Raises
    ------
    InputError
        If a part is missing or malformed.
    """
    name = in_one_line(path)
    found = content.get("measurement")
    if not isinstance(found, Mapping):
        raise InputError(f"{name}: measurement: must be a mapping; found {shown(found)}")
    sizes = {key: _count(name, key, found.get(key)) for key in ("devices", "stages", "microbatches")}
    rows = found.get("actions")
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{name}: measurement.actions: must be a list of actions; found {shown(rows)}")
    actions = tuple(_action(name, place, row, sizes) for place, row in enumerate(rows))
    return Measurement(
        devices=sizes["devices"],
        stages=sizes["stages"],
        microbatches=sizes["microbatches"],
        actions=actions,
        skipped=_skipped(name, found.get("skipped") or {}),
        offsets=_offsets(name, found.get("offsets") or [], sizes["devices"]),
        notes=_notes(found.get("notes")),
    )


def _count(name: str, key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 10**6:
        raise InputError(f"{name}: measurement.{key}: must be a whole number of at least 1; found {shown(value)}")
    return value


def _action(name: str, place: int, row: object, sizes: Mapping[str, int]) -> MeasuredAction:
    where = f"{name}: measurement.actions, entry {place}"
    if not isinstance(row, list) or len(row) != len(MeasuredAction._fields):
        raise InputError(f"{where}: must be a list of {_COLUMNS}; found {shown(row)}")
    action = MeasuredAction(*row)
    limits = {"step": 10**9, "device": sizes["devices"], "stage": sizes["stages"], "microbatch": sizes["microbatches"]}
    for key, limit in limits.items():
        value = getattr(action, key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
            raise InputError(f"{where}: {key} must be a whole number from 0 to {limit - 1}; found {shown(value)}")
    if action.kind not in KINDS:
        raise InputError(f"{where}: kind must be one of {', '.join(KINDS)}; found {shown(action.kind)}")
    if not (_is_time(action.start) and _is_time(action.end) and action.start <= action.end):
        raise InputError(
            f"{where}: start and end must be milliseconds in that order; found {shown(action.start)} and "
            f"{shown(action.end)}"
        )
    if action.waited is not None and not (_is_time(action.waited) and action.waited >= 0):
        raise InputError(f"{where}: waited must be milliseconds or null; found {shown(action.waited)}")
    if action.block is not None and (isinstance(action.block, bool) or not isinstance(action.block, int)):
        raise InputError(f"{where}: block must be a whole number or null; found {shown(action.block)}")
    return action


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _skipped(name: str, found: object) -> dict[int, str]:
    if not isinstance(found, Mapping) or not all(str(step).isdecimal() for step in found):
        raise InputError(f"{name}: measurement.skipped: must map steps to reasons; found {shown(found)}")
    return {int(step): in_one_line(reason) for step, reason in found.items()}


def _offsets(name: str, found: object, devices: int) -> tuple[float, ...]:
    if not isinstance(found, list) or len(found) not in (0, devices) or not all(_is_time(each) for each in found):
        raise InputError(f"{name}: measurement.offsets: must be milliseconds, one per device; found {shown(found)}")
    return tuple(float(each) for each in found)


def _notes(found: object) -> tuple[str, ...]:
    return tuple(in_one_line(note) for note in found) if isinstance(found, list) else ()
