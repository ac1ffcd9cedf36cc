"""Checking a schedule file without replaying it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ppopt.garbage import collection_paused
from strategies.actions import Op
from strategies.given_order import GivenOrder
from strategies.order_faults import check_file
from strategies.pipeline import Pipeline, StageCosts
from strategies.placements import Placement
from strategies.schedule_file import Fault, ScheduleFile, Token, ops_of, read_schedule_file
from strategies.stages import in_stages
from strategies.static_memory import static_memory

Costs = Callable[[GivenOrder], Pipeline]
"""Gives the pipeline that a file is for; refuses one that contradicts it."""


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes
    ----------
    name : str
        The file.
    faults : tuple of Fault
        All that is wrong.
    notes : tuple of str
        What of the file was left out.
    summary : str
        All of it in one line.
    """

    name: str
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    summary: str


@collection_paused()
def check_schedule_file(path: str, costs: Costs | None = None) -> CheckReport:
    """List all that is wrong with a schedule file.

    Parameters
    ----------
    path : str
        The file.
    costs : callable, optional
        Gives the pipeline whose sizes and memory limit the file must keep; asked only where the file itself is fine.

    Raises
    ------
    InputError
        If it is no schedule file at all, or contradicts the pipeline.
    """
    checked = check_file(read_schedule_file(path))
    file, faults = checked.file, checked.faults
    if checked.placement is None:
        return CheckReport(file.name, faults, file.notes, f"{file.name}: {_counted(len(faults), 'fault')}")
    given = GivenOrder(file.name, checked.placement, file.orders, file.notes)
    if costs is not None:
        pipeline = in_stages(costs(given), given.sizes["stages"])  # where layers are not yet cut
        faults = tuple(_over_limit(file, pipeline, checked.placement))
    found = _counted(len(faults), "fault") if faults else "no fault"
    return CheckReport(file.name, faults, file.notes, f"{file.name}: {_described(given)}; {found}")


def _described(given: GivenOrder) -> str:
    sizes = given.sizes
    operations = sum(len(ops_of(action)) for order in given.orders for action in order)
    parts = (
        _counted(sizes["devices"], "device"),
        f"{_counted(sizes['stages'], 'stage')} ({given.placement.name})",
        _counted(sizes["microbatches"], "microbatch"),
        _counted(operations, "operation"),
    )
    return ", ".join(parts)


def _counted(count: int, what: str) -> str:
    plural = "es" if what.endswith("ch") else "s"
    return f"{count:,} {what}{'' if count == 1 else plural}"


def _over_limit(file: ScheduleFile, pipeline: Pipeline, placement: Placement) -> Iterator[Fault]:
    """Find the devices that hold too much at some time: their orders alone decide that, whatever the times are."""
    costs = pipeline.costs
    static = static_memory(pipeline, placement)
    for device, (row, limit) in enumerate(zip(file.rows, pipeline.limits, strict=True)):
        if limit is None:
            continue
        peak, column = _peak(row, costs, static[device])
        if peak > limit:
            text = f"is where the device holds most: {float(peak):g}; its limit is {float(limit):g}"
            yield Fault(device, column, str(row[column]), text)


def _peak(row: Sequence[Token | None], costs: Sequence[StageCosts], static: Fraction) -> tuple[Fraction, int]:
    """Return the most that a device holds, and in which column it first does."""
    level = peak = static
    column = 0
    for place, token in enumerate(row):
        ops = ops_of(token)
        level += sum(costs[op.stage].activation for op in ops if op.kind == "F")
        if level > peak:
            peak, column = level, place
        level -= sum(_returned(op, costs[op.stage]) for op in ops)
    return peak, column


def _returned(op: Op, cost: StageCosts) -> Fraction:
    returned = {"B": cost.activation, "I": cost.activation - cost.held_for_weight, "W": cost.held_for_weight}
    return returned.get(op.kind, Fraction(0))
