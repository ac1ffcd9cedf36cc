"""A prediction against what was measured: the same actions, the times beside each other, the differences by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from ppopt.finished import Schedule
from ppopt.measurement import MeasuredAction
from reports.metrics import measure
from reports.numbers import grouped, percent
from solver.errors import InputError
from solver.problem import Placed, Problem, Task
from strategies.actions import Op

MILLISECONDS = {"s": 1000.0, "ms": 1.0, "us": 0.001}
"""In one unit of time of a configuration, by the unit's name."""

FINEST = 1_000_000
"""Ticks in one unit of time, at least: measured times do not fall on the prediction's own."""

NAMED = 6
"""How many differences are named."""


@dataclass(frozen=True)
class Against:
    """A prediction and a measurement of the same order.

    Attributes
    ----------
    predicted, measured : Schedule
        Both in the prediction's unit of time; the measured one has the status ``measured``.
    differences : tuple of str
        The largest differences, in words: whole, by stage and kind, and where a device waited longer than predicted.
    """

    predicted: Schedule
    measured: Schedule
    differences: tuple[str, ...]


def hold_against(predicted: Schedule, actions: Sequence[MeasuredAction], unit: str = "ms") -> Against:
    """Put a measured step beside its prediction.

    Parameters
    ----------
    predicted : Schedule
        What was predicted.
    actions : sequence of MeasuredAction
        One step, all devices.
    unit : {"s", "ms", "us"}
        The unit of time of the prediction's costs.

    Raises
    ------
    InputError
        If other actions were measured than the order has.
    """
    if unit not in MILLISECONDS:
        raise InputError(f"unit: must be one of {', '.join(MILLISECONDS)}; found {unit!r}")
    _check_same_actions(predicted, actions)
    problem = _with_finer_ticks(predicted.problem)
    rows = _rows(actions, problem.ticks_per_unit / MILLISECONDS[unit])
    measured = replace(
        predicted,
        strategy=f"{predicted.strategy} (measured)",
        figures=measure(problem, rows, predicted.pipeline.ideal),
        engine="measured",
        status="measured",
        problem=problem,
        actions=_orders(rows, problem.devices),
        rows=rows,
        bound=None,
        bound_held_by=None,
        notes=(),
    )
    return Against(predicted, measured, tuple(_differences(predicted, measured)))


def _check_same_actions(predicted: Schedule, actions: Iterable[MeasuredAction]) -> None:
    expected = {(row.device, *_op(row)) for row in predicted.rows}
    found = {(each.device, each.stage, each.kind, each.microbatch) for each in actions}
    for some, what in ((found - expected, "were measured, but"), (expected - found, "were not measured, though")):
        if some:
            device, stage, kind, microbatch = min(some)
            raise InputError(
                f"{predicted.strategy}: {len(some)} actions {what} its order {'lacks' if some <= found else 'has'} "
                f"them, the first: {stage}{kind}{microbatch} on device {device}; is it the order that ran?"
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
        fused_durations={key: duration * factor for key, duration in problem.fused_durations.items()},
        ticks_per_unit=problem.ticks_per_unit * factor,
    )


def _rows(actions: Sequence[MeasuredAction], ticks: float) -> list[Placed]:
    """Place the actions from time 0 on; a device's clock may not let two of them overlap."""
    first = min(each.start for each in actions)
    rows: list[Placed] = []
    ends: dict[int, int] = defaultdict(int)
    for each in sorted(actions, key=lambda each: (each.device, each.start, each.end)):
        start = max(ends[each.device], round((each.start - first) * ticks))
        end = max(start + 1, round((each.end - first) * ticks))
        ends[each.device] = end
        rows.append(Placed(Op(each.stage, each.kind, each.microbatch), each.device, start, end))
    return rows


def _orders(rows: Sequence[Placed], devices: int) -> list[list[Op]]:
    orders: list[list[Op]] = [[] for _ in range(devices)]
    for row in rows:
        orders[row.device].append(_op(row))
    return orders


def _differences(predicted: Schedule, measured: Schedule) -> Iterable[str]:
    longer = measured.makespan / predicted.makespan - 1
    yield (
        f"The step takes {grouped(measured.makespan)} instead of {grouped(predicted.makespan)} ({_signed(longer)}); "
        f"{percent(measured.bubble_ratio)} of the device time are idle instead of {percent(predicted.bubble_ratio)}."
    )
    yield from _by_stage_and_kind(predicted, measured)
    yield from _by_wait(predicted, measured)


def _signed(ratio: float) -> str:
    return ("+" if ratio >= 0 else "−") + percent(abs(ratio))


def _by_stage_and_kind(predicted: Schedule, measured: Schedule) -> list[str]:
    """Name the kinds of action whose measured durations add most to, or take most from, a device's work."""
    durations: dict[tuple[int, str], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for place, schedule in enumerate((predicted, measured)):
        scale = schedule.problem.ticks_per_unit
        for row in schedule.rows:
            durations[_op(row).stage, _op(row).kind][place].append((row.end - row.start) / scale)
    changes = []
    for (stage, kind), (before, after) in durations.items():
        was, now = median(before), median(after)
        changes.append((abs(now - was) * len(after), stage, kind, was, now))
    return [
        f"{kind} of stage {stage} takes {grouped(now)} instead of {grouped(was)} ({_signed(now / was - 1)})."
        for effect, stage, kind, was, now in sorted(changes, reverse=True)[:NAMED]
        if effect > 0.001 * predicted.makespan
    ]


def _by_wait(predicted: Schedule, measured: Schedule) -> list[str]:
    """Name the actions before which a device idles much longer, or shorter, than predicted."""
    before, after = _idle_before(predicted), _idle_before(measured)
    homes = {_op(row): row.device for row in measured.rows}
    changes = sorted(((after[op] - before[op], op) for op in after), key=lambda change: -abs(change[0]))
    return [
        f"Device {homes[op]} idles {grouped(after[op])} before {op} instead of {grouped(before[op])}."
        for change, op in changes[:NAMED]
        if abs(change) > 0.002 * predicted.makespan
    ]


def _idle_before(schedule: Schedule) -> dict[Op, float]:
    scale = schedule.problem.ticks_per_unit
    pairs = zip(schedule.rows, schedule.waiting.before, strict=True)
    return {_op(row): wait.idle / scale for row, wait in pairs}
