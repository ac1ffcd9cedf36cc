"""Explains in sentences why the layers of a plan are placed as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ppopt.planning.plans import Plan
from reports.numbers import grouped, number, percent, signed_percent, with_unit
from reports.source import on_costs
from solver.counted import counted, joined
from strategies.model.cuts import ByKind, counts_by_kind
from strategies.model.pipeline import Pipeline
from strategies.problem.search_problem import left_out

CLOSE_TO_LIMIT = 0.97
"""A device above this share of its limit is called full."""

MOST_DEVICES = 6
"""Above this many devices, only the range is named."""

MOST_PACES = 3
"""Above this many different slowdowns, only the largest is named."""


@dataclass(frozen=True)
class Alternatives:
    """Exact makespans of other cuts for the same order, to compare with; None if unknown.

    All are of replays with the waits of transfers, as the plan's is.

    Attributes
    ----------
    even : Fraction or None
        On the even cut.
    even_fits : bool
        Whether the even cut keeps the memory limit.
    unlimited : Fraction or None
        Without the memory limit, the best cut found.
    limit_costs_nothing : bool
        Whether it is proven that no cut is shorter without the limit.
    plain : Fraction or None
        Without recomputation, the best cut found within the limit.
    plain_is_infeasible : bool
        Whether it is proven that no cut fits without recomputation.
    """

    even: Fraction | None = None
    even_fits: bool = True
    unlimited: Fraction | None = None
    limit_costs_nothing: bool = False
    plain: Fraction | None = None
    plain_is_infeasible: bool = False


def reasons(plan: Plan, others: Alternatives) -> tuple[str, ...]:
    """Explain a plan: why its layers are placed so, the cost of one more layer, the effect of memory and recomputation.

    Parameters
    ----------
    plan : Plan
        The plan.
    others : Alternatives
        The makespans to compare with.
    """
    return tuple(_sentences(plan, others))


def _sentences(plan: Plan, others: Alternatives) -> Iterator[str]:
    yield on_costs(_what_is_proven(plan), plan.pipeline.source)
    yield from _what_is_waited(plan)
    if others.even is not None and others.even > plan.exact_makespan:
        even, longer = float(others.even), float(others.even / plan.exact_makespan - 1)
        exceeds = "" if others.even_fits else ", and exceeds the memory limit"
        yield f"The even cut takes {_time(plan, even)}, {percent(longer)} longer{exceeds}."
    yield from _what_is_held(plan)
    yield from _what_a_layer_costs(plan)
    yield from _what_memory_forces(plan, others)
    yield from _what_recomputation_does(plan, others)


def _time(plan: Plan, value: float) -> str:
    return with_unit(grouped(value), plan.pipeline.unit)


def _memory(plan: Plan, value: float) -> str:
    return with_unit(grouped(value), plan.pipeline.memory.unit)


def _what_is_proven(plan: Plan) -> str:
    schedule = plan.schedule
    without = left_out(plan.pipeline, schedule.layout, schedule.allowed) if plan.is_free else ""
    what = f"no cut and no order on this placement{without} is" if plan.is_free else "no cut is"
    if plan.status == "optimal":
        return f"{_time(plan, plan.makespan)} is proven: {what} shorter."
    if not plan.bound:
        return f"{_time(plan, plan.makespan)} is the best found; nothing is proven about other cuts."
    return (
        f"{_time(plan, plan.makespan)} is the best found; {what} below {_time(plan, float(plan.bound))}, so at most "
        f"{percent(plan.gap)} could still be gained."
    )


def _what_is_waited(plan: Plan) -> Iterator[str]:
    if plan.schedule.placed_for_want_of_program:
        yield "Its transfers are placed by time: no framework's communication of this order is known."
    without = plan.schedule.unhindered_makespan
    if without is None or without >= plan.exact_makespan:
        return
    waiting = plan.exact_makespan - without
    what = "cuts and orders are" if plan.is_free else "cuts are"
    pipeline = plan.pipeline
    transfers = [] if pipeline.semantics == "async" else [f"waiting transfers (p2p: {pipeline.semantics})"]
    causes = " and ".join([*transfers, *pipeline.streams])
    verb = "costs" if len(pipeline.streams) == 1 and not transfers else "cost"
    as_if = "there were none" if pipeline.streams else "no transfer waited"
    yield (
        f"{causes[0].upper()}{causes[1:]} {verb} {_time(plan, float(waiting))}, "
        f"{percent(float(waiting / plan.exact_makespan))} of the makespan: {what} chosen as if {as_if}."
    )


def _what_is_held(plan: Plan) -> Iterator[str]:
    """Name the devices with special layers, and those with more or fewer layers than most."""
    names, by_device = _layers_by_device(plan)
    main = _main_kind(plan)
    if main is None or len(by_device) < 2:
        return
    counts = [held[main] for held in by_device]
    totals = Counter[str]()
    for kind in plan.layers.kinds:
        totals[kind.name] += kind.count
    usual = _usual(counts)
    few = [name for name in names if sum(bool(held[name]) for held in by_device) * 2 <= len(by_device)]
    told: set[int] = set()
    for device, held in enumerate(by_device):
        special = [name for name in few if held[name] and name != main]
        if special and counts[device] != usual:
            told.add(device)
            what = joined([f"the {name}" if totals[name] == 1 else f"{held[name]} {name}" for name in special])
            yield f"Device {device} holds {what}: {_compared(counts[device], usual, main)}."
    by_difference: dict[int, list[int]] = {}
    for device, count in enumerate(counts):
        if device not in told and count != usual:
            by_difference.setdefault(count, []).append(device)
    for count, devices in sorted(by_difference.items()):
        yield f"{_devices(devices)} {_verb(devices, 'hold')} {_compared(count, usual, main)}."
    empty = [stage for stage, count in enumerate(plan.layers_per_stage) if not count]
    if empty:
        stages = f"Stage {empty[0]} is" if len(empty) == 1 else f"Stages {', '.join(map(str, empty))} are"
        costs = "transfers and the overhead of operations" if any(plan.pipeline.overheads.values()) else "transfers"
        yield f"{stages} empty: only the {costs} cost time."


def _layers_by_device(plan: Plan) -> tuple[list[str], list[Counter[str]]]:
    """Count the layers by name on each device, both copies of a bidirectional placement together."""
    kinds = plan.layers.kinds
    by_kind = counts_by_kind(plan.layers, plan.layers_per_stage)
    by_device: list[Counter[str]] = []
    for local in plan.schedule.layout.local_stages:
        held: Counter[str] = Counter()
        for stage, _ in local:
            for kind, count in zip(kinds, by_kind[stage], strict=True):
                held[kind.name] += count
        by_device.append(held)
    return list(dict.fromkeys(kind.name for kind in kinds)), by_device


def _main_kind(plan: Plan) -> str | None:
    """Return the most frequent kind of layers."""
    counts: Counter[str] = Counter()
    for kind in plan.layers.kinds:
        counts[kind.name] += kind.count
    name, count = counts.most_common(1)[0]
    return name if count > 1 else None


def _usual(counts: Sequence[int]) -> int:
    """Return the most common number; among equally common ones, the one nearest to the middle."""
    middle = sorted(counts)[len(counts) // 2]
    common = Counter(counts)
    return max(common, key=lambda count: (common[count], -abs(count - middle)))


def _compared(count: int, usual: int, name: str) -> str:
    more = count - usual
    return f"{abs(more)} {'more' if more > 0 else 'fewer'} {name} layer{'s' if abs(more) > 1 else ''} ({count})"


def _devices(devices: Sequence[int]) -> str:
    if len(devices) == 1:
        return f"Device {devices[0]}"
    if len(devices) > MOST_DEVICES and devices[-1] - devices[0] == len(devices) - 1:
        return f"Devices {devices[0]} to {devices[-1]}"
    return f"Devices {joined(list(map(str, devices)))}"


def _verb(devices: Sequence[int], verb: str) -> str:
    return f"{verb}s" if len(devices) == 1 else verb


def _what_a_layer_costs(plan: Plan) -> Iterator[str]:
    main = _main_kind(plan)
    kind = next((kind for kind in plan.layers.kinds if kind.name == main), None)
    if kind is None:
        return
    pipeline, copies = plan.pipeline, len(plan.schedule.layout.homes)
    work = kind.costs.forward + kind.costs.backward
    cost = Fraction(pipeline.microbatches, copies) * work * kind.glue
    what = f"{kind.glue} more {kind.name} layers" if kind.glue > 1 else f"One more {kind.name} layer"
    overlaps = plan.schedule.has_blocks
    if overlaps and pipeline.has_parts:  # in a block, a layer costs what it adds to the busier stream
        return
    most = "up to " if pipeline.overlap and overlaps else ""  # a block is longer by less than its halves
    adds, to = ("add" if kind.glue > 1 else "adds"), "its device"
    if copies > 1:
        most, to = f"{most}m ÷ {copies}", "each of its stage's two devices"
    else:
        most = f"{most}m"
    share = percent(float(cost / plan.exact_makespan))
    slow = _slow_devices(pipeline)
    yield (
        f"{what} {adds} {most} · (F + B) = {_time(plan, float(cost))} of work to {to}, {share} of the makespan{slow}; "
        "the step grows by less where the device has time to spare."
    )


def _slow_devices(pipeline: Pipeline) -> str:
    """Name the devices on which work takes longer, and how many times as long."""
    by_pace: dict[Fraction, list[int]] = {pace: [] for pace in pipeline.paces if pace > 1}
    for device in range(pipeline.devices):
        if pipeline.pace(device) > 1:
            by_pace[pipeline.pace(device)].append(device)
    named = [f"{number(float(pace))} times that on {_devices(devices).lower()}" for pace, devices in by_pace.items()]
    if len(named) > MOST_PACES:
        return f"; up to {number(float(pipeline.paces[-1]))} times that on slow devices"
    return f"; {joined(named)}" if named else ""


def _what_memory_forces(plan: Plan, others: Alternatives) -> Iterator[str]:
    limits = plan.schedule.limits
    full = [
        device
        for device, (peak, limit) in enumerate(zip(plan.peak_memory, limits, strict=True))
        if limit and peak > CLOSE_TO_LIMIT * limit
    ]
    if not any(limit is not None for limit in limits):
        return
    forced = others.unlimited is not None and others.unlimited < plan.exact_makespan
    if forced and others.unlimited is not None:
        shorter = float(others.unlimited / plan.exact_makespan - 1)
        yield (
            f"Without the memory limit, a cut is known that takes {_time(plan, float(others.unlimited))} "
            f"({signed_percent(shorter)})."
        )
    if full and forced:
        worst = max(full, key=lambda device: plan.peak_memory[device] / (limits[device] or 1))
        yield (
            f"{_devices(full)} {'is' if len(full) == 1 else 'are'} full: device {worst} holds "
            f"{grouped(plan.peak_memory[worst])} of {_memory(plan, limits[worst] or 0)}."
        )
    elif not forced and others.unlimited is not None:
        if others.limit_costs_nothing:
            yield "The memory limit costs nothing here: it is proven that no cut is shorter without it."
        else:
            yield "No shorter cut is known without the memory limit."


def _what_recomputation_does(plan: Plan, others: Alternatives) -> Iterator[str]:
    again = plan.pipeline.recomputed_per_stage
    if again is None or not any(map(any, again)):
        return
    stages = [stage for stage, counts in enumerate(again) if any(counts)]
    count, total = sum(map(sum, again)), plan.layers.total
    where = f"stage {stages[0]}" if len(stages) == 1 else f"stages {joined(list(map(str, stages)))}"
    if len(stages) > MOST_DEVICES:
        where = f"{len(stages)} stages"
    longest, saved, device = _effect(plan, again)
    share, are = percent(float(longest / plan.exact_makespan)), "is" if count == 1 else "are"
    yield (
        f"{count} of {counted(total, 'layer')} {are} recomputed, on {where}. On device {device} that adds "
        f"{_time(plan, float(longest))} of work ({share} of the makespan) and saves {_memory(plan, float(saved))} of "
        f"memory per microbatch{'' if len(plan.schedule.layout.homes) == 1 else ', on average'}."
    )
    if others.plain_is_infeasible:
        yield "Without recomputation no cut fits the memory."
    elif others.plain is not None and others.plain > plan.exact_makespan:
        longer = float(others.plain / plan.exact_makespan - 1)
        yield (
            f"Without recomputation, the best cut found takes {_time(plan, float(others.plain))} "
            f"({signed_percent(longer)})."
        )


def _effect(plan: Plan, again: ByKind) -> tuple[Fraction, Fraction, int]:
    """Find the device with the longest recomputation: return its time, its saving per microbatch, and the device."""
    found: list[tuple[Fraction, Fraction, int]] = []
    for device, local in enumerate(plan.schedule.layout.local_stages):
        time, saved = Fraction(0), Fraction(0)
        for stage, microbatches in local:
            for kind, count in zip(plan.layers.kinds, again[stage], strict=True):
                if count and kind.recomputed is not None:
                    longer = kind.recomputed.backward - kind.costs.backward
                    time += len(microbatches) * count * longer * plan.pipeline.pace(device)
                    passes = Fraction(len(microbatches), plan.pipeline.microbatches)
                    saved += passes * count * (kind.costs.activation - kind.recomputed.activation)
        found.append((time, saved, -device))
    time, saved, device = max(found)
    return time, saved, -device
