"""Checks any single schedule, and the bound next to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import ppopt
from ppopt.memory_frontier.curves import ONE_AT_A_TIME
from ppopt.schedules.communicated import Order
from solver.problem import Block, Placed
from solver.programs import Compute, Program
from strategies.model.actions import Op
from strategies.model.communicators import queues
from tests.event_simulation import Simulation
from tests.pairs.costs import Costs, costs_of, every_cut
from tests.pairs.exhaustive import Freedom, Shorter, TooManyStatesError, fits_one_microbatch, homes_of, shorter_order
from tests.pairs.replay import Action, NotAnOrderError, Replayed, Task, read_orders, replay

ROUNDED = Fraction(1, 10**12)
"""Relative tolerance of a bound: shown as a float, it may be above the exact one by this."""


@cache
def shorter(costs: Costs, freedom: Freedom, than: Fraction) -> Shorter | str | None:
    """Find a shorter order; return ``not judged`` if there are too many to try."""
    try:
        return shorter_order(costs, freedom, than)
    except TooManyStatesError:
        return "not judged"


def as_bound(value: float | Fraction) -> Fraction:
    return Fraction(value) * (1 - ROUNDED)


def costs_as_run(mapping: dict[str, Any], schedule: ppopt.Schedule) -> Costs:
    """Return the costs of the cut that a schedule says it ran."""
    pipeline = schedule.pipeline
    return costs_of(mapping, pipeline.stages or 0, pipeline.layers_per_stage, pipeline.recomputed_per_stage)


def faults_of(mapping: dict[str, Any], schedule: ppopt.Schedule) -> Iterator[str]:
    """Replay a schedule by the documented rules alone, and compare every figure."""
    label = schedule.strategy
    pipeline = schedule.pipeline
    if pipeline.layers_per_stage is not None and pipeline.layers_per_stage not in set(
        every_cut(mapping["layers"], len(pipeline.layers_per_stage))
    ):
        yield f"{label}: no such cut is allowed: {pipeline.layers_per_stage}"
    costs = costs_as_run(mapping, schedule)
    try:
        unhindered = replay(costs._replace(links=False), read_orders(schedule.orders))
        linked = replay(costs, read_orders(schedule.orders)) if costs.links else unhindered
    except NotAnOrderError as error:
        yield f"{label}: {error}"
        return
    expected = linked
    if pipeline.semantics in ("rendezvous", "batched"):
        expected = _simulated(schedule, unhindered)
    yield from _wrong_times(schedule, expected, unhindered)
    yield from _wrong_memory(costs, schedule, expected)
    if schedule.status == "optimal" and schedule.bound != schedule.objective_value:
        yield f"{label}: optimal at {schedule.objective_value}, with a bound of {schedule.bound}"
    if schedule.bound is not None and schedule.fits and schedule.bound > schedule.objective_value:
        yield f"{label}: makespan {schedule.makespan!r} is below its bound {schedule.bound!r}"


def exact_makespan(schedule: ppopt.Schedule) -> Fraction:
    ticks = max(row.end for row in schedule.rows) - min(row.start for row in schedule.rows)
    return Fraction(ticks, schedule.problem.ticks_per_unit) + schedule.pipeline.after


def _wrong_times(schedule: ppopt.Schedule, expected: Replayed, unhindered: Replayed) -> Iterator[str]:
    scale = schedule.problem.ticks_per_unit
    for row in schedule.rows:
        task = _task(row.task)
        if (Fraction(row.start, scale), Fraction(row.end, scale)) != (expected.starts[task], expected.ends[task]):
            yield (
                f"{schedule.strategy}: {row.task} runs from {float(Fraction(row.start, scale))} to "
                f"{float(Fraction(row.end, scale))}, and by the rules from {float(expected.starts[task])} to "
                f"{float(expected.ends[task])}"
            )
            return
    if len(schedule.rows) != len(expected.starts):
        yield f"{schedule.strategy}: {len(schedule.rows)} rows for {len(expected.starts)} tasks"
    if schedule.makespan != float(expected.makespan):
        yield f"{schedule.strategy}: makespan {schedule.makespan!r}, by the rules {float(expected.makespan)!r}"
    free = schedule.unhindered_makespan
    if free is not None and free != unhindered.makespan:
        yield f"{schedule.strategy}: {float(free)} if no transfer waited, by the rules {float(unhindered.makespan)}"


def _wrong_memory(costs: Costs, schedule: ppopt.Schedule, expected: Replayed) -> Iterator[str]:
    if schedule.peak_memory != tuple(map(float, expected.peaks)):
        yield f"{schedule.strategy}: peaks {schedule.peak_memory}, by the rules {tuple(map(float, expected.peaks))}"
    over = [
        device
        for device, (peak, limit) in enumerate(zip(expected.peaks, costs.limits, strict=True))
        if limit is not None and peak > limit
    ]
    if schedule.pipeline.memory.limit is not None and schedule.over_limit != over:
        yield f"{schedule.strategy}: said to be over the limit on devices {schedule.over_limit}, by the rules on {over}"


def _task(key: object) -> Task:
    assert isinstance(key, Op)
    return key.stage, key.kind, key.microbatch


def _simulated(schedule: ppopt.Schedule, unhindered: Replayed) -> Replayed:
    """Simulate the programs of a schedule moment by moment, with sends and receives placed as in the schedule."""
    scale = schedule.problem.ticks_per_unit
    blocks = {op: number for number, action in enumerate(_blocks(schedule)) for op in action}
    rows = [
        Placed(op, device, int(unhindered.starts[task] * scale), int(unhindered.ends[task] * scale), blocks.get(op))
        for device, order in enumerate(schedule.actions)
        for action in order
        for op in (action if isinstance(action, Block) else (action,))
        for task in [_task(op)]
    ]
    pipeline = schedule.pipeline
    by_time = schedule.is_searched or schedule.strategy == ONE_AT_A_TIME
    order = Order(
        schedule.strategy, pipeline, schedule.layout, schedule.problem, schedule.actions, rows, searched=by_time
    )  # fmt: skip
    communicators = pipeline.communicators or "pair"
    if by_time:
        lowered = order.lowered("timed")
    elif pipeline.semantics == "batched":
        lowered = order.batched()
    else:
        lowered = order.lowered(pipeline.lowering or "timed")
    if pipeline.semantics == "batched":
        communicators = "rank"
    programs = [_timed(program, unhindered, scale) for program in lowered.programs]
    simulation = Simulation(programs, lowered.transfers, queues(communicators))
    if not simulation.run():
        raise AssertionError(f"{schedule.strategy}: hangs in the simulation")
    starts: dict[Task, Fraction] = {}
    ends: dict[Task, Fraction] = {}
    peaks = unhindered.peaks  # memory follows from a device's order, except for ends and starts at one moment
    for computed in simulation.computed:
        for name, start, end in computed:
            for op in name if isinstance(name, Block) else (name,):
                starts[_task(op)], ends[_task(op)] = Fraction(start, scale), Fraction(end, scale)
    return Replayed(starts, ends, peaks, unhindered.after)


def _blocks(schedule: ppopt.Schedule) -> list[Block]:
    return [action for order in schedule.actions for action in order if isinstance(action, Block)]


def _timed(program: Program, unhindered: Replayed, scale: int) -> Program:
    """Give each computation its duration according to the rules."""

    def duration(name: object) -> int:
        task = _task(name.first if isinstance(name, Block) else name)
        return int((unhindered.ends[task] - unhindered.starts[task]) * scale)

    return [Compute(each.name, duration(each.name)) if isinstance(each, Compute) else each for each in program]


def bound_faults(label: str, costs: Costs, freedom: Freedom, bound: float | Fraction | None) -> Iterator[str]:
    """Look for an order on exactly these costs that is shorter than a bound."""
    if bound is None:
        return
    found = shorter(costs, freedom, as_bound(bound))
    if isinstance(found, Shorter):
        yield (
            f"{label}: the bound {float(bound)!r} is above an order that exists: {float(found.makespan)!r} with "
            f"{written(found)}"
        )


def written(found: Shorter) -> str:
    orders: dict[int, list[str]] = {}
    for device, action in found.actions:
        orders.setdefault(device, []).append("+".join(f"{stage}{kind}{k}" for stage, kind, k in action))
    return "; ".join(f"device {device}: {' '.join(orders[device])}" for device in sorted(orders))


def freedom_of(schedule: ppopt.Schedule) -> Freedom | None:
    """Return the freedom that a schedule's bound covers; None on a placement without a name here."""
    placement = schedule.placement
    if placement == "custom":
        return None
    homes = homes_of(placement, schedule.pipeline.devices, schedule.pipeline.stages or 0)
    assert [list(way) for way in schedule.layout.homes] == homes, placement
    return Freedom(placement, schedule.allowed.split_backward, schedule.allowed.overlap)


def own_bound_faults(mapping: dict[str, Any], schedule: ppopt.Schedule) -> Iterator[str]:
    """Check a schedule's bound against all orders on its own cut with its freedom."""
    freedom = freedom_of(schedule)
    if freedom is not None and schedule.fits:
        yield from bound_faults(schedule.strategy, costs_as_run(mapping, schedule), freedom, schedule.bound)


def something_fits(costs: Costs, freedom: Freedom) -> bool:
    return fits_one_microbatch(costs, freedom)


def order_fits(costs: Costs, orders: Sequence[Sequence[Action]]) -> Fraction | None:
    """Return the makespan of an order if no transfer waits; None if it does not fit the memory."""
    made = replay(costs._replace(links=False), orders)
    over = any(limit is not None and peak > limit for peak, limit in zip(made.peaks, costs.limits, strict=True))
    return None if over else made.makespan
