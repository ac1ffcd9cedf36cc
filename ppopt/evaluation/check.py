"""Checking a schedule file without replaying it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from ppopt.cutting.quick import planned_for_file
from ppopt.process.garbage import collection_paused
from ppopt.schedules.communicated import sizes_of_results
from ppopt.schedules.communicator_verdicts import (
    crossing_faults,
    cycles,
    describe_hang,
    needed_communicators,
)
from ppopt.schedules.replaying import replay_orders
from solver.counted import counted
from solver.errors import InputError
from strategies.faults.communication_faults import unknown_actions
from strategies.faults.order_faults import CheckedFile, check_communication, check_copies, check_file
from strategies.given_model.stages import GivenModel
from strategies.lowering.as_program import as_programs, moves_at_once, unit_durations
from strategies.lowering.as_pytorch import lower_as_pytorch
from strategies.lowering.receive_buffers import ReceiveBuffers, Size, by_figure, receive_buffers
from strategies.lowering.transfers import has_beside, is_lowered
from strategies.model.actions import Op
from strategies.model.communication import DEFAULT_COMMUNICATORS
from strategies.model.communicators import COMMUNICATORS
from strategies.model.numbers import shown
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.model.static_memory import static_memory
from strategies.order_files.given_order import GivenOrder
from strategies.order_files.schedule_file import Fault, ScheduleFile, Token, ops_of, read_schedule_file

Costs = Callable[[GivenOrder], Pipeline]
"""Returns the pipeline for a file; refuses a file that contradicts it."""


@dataclass(frozen=True)
class CheckReport:
    """The findings of a check.

    Attributes
    ----------
    name : str
        The file.
    faults : tuple of Fault
        All faults.
    notes : tuple of str
        Parts of the file that were ignored.
    summary : str
        Everything in one line.
    communicators : mapping of str to str or None
        For a file with communication, ``"runs"`` or ``"hangs"`` for each of ``edge``, ``pair``, ``way`` and ``rank``.
        None for an order of computations, or if a fault makes the question pointless.
    cycles : mapping of str to str
        For each kind of communicators with which the file hangs, the first cycle of transfers waiting for each other.
    lowered : str
        How PyTorch placed the communication, if it did; rows and columns are then those of PyTorch's own lists.
    asked : str
        The communicators with which the file must run.
    receive_buffers : tuple of ReceiveBuffers
        What each device holds for its receives, wherever ``communicators`` is known.
    """

    name: str
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    summary: str
    communicators: Mapping[str, str] | None = None
    cycles: Mapping[str, str] = field(default_factory=dict)
    lowered: str = ""
    asked: str = DEFAULT_COMMUNICATORS
    receive_buffers: tuple[ReceiveBuffers, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the file has a fault, or hangs with the communicators asked about."""
        return bool(self.faults) or (self.communicators is not None and self.communicators[self.asked] == "hangs")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; rows and columns are counted from 1."""
        values: dict[str, Any] = {"file": self.name, "faults": [_plain(fault) for fault in self.faults]}
        if self.notes:
            values["notes"] = list(self.notes)
        if self.communicators is not None:
            values["communicators"] = dict(self.communicators)
            values["cycles"] = dict(self.cycles)
        if self.receive_buffers:
            values["receive_buffers"] = by_figure(self.receive_buffers)
        return values

    @property
    def buffers_in_a_line(self) -> str:
        """The receive buffers of the device that holds most, in one line; empty if there are none."""
        most = (
            {key: max(column) for key, column in by_figure(self.receive_buffers).items()} if self.communicators else {}
        )
        if not most.get("held"):
            return ""
        unused, held = (
            f"{most[key]:,}" + (f" ({most[f'{key}_bytes']:,.10g} bytes)" if f"{key}_bytes" in most else "")
            for key in ("unused", "held")
        )
        return (
            f"receive buffers of a device: at most {unused} from post to first use, {held} to the last backward that "
            f"reads them; {most['pooled']:,} with a pool for each stage and direction (pytorch#196465)"
        )


def _plain(fault: Fault) -> dict[str, Any]:
    return {
        "row": None if fault.row is None else fault.row + 1,
        "column": None if fault.column is None else fault.column + 1,
        "message": f"{fault.token} {fault.message}" if fault.token else fault.message,
    }


@collection_paused()
def check_schedule_file(
    path: str, costs: Costs | None = None, lower: str | None = None, communicators: str | None = None
) -> CheckReport:
    """List all faults of a schedule file, and find out which communicators it needs.

    Parameters
    ----------
    path : str
        The file: an order of computations, or an order with its communication, which is then checked as well.
    costs : callable, optional
        Returns the pipeline whose sizes and memory limit the file must keep; called only if the file itself is fine.
    lower : {"pytorch", "deferred"}, optional
        Check an order of computations with the communication that PyTorch would place in it: without
        ``defer_pp_recv``, or with it.
    communicators : {"edge", "pair", "way", "rank"}, optional
        The communicators with which the file must run; by default those of the costs, or else ``pair``, which PyTorch
        2.13 makes unless ``device_id`` is given to ``init_process_group`` (then ``rank``).

    Raises
    ------
    InputError
        If the file is not a schedule file, contradicts the pipeline, or cannot be lowered.
    """
    if lower not in (None, *LOWERINGS):
        raise InputError(f"lower: {shown(lower)} is not known; allowed are {', '.join(LOWERINGS)}")
    if communicators not in (None, *COMMUNICATORS):
        raise InputError(f"communicators: {shown(communicators)} is not known; allowed are {', '.join(COMMUNICATORS)}")
    read = read_schedule_file(path)
    checked = _checked(read)
    file, faults = checked.file, checked.faults
    if lower is not None:
        _refuse_lowered(file)
    notes = file.remarks if is_lowered(file.rows) else file.notes
    if checked.placement is None:
        return CheckReport(file.name, faults, notes, f"{file.name}: {counted(len(faults), 'fault')}")
    placed = file.rows if is_lowered(file.rows) else None
    beside = file.rows if has_beside(file.rows) else None
    given = GivenOrder(file.name, checked.placement, file.orders, file.notes, placed, beside)
    size: Size | None = None
    if costs is not None:
        pipeline = planned_for_file(GivenModel(costs(given)), given)
        size = sizes_of_results(pipeline, checked.placement)
        communicators = communicators or pipeline.communicators
        over = _over_limit(file, pipeline, checked.placement) if not pipeline.streams else _over(given, pipeline)
        faults = tuple(over)
    rows = file.rows if lower is None else _lowered(given, lower)
    asked = communicators or DEFAULT_COMMUNICATORS
    text = f"{file.name}: {_described(given)}; {_found(faults)}"
    report = CheckReport(file.name, faults, notes, text, asked=asked)
    if not is_lowered(rows):
        return report if faults else replace(report, summary=f"{text}; {_lowered_in_a_word(given, asked)}")
    return _with_communicators(report, given, rows, lower, size)


def _checked(read: ScheduleFile) -> CheckedFile:
    if is_lowered(read.rows):
        return check_copies(check_communication(check_file(read)))
    unknown = tuple(unknown_actions(read.rows))
    return check_copies(check_file(replace(read, faults=(*read.faults, *unknown))))


LOWERINGS = ("pytorch", "deferred")
"""How PyTorch may lower an order of computations: by default, and with ``defer_pp_recv``."""


_PLACED = {"pytorch": "as PyTorch lowers it", "deferred": "as PyTorch lowers it with defer_pp_recv=True"}


def _refuse_lowered(file: ScheduleFile) -> None:
    if is_lowered(file.rows):
        raise InputError(f"{file.name}: --lower: the file already contains its communication; check it without --lower")


def _lowered(given: GivenOrder, lower: str) -> list[list[Token]]:
    try:
        return lower_as_pytorch(given.orders, given.placement, deferred=lower == "deferred")
    except InputError as error:
        raise InputError(f"{given.name}: {error}") from None


MOST_TRIED = 5_000
"""Most operations of an order that is lowered without being asked; this takes a second or two."""


def _lowered_in_a_word(given: GivenOrder, communicators: str) -> str:
    """Say in one phrase what happens to an order of computations if PyTorch places its communication."""
    if sum(map(len, given.orders)) > MOST_TRIED:
        return "--lower pytorch and --lower deferred say whether it runs as PyTorch places its communication"
    try:
        plain, deferred = (_verdict(given, lower, communicators) for lower in LOWERINGS)
    except InputError:
        return "PyTorch's runtime cannot lower it"
    more = "" if deferred == "runs" else ": see --lower deferred"
    return f"lowered by PyTorch, it {plain} with {communicators}, and with defer_pp_recv=True it {deferred}{more}"


def _verdict(given: GivenOrder, lower: str, communicators: str) -> str:
    lowered = as_programs(_lowered(given, lower), given.placement, unit_durations, moves_at_once)
    if any(crossing_faults(lowered)):
        return "is crossed"
    return "runs" if cycles(lowered, (communicators,))[communicators] is None else "hangs"


def _with_communicators(
    report: CheckReport, given: GivenOrder, rows: Sequence[Sequence[Token | None]], lower: str | None, size: Size | None
) -> CheckReport:
    """Find the communicators with which an order with communication runs, unless transfers in it cross."""
    lowered = as_programs(rows, given.placement, unit_durations, moves_at_once)
    how = f"{_described(given)}, {counted(len(lowered.transfers), 'transfer')}"
    placed = "" if lower is None else _PLACED[lower]
    faults = (*report.faults, *crossing_faults(lowered))
    text = f"{report.name}: {', '.join(filter(None, [how, placed]))}; {_found(faults)}"
    report = replace(report, lowered=placed)
    if len(faults) > len(report.faults):
        return replace(report, faults=faults, summary=text)
    found = cycles(lowered)
    return replace(
        report,
        summary=f"{text}; {needed_communicators(found)}",
        communicators={name: "runs" if cycle is None else "hangs" for name, cycle in found.items()},
        receive_buffers=receive_buffers(lowered, given.placement, size),
        cycles={name: describe_hang(cycle, lowered, name) for name, cycle in found.items() if cycle is not None},
    )


def _found(faults: Sequence[Fault]) -> str:
    return counted(len(faults), "fault") if faults else "no fault"


def _described(given: GivenOrder) -> str:
    sizes = given.sizes
    operations = sum(len(ops_of(action)) for order in given.orders for action in order)
    parts = (
        counted(sizes["devices"], "device"),
        f"{counted(sizes['stages'], 'stage')} ({given.placement.name})",
        counted(sizes["microbatches"], "microbatch"),
        counted(operations, "operation"),
    )
    return ", ".join(parts)


def _over_limit(file: ScheduleFile, pipeline: Pipeline, placement: Placement) -> Iterator[Fault]:
    """Find the devices that exceed the limit at some moment; their orders alone decide this, whatever the times."""
    changes = [[cost.changes for cost in costs] for costs in pipeline.costs_by_class]
    of_item = pipeline.items.of.tolist()
    static = static_memory(pipeline, placement)
    for device, (row, limit) in enumerate(zip(file.rows, pipeline.limits, strict=True)):
        if limit is None:
            continue
        peak, column = _peak(row, lambda op: changes[of_item[op.microbatch]][op.stage][op.kind], static[device])
        if peak > limit:
            text = f"is where the device holds most: {float(peak):g}; its limit is {float(limit):g}"
            yield Fault(device, column, str(row[column]), text)


def _over(given: GivenOrder, pipeline: Pipeline) -> Iterator[Fault]:
    """Find the devices that exceed the limit in a replay, which decides when work beside computing takes memory."""
    made = replay_orders(given.name, pipeline, given.placement, given.orders, "graph", given=given)
    for device in made.over_limit:
        text = f"holds up to {made.peak_memory[device]:g}; its limit is {made.limits[device]:g}"
        yield Fault(device, None, "", text)


def _peak(row: Sequence[Token | None], change: Callable[[Op], Fraction], static: Fraction) -> tuple[Fraction, int]:
    """Return the most that a device holds, and the first column in which it does."""
    level = peak = static
    column = 0
    for place, token in enumerate(row):
        ops = ops_of(token)
        level += sum(change(op) for op in ops if op.kind == "F")
        if level > peak:
            peak, column = level, place
        level += sum(change(op) for op in ops if op.kind != "F")
    return peak, column
