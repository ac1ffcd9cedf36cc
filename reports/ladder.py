"""The ladder: from the ideal time of the work to the makespan, in one step per cause of lost time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

STEPS = ("cut", "overhead", "imbalance", "filling_and_draining", "latency", "memory", "order", "communication", "after")
"""The steps of a ladder, from the bottom up."""


@dataclass(frozen=True)
class Ladder:
    """The parts of a schedule's makespan, exactly, in the user's unit of time.

    Every step is the difference between two true lower bounds; the last one is that between the makespan and the
    highest bound. None is negative, and ``ideal − saved`` plus all steps is the makespan.

    Attributes
    ----------
    ideal : Fraction
        U: all forwards and backwards, un-overlapped, spread evenly over the devices.
    saved : Fraction
        The most that overlapped blocks, and halves shorter than the full backward, can take off U.
    imbalance : Fraction
        The largest least load of a device, less ``ideal − saved`` and the overhead.
    filling_and_draining : Fraction
        The bound without latency and without memory limit, less that load.
    latency : Fraction
        The rise of the bound by latency.
    memory : Fraction
        Its further rise by the memory limit.
    order : Fraction
        The makespan without waiting communication and work beside computing, less the bound: the most that another
        order can still gain.
    limited : bool
        Whether the memory limit counts; a schedule that exceeds it is measured against the bound without the limit.
    cut : Fraction
        For a model of layers, the time that the same order is known to save on another cut. It is taken off the steps
        after it, the imbalance first, and never off the order.
    communication : Fraction
        The rise of the makespan by waiting: transfers wait for each other or for receives, or computing waits for them;
        and by what runs beside computing.
    overhead : Fraction
        The rise of the devices' average least load by the overhead of operations.
    after : Fraction
        What a step takes after its last operation.
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
    overhead: Fraction = Fraction(0)
    after: Fraction = Fraction(0)

    def with_cut(self, saved: Fraction) -> Ladder:
        """Move the time that another cut would save into a step of its own.

        Parameters
        ----------
        saved : Fraction
            The time by which the same order is shorter on the best known cut.
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
