"""Compares a prediction with a measurement: the same actions, both times, the largest differences by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import cast

from ppopt.profiling.measurement import MILLISECONDS, MeasuredAction
from ppopt.profiling.timeline import orders_of
from ppopt.schedules.schedule import Schedule
from reports.metrics import measure
from reports.numbers import MEASURED, grouped, percent, with_unit
from solver.counted import counted
from solver.errors import InputError
from solver.problem import Placed, Problem, Task, tasks_of
from strategies.model.actions import Op

FINEST = 1_000_000
"""Least ticks per unit of time: measured times do not fall on the prediction's ticks."""

NAMED = 6
"""The most differences to name."""


@dataclass(frozen=True)
class Against:
    """A prediction and a measurement of the same order.

    Attributes
    ----------
    predicted, measured : Schedule
        Both in the prediction's unit of time; the measured one has the status ``measured``.
    differences : tuple of str
        The largest differences, in words: in total, by stage and kind, and where a device waited longer than predicted.
    """

    predicted: Schedule
    measured: Schedule
    differences: tuple[str, ...]


def hold_against(predicted: Schedule, actions: Sequence[MeasuredAction], unit: str = "ms") -> Against:
    """Compare a measured step with its prediction.

    Parameters
    ----------
    predicted : Schedule
        The prediction.
    actions : sequence of MeasuredAction
        One step, all devices.
    unit : {"s", "ms", "us"}
        The unit of time of the prediction's costs.

    Raises
    ------
    InputError
        If the measured actions differ from the order's.
    """
    if unit not in MILLISECONDS:
        raise InputError(f"unit: must be one of {', '.join(MILLISECONDS)}; found {unit!r}")
    _check_same_order(predicted, actions)
    predicted = _to_last_operation(predicted)
    problem = _with_finer_ticks(predicted.problem)
    rows = _rows(actions, problem.ticks_per_unit / MILLISECONDS[unit])
    measured = replace(
        predicted,
        strategy=f"{predicted.strategy} (measured)",
        figures=measure(problem, rows, predicted.pipeline.ideal),
        engine="measured",
        status="measured",
        problem=problem,
        actions=orders_of(actions, problem.devices),
        rows=rows,
        proven=None,
        bound_held_by=None,
        notes=(),
        unhindered_makespan=None,
        transfers={},
    )
    return Against(predicted, measured, tuple(_differences(predicted, measured)))


def _to_last_operation(predicted: Schedule) -> Schedule:
    """Leave out what a step takes after its last operation, which no trace of operations shows."""
    pipeline, free = predicted.pipeline, predicted.unhindered_makespan
    if not pipeline.after:
        return predicted
    return replace(
        predicted,
        pipeline=pipeline.model_copy(update={"step": None}),
        figures=measure(predicted.problem, predicted.rows, pipeline.ideal, predicted.overhead_ticks),
        unhindered_makespan=None if free is None else free - pipeline.after,
        proven=None,
    )


def _check_same_order(predicted: Schedule, actions: Sequence[MeasuredAction]) -> None:
    """Refuse a measurement of other actions, or of the same actions in another order."""
    _check_same_actions(predicted, actions)
    ran: dict[int, list[Op]] = defaultdict(list)
    for each in sorted(actions, key=lambda each: (each.start, each.end)):
        ran[each.device].append(Op(each.stage, each.kind, each.microbatch))
    for device, order in enumerate(predicted.actions):
        place = 0
        for action in order:
            expected = [cast("Op", task) for task in tasks_of(action)]  # the halves of a block may run in either order
            found = ran[device][place : place + len(expected)]
            if set(found) != set(expected):
                raise InputError(
                    f"{predicted.strategy}: device {device} ran {found[0]} at place {place}, where its order has "
                    f"{action}; `ppopt profile TRACE --order FILE.csv` writes the order that ran"
                )
            place += len(expected)


def _check_same_actions(predicted: Schedule, actions: Iterable[MeasuredAction]) -> None:
    expected = {(row.device, *_op(row)) for row in predicted.rows}
    found = {(each.device, each.stage, each.kind, each.microbatch) for each in actions}
    for some, what in ((found - expected, "measured, but"), (expected - found, "not measured, though")):
        if some:
            device, stage, kind, microbatch = min(some)
            were, them = ("was", "it") if len(some) == 1 else ("were", "them")
            raise InputError(
                f"{predicted.strategy}: {counted(len(some), 'action')} {were} {what} its order "
                f"{'lacks' if some <= found else 'has'} {them}, the first: {stage}{kind}{microbatch} on device "
                f"{device}; is this the order that ran?"
            )


def _op(row: Placed) -> Op:
    task = row.task
    assert isinstance(task, Op)
    return task


