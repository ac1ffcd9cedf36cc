"""Compares a prediction with a measurement: the same actions, both times, the largest differences by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple, cast

from ppopt.profiling.costs import KEYS
from ppopt.profiling.gaps import BEFORE, measure_gaps
from ppopt.profiling.measurement import MILLISECONDS, MeasuredAction, named_unit
from ppopt.profiling.timeline import orders_of
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from reports.metrics import measure
from reports.numbers import MEASURED, grouped, percent, with_unit
from solver.counted import counted
from solver.errors import InputError
from solver.problem import Placed, Problem, Task, tasks_of
from strategies.model.actions import KINDS, Op
from strategies.model.pipeline import Pipeline

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


WHOLE_ACTIVATIONS = (
    "The measured memory is that of whole activations: the actions of a trace do not say what was copied when."
)


def hold_against(
    predicted: Schedule, actions: Sequence[MeasuredAction], unit: str = "ms", configured: Pipeline | None = None
) -> Against:
    """Compare a measured step with its prediction.

    Parameters
    ----------
    predicted : Schedule
        The prediction.
    actions : sequence of MeasuredAction
        One step, all devices.
    unit : {"s", "ms", "us"}
        The unit of time of the prediction's costs.
    configured : Pipeline or None
        For a trace of ppopt, the pipeline that it was made from: its overhead is known and need not be measured.

    Raises
    ------
    InputError
        If the measured actions differ from the order's, or the prediction gathers or reduces beside computing.
    """
    if unit not in MILLISECONDS:
        raise InputError(f"unit: must be one of {', '.join(MILLISECONDS)}; found {unit!r}")
    predicted.pipeline.model_copy(update={"offload": None}).refuse_beside("--against")  # copies end no step
    _check_same_order(predicted, actions)
    after = predicted.pipeline.after
    predicted = _to_last_operation(predicted)
    problem = _with_finer_ticks(predicted.problem)
    overhead = {kind: each * MILLISECONDS[unit] for kind, each in _configured(predicted.pipeline).items()}
    rows, begins = _rows(actions, problem.ticks_per_unit / MILLISECONDS[unit], overhead)
    measured = replace(
        predicted,
        strategy=f"{predicted.strategy} (measured)",
        figures=measure(problem, rows, predicted.pipeline.ideal, begins),
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
        sides=None,
    )
    taken, doubts = _overhead_of(actions, unit, configured)
    more = {key: each / MILLISECONDS[unit] for key, each in taken.items()}
    differences = [
        *_of_the_step(predicted, measured),
        *_left_out(float(after), predicted.pipeline.unit),
        *([WHOLE_ACTIVATIONS] if predicted.pipeline.offload is not None else []),
        *_by_overhead(predicted, measured, more),
        *(f"{text[0].upper()}{text[1:]}." for text in doubts if not taken),
        *_by_stage_and_kind(predicted, actions, overhead, unit),
        *_by_wait(predicted, measured),
    ]
    return Against(predicted, measured, tuple(differences))


def _overhead_of(
    actions: Sequence[MeasuredAction], unit: str, configured: Pipeline | None
) -> tuple[Mapping[str, float], Sequence[str]]:
    """Return the overhead of a run in milliseconds by the configuration's key, and why it is in doubt."""
    if configured is None:
        gaps = measure_gaps(actions)
        return gaps.taken, gaps.notes
    scale = MILLISECONDS[named_unit(configured) or unit]
    return {KEYS[kind]: each * scale for kind, each in _configured(configured).items()}, ()


def _configured(pipeline: Pipeline) -> dict[str, float]:
    """Return the overhead that was predicted before each kind of operation, in the user's unit."""
    if pipeline.overhead is None:
        return dict.fromkeys(KINDS, 0.0)
    return {kind: float(each) for kind, each in zip(KINDS, pipeline.overhead.each, strict=True)}


