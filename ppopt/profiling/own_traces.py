"""Traces of ppopt itself (``--trace``): the operations of a schedule, and the configuration that it was made from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ijson  # type: ignore[import-untyped]

from ppopt.profiling.files import READ_ERRORS, opened
from ppopt.profiling.measurement import MILLISECONDS, MeasuredAction, Measurement, named_unit
from reports.chrome_trace import MICROSECONDS, WRITTEN_BY
from solver.counted import counted
from solver.errors import InputError
from strategies.model.actions import KINDS
from strategies.model.numbers import in_one_line, shown
from strategies.model.pipeline import Pipeline

_NAME = re.compile(rf"([{''.join(KINDS)}]) (\d{{1,9}})\.(\d{{1,9}})(\.\d{{1,9}})?", re.ASCII)
_OTHER_DATA = "otherData"


class _Written(NamedTuple):
    """One schedule of a trace: its process, its name, its pipeline, and whether that has all digits."""

    process: int
    name: str
    pipeline: Pipeline
    is_exact: bool


def is_own_trace(head: Mapping[str, Any]) -> bool:
    """Return whether ppopt wrote a trace, by the part before its events."""
    other = head.get(_OTHER_DATA)
    return isinstance(other, Mapping) and WRITTEN_BY in other


def read_own_trace(path: Path, head: Mapping[str, Any], prefix: str, schedule: str | None, unit: str) -> Measurement:
    """Read a schedule and its configuration.

    Parameters
    ----------
    path : Path
        The trace.
    head : mapping
        The part before its events.
    prefix : str
        The JSON path of its events.
    schedule : str or None
        The name of the schedule to read; None, or one that the trace lacks, for the first.
    unit : {"s", "ms", "us"}
        The unit of its times, if its configuration names none of these.

    Raises
    ------
    InputError
        If the trace is damaged, or the configuration cannot be read back.
    """
    name = in_one_line(path)
    listed = head[_OTHER_DATA][WRITTEN_BY]
    chosen = _choose(name, listed, schedule)
    pipeline = chosen.pipeline
    found = _read_actions(path, prefix, chosen, unit)
    if not found:
        raise InputError(f"{name}: {in_one_line(chosen.name)} has no operation in it; write the trace again")
    for device in {each.device for each in found}:
        if not 0 <= device < pipeline.devices:
            raise InputError(f"{name}: has device {device}, but its configuration has devices: {pipeline.devices}")
    return Measurement(
        devices=pipeline.devices,
        stages=1 + max(each.stage for each in found),
        microbatches=1 + max(each.microbatch for each in found),
        actions=tuple(sorted(found, key=lambda each: (each.device, each.start, each.end, each.kind != "F"))),
        skipped={},
        notes=tuple(_notes(name, listed, chosen, found)),
        configured=pipeline,
    )


def _choose(name: str, listed: object, schedule: str | None) -> _Written:
    if not isinstance(listed, list) or not listed or not all(isinstance(each, Mapping) for each in listed):
        raise InputError(f"{name}: {_OTHER_DATA}.{WRITTEN_BY}: must list schedules; found {shown(listed)}")
    names = [str(each.get("schedule")) for each in listed]
    process = names.index(schedule) if schedule in names else 0
    configuration, called = listed[process].get("configuration"), in_one_line(names[process])
    if configuration is None:
        raise InputError(
            f"{name}: the configuration of {called} could not be written into the trace: its cut makes operations "
            "shorter than a configuration may have; give the configuration that you evaluated"
        )
    try:
        pipeline = Pipeline.from_mapping(configuration) if isinstance(configuration, Mapping) else None
    except InputError as error:
        raise InputError("\n".join(f"{name}: {called}: {line}" for line in str(error).split("\n"))) from None
    if pipeline is None:
        raise InputError(f"{name}: the configuration of {called} must be a mapping; found {shown(configuration)}")
    return _Written(process, names[process], pipeline, listed[process].get("exact") is not False)


def _read_actions(path: Path, prefix: str, chosen: _Written, unit: str) -> list[MeasuredAction]:
    """Stream the operations of one process; each starts after its overhead, as measured ones do."""
    own = chosen.pipeline.unit or ""
    lasts = MILLISECONDS[named_unit(chosen.pipeline) or unit]
    scale = lasts / MICROSECONDS.get(own, 1)
    overhead = {kind: float(each) * lasts for kind, each in chosen.pipeline.overheads.items()}
    found: list[MeasuredAction] = []
    with opened(path) as file:
        try:
            for event in ijson.items(file, prefix, use_float=True):
                action = _action(event, chosen.process, scale, overhead)
                if action is not None:
                    found.append(action)
        except (ijson.JSONError, AttributeError, KeyError, TypeError, ValueError, RecursionError, *READ_ERRORS):
            raise InputError(f"{in_one_line(path)}: is damaged or ends too early; write the trace again") from None
    return found


def _action(event: Any, process: int, scale: float, overhead: Mapping[str, float]) -> MeasuredAction | None:
    """Read an event; None if it is not an operation of this process."""
    if not isinstance(event, Mapping) or event.get("ph") != "X" or event.get("pid") != process:
        return None
    parts = _NAME.fullmatch(str(event.get("name")))
    if parts is None:
        return None
    start, lasts, block = event["ts"] * scale, event["dur"] * scale, event["args"].get("block")
    before = overhead["F" if block is not None else parts[1]]
    microbatch = int(parts[3]) if parts[4] is None else int(event["args"]["microbatch"])  # slices are numbered through
    op = (int(parts[2]), parts[1], microbatch)
    return MeasuredAction(0, int(event["tid"]), *op, start + min(before, lasts), start + lasts, None, block)


def _notes(name: str, listed: Sequence[Any], chosen: _Written, found: Sequence[MeasuredAction]) -> list[str]:
    pipeline, called = chosen.pipeline, in_one_line(chosen.name)
    notes = [f"{name}: was written by ppopt; the costs are those that {called} was made from"]
    if len(listed) > 1:
        notes.append(f"{name}: holds {counted(len(listed), 'schedule')}, of which {called} was read")
    if not chosen.is_exact:
        notes.append(f"{name}: the cut of {called} has costs such as 1/3; they are rounded to 16 digits")
    held = len({each.microbatch for each in found})
    if held < (pipeline.microbatches or held):
        notes.append(
            f"{name}: {called} was written in its short form, with {held:,} of {pipeline.microbatches:,} microbatches"
        )
    return notes
