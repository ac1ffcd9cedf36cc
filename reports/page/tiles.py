"""The tiles below the verdict: the few figures that a reader takes away, in units that a person reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from reports.content import Presented, Section
from reports.frontier_points import FrontierPoint, ShownFrontier, knee
from reports.numbers import percent, signed_percent
from reports.units import in_best_unit


class Tile(NamedTuple):
    """A figure at first sight.

    Attributes
    ----------
    title, value, remark : str
        What it is, the figure, and one line below it.
    is_name : bool
        Whether the value is a name rather than a figure.
    """

    title: str
    value: str
    remark: str
    is_name: bool = False


def tiles(section: Section) -> list[Tile]:
    """Choose the figures of a section: of its winner, or of a run beside its prediction."""
    if section.measured is not None:
        return list(_of_run(section, section.measured))
    if section.frontier is not None:
        return list(_of_frontier(section.frontier))
    best = section.winner or section.fastest
    return [] if best is None else list(_of_winner(section, best))


def _of_winner(section: Section, best: Presented) -> Iterator[Tile]:
    figures, unit = best.summary.figures, section.units.time
    place = "over the memory limit" if best.summary.over else f"{best.placement} placement"
    yield Tile("fastest" if len(section.schedules) > 1 else "schedule", best.summary.name, place, is_name=True)
    yield Tile("one step", in_best_unit(figures.makespan, unit), f"{percent(figures.bubble_ratio)} of device time idle")
    baseline = section.baseline
    if baseline is not None and baseline.name != best.summary.name:
        share = signed_percent(figures.makespan / baseline.figures.makespan - 1)
        yield Tile(f"against {baseline.name}", share, f"which takes {in_best_unit(baseline.figures.makespan, unit)}")
    if section.bound is not None and not best.summary.over:
        above = max(0.0, figures.makespan - section.bound) / section.bound
        yield Tile("above the proven bound", percent(above), f"of {in_best_unit(section.bound, unit)}")
    yield _memory(section, best)
    limits = section.margins.nearest
    if limits is not None:
        yield Tile(f"leads until {limits.cost}", limits.amount(unit), f"then {limits.overtaken_by}")


def _of_frontier(shown: ShownFrontier) -> Iterator[Tile]:
    """Show both ends of the curve, its knee, and the user's own limit."""
    first, bend = shown.points[0], knee(shown.points)
    yield _step_within(shown, "least memory searched", first)
    at_limit = [point for point in shown.points if shown.limit is not None and point.limit <= shown.limit]
    if at_limit and at_limit[-1] not in (first, bend):
        yield _step_within(shown, "your limit", at_limit[-1])
    if bend is not None:
        yield _step_within(shown, "the knee", bend)
    memory, shortest = shown.top
    time, held = in_best_unit(shortest, shown.units.time), in_best_unit(memory, shown.units.memory)
    yield Tile("shortest step found", time, f"with {held} or more")
    proven = sum(point.status == "optimal" for point in shown.points)
    yield Tile("proven optimal", f"{proven} of {len(shown.points)}", "limits")


def _step_within(shown: ShownFrontier, title: str, point: FrontierPoint) -> Tile:
    held, time = in_best_unit(point.limit, shown.units.memory), in_best_unit(point.makespan, shown.units.time)
    return Tile(title, held, f"a step takes {time}")


def _memory(section: Section, best: Presented) -> Tile:
    """Show the peak of the device that is closest to its limit, or of the fullest if there is no limit."""
    figures, limits, unit = best.summary.figures, best.summary.limits, section.units.memory
    shares = [peak / limit if limit else 0.0 for peak, limit in zip(figures.peak_memory, limits, strict=True)]
    device = max(range(len(shares)), key=lambda each: (shares[each], figures.peak_memory[each]))
    limit = limits[device]
    remark = f"on device {device}" + ("" if limit is None else f"; limit {in_best_unit(limit, unit)}")
    return Tile("peak memory", in_best_unit(figures.peak_memory[device], unit), remark)


def _of_run(section: Section, measured: Presented) -> Iterator[Tile]:
    unit, ran = section.units.time, measured.summary.figures
    yield Tile("measured step", in_best_unit(ran.makespan, unit), f"{percent(ran.bubble_ratio)} of device time idle")
    for each in section.schedules:
        if each is measured:
            continue
        figures = each.summary.figures
        idle = f"{percent(figures.bubble_ratio)} of device time idle"
        yield Tile("predicted step", in_best_unit(figures.makespan, unit), idle)
        longer = ran.makespan - figures.makespan
        remark = f"{in_best_unit(abs(longer), unit)} {'longer' if longer >= 0 else 'shorter'} than predicted"
        yield Tile("measured against predicted", signed_percent(ran.makespan / figures.makespan - 1, 2), remark)
        if section.bound is not None:
            yield Tile("proven bound", in_best_unit(section.bound, unit), "no order on this placement is shorter")
