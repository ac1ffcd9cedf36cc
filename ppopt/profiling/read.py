"""Reads a measurement from files of any known kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from ppopt.profiling.assembly import assemble
from ppopt.profiling.files import find_files
from ppopt.profiling.kineto import first_base, read_trace
from ppopt.profiling.measurement import Measurement
from ppopt.profiling.megatron import read_timer_logs
from ppopt.profiling.own_traces import read_own_trace
from ppopt.profiling.primus import read_primus_logs
from ppopt.profiling.recognition import OWN, PRIMUS, REHEARSAL, TIMERS, Recognised, recognise
from ppopt.profiling.rehearsed import read_rehearsal
from solver.errors import InputError
from strategies.model.numbers import in_one_line, shown

Paths: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def read_measurement(
    paths: Paths, *, skip: int | None = None, schedule: str | None = None, unit: str = "ms"
) -> Measurement:
    """Read a measurement.

    Parameters
    ----------
    paths : path or iterable of paths
        Files, or folders of files: one per rank for traces of torch.profiler (plain or gzipped), Megatron timer
        logs and Primus' logs, one in all for the output of ``ppopt rehearse`` and for a trace of ppopt.
    skip : int or None
        The number of warm-up steps at the start, which do not count; None for one, if others are left.
    schedule : str or None
        The schedule to read from a trace of ppopt that holds several; None, or one that it lacks, for the first.
    unit : {"s", "ms", "us"}
        The unit of a trace of ppopt whose configuration names none of these.

    Raises
    ------
    InputError
        If a file is of another kind or cannot be read, the files do not belong together, or a rank is missing.
    """
    if skip is not None and (isinstance(skip, bool) or not isinstance(skip, int) or skip < 0):
        raise InputError(f"skip: must be a whole number of at least 0; found {shown(skip)}")
    found = [recognise(path) for path in find_files(paths)]
    kind = _kind_of(found)
    if kind == REHEARSAL:
        return _rehearsed(found, skip)
    if kind == OWN:
        return _predicted(found, skip, schedule, unit)
    if kind == TIMERS:
        measurement = assemble(read_timer_logs([(str(file.path), file.head) for file in found]), skip)
        return replace(measurement, notes=(*(note for file in found for note in file.notes), *measurement.notes))
    if kind == PRIMUS:
        return assemble(read_primus_logs([(str(file.path), file.head) for file in found]), skip)
    base = first_base([file.head for file in found])
    return assemble([read_trace(file, base) for file in found], skip)


def _kind_of(found: Sequence[Recognised]) -> str:
    first = found[0]
    for file in found:
        if file.kind != first.kind:
            raise InputError(
                f"{in_one_line(file.path)}: is a {file.kind}, but {in_one_line(first.path)} is a {first.kind}; "
                "give files of one kind, from one run"
            )
    return first.kind


def _predicted(found: Sequence[Recognised], skip: int | None, schedule: str | None, unit: str) -> Measurement:
    name = in_one_line(found[-1].path)
    if len(found) > 1:
        raise InputError(f"{name}: is a second {OWN}; one file holds all devices")
    if skip:
        raise InputError(f"skip: must be 0 for a {OWN}, which holds one step; found {skip}")
    return read_own_trace(found[0].path, found[0].head, found[0].prefix, schedule, unit)


def _rehearsed(found: Sequence[Recognised], skip: int | None) -> Measurement:
    if len(found) > 1:
        raise InputError(f"{in_one_line(found[1].path)}: is a second {REHEARSAL}; one file holds all ranks")
    measurement = read_rehearsal(str(found[0].path), found[0].head)
    if skip is None:
        return measurement
    numbers = sorted({action.step for action in measurement.actions})
    others = {step: why for step, why in measurement.skipped.items() if not why.startswith("warm-up")}
    return replace(measurement, skipped=dict.fromkeys(numbers[:skip], "warm-up, as asked") | others)
