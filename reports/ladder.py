"""The ladder: from the ideal time of the work to the makespan, in steps that say what each part is lost to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

STEPS = ("cut", "imbalance", "filling_and_draining", "latency", "memory", "order", "communication")
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
    cut : Fraction
        For a model of layers: what the same order is known to save on another cut. It is taken off the steps behind it,
        the imbalance first, and never off the order.
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
    cut: Fraction = Fraction(0)
    communication: Fraction = Fraction(0)

    def with_cut(self, saved: Fraction) -> Ladder:
        """Set apart what another cut would save.

        Parameters
        ----------
        saved : Fraction
            By how much the same order is shorter on the best cut that is known.
        """
        left = saved
        steps = {}
        for step in ("imbalance", "filling_and_draining", "latency", "memory"):
            part = min(left, getattr(self, step))
            steps[step] = getattr(self, step) - part
            left -= part
        return replace(self, cut=saved - left, **steps)

    @property
    def bound(self) -> Fraction:
        """The makespan that no other order on the same placement can beat."""
        return self.makespan - self.order - self.communication

    @property
    def makespan(self) -> Fraction:
        """The top of the ladder."""
        return self.ideal - self.saved + sum((getattr(self, step) for step in STEPS), Fraction(0))
