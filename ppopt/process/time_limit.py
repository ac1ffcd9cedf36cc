"""The time limit of a command, for its searches and everything after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from solver.budget import Budget

MOMENT = 0.2
"""Seconds after a limit or Ctrl-C in which optional parts of an answer may still be done."""

SAVING, TRACING, REPORTING = 1.0, 0.7, 1.8
"""How long a timeline as CSV, a trace and a page take for one schedule, in multiples of what finishing it takes."""

EXPORTING, LOWERING = 0.2, 0.8
"""The same for an order as a file, and for placing its communication before."""

DRAWING = 0.004
"""The same for one draw of all its times."""


@dataclass(frozen=True)
class Afterwards:
    """The work of a command after a search, for which the search leaves time.

    Attributes
    ----------
    beside : bool
        Whether the published schedules on the same placement are evaluated.
    explained : bool
        Whether the result is explained, by bounds of changed pipelines.
    bounded : bool
        Whether the lower bounds of a report are still to be computed.
    shown : int
        How many schedules are shown that this search has nothing to do with.
    exported, lowered : bool
        Whether all of a result's order is written as a file, and whether its communication is placed before.
    per_result, per_schedule : float
        How long writing files takes for each result of a search, and for each schedule that is shown, published ones
        too; in multiples of what finishing one schedule takes (its replay, its check and its figures).
    foresee : callable, optional
        ``foresee(schedules, operations)`` measures how many seconds the files take, for at least one schedule that is
        there and for others with ``operations`` in all.
    """

    beside: bool = False
    explained: bool = False
    bounded: bool = False
    shown: int = 0
    exported: bool = False
    lowered: bool = False
    per_result: float = 0.0
    per_schedule: float = 0.0
    foresee: Callable[..., float] | None = None

    @property
    def exporting(self) -> float:
        """How long writing an order takes, in multiples of what finishing a schedule of as many operations takes."""
        return EXPORTING * self.exported + LOWERING * self.lowered

    @property
    def exporting_unwritten(self) -> float:
        """The same for one of which only a part has been written out: to be lowered, all of it is replayed."""
        return self.exporting + self.lowered


class TimeLimit(Budget):
    """The clock of a command: hands out its time to searches in turn, and to the phases of each.

    Parameters
    ----------
    seconds : float
        From now on.
    afterwards : Afterwards
        What is done behind each search.

    Attributes
    ----------
    turn_ends : float
        When the present one of several searches must be done, with what follows it; on the clock of
        `time.perf_counter`.
    owed, owed_to_bounds : float
        How many seconds are put aside for the end: for files and bounds together, and for bounds.
    finishing : float
        How many seconds the replay, the check and the figures of the last result took.
    bounding : float
        How many seconds its quick bound took.
    """

    def __init__(self, seconds: float, afterwards: Afterwards | None = None) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.afterwards = afterwards or Afterwards()
        self.ends = self.turn_ends = perf_counter() + seconds
        self.owed = self.owed_to_bounds = 0.0
        self.finishing = self.bounding = 0.0
        self.interrupted = False

    @property
    def left(self) -> float:
        """Seconds until the end, without what is put aside."""
        return max(0.0, self.ends - self.owed - perf_counter())

    @property
    def left_of_turn(self) -> float:
        """Seconds until the end of the turn."""
        return max(0.0, self.turn_ends - perf_counter())

    @property
    def deadline(self) -> float:
        """When the search must be done, so that what follows it in its turn has its time."""
        return self.turn_ends - self._all_kept

    @property
    def last_moment(self) -> float:
        """When the turn is over for all that an answer does not need, on the clock of `time.perf_counter`."""
        return self.turn_ends + MOMENT

    def begin_turn(self, turns: int) -> None:
        """Share the time left evenly between ``turns``, and begin the first of them."""
        self.release()
        self.bounding = 0.0
        self.turn_ends = perf_counter() + self.left / turns

    def part(self, parts: int) -> TimeLimit:
        """Give one of ``parts`` even parts of the time left a clock of its own."""
        part = TimeLimit(self.seconds, self.afterwards)
        part.ends = part.turn_ends = perf_counter() + self.left / parts
        return part

    def put_aside(self, files: float = 0.0, bounds: float = 0.0) -> None:
        """Keep seconds of this turn for the end."""
        self.owed += files + bounds
        self.owed_to_bounds += bounds
        self.turn_ends -= files + bounds

    @property
    def bounds_end(self) -> float:
        """When the bounds at the end must be done, on the clock of `time.perf_counter`."""
        return perf_counter() + self.left + self.owed_to_bounds

    def hurry(self) -> None:
        """Leave only a moment: somebody has pressed Ctrl-C."""
        self.interrupted = True
        self.ends = self.turn_ends = min(self.turn_ends, perf_counter())

    @property
    def used_up(self) -> str:
        """Why something was left out."""
        if self.interrupted:
            return "the search was interrupted"
        return f"the time limit of {self.seconds:g} s was used up"


def least_seconds(measure: Callable[[], Sequence[float]]) -> tuple[float, ...]:
    """Measure the parts of something small twice, and take the lesser time of each: the first loads libraries."""
    return tuple(map(min, zip(measure(), measure(), strict=True)))
