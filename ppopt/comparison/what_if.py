"""Data that a page needs to replay its schedules on other costs, and the effect of a small change of each cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import cast

from ppopt.schedules.schedule import Schedule
from reports.what_if import CostItem, Effect, Replayable, WhatIf, returns_of, waits_of
from solver.problem import Action, Block
from solver.sensitivity import Growth, derivatives
from strategies.model.actions import Op, PipelineAction
from strategies.model.cost_parts import Cost, Parts, PartsOfKinds, cost_parts
from strategies.model.pipeline import Pipeline

MOST_OPS = 20_000
"""Longer schedules are not replayed in a page: it would not follow a slider at once."""

_LABELS = {
    "forward": "forward",
    "backward_input": "input backward",
    "backward_weight": "weight backward",
    "overlapped_forward_backward": "overlapped blocks",
}

_ALL = {
    "forward": "all forwards",
    "backward_input": "all input backwards",
    "backward_weight": "all weight backwards",
    "overlapped_forward_backward": "all overlapped blocks",
}


def what_if(given: Pipeline, schedules: Sequence[Schedule], replayed: int | None = None) -> WhatIf:
    """Collect the data that a page needs to replay schedules on other costs.

    Parameters
    ----------
    given : Pipeline
        The model, with the number of stages that its times are meant for.
    schedules : sequence of Schedule
        The section's schedules.
    replayed : int, optional
        How many of them, from the first on, can be replayed; by default all.
    """
    last = len(schedules) if replayed is None else replayed
    parts = [_parts(given, schedule) if place < last else None for place, schedule in enumerate(schedules)]
    costs = list(dict.fromkeys(cost for each in parts if each is not None for cost in _costs(each)))
    return WhatIf(
        costs=[CostItem(cost.key, str(cost.place), _label(cost)) for cost in costs],
        latency=float(given.longest_lag),
        overhead=float(given.overheads["F"]),
        after=float(given.after),
        schedules=[
            None if each is None else _replayable(schedule, each, costs)
            for schedule, each in zip(schedules, parts, strict=True)
        ],
    )


def _parts(given: Pipeline, schedule: Schedule) -> PartsOfKinds | None:
    waits = schedule.unhindered_makespan is not None  # for other transfers, which the page does not model
    is_short = schedule.layout.microbatches != schedule.pipeline.microbatches  # only a part is written out
    unequal = schedule.pipeline.entries is not None  # the page has one time for all microbatches of a stage
    if schedule.pipeline.has_parts and schedule.has_blocks:
        return None  # the page has no parts of blocks
    if unequal or schedule.status == "measured" or waits or is_short or len(schedule.problem.tasks) > MOST_OPS:
        return None
    return cost_parts(given, schedule.pipeline)


def _costs(parts: PartsOfKinds) -> list[Cost]:
    found = dict.fromkeys(
        cost for stages in parts.values() for each in stages for cost, amount in each.items() if amount
    )
    keys = list(_LABELS)
    return sorted(found, key=lambda cost: keys.index(cost.key))


def _label(cost: Cost) -> str:
    return f"{_LABELS[cost.key]} of {_place(cost.place)}"


def _place(place: int | str) -> str:
    return f"stage {place}" if isinstance(place, int) else place


def _replayable(schedule: Schedule, parts: PartsOfKinds, costs: Sequence[Cost]) -> Replayable | None:
    pipeline, problem = schedule.pipeline, schedule.problem
    lag = pipeline.longest_lag * problem.ticks_per_unit
    waits = waits_of(problem, int(lag)) if lag.denominator == 1 else None  # else no transfer of it was written
    memory = returns_of(problem, pipeline.stages or 0)
    if waits is None or memory is None:
        return None
    number = {cost: place for place, cost in enumerate(costs)}
    return Replayable(
        parts={
            kind: [[(number[cost], float(amount)) for cost, amount in each.items() if amount] for each in stages]
            for kind, stages in parts.items()
        },
        overlap=None if "block" in parts else float(pipeline.overlap or 0),
        waits=waits,
        memory=memory,
        static=[problem.static_of(device) / problem.amounts_per_unit for device in range(problem.devices)],
        overhead={kind: float(overhead) for kind, overhead in pipeline.overheads.items()},
        paces=[float(pipeline.pace(device)) for device in range(problem.devices)],
        effects=list(_effects(schedule, parts, costs)),
    )


class _Columns:
    """Numbers the variables of the derivatives: each cost, all of one key, the latency, the overhead, each device."""

    def __init__(self, costs: Sequence[Cost], devices: int) -> None:
        self.costs = {cost: place for place, cost in enumerate(costs)}
        keys = [key for key in _LABELS if sum(cost.key == key for cost in costs) > 1]
        self.totals = {key: len(costs) + place for place, key in enumerate(keys)}
        places = list(dict.fromkeys(cost.place for cost in costs))
        first = len(costs) + len(keys)
        self.places = {place: first + number for number, place in enumerate(places)} if len(places) > 1 else {}
        self.latency = first + len(self.places)
        self.overhead = self.latency + 1
        self.devices = range(self.overhead + 1, self.overhead + 1 + devices)
        self.labels = [
            *map(_label, costs),
            *(_ALL[key] for key in keys),
            *(f"all of {_place(place)}" for place in self.places),
            "latency",
            "overhead",
            *(f"everything on device {device}" for device in range(devices)),
        ]

    def of(self, parts: Mapping[Cost, Fraction], scale: Fraction) -> dict[int, float]:
        """Return the parts by number, in ticks."""
        found: dict[int, float] = {}
        for cost, amount in parts.items():
            for place in (self.costs.get(cost), self.totals.get(cost.key), self.places.get(cost.place)):
                if place is not None and amount:
                    found[place] = found.get(place, 0.0) + float(amount * scale)
        return found


def _effects(schedule: Schedule, parts: PartsOfKinds, costs: Sequence[Cost]) -> Iterator[Effect]:
    problem = schedule.problem
    columns = _Columns(costs, problem.devices)
    homes = {action: device for device, order in enumerate(schedule.actions) for action in order}
    begins = {row.task: row.start for row in schedule.rows}
    starts: dict[Action, int] = {
        action: begins[action.first if isinstance(action, Block) else action] for action in homes
    }
    found = derivatives(
        problem,
        schedule.actions,
        starts,
        len(columns.labels),
        _growth(schedule, parts, columns, homes, shrinking=True),
        _growth(schedule, parts, columns, homes, shrinking=False),
        columns.latency,
    )
    makespan = float(schedule.exact_makespan * problem.ticks_per_unit)
    for label, less, more in zip(columns.labels, found.shrinking.tolist(), found.growing.tolist(), strict=True):
        if more:
            yield Effect(label, less / makespan, more / makespan)


def _growth(
    schedule: Schedule,
    parts: PartsOfKinds,
    columns: _Columns,
    homes: Mapping[PipelineAction, int],
    *,
    shrinking: bool,
) -> Growth:
    """Return how durations change with costs; the same for all actions of one kind, stage and device."""
    known: dict[tuple[object, ...], dict[int, float]] = {}
    pipeline, ticks = schedule.pipeline, schedule.problem.ticks_per_unit

    def growth(action: Action) -> Mapping[int, float]:
        ops = cast("tuple[Op, ...]", action if isinstance(action, Block) else (action,))
        device = homes[cast("PipelineAction", action)]
        look = (device, *((op.kind, op.stage) for op in ops))
        if look not in known:
            scale = pipeline.pace(device) * ticks
            changes = (
                columns.of(_of_action(ops, parts), scale)
                if len(ops) == 1 or "block" in parts
                else _of_halves(
                    schedule, ops, [columns.of(parts[op.kind][op.stage], scale) for op in ops], shrinking=shrinking
                )
            )
            overhead = float(pipeline.overheads[ops[0].kind] * ticks)
            work = schedule.problem.duration(action) - overhead
            known[look] = changes | {columns.overhead: overhead, columns.devices[device]: work}
        return known[look]

    return growth


def _of_action(ops: Sequence[Op], parts: PartsOfKinds) -> Parts:
    return parts[ops[0].kind][ops[0].stage] if len(ops) == 1 else parts["block"][ops[0].stage]


def _of_halves(
    schedule: Schedule, ops: Sequence[Op], halves: Sequence[dict[int, float]], *, shrinking: bool
) -> dict[int, float]:
    """Return how F + B − σ · min(F, B) changes; if F = B, the half that becomes shorter counts as the minimum."""
    forward, backward = schedule.pipeline.work[ops[0].stage].forward, schedule.pipeline.work[ops[1].stage].backward
    share = float(schedule.pipeline.overlap or 0)
    changes: dict[int, float] = {}
    for cost in halves[0].keys() | halves[1].keys():
        one, other = halves[0].get(cost, 0.0), halves[1].get(cost, 0.0)
        of_shorter = one if forward < backward else other
        if forward == backward:
            of_shorter = max(one, other) if shrinking else min(one, other)
        changes[cost] = one + other - share * of_shorter
    return changes