def _to_last_operation(predicted: Schedule) -> Schedule:
    """Leave out what a step takes after its last operation, which no trace of operations shows."""
    pipeline, free = predicted.pipeline, predicted.unhindered_makespan
    if not pipeline.after:
        return predicted
    return replace(
        predicted,
        pipeline=pipeline.model_copy(update={"step": None}),
        figures=measure(
            predicted.problem,
            predicted.rows,
            pipeline.ideal,
            predicted.overhead_ticks,
            beside=None if predicted.sides is None else predicted.sides.beside,
        ),
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


def _rows(
    actions: Sequence[MeasuredAction], ticks: float, overhead: Mapping[str, float]
) -> tuple[list[Placed], list[int]]:
    """Place the actions from time 0 on; shift any that overlap on a device, except the halves of a block.

    As in a replay, an action begins with its overhead, as far as its device did nothing before it. The second list
    has the sum of that for each device, in ticks.
    """
    first = min(each.start - overhead[each.kind] for each in actions)
    rows: list[Placed] = []
    begins = [0] * (1 + max(each.device for each in actions))
    ends: dict[int, int] = defaultdict(int)
    for number, halves in enumerate(_as_they_ran(actions)):
        device = halves[0].device
        works = min(each.start for each in halves)
        begin = works - overhead[halves[0].kind]
        start = max(ends[device], round((begin - first) * ticks))
        begins[device] += max(0, round((works - first) * ticks) - start)
        end = max(start + 1, round((max(each.end for each in halves) - first) * ticks))
        ends[device] = end
        block = number if len(halves) > 1 else None
        rows += [Placed(Op(each.stage, each.kind, each.microbatch), device, start, end, block) for each in halves]
    return rows, begins


def _as_they_ran(actions: Sequence[MeasuredAction]) -> list[list[MeasuredAction]]:
    """List what ran as one unit, per device in order of time: an action, or the halves of a block, F first."""
    together: dict[tuple[int, object], list[MeasuredAction]] = defaultdict(list)
    for place, each in enumerate(actions):
        together[each.device, ("alone", place) if each.block is None else each.block].append(each)
    groups = [sorted(group, key=lambda each: each.kind != "F") for group in together.values()]
    return sorted(groups, key=lambda group: (group[0].device, min(each.start for each in group), group[0].end))


def _of_the_step(predicted: Schedule, measured: Schedule) -> Iterator[str]:
    longer = measured.makespan / predicted.makespan - 1
    unit = predicted.pipeline.unit
    yield (
        f"The step takes {_shown(measured.makespan)} instead of {with_unit(_shown(predicted.makespan), unit)} "
        f"({_signed(longer)}); "
        f"{percent(measured.bubble_ratio)} of the device time is idle instead of {percent(predicted.bubble_ratio)}."
    )
    if not 0.01 < longer + 1 < 100:
        yield "The times differ by an order of magnitude: are the costs in the unit that --unit says?"


def _left_out(after: float, unit: str | None) -> Iterator[str]:
    if after:
        yield (
            f"step.after, {with_unit(_shown(after), unit)}, is left out of the prediction, since a trace ends with the "
            "last operation. If it comes from `ppopt profile`, it is the time by which first and last operations are "
            "slower than others, and explains that much of the difference."
        )


def _shown(value: float) -> str:
    """Format a predicted time for comparison with a measured one."""
    return grouped(value, MEASURED)


def _signed(ratio: float) -> str:
    return ("+" if ratio >= 0 else "−") + percent(abs(ratio))


def _by_stage_and_kind(
    predicted: Schedule, actions: Sequence[MeasuredAction], overhead: Mapping[str, float], unit: str
) -> list[str]:
    """Name the kinds of action whose measured durations add most to, or take most from, a device's work."""
    before, after = _durations(predicted, overhead, unit), _measured_durations(actions, unit)
    changes = []
    for what in before.keys() & after.keys():
        was, now = median(before[what]), median(after[what])
        changes.append((abs(now - was) * len(after[what]), what, was, now))
    name = predicted.pipeline.unit
    return [
        f"{what} takes {_shown(now)} instead of {with_unit(_shown(was), name)} ({_signed(now / was - 1)})."
        for effect, what, was, now in sorted(changes, reverse=True)[:NAMED]
        if effect > 0.001 * predicted.makespan and was > 0
    ]


def _durations(schedule: Schedule, overhead: Mapping[str, float], unit: str) -> dict[str, list[float]]:
    """List the durations of each kind of action on each stage, without overhead; a block counts once."""
    scale = schedule.problem.ticks_per_unit
    durations: dict[str, list[float]] = defaultdict(list)
    for row, following in zip(schedule.rows, [*schedule.rows[1:], None], strict=True):
        halves = [_op(row)]
        if row.block is not None:
            if following is None or following.block != row.block:
                continue
            halves.append(_op(following))
        more = overhead[halves[0].kind] / MILLISECONDS[unit]
        durations[_name(halves)].append((row.end - row.start) / scale - more)
    return durations


def _measured_durations(actions: Sequence[MeasuredAction], unit: str) -> dict[str, list[float]]:
    durations: dict[str, list[float]] = defaultdict(list)
    for halves in _as_they_ran(actions):
        lasted = max(each.end for each in halves) - min(each.start for each in halves)
        ops = [Op(each.stage, each.kind, each.microbatch) for each in halves]
        durations[_name(ops)].append(lasted / MILLISECONDS[unit])
    return durations


def _name(halves: Sequence[Op]) -> str:
    """Name a kind of action: by its stage, a block by its two."""
    if len(halves) == 1:
        return f"{halves[0].kind} of stage {halves[0].stage}"
    return f"a block of F of stage {halves[0].stage} and B of stage {halves[1].stage}"


def _by_overhead(predicted: Schedule, measured: Schedule, overhead: Mapping[str, float]) -> Iterator[str]:
    """Say which part of the difference the measured overhead explains, by a replay with it."""
    pipeline, unit = predicted.pipeline, predicted.pipeline.unit
    ran = {_op(row).kind for row in predicted.rows}
    keys = [KEYS[kind] for kind in KINDS if kind in ran and KEYS[kind] in overhead]
    if not keys:
        return
    changed = Pipeline.from_mapping(pipeline.to_mapping() | {"overhead": dict(overhead)})
    try:
        replay = replay_orders(predicted.strategy, changed, predicted.layout, predicted.actions, "graph")
    except InputError:  # transfers that wait in the order of the operations' times
        return
    first = _op(min(measured.rows, key=lambda row: row.start)).kind
    before_all = overhead[KEYS[first]] - _configured(pipeline)[first]
    by_overhead = replay.makespan - predicted.makespan - before_all  # a measured step begins with its first action
    if abs(by_overhead) <= 0.001 * predicted.makespan:
        return
    was = _configured(pipeline)
    found = " and ".join(
        f"{with_unit(_shown(overhead[KEYS[kind]]), unit)} before {BEFORE[KEYS[kind]]} instead of {_shown(was[kind])}"
        for kind in KINDS
        if KEYS[kind] in keys
    )
    yield (
        f"Overhead, time in which a device does nothing although it has the data, is {found}. With it the prediction "
        f"is {with_unit(_shown(predicted.makespan + by_overhead), unit)}, which "
        f"{_part(by_overhead, measured.makespan - predicted.makespan, unit)}."
    )


def _part(explained: float, difference: float, unit: str | None) -> str:
    """Say how much of a difference is explained."""
    amount, whole = (with_unit(_shown(abs(each)), unit) for each in (explained, difference))
    if explained * difference <= 0:
        return f"explains nothing of the difference: it is {amount} in the other direction"
    if abs(explained) > abs(difference):
        beyond = _shown(abs(explained - difference))
        return f"explains the whole difference of {whole}; something else makes up for {beyond}"
    return f"explains {_shown(abs(explained))} of the {whole}"


class _Before(NamedTuple):
    """The time before an action, in the user's unit.

    Attributes
    ----------
    idle : float
        How long its device idled.
    free : float
        When the device's previous action ended; 0 if there is none.
    previous : Op or None
        That action.
    ends : mapping of Op to float
        When each action of the schedule ended.
    start : float
        When the action started.
    producer : Op or None
        The action whose result arrived last.
    """

    idle: float
    free: float
    previous: Op | None
    ends: Mapping[Op, float]
    start: float
    producer: Op | None

    def after(self, producer: Op) -> float:
        """Return how long the device idled when it was free and the result had been produced."""
        return self.start - max(self.free, self.ends[producer])


def _by_wait(predicted: Schedule, measured: Schedule) -> list[str]:
    """Explain the largest differences between the times that a device idles before an action."""
    before, after = _idle_before(predicted), _idle_before(measured)
    homes = {_op(row): row.device for row in measured.rows}
    changes = sorted(((after[op].idle - before[op].idle, op) for op in after), key=lambda change: -abs(change[0]))
    return [
        _explained(op, homes, before[op], after[op], predicted.pipeline.unit)
        for change, op in changes[:NAMED]
        if abs(change) > 0.002 * predicted.makespan
    ]


def _explained(op: Op, homes: Mapping[Op, int], was: _Before, now: _Before, unit: str | None) -> str:
    change = now.idle - was.idle
    reasons = []
    producer = now.producer if now.producer is not None else was.producer
    if now.previous is not None:
        reasons.append(f"{now.previous}, which it ran before, ended {_later(now.free - was.free, unit)}")
    if producer is not None:
        where = f" on device {homes[producer]}" if homes[producer] != homes[op] else ""
        later = _later(now.ends[producer] - was.ends[producer], unit)
        reasons.append(f"{producer}{where}, whose result it needs, ended {later}")
        idled = max(0.0, now.after(producer)), max(0.0, was.after(producer))
        if abs(idled[0] - idled[1]) > 0.2 * abs(change):
            reasons.append(
                f"it idled {_shown(idled[0])} after both had ended, instead of {with_unit(_shown(idled[1]), unit)}"
            )
    why = f": {', and '.join(reasons)}" if reasons else ""
    changed = f"{with_unit(_shown(abs(change)), unit)} {'longer' if change > 0 else 'less'}"
    times = f"{_shown(now.idle)} instead of {_shown(was.idle)}"
    return f"Device {homes[op]} idles {changed} before {op} ({times}){why}."


def _later(difference: float, unit: str | None) -> str:
    shown = _shown(abs(difference))
    return "as predicted" if shown == "0" else f"{with_unit(shown, unit)} {'later' if difference > 0 else 'earlier'}"


def _idle_before(schedule: Schedule) -> dict[Op, _Before]:
    scale = schedule.problem.ticks_per_unit
    ends = {_op(row): row.end / scale for row in schedule.rows}
    found: dict[Op, _Before] = {}
    previous: Placed | None = None
    for row, wait in zip(schedule.rows, schedule.waiting.before, strict=True):
        if previous is not None and previous.device != row.device:
            previous = None
        start, producer = row.start / scale, wait.producer
        assert producer is None or isinstance(producer, Op)
        last, free = (None, 0.0) if previous is None else (_op(previous), previous.end / scale)
        found[_op(row)] = _Before(wait.idle / scale, free, last, ends, start, producer)
        previous = row
    return found
