"""The memory frontier as a report shows it: its points, its sentence, and its table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from reports.numbers import number, percent, signed_percent
from reports.source import on_costs
from reports.table import RUNS_IN, aligned, legend, letters, tells_frameworks
from reports.units import NO_UNITS, Units, in_best_unit


@dataclass(frozen=True)
class FrontierPoint:
    """The shortest step found at a memory limit.

    Attributes
    ----------
    limit : float
        The memory that each device may hold.
    makespan, bound : float
        The shortest makespan found, and its proven lower bound.
    memory : float
        The largest peak of a device in the schedule found.
    name, placement, status : str
        The schedule's name, its placement, and whether it is ``optimal`` or ``feasible``.
    rank : int or None
        Its rank among the schedules of the report.
    layers : tuple of int
        For a model of layers, the number of layers on each stage.
    runs_in : mapping of str to str, or None
        The letter and the name of each framework that runs the schedule, if known.
    searched : bool
        Whether a search found it; otherwise it is published.
    resident : int or None
        Its number of resident stages, if every limit has its own.
    """

    limit: float
    makespan: float
    bound: float
    memory: float
    name: str
    placement: str
    status: str
    rank: int | None = None
    layers: tuple[int, ...] = ()
    runs_in: Mapping[str, str] | None = None
    searched: bool = True
    resident: int | None = None

    @property
    def gap(self) -> float:
        """(makespan − bound) ÷ makespan."""
        return (self.makespan - self.bound) / self.makespan


@dataclass(frozen=True)
class PublishedPoint:
    """A published schedule.

    Attributes
    ----------
    name : str
        Its name.
    memory, makespan : float
        The largest peak of a device, and the makespan.
    is_comparable : bool
        Whether its placement was searched, and it has no blocks that the search could not use. The bound holds only for
        such schedules.
    best : float or None
        The shortest step known for its memory; None if it needs less memory than any limit searched.
    rank : int or None
        Its rank among the schedules of the report.
    runs_in : mapping of str to str, or None
        As for a point.
    """

    name: str
    memory: float
    makespan: float
    is_comparable: bool
    best: float | None = None
    rank: int | None = None
    runs_in: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ShownFrontier:
    """A whole frontier.

    Attributes
    ----------
    points : sequence of FrontierPoint
        The points, by increasing limit; at least one.
    published : sequence of PublishedPoint
        The published schedules, by increasing memory.
    stairs : sequence of (float, float)
        Pairs of a memory and the shortest makespan known from that memory on, by increasing memory.
    bounds : sequence of (float, float)
        Pairs of a limit and the bound that holds from the previous limit up to it, by increasing limit.
    top : (float, float)
        The memory above which more brings nothing, and the makespan there.
    highest_bound : float
        The makespan that no schedule beats with any memory.
    limit : float or None
        The user's limit.
    units : Units
        The units of time and of memory.
    scope : str
        What bounds and proofs hold for, if not for everything shown.
    source : str
        Where the costs come from; empty if that is not known.
    """

    points: Sequence[FrontierPoint]
    published: Sequence[PublishedPoint]
    stairs: Sequence[tuple[float, float]]
    bounds: Sequence[tuple[float, float]]
    top: tuple[float, float]
    highest_bound: float
    limit: float | None = None
    units: Units = NO_UNITS
    scope: str = ""
    source: str = ""

    def shortest(self, memory: float) -> float:
        """Return the shortest makespan known within a memory limit, which some schedule fits."""
        return min(makespan for least, makespan in self.stairs if least <= memory)

    @property
    def sentence(self) -> str:
        """Say where the knee is, what the next step of memory brings, and from where on more brings nothing."""
        told = f"{self._course} Bounds and proofs hold {self.scope}." if self.scope else self._course
        return on_costs(told, self.source)

    @property
    def _course(self) -> str:
        first, last = self.points[0], self.points[-1]
        if first.makespan == last.makespan:
            return f"{self._at(first)}{self._beyond(first)}."
        text = f"From a limit of {self._memory(first.limit)} to {self._memory(last.limit)} the step falls from "
        text += f"{self._time(first.makespan)} to {self._time(last.makespan)}. "
        parts = []
        if (bend := knee(self.points)) is not None:
            share = (first.makespan - bend.makespan) / (first.makespan - min(last.makespan, self.top[1]))
            saving = "possible saving" if self.top[1] <= self.highest_bound else "saving found"
            parts.append(f"the knee is at {self._memory(bend.limit)}, with {percent(share)} of the {saving}")
        parts += self._next_steps(bend)
        told = "; ".join(parts) + self._beyond(last)
        return f"{text}{told[0].upper()}{told[1:]}."

    def _time(self, value: float) -> str:
        return in_best_unit(value, self.units.time)

    def _memory(self, value: float) -> str:
        return in_best_unit(value, self.units.memory)

    def _at(self, point: FrontierPoint) -> str:
        return f"At a limit of {self._memory(point.limit)} the step takes {self._time(point.makespan)}"

    def _next_steps(self, bend: FrontierPoint | None) -> list[str]:
        """Say what the step after the user's limit brings, else the one after the knee, else the first that helps."""
        falls = (here.limit for here, there in pairwise(self.points) if there.makespan < here.makespan)
        at = bend.limit if bend is not None else next(falls)
        if self.limit is not None and self.points[0].limit <= self.limit < self.points[-1].limit:
            at = max(point.limit for point in self.points if point.limit <= self.limit)
        place = next(place for place, point in enumerate(self.points) if point.limit == at)
        if place + 1 == len(self.points):
            return []
        here, there = self.points[place], self.points[place + 1]
        saved = (here.makespan - there.makespan) / here.makespan
        what = f"{percent(saved)} of each step" if saved else "nothing"
        return [f"going from {self._memory(here.limit)} to {self._memory(there.limit)} saves {what}"]

    def _beyond(self, last: FrontierPoint) -> str:
        """Say what more memory than that of the last point brings."""
        memory, shortest = self.top
        if memory > last.limit and shortest < last.makespan:
            saved = (last.makespan - shortest) / last.makespan
            return f"; more memory keeps helping, up to {self._memory(memory)} ({percent(saved)} of each step)"
        possible = (last.makespan - self.highest_bound) / last.makespan
        if possible <= 0:
            return f"; more than {self._memory(memory)} saves nothing, which is proven"
        return (
            f"; with more than {self._memory(memory)} nothing shorter was found, "
            f"and at most {percent(possible)} could be saved"
        )


