"""Writes Chrome traces, which Perfetto and chrome://tracing open.

One unit of the user's time is one microsecond of the trace, unless the unit's name says how long it is. Devices are
threads. An operation is a slice named by kind, stage and microbatch: ``F 3.12`` is PyTorch's ``PP:3F12``, and ``F
3.12.1`` is slice 1 of a microbatch that is cut. Perfetto colours slices by their name without its numbers, hence by
kind; chrome://tracing needs ``cname``. A result that crosses devices is a flow from the end of its producer to the
start of its consumer. Activation memory is a counter. The head holds the configuration that each schedule was made
from, so that `ppopt profile` reads it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from reports.memory import memory_steps
from reports.metrics import Beside
from reports.operation import operation
from solver.problem import Placed, Problem

_INSIDE = 0.001
"""A flow starts this long (µs) before its producer ends: at the very end it would not attach to it."""


WRITTEN_BY = "ppopt"
"""The key of the head, within ``otherData``, under which schedules and their configurations are listed."""

_COLOURS = {"F": "rail_response", "B": "rail_idle", "I": "yellow", "W": "rail_load"}
"""The colours of chrome://tracing that are closest to those of the page."""


@dataclass(frozen=True)
class Traced:
    """A schedule to write; each becomes a process of the trace.

    Attributes
    ----------
    name : str
        Its name.
    problem : Problem
        Its problem.
    rows : sequence of Placed
        When each operation runs.
    unit : str
        The unit of its times.
    configuration : mapping or None
        The configuration that it was made from; None if there is none that can be read back.
    is_exact : bool
        Whether the configuration has all digits of its numbers; a cut can make numbers that have no end.
    items : sequence of str
        What slices of microbatches are called; empty if microbatches are whole.
    beside : Beside or None
        What its devices do beside computing: slices of threads of their own, one for each device.
    """

    name: str
    problem: Problem
    rows: Sequence[Placed]
    unit: str = ""
    configuration: Mapping[str, Any] | None = None
    is_exact: bool = True
    items: Sequence[str] = ()
    beside: Beside | None = None

    @property
    def ticks(self) -> float:
        """The number of ticks in a microsecond of the trace."""
        return self.problem.ticks_per_unit / MICROSECONDS.get(self.unit, 1)


MICROSECONDS = {"s": 1_000_000, "ms": 1000, "us": 1, "µs": 1, "μs": 1, "ns": 0.001}
"""Microseconds in a unit of time, by its name; a unit with another name is shown as one microsecond."""


def write_trace(file: IO[str], schedules: Iterable[Traced]) -> None:
    """Write schedules as one trace in the trace-event format.

    Parameters
    ----------
    file : text file
        The file.
    schedules : iterable of Traced
        The schedules.
    """
    every = list(schedules)
    unit = every[0].unit if every else ""
    scale = f"1 {unit or 'unit of the configuration'} = {MICROSECONDS.get(unit, 1):g} us"
    written = [{"schedule": each.name, "configuration": each.configuration, "exact": each.is_exact} for each in every]
    about = {"unit": scale, WRITTEN_BY: written}
    head = json.dumps({"displayTimeUnit": "ms", "otherData": about}).removesuffix("}")
    file.write(f'{head}, "traceEvents": [\n')
    separator = ""
    flows = 0
    for process, traced in enumerate(every):
        for event in _events(traced, process, flows):
            file.write(separator + event)
            separator = ",\n"
        flows += len(traced.problem.precedences)
    file.write("\n]}\n")


def _events(traced: Traced, process: int, first_flow: int) -> Iterator[str]:
    """Yield the events as JSON; everything but the names is a number, so templates suffice."""
    yield json.dumps({"ph": "M", "pid": process, "name": "process_name", "args": {"name": traced.name}})
    for device in range(traced.problem.devices):
        thread = {"ph": "M", "pid": process, "tid": device}
        yield json.dumps({**thread, "name": "thread_name", "args": {"name": f"device {device}"}})
        yield json.dumps({**thread, "name": "thread_sort_index", "args": {"sort_index": device}})
    yield from _slices(traced, process)
    yield from _slices_beside(traced, process)
    yield from _flows(traced, process, first_flow)
    yield from _counters(traced, process)


def _slices(traced: Traced, process: int) -> Iterator[str]:
    scale = traced.ticks
    for task, device, start, end, block in traced.rows:
        stage, kind, microbatch = operation(task)
        fused = "" if block is None else f', "block": {block}'
        item = traced.items[microbatch] if traced.items else microbatch
        yield (
            f'{{"ph": "X", "pid": {process}, "tid": {device}, "name": "{kind} {stage}.{item}", "cat": "op", '
            f'"cname": "{_COLOURS.get(kind, "grey")}", '
            f'"ts": {start / scale!r}, "dur": {(end - start) / scale!r}, '
            f'"args": {{"stage": {stage}, "microbatch": {microbatch}{fused}}}}}'
        )


def _slices_beside(traced: Traced, process: int) -> Iterator[str]:
    if traced.beside is None:
        return
    scale, devices = traced.ticks, traced.problem.devices
    for device in sorted({row.device for row in traced.beside.rows}):
        thread = {"ph": "M", "pid": process, "tid": devices + device}
        yield json.dumps({**thread, "name": "thread_name", "args": {"name": f"beside device {device}"}})
        yield json.dumps({**thread, "name": "thread_sort_index", "args": {"sort_index": device}})
    for task, device, start, end, _ in traced.beside.rows:
        if end > start:
            yield (
                f'{{"ph": "X", "pid": {process}, "tid": {devices + device}, "name": "{task}", "cat": "beside", '
                f'"ts": {start / scale!r}, "dur": {(end - start) / scale!r}}}'
            )


def _flows(traced: Traced, process: int, first_flow: int) -> Iterator[str]:
    scale = traced.ticks
    placed = {row.task: row for row in traced.rows}
    for number, (before, after, _) in enumerate(traced.problem.precedences, start=first_flow):
        producer, consumer = placed[before], placed[after]
        if producer.device == consumer.device:
            continue
        sent = max(producer.start / scale, producer.end / scale - _INSIDE)
        common = f'"pid": {process}, "cat": "p2p", "name": "p2p", "id": {number}'
        yield f'{{"ph": "s", "tid": {producer.device}, "ts": {sent!r}, {common}}}'
        yield f'{{"ph": "f", "bp": "e", "tid": {consumer.device}, "ts": {consumer.start / scale!r}, {common}}}'


def _counters(traced: Traced, process: int) -> Iterator[str]:
    scale, amounts = traced.ticks, traced.problem.amounts_per_unit
    problem, rows = traced.problem, traced.rows
    if traced.beside is not None:
        problem, rows = traced.beside.holding, [*rows, *traced.beside.rows]
    for device, steps in enumerate(memory_steps(problem, rows)):
        common = f'"ph": "C", "pid": {process}, "tid": {device}, "name": "memory of device {device}"'
        for moment, level in steps:
            yield f'{{{common}, "ts": {moment / scale!r}, "args": {{"activations": {level / amounts!r}}}}}'
