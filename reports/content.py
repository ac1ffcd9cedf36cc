"""The content of a report: schedules with everything said about them, grouped by configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reports.frontier_points import ShownFrontier
from reports.idle import Waiting
from reports.ladder import Ladder
from reports.margins import Margins
from reports.memory import memory_steps
from reports.metrics import Beside
from reports.noise import NoiseFigures
from reports.table import Row
from reports.units import Units
from reports.what_if import WhatIf
from solver.problem import Placed, Problem

DOES = {
    "UNSHARD": "gathers parameters",
    "REDUCE_GRAD": "reduces gradients",
    "OFFLOAD": "copies to the host",
    "RELOAD": "copies back from the host",
}
"""What each kind of work beside computing does."""


class ShownTransfer(NamedTuple):
    """One end of a transfer, in a schedule whose transfers wait, or work beside computing.

    Attributes
    ----------
    device : int
        The device of this end.
    name : str
        The result that moves, its source and its destination.
    ready, start, end : int
        The moment at which this end could begin, and the start and end of the transfer, in ticks.
    does : str
        What it does from its start to its end.
    """

    device: int
    name: str
    ready: int
    start: int
    end: int
    does: str = "moves"


@dataclass(frozen=True)
class HeldLayers:
    """Equal layers of one stage.

    Attributes
    ----------
    device, stage : int
        Their device and stage.
    kind : str
        Their name.
    count : int
        Their number.
    recomputed : bool
        Whether their forward is run again for their backward.
    time : float
        F + B of all of them together, for one microbatch.
    static : float
        The memory that they hold at all times.
    """

    device: int
    stage: int
    kind: str
    count: int
    recomputed: bool
    time: float
    static: float


@dataclass(frozen=True, eq=False)
class Presented:
    """One schedule of a report.

    Attributes
    ----------
    summary : Row
        Its row of a table: name, sizes and figures.
    placement : str
        The placement's name.
    local_stages : sequence of sequence of (int, range)
        For each device its stages, in the order in which microbatches reach them, each with the microbatches that pass
        through it there (those of one direction in a bidirectional pipeline).
    problem : Problem
        The problem; its tasks are (stage, kind, microbatch).
    timeline : sequence of Placed
        The times of all tasks, device by device in order of time; the halves of a block are adjacent.
    waiting : Waiting
        The idle time of the devices, by cause.
    orders : sequence of sequence of str
        The actions of each device in PyTorch's grammar.
    ladder : Ladder or None
        Its ladder, from the ideal time to the makespan.
    searched : bool
        Whether a search found its order.
    notes : tuple of str
        Notes for the reader.
    values : mapping
        The same plain values as in ``--format json``.
    transfers : sequence of ShownTransfer
        Both ends of each transfer; empty if transfers wait for nothing.
    cut : sequence of HeldLayers
        The layers of each stage; empty if the times of stages were given.
    noise : NoiseFigures or None
        Its makespan under noise.
    items : sequence of str
        What slices of microbatches are called; empty if microbatches are whole.
    is_drawn : bool
        Whether there was time to draw its timeline.
    beside : Beside or None
        What its devices do beside computing; its times are among ``transfers``.
    given : bool
        Whether its order is the user's own; an order neither searched nor given is published.
    """

    summary: Row
    placement: str
    local_stages: Sequence[Sequence[tuple[int, range]]]
    problem: Problem
    timeline: Sequence[Placed]
    waiting: Waiting
    orders: Sequence[Sequence[str]]
    ladder: Ladder | None
    searched: bool
    notes: tuple[str, ...]
    values: Mapping[str, Any]
    transfers: Sequence[ShownTransfer] = ()
    cut: Sequence[HeldLayers] = ()
    noise: NoiseFigures | None = None
    items: Sequence[str] = ()
    is_drawn: bool = True
    given: bool = False
    beside: Beside | None = None

    @property
    def memory_steps(self) -> list[list[tuple[int, int]]]:
        """The memory of each device over time, as `reports.memory.memory_steps` lists it."""
        if self.beside is None:
            return memory_steps(self.problem, self.timeline)
        return memory_steps(self.beside.holding, [*self.timeline, *self.beside.rows])

    @property
    def extent(self) -> tuple[int, int]:
        """The first start and the last end of everything, in ticks."""
        rows = [*self.timeline, *(() if self.beside is None else self.beside.rows)]
        return min(row.start for row in rows), max(row.end for row in rows)

    @property
    def peak(self) -> float:
        """The most memory that a device holds."""
        return max(self.summary.figures.peak_memory)


@dataclass(frozen=True, eq=False)
class Section:
    """The schedules of one configuration.

    Attributes
    ----------
    title : str
        Its name: the configuration's file.
    pipeline : mapping
        The configuration as plain values.
    schedules : sequence of Presented
        The schedules, best first; those over the memory limit come after those that fit.
    left_out : sequence of (str, str)
        Schedules that are left out, with the reason: they do not fit, there was no time, or an internal error.
    infeasible : sequence of str
        The reasons why nothing fits the memory, for each placement on which nothing does.
    bound : float or None
        A lower bound of the makespans of schedules that fit the memory, on any of the placements shown.
    baseline : Row or None
        The schedule among them that the others are compared with.
    headline : str
        The verdict; if empty, it is made from the schedules.
    differences : sequence of str
        The differences between measurement and prediction.
    reasons : sequence of str
        The reasons for the cut, if it was planned.
    search : str
        One sentence on the search and how it ended; empty if there was none.
    frontier : ShownFrontier or None
        The memory frontier, if it was explored.
    noise : str
        A description of the noise; empty if there was none.
    framework : str
        The title of the framework that runs all schedules, if one was asked for.
    overlapped : str
        Whether overlapped blocks are worth it; empty if nothing says what they hide.
    margins : Margins
        How far the verdict holds.
    what_if : WhatIf or None
        The data to replay the schedules on other costs.
    """

    title: str
    pipeline: Mapping[str, Any]
    schedules: Sequence[Presented]
    left_out: Sequence[tuple[str, str]] = ()
    infeasible: Sequence[str] = ()
    bound: float | None = None
    baseline: Row | None = None
    headline: str = ""
    differences: Sequence[str] = ()
    reasons: Sequence[str] = ()
    search: str = ""
    frontier: ShownFrontier | None = None
    noise: str = ""
    framework: str = ""
    overlapped: str = ""
    margins: Margins = field(default_factory=Margins)
    what_if: WhatIf | None = None

    @property
    def units(self) -> Units:
        """The units of time and of memory."""
        return Units(str(self.pipeline.get("unit", "")), str(self.pipeline.get("memory", {}).get("unit", "")))

    @property
    def measured(self) -> Presented | None:
        """The run that is shown beside its prediction, if this section is about one."""
        return next((each for each in self.schedules if each.summary.status == "measured"), None)

    @property
    def winner(self) -> Presented | None:
        """The shortest schedule that fits the memory (for a frontier, of those searched); None if none does."""
        schedules = self.schedules
        if self.frontier is not None:
            comparable = (each.rank for each in self.frontier.published if each.is_comparable)
            ranks = {*comparable, *(point.rank for point in self.frontier.points)}
            schedules = [each for rank, each in enumerate(schedules) if rank in ranks]
        fitting = [each for each in schedules if not each.summary.over]
        fair = [each for each in fitting if each.summary.may_win] or fitting
        return min(fair, key=lambda each: each.summary.figures.makespan, default=None)

    @property
    def fastest(self) -> Presented | None:
        """The shortest schedule, whether it fits or not; of equals, one that fits."""
        return min(self.schedules, key=lambda each: each.summary.figures.makespan, default=None)


def with_name(name: str, reason: str) -> str:
    """Write a reason with the name of its subject, which most reasons begin with already."""
    return reason if reason.startswith(name.partition(":")[0]) else f"{name}: {reason}"
