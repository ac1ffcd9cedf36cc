"""The ladder: from the ideal time of the work to the makespan, in steps that say what each part is lost to."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

STEPS = ("imbalance", "filling_and_draining", "latency", "memory", "order", "communication")
"""The steps of a ladder, from the bottom up."""


@dataclass(frozen=True)
class Ladder:
    """Where a schedule's time goes, exactly, in the user's unit of time.

    Every step is the difference of two true lower bounds, the last one of the makespan and the highest bound; none is
    negative, and ``ideal − saved`` with all steps is the makespan.

    Attributes
    ----------
    ideal : Fraction
        U: all forwards and backwards, un-overlapped, spread evenly over the devices.
    saved : Fraction
        What overlapped blocks, and halves that are shorter than the whole, can take off U at most.
    imbalance : Fraction
        The largest least load of a device, less ``ideal − saved``.
    filling_and_draining : Fraction
        The bound without latency and without memory limit, less that load.
    latency : Fraction
        What the bound rises by latency.
    memory : Fraction
        What it rises further by the memory limit.
    order : Fraction
        The makespan without waiting communication less the bound: the most that another order can still gain.
    limited : bool
        Whether the memory limit counts; a schedule that exceeds it is measured against the bound without it.
    communication : Fraction
        What the makespan rises because transfers wait: for each other, for receives, or computing for them.
    """

    ideal: Fraction
    saved: Fraction
    imbalance: Fraction
    filling_and_draining: Fraction
    latency: Fraction
    memory: Fraction
    order: Fraction
    limited: bool
    communication: Fraction = Fraction(0)

    @property
    def bound(self) -> Fraction:
        """The makespan that no other order on the same placement can beat."""
        return self.makespan - self.order - self.communication

    @property
    def makespan(self) -> Fraction:
        """The top of the ladder."""
        return self.ideal - self.saved + sum((getattr(self, step) for step in STEPS), Fraction(0))