def knee(points: Sequence[FrontierPoint]) -> FrontierPoint | None:
    """Find where more memory begins to help less: the point farthest below the line from the first point to the last.

    Both axes are scaled to run from 0 to 1 between these points, so units do not matter.

    Returns
    -------
    FrontierPoint or None
        None if no point lies below that line.
    """
    first, last = points[0], points[-1]
    width, fall = last.limit - first.limit, first.makespan - last.makespan
    if not width or not fall:
        return None

    def depth(point: FrontierPoint) -> float:
        return (first.makespan - point.makespan) / fall - (point.limit - first.limit) / width

    deepest = max(points, key=depth)
    return deepest if depth(deepest) > 0 else None


_TITLES = ("limit", "placement", "makespan", "bound", "gap", "status", "step")


def frontier_table(shown: ShownFrontier, width: int | None) -> str:
    """Write the points and the published schedules as two tables for a terminal.

    Parameters
    ----------
    shown : ShownFrontier
        The frontier.
    width : int or None
        The number of columns; None for as many as needed.
    """
    chosen = any(point.resident is not None for point in shown.points)
    runs = tells_frameworks(shown.points)
    titles = (*_TITLES, *(["resident"] if chosen else []), *([RUNS_IN] if runs else []))
    header = ("", *titles)
    cells: list[Sequence[str]] = [header, *shown.units.below(header)]
    bend = knee(shown.points)
    before: FrontierPoint | None = None
    for point in shown.points:
        step = "" if before is None else signed_percent(point.makespan / before.makespan - 1)
        figures: tuple[str, ...] = (number(point.makespan), number(point.bound), percent(point.gap))
        others = (*([str(point.resident)] if chosen else []), *([letters(point.runs_in)] if runs else []))
        mark = "*" if point is bend else ""
        cells.append((mark, number(point.limit), point.placement, *figures, point.status, step, *others))
        before = point
    note = "step: how the makespan changes from the row above"
    text = "\n".join([*aligned(cells, width), f"{'' if bend is None else '* the knee; '}{note}", *_cuts(shown.points)])
    return f"{text}\n\n{_published_table(shown, width)}" if shown.published else text


def _cuts(points: Sequence[FrontierPoint]) -> Iterator[str]:
    """Write the layers of each stage, once for consecutive limits with the same layers."""
    for layers, same in groupby(points, key=lambda point: point.layers):
        if layers:
            limits = ", ".join(number(point.limit) for point in same)
            yield f"layers per stage at {limits}: {' '.join(map(str, layers))}"


def _published_table(shown: ShownFrontier, width: int | None) -> str:
    runs_in = [RUNS_IN] if tells_frameworks(shown.published) else []
    header = ("", "published", "memory", "makespan", "over best", *runs_in)
    cells: list[Sequence[str]] = [header, *shown.units.below(header)]
    for each in shown.published:
        over = "" if each.best is None else signed_percent(each.makespan / each.best - 1)
        mark = "" if each.is_comparable else "~"
        figures = number(each.memory), number(each.makespan), over
        cells.append((mark, each.name, *figures, *[letters(each.runs_in)] * len(runs_in)))
    lines = [*aligned(cells, width), "over best: how much longer than the best known schedule within that memory"]
    if any(not each.is_comparable for each in shown.published):
        lines.append(OTHER_FREEDOM)
    runs = [*(each.runs_in for each in shown.points), *(each.runs_in for each in shown.published)]
    return "\n".join([*lines, *legend(runs)])


OTHER_FREEDOM = "~ on a placement or cut that was not searched, or with blocks that save time (--overlap)"
"""The meaning of the mark on published schedules that the bounds do not hold for."""
