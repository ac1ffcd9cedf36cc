"""The record of one rank, from any kind of file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from strategies.model.actions import Op

OF_THE_RANK = -1
"""Stands for the rank's only stage, in a range that names just its microbatch."""


class Range(NamedTuple):
    """One action of a rank, on the rank's own clock.

    Attributes
    ----------
    ops : tuple of Op
        The operation, or the forward and the backward of an overlapped block.
    start, end : float
        In milliseconds; an initial wait for inputs is excluded.
    waited : float or None
        That wait, if known.
    """

    ops: tuple[Op, ...]
    start: float
    end: float
    waited: float | None = None


class StepMark(NamedTuple):
    """A numbered step of the profiler."""

    number: int
    start: float
    end: float


@dataclass
class Recording:
    """The record of one rank.

    Attributes
    ----------
    path : str
        The file.
    rank : int or None
        The global rank, if the file says so.
    ranges : list of Range
        Its actions, in order of time.
    host : str or None
        The computer, if the file says so; ranks of one computer share a clock.
    has_base : bool
        Whether its times are counted from a known moment.
    groups : list of tuple of int
        The process groups that the file lists, by global ranks.
    marks : list of StepMark
        The profiler's own steps, if it marked any.
    neighbours : set of int
        Stages that the rank sent to or received from.
    may_hold_waits : bool
        Whether its ranges may begin with a wait for inputs that the file does not distinguish from work.
    parts_blocks : bool
        Whether the halves of a block ran one after the other, so that the backward waited in the middle.
    is_whole : bool
        Whether the whole file could be read.
    clock_restarts : bool
        Whether its clock begins anew in each step.
    memory : float or None
        The most memory that it held, in GiB, if the file says so.
    notes : list of str
        Notes for the reader.
    """

    path: str
    rank: int | None
    ranges: list[Range]
    host: str | None = None
    has_base: bool = False
    groups: list[tuple[int, ...]] = field(default_factory=list)
    marks: list[StepMark] = field(default_factory=list)
    neighbours: set[int] = field(default_factory=set)
    may_hold_waits: bool = False
    parts_blocks: bool = False
    is_whole: bool = True
    clock_restarts: bool = False
    memory: float | None = None
    notes: list[str] = field(default_factory=list)
