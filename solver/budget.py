"""Shares the time of a search, and of the command around it, between named phases.

The table below has every share and safety factor of `optimize` and `compare`, and of the search that both use.

With ``PPOPT_DEBUG_CLOCK=1`` each phase prints to standard error how long it had and how long it took.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

DEBUG = "PPOPT_DEBUG_CLOCK"
"""The environment variable that has phases printed."""


@dataclass(frozen=True)
class Phase:
    """A named part of the work.

    Attributes
    ----------
    name : str
        Its name when it is printed.
    share : float
        Largest share of the time left.
    most : float
        Most seconds.
    caution : float
        Safety factor on the time that was measured.
    """

    name: str
    share: float = 1.0
    most: float = math.inf
    caution: float = 1.0

    def within(self, left: float) -> float:
        """Return how many of the seconds left it may take."""
        return min(self.share * left, self.most)

    def foreseen(self, measured: float, left: float = math.inf) -> float:
        """Return how many of the seconds left to keep for it, by how long it took when it was measured."""
        return min(self.caution * measured, self.within(left))


# Of a search
FIRST_PART = Phase("first part of a long problem")
WHOLE = Phase("writing the problem", caution=1.2)
STARTS = Phase("starts", share=0.25)
STRETCHING = Phase("stretching short schedules")
BOUND = Phase("bound", share=0.35)
BRIEF_BOUND = Phase("bound of a brief search", share=0.1)
REFUTATION = Phase("deadlines that no schedule meets", share=0.25)
FIRST_TURNS = Phase("first turns of all sizes", share=0.4)
WHERE_TO_CUT = Phase("where to cut a schedule that is stretched", share=0.1)
LISTS = Phase("list schedules", share=0.15)
BRIEF_LISTS = Phase("list schedules of a brief search", share=0.5)
FEEDING = Phase("exchanging microbatches", share=0.1, most=3.0)
LESS_MEMORY = Phase("less memory", share=0.1, most=5.0)
CAPACITY = Phase("one capacity", share=0.5)
# Of the command around it
CUT = Phase("cut", share=0.1)
COPIES = Phase("what runs beside computing", share=0.5)
CHOICE = Phase("robust choice", share=0.2, caution=1.2)
RESULT = Phase("result", caution=1.2)
BESIDE = Phase("schedules beside the result", share=0.5)
PUBLISHED = Phase("published schedules", share=0.8)
PUBLISHED_BEFORE_FILES = Phase("published schedules before files", share=1 / 3)
PUBLISHED_BEFORE_SEARCHES = Phase("published schedules before long searches", share=0.3)
COMMUNICATORS = Phase("communicators", share=0.05)
BOUNDS = Phase("bounds of all schedules", share=0.25)
DRAWS = Phase("drawing times", caution=1.3)
MARGINS = Phase("margins", share=0.05, most=5.0, caution=1.3)
DRAWS_AND_FILES = Phase("drawing times and writing files", share=0.5)
FILES = Phase("files", share=0.8, caution=1.2)
EXPLANATION = Phase("explanation", share=0.25, caution=1.2)
REPORT = Phase("bounds of the report", share=0.25)


class Budget:
    """The time of one search, handed out to phases.

    Parameters
    ----------
    seconds : float
        From now on.

    Attributes
    ----------
    ends : float
        When the time is up, on the clock of `time.perf_counter`.
    """

    def __init__(self, seconds: float) -> None:
        self.ends = perf_counter() + seconds
        self._kept: dict[Phase, float] = {}
        self._all_kept = 0.0

    @property
    def deadline(self) -> float:
        """When all must be done but the phases for which time is kept."""
        return self.ends - self._all_kept

    def keep(self, phase: Phase, seconds: float) -> None:
        """Keep seconds for a phase that comes later."""
        self._kept[phase] = seconds
        self._all_kept = sum(self._kept.values())

    def release(self, *phases: Phase) -> float:
        """Give back the time kept for phases, by default for all; return how many seconds it is."""
        seconds = sum(self._kept.pop(phase, 0.0) for phase in phases or tuple(self._kept))
        self._all_kept = sum(self._kept.values())
        return seconds

    @contextmanager
    def running(self, phase: Phase, seconds: float | None = None) -> Iterator[float]:
        """Hand out time to a phase while the body of this context runs.

        Parameters
        ----------
        phase : Phase
            What runs.
        seconds : float, optional
            How long it has; by default what is kept for it, or its share of the time left.

        Yields
        ------
        float
            Its deadline.
        """
        began = perf_counter()
        if seconds is None:
            seconds = self.release(phase) or phase.within(max(0.0, self.deadline - began))
        with _printed(phase, seconds):
            yield min(self.deadline, began + seconds)


_running = threading.local()


@contextmanager
def _printed(phase: Phase, seconds: float) -> Iterator[None]:
    """Print how long a phase had and took, further in than the phase that it is part of."""
    if os.environ.get(DEBUG, "0") in ("", "0"):
        yield
        return
    depth = getattr(_running, "depth", 0)
    _running.depth = depth + 1
    began = perf_counter()
    try:
        yield
    finally:
        _running.depth = depth
        took = perf_counter() - began
        print(f"clock: {'  ' * depth}{phase.name}: had {seconds:.3f} s, took {took:.3f} s", file=sys.stderr)
