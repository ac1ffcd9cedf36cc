"""What a process that searches is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from ppopt.optimization.options import SearchOptions
from ppopt.schedules.schedule import Schedule
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement


@dataclass(frozen=True, eq=False)
class Job:
    """One search.

    Attributes
    ----------
    placement : str
        The placement that is searched.
    limit : Fraction or None
        The memory that each device may hold; None for any.
    pipeline : Pipeline
        The model with that limit.
    options : SearchOptions
        How it is searched, and for how long.
    layout : Placement or None
        Where the stages lie, if the cut of the layers is searched, too; else None.
    known : Fraction
        What is proven already for all cuts.
    least_seconds : float
        How long one cut is searched at least.
    """

    placement: str
    limit: Fraction | None
    pipeline: Pipeline
    options: SearchOptions
    layout: Placement | None = None
    known: Fraction = Fraction(0)
    least_seconds: float = 1.0


@dataclass(frozen=True)
class Failure:
    """What went wrong in a search that should not go wrong.

    Attributes
    ----------
    message : str
        The error in words.
    """

    message: str


@dataclass(frozen=True, eq=False)
class OverCuts:
    """What a search over cuts has found.

    Attributes
    ----------
    best : Schedule or None
        The shortest schedule, on its cut.
    proven : Fraction
        No cut and no order takes less.
    """

    best: Schedule | None
    proven: Fraction


Answer: TypeAlias = Schedule | OverCuts | Failure | None
"""The best schedule that was found, with its bound; what went wrong; None where it was ended too early."""
