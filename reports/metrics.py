"""The figures of a schedule, by the names and definitions used everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from reports.memory import memory_steps
from solver.problem import Placed, Problem


@dataclass(frozen=True)
class Figures:
    """The figures of a schedule, in the user's units; each is rounded once, from an exact value.

    Attributes
    ----------
    makespan : float
        T: the last end minus the first start.
    span : float
        S: the longest (last end − first start) of one device.
    busy : tuple of float
        For each device the sum of its actions' durations, counting a block once.
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
    """

    makespan: float
    span: float
    busy: tuple[float, ...]
    ideal: float
    bubble_ratio: float
    bubble_over_ideal: float
    span_bubble_ratio: float
    peaks: tuple[Fraction, ...]

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


def measure(problem: Problem, rows: Sequence[Placed], ideal: Fraction) -> Figures:
    """Compute the figures of a timeline.

    Parameters
    ----------
    problem : Problem
        The problem that was scheduled.
    rows : sequence of Placed
        The times of all tasks, in ticks.
    ideal : Fraction
        U in the user's unit of time.
    """
    return figures_of(problem, Extents(*_extents(problem.devices, rows), peak_memory(problem, rows)), ideal)


class Extents(NamedTuple):
    """The data that a timeline's figures are computed from, for each device, in ticks.

    Attributes
    ----------
    first, last : list of int
        Its first start and its last end.
    busy : list of int
        The sum of its actions' durations, counting a block once.
    peaks : list of int
        The most memory that it holds at one time.
    """

    first: list[int]
    last: list[int]
    busy: list[int]
    peaks: list[int]


def figures_of(problem: Problem, extents: Extents, ideal: Fraction) -> Figures:
    """Compute the figures of a timeline from its extents alone.

    Parameters
    ----------
    problem : Problem
        The problem that was scheduled; only its units and its number of devices are used.
    extents : Extents
        The timeline's extents.
    ideal : Fraction
        U in the user's unit of time.
    """
    scale = problem.ticks_per_unit
    first, last, busy, peaks = extents
    makespan = max(last) - min(first)
    span = max(end - start for start, end in zip(first, last, strict=True))
    ideal_ticks = ideal * scale
    room = problem.devices * makespan
    return Figures(
        makespan=makespan / scale,
        span=span / scale,
        busy=tuple(each / scale for each in busy),
        ideal=float(ideal),
        bubble_ratio=(room - sum(busy)) / room,
        bubble_over_ideal=float((makespan - ideal_ticks) / ideal_ticks),
        span_bubble_ratio=float((span - ideal_ticks) / span),
        peaks=tuple(Fraction(peak, problem.amounts_per_unit) for peak in peaks),
    )


def _extents(devices: int, rows: Sequence[Placed]) -> tuple[list[int], list[int], list[int]]:
    """Return each device's first start, last end, and busy time."""
    start_of_all = min(row.start for row in rows)
    first: list[int | None] = [None] * devices
    last = [start_of_all] * devices
    busy = [0] * devices
    counted: set[int] = set()
    for _, device, start, end, block in rows:
        earliest = first[device]
        first[device] = start if earliest is None else min(start, earliest)
        last[device] = max(end, last[device])
        if block is None or block not in counted:
            busy[device] += end - start
        if block is not None:
            counted.add(block)
    return [start_of_all if start is None else start for start in first], last, busy


def peak_memory(problem: Problem, rows: Sequence[Placed]) -> list[int]:
    """Return the most memory that each device holds at one time, in ticks of memory."""
    return [max((level for _, level in steps), default=0) for steps in memory_steps(problem, rows)]
