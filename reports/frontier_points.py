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
class PointAtLimit:
    """The shortest step known at a memory limit.

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
    """

    limit: float
    makespan: float
    bound: float
    memory: float
    name: str
    placement: str
    status: str
    rank: int | None = None

    @property
    def gap(self) -> float:
        """(makespan − bound) ÷ makespan."""
        return (self.makespan - self.bound) / self.makespan


@dataclass(frozen=True)
class FrontierPoint(PointAtLimit):
    """The shortest step found at a memory limit.

    Attributes
    ----------
    layers : tuple of int
        For a model of layers, the number of layers on each stage.
    runs_in : mapping of str to str, or None
        The letter and the name of each framework that runs the schedule, if known.
    searched : bool
        Whether a search found it; otherwise it is published.
    resident : int or None
        Its number of resident stages, if every limit has its own.
    """

    layers: tuple[int, ...] = ()
    runs_in: Mapping[str, str] | None = None
    searched: bool = True
    resident: int | None = None


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
class CopiedPoint(PointAtLimit):
    """The shortest step known with copies at a memory limit.

    Attributes
    ----------
    without : float or None
        The shortest step known without copies within the same memory; None if nothing fits it.
    """

    without: float | None = None


@dataclass(frozen=True)
class Saving:
    """What copies save of the memory of the shortest step known without them, and what they cost.

    Attributes
    ----------
    memory : (float, float or None)
        What the shortest step without copies needs, and what one with copies needs; None if copies save nothing.
    makespan : (float, float or None)
        How long these two steps take.
    is_free : bool
        Whether the second is exactly no longer.
    plain_within : float or None
        The shortest step known without copies within the memory of the second; None if nothing fits it.
    copy : float
        The time to copy an activation to the host and back, relative to F + B; of stages that differ, the largest.
    differs : bool
        Whether stages differ in that.
    copies_anything, offloads_anything : bool
        Whether any order has copies, and whether any stage offloads at all.
    """

    memory: tuple[float, float | None]
    makespan: tuple[float, float | None]
    is_free: bool
    plain_within: float | None
    copy: float
    differs: bool = False
    copies_anything: bool = True
    offloads_anything: bool = True

    @property
    def share(self) -> float:
        """The share of the memory that copies save."""
        before, after = self.memory
        return 0.0 if after is None else (before - after) / before

    @property
    def cost(self) -> float:
        """How much longer the step is."""
        before, after = self.makespan
        return 0.0 if after is None or self.is_free else after / before - 1

    def sentence(self, units: Units) -> str:
        """Say what copies save and what they cost."""
        if not self.offloads_anything:
            return "Offload saves nothing here: no stage offloads anything."
        takes = f"a copy there and back takes {'up to ' if self.differs else ''}{number(self.copy, 3)} of F + B"
        if not self.copies_anything:
            return (
                "Offload saves nothing here: no order known copies anything, since a device does only with three "
                f"microbatches in flight; {takes}."
            )
        (before, after), (length, longer) = self.memory, self.makespan
        if after is None or longer is None:
            return f"Offload saves nothing here: an order without copies is as short within any memory; {takes}."
        saved = f"Offload saves {percent(self.share)} of memory"
        least, fewer = in_best_unit(before, units.memory), in_best_unit(after, units.memory)
        if self.is_free:
            step = f"The shortest step found, {in_best_unit(length, units.time)},"
            return f"{saved} for nothing here: {takes}. {step} needs {least} without copies and {fewer} with them."
        told = f"{saved} here and costs {percent(self.cost)} of time: {takes}. "
        told += f"The shortest step found needs {least} without copies; one with copies needs {fewer}"
        if self.plain_within is None:
            return f"{told}, in which no order known runs without copies."
        lost = percent(self.plain_within / length - 1)
        return f"{told}, in which the shortest without copies costs {lost}."


@dataclass(frozen=True)
class ShownCopies:
    """The curve with copies.

    Attributes
    ----------
    points : sequence of CopiedPoint
        The points, by increasing limit.
    stairs : sequence of (float, float)
        As for `ShownFrontier`.
    saving : Saving
        What copies save, and what they cost.
    """

    points: Sequence[CopiedPoint]
    stairs: Sequence[tuple[float, float]]
    saving: Saving


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
    copies : ShownCopies or None
        The curve with copies, if it was asked for. Everything else is without copies.
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
    copies: ShownCopies | None = None

    def shortest(self, memory: float) -> float:
        """Return the shortest makespan known within a memory limit, which some schedule fits."""
        return min(makespan for least, makespan in self.stairs if least <= memory)

    @property
    def sentence(self) -> str:
        """Say where the knee is, what the next step of memory brings, and from where on more brings nothing."""
        told = f"{self._course} Bounds and proofs hold {self.scope}." if self.scope else self._course
        if self.copies is not None:
            told = f"{self.copies.saving.sentence(self.units)} Without copies, {told[0].lower()}{told[1:]}"
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
    more = [*_copied_table(shown, width), *([_published_table(shown, width)] if shown.published else [])]
    return "\n\n".join([text, *more])


def _copied_table(shown: ShownFrontier, width: int | None) -> Iterator[str]:
    """Write the shortest steps known with copies beside those without."""
    if shown.copies is None:
        return
    header = ("limit", "with copies", "memory", "makespan", "bound", "gap", "without", "copies")
    cells: list[Sequence[str]] = [header, *shown.units.below(header)]
    for each in shown.copies.points:
        without = ("–", "") if each.without is None else (number(each.without), _change(each.makespan / each.without))
        figures = number(each.memory), number(each.makespan), number(each.bound), percent(each.gap)
        cells.append((number(each.limit), each.name, *figures, *without))
    yield "\n".join([*aligned(cells, width), _COPIES])


def _change(ratio: float) -> str:
    return "" if ratio == 1 else signed_percent(ratio - 1)


_COPIES = "without: the shortest step known without copies within the same memory; copies: how much copies change it"


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
