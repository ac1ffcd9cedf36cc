"""The figures of a schedule, by the names and definitions used everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from reports.memory import peak_memory
from solver.numbered import Timeline
from solver.problem import Placed, Problem


@dataclass(frozen=True)
class Figures:
    """The figures of a schedule, in the user's units; each is rounded once, from an exact value.

    Attributes
    ----------
    makespan : float
        T: the last end minus the first start, and what a step takes after its last operation.
    span : float
        S: the longest (last end − first start) of one device.
    busy : tuple of float
        For each device the sum of its actions' durations without their overhead, counting a block once.
    ideal : float
        U: all forwards and backwards, un-overlapped, spread evenly over the devices.
    bubble_ratio : float
        1 − Σ busy ÷ (devices × T).
    bubble_over_ideal : float
        (T − U) ÷ U, the bubble of Megatron and PP-Emulation; negative if overlap beats U.
    span_bubble_ratio : float
        1 − U ÷ S, the Zero Bubble paper's bubble.
    peaks : tuple of Fraction
        For each device the most memory that it holds at one time, exactly; these decide what fits a limit.
    overhead : tuple of float
        For each device the sum of its actions' overheads.
    """

    makespan: float
    span: float
    busy: tuple[float, ...]
    ideal: float
    bubble_ratio: float
    bubble_over_ideal: float
    span_bubble_ratio: float
    peaks: tuple[Fraction, ...]
    overhead: tuple[float, ...] = ()

    @cached_property
    def peak_memory(self) -> tuple[float, ...]:
        """For each device the most memory it holds at one time."""
        return tuple(map(float, self.peaks))

    def excesses(self, limits: Sequence[Fraction | None]) -> dict[int, Fraction]:
        """Return the devices that hold more than their limit, and by how much.

        Parameters
        ----------
        limits : sequence of Fraction or None
            The memory limit of each device.
        """
        pairs = enumerate(zip(self.peaks, limits, strict=True))
        return {device: peak - limit for device, (peak, limit) in pairs if limit is not None and peak > limit}


def measure(
    problem: Problem,
    rows: Sequence[Placed],
    ideal: Fraction,
    overhead: Sequence[int] = (),
    after: Fraction = Fraction(0),
    beside: Beside | None = None,
) -> Figures:
    """Compute the figures of a timeline.

    Parameters
    ----------
    problem : Problem
        The problem that was scheduled.
    rows : sequence of Placed
        The times of all tasks, in ticks.
    ideal : Fraction
        U in the user's unit of time.
    overhead : sequence of int
        For each device the part of its actions' durations that is no work, in ticks; empty if there is none.
    after : Fraction
        The time that a step takes after its last action, in the user's unit of time.
    beside : Beside, optional
        What devices do beside computing. It takes part in the memory and in the length of the step, and is no work. The
        span of a device begins with its first action, whenever what that needs was gathered.
    """
    timeline = Timeline.of(problem, rows)
    first, last, lasts = _extents(problem, timeline)
    begun = min(first)
    if beside is None:
        peaks = peak_memory(problem, timeline)
    else:
        peaks = peak_memory(beside.holding, [*rows, *beside.rows])
        for each in beside.rows:
            begun = min(begun, each.start)
            last[each.device] = max(last[each.device], each.end)
    return figures_of(problem, Extents(first, last, lasts, peaks, begun), ideal, overhead, after)


class Beside(NamedTuple):
    """What devices do beside computing.

    Attributes
    ----------
    holding : Problem
        The problem with all that computing and side actions take and return.
    rows : sequence of Placed
        When each side action ran.
    """

    holding: Problem
    rows: Sequence[Placed]


class Extents(NamedTuple):
    """The data that a timeline's figures are computed from, for each device, in ticks.

    Attributes
    ----------
    first, last : list of int
        Its first start and its last end.
    lasts : list of int
        The sum of its actions' durations, overhead included, counting a block once.
    peaks : list of int
        The most memory that it holds at one time.
    begun : int or None
        When the step begins, on whichever device; None with the first start of all.
    """

    first: list[int]
    last: list[int]
    lasts: list[int]
    peaks: list[int]
    begun: int | None = None


def figures_of(
    problem: Problem,
    extents: Extents,
    ideal: Fraction,
    overhead: Sequence[int] = (),
    after: Fraction = Fraction(0),
) -> Figures:
    """Compute the figures of a timeline from its extents alone.

    Parameters
    ----------
    problem : Problem
        The problem that was scheduled; only its units and its number of devices are used.
    extents : Extents
        The timeline's extents.
    ideal : Fraction
        U in the user's unit of time.
    overhead, after
        As for `measure`.
    """
    scale = problem.ticks_per_unit
    first, last, lasts, peaks, begun = extents
    overhead = overhead or [0] * problem.devices
    busy = [all_of_it - idle for all_of_it, idle in zip(lasts, overhead, strict=True)]
    makespan = max(last) - (min(first) if begun is None else begun) + after * scale
    span = max(end - start for start, end in zip(first, last, strict=True))
    ideal_ticks = ideal * scale
    room = problem.devices * makespan
    return Figures(
        makespan=float(makespan / scale),
        span=span / scale,
        busy=tuple(each / scale for each in busy),
        overhead=tuple(each / scale for each in overhead),
        ideal=float(ideal),
        bubble_ratio=float((room - sum(busy)) / room),
        bubble_over_ideal=float((makespan - ideal_ticks) / ideal_ticks),
        span_bubble_ratio=float((span - ideal_ticks) / span),
        peaks=tuple(Fraction(peak, problem.amounts_per_unit) for peak in peaks),
    )


def _extents(problem: Problem, rows: Timeline) -> tuple[list[int], list[int], list[int]]:
    """Find each device's first start, last end, and busy time."""
    lasts = rows.end - rows.start
    halves = np.flatnonzero(rows.block >= 0)
    second = np.setdiff1d(halves, halves[np.unique(rows.block[halves], return_index=True)[1]])
    lasts[second] = 0
    order = np.argsort(rows.device, kind="stable")
    start, end, lasts = rows.start[order], rows.end[order], lasts[order]
    start_of_all = int(start.min())
    first, last, busy = ([nothing] * problem.devices for nothing in (start_of_all, start_of_all, 0))
    bounds = np.searchsorted(rows.device[order], np.arange(problem.devices + 1)).tolist()
    for device, (begin, behind) in enumerate(pairwise(bounds)):
        if begin < behind:
            here = slice(begin, behind)
            first[device], last[device] = int(start[here].min()), int(end[here].max())
            busy[device] = int(lasts[here].sum())
    return first, last, busy
