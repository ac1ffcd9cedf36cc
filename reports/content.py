"""What a report shows: schedules with all that is said about them, gathered by configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from reports.frontier import ShownFrontier
from reports.idle import Waiting
from reports.ladder import Ladder
from reports.noise import NoiseFigures
from reports.table import Row
from reports.what_if import WhatIf
from solver.problem import Placed, Problem


class ShownTransfer(NamedTuple):
    """One end of a transfer, where transfers wait.

    Attributes
    ----------
    device : int
        Where the end is.
    name : str
        What moves, and from where to where.
    ready, start, end : int
        When this end could begin, when the transfer began, and when it was over, in ticks.
    """

    device: int
    name: str
    ready: int
    start: int
    end: int


@dataclass(frozen=True)
class HeldLayers:
    """Equal layers of one stage.

    Attributes
    ----------
    device, stage : int
        Where they lie.
    kind : str
        What they are called.
    count : int
        How many there are.
    recomputed : bool
        Whether their forward is run once more for their backward.
    time : float
        F + B of all of them together, for one microbatch.
    static : float
        What they hold at all times.
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
        For each device the stages that it holds, in the order in which microbatches meet them, each with the
        microbatches that meet it there (those of one direction in a bidirectional pipeline).
    problem : Problem
        What was scheduled; its tasks are (stage, kind, microbatch).
    timeline : sequence of Placed
        When each task runs; device by device in the order of time, the halves of a block one after the other.
    waiting : Waiting
        What the devices wait for, and for how long.
    orders : sequence of sequence of str
        The actions of each device in PyTorch's grammar.
    ladder : Ladder or None
        Where its time goes.
    searched : bool
        Whether a search found it; else it is published.
    notes : tuple of str
        What the reader should know about it.
    values : mapping
        The same plain values as in ``--format json``.
    transfers : sequence of ShownTransfer
        Both ends of each transfer; empty where transfers wait for nothing.
    cut : sequence of HeldLayers
        Where the layers of the model lie; empty where the times of stages were given.
    noise : NoiseFigures or None
        Its makespan with drawn times.
    is_drawn : bool
        Whether there was time to draw its timeline.
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
    is_drawn: bool = True


@dataclass(frozen=True, eq=False)
class Section:
    """The schedules of one configuration.

    Attributes
    ----------
    title : str
        What it is called: the configuration's file.
    pipeline : mapping
        The configuration as plain values.
    schedules : sequence of Presented
        Best first; those over the memory limit after those that fit.
    left_out : sequence of (str, str)
        Schedules that are left out, with the reason: what does not fit, what there was no time for, internal errors.
    infeasible : sequence of str
        Why nothing fits the memory, for each placement of which that is so.
    bound : float or None
        A makespan that no schedule can beat that fits the memory, on any of the placements shown.
    baseline : Row or None
        The one among them that all are compared with.
    headline : str
        The verdict; where empty, it is made from the schedules.
    differences : sequence of str
        How what was measured differs from what was predicted.
    reasons : sequence of str
        Why the layers lie as they do, where they were planned.
    search : str
        One sentence on what was searched and how it ended; empty where nothing was.
    frontier : ShownFrontier or None
        What each memory limit allows, where that was explored.
    noise : str
        With what noise times were drawn; empty where they were not.
    what_if : WhatIf or None
        What the schedules need to be replayed on other costs.
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
    what_if: WhatIf | None = None

    @property
    def unit(self) -> str:
        """The unit of time; empty where nobody named it."""
        return str(self.pipeline.get("unit", ""))


def with_name(name: str, reason: str) -> str:
    """Write a reason with the name that it is about, which most reasons begin with."""
    return reason if reason.startswith(name.partition(":")[0]) else f"{name}: {reason}"
