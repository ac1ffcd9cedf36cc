"""What one rank recorded, whatever the file it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from strategies.model.actions import Op

OF_THE_RANK = -1
"""The stage of a range that names only its microbatch: the one that the rank holds."""


class Range(NamedTuple):
    """One action of a rank, on the rank's own clock.

    Attributes
    ----------
    ops : tuple of Op
        The operation, or the forward and the backward of an overlapped block.
    start, end : float
        In milliseconds, with the wait for its inputs left out of the front.
    waited : float or None
        That wait, where it is known.
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
class Run:
    """What one rank recorded.

    Attributes
    ----------
    path : str
        The file.
    rank : int or None
        The global rank, where the file says so.
    ranges : list of Range
        Its actions, in order of time.
    host : str or None
        The computer, where the file says so; ranks of one have the same clock.
    has_base : bool
        Whether its times count from a moment that is known.
    groups : list of tuple of int
        The process groups that the file lists, by global ranks.
    marks : list of StepMark
        The profiler's own steps, if it marked any.
    neighbours : set of int
        Stages that it sent to or received from.
    may_hold_waits : bool
        Whether its ranges may begin with a wait for their inputs that nothing in the file tells from work.
    parts_blocks : bool
        Whether the halves of a block ran one after the other, so that the backward waited in the middle.
    is_whole : bool
        Whether all of the file could be read.
    notes : list of str
        What a reader should know.
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
    notes: list[str] = field(default_factory=list)