def _with_finer_ticks(problem: Problem) -> Problem:
    """Write a problem in ticks fine enough for measured times."""
    factor = -(-FINEST // problem.ticks_per_unit)
    return replace(
        problem,
        tasks={key: Task(task.device, task.duration * factor) for key, task in problem.tasks.items()},
        precedences=[(before, after, lag * factor) for before, after, lag in problem.precedences],
        fusing=problem.fusing.scaled(lambda duration: duration * factor),
        ticks_per_unit=problem.ticks_per_unit * factor,
        moves={pair: moving * factor for pair, moving in problem.moves.items()},
    )


def _rows(actions: Sequence[MeasuredAction], ticks: float) -> list[Placed]:
    """Place the actions from time 0 on; shift any that overlap on a device, except the halves of a block."""
    first = min(each.start for each in actions)
    rows: list[Placed] = []
    ends: dict[int, int] = defaultdict(int)
    for number, halves in enumerate(_as_they_ran(actions)):
        device = halves[0].device
        start = max(ends[device], round((min(each.start for each in halves) - first) * ticks))
        end = max(start + 1, round((max(each.end for each in halves) - first) * ticks))
        ends[device] = end
        block = number if len(halves) > 1 else None
        rows += [Placed(Op(each.stage, each.kind, each.microbatch), device, start, end, block) for each in halves]
    return rows


def _as_they_ran(actions: Sequence[MeasuredAction]) -> list[list[MeasuredAction]]:
    """List what ran as one unit, per device in order of time: an action, or the halves of a block, F first."""
    together: dict[tuple[int, object], list[MeasuredAction]] = defaultdict(list)
    for place, each in enumerate(actions):
        together[each.device, ("alone", place) if each.block is None else each.block].append(each)
    groups = [sorted(group, key=lambda each: each.kind != "F") for group in together.values()]
    return sorted(groups, key=lambda group: (group[0].device, min(each.start for each in group), group[0].end))


def _differences(predicted: Schedule, measured: Schedule) -> Iterable[str]:
    longer = measured.makespan / predicted.makespan - 1
    unit = predicted.pipeline.unit
    yield (
        f"The step takes {_shown(measured.makespan)} instead of {with_unit(_shown(predicted.makespan), unit)} "
        f"({_signed(longer)}); "
        f"{percent(measured.bubble_ratio)} of the device time is idle instead of {percent(predicted.bubble_ratio)}."
    )
    if not 0.01 < longer + 1 < 100:
        yield "The times differ by an order of magnitude: are the costs in the unit that --unit says?"
    yield from _by_stage_and_kind(predicted, measured)
    yield from _by_wait(predicted, measured)


def _shown(value: float) -> str:
    """Format a predicted time for comparison with a measured one."""
    return grouped(value, MEASURED)


def _signed(ratio: float) -> str:
    return ("+" if ratio >= 0 else "−") + percent(abs(ratio))


def _by_stage_and_kind(predicted: Schedule, measured: Schedule) -> list[str]:
    """Name the kinds of action whose measured durations add most to, or take most from, a device's work."""
    before, after, unit = _durations(predicted), _durations(measured), predicted.pipeline.unit
    changes = []
    for what in before.keys() & after.keys():
        was, now = median(before[what]), median(after[what])
        changes.append((abs(now - was) * len(after[what]), what, was, now))
    return [
        f"{what} takes {_shown(now)} instead of {with_unit(_shown(was), unit)} ({_signed(now / was - 1)})."
        for effect, what, was, now in sorted(changes, reverse=True)[:NAMED]
        if effect > 0.001 * predicted.makespan
    ]


def _durations(schedule: Schedule) -> dict[str, list[float]]:
    """List the durations of each kind of action on each stage; a block counts once, under its two stages."""
    scale = schedule.problem.ticks_per_unit
    durations: dict[str, list[float]] = defaultdict(list)
    for place, row in enumerate(schedule.rows):
        if row.block is None:
            name = f"{_op(row).kind} of stage {_op(row).stage}"
        elif place + 1 < len(schedule.rows) and schedule.rows[place + 1].block == row.block:
            name = f"a block of F of stage {_op(row).stage} and B of stage {_op(schedule.rows[place + 1]).stage}"
        else:
            continue
        durations[name].append((row.end - row.start) / scale)
    return durations


def _by_wait(predicted: Schedule, measured: Schedule) -> list[str]:
    """Name the actions before which a device idles much longer or shorter than predicted."""
    before, after, unit = _idle_before(predicted), _idle_before(measured), predicted.pipeline.unit
    homes = {_op(row): row.device for row in measured.rows}
    changes = sorted(((after[op] - before[op], op) for op in after), key=lambda change: -abs(change[0]))
    return [
        f"Device {homes[op]} idles {_shown(after[op])} before {op} instead of {with_unit(_shown(before[op]), unit)}."
        for change, op in changes[:NAMED]
        if abs(change) > 0.002 * predicted.makespan
    ]


def _idle_before(schedule: Schedule) -> dict[Op, float]:
    scale = schedule.problem.ticks_per_unit
    pairs = zip(schedule.rows, schedule.waiting.before, strict=True)
    return {_op(row): wait.idle / scale for row, wait in pairs}
