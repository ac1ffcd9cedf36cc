"""The jobs and answers of a search process."""

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
        Options of the search, with its time limit.
    layout : Placement or None
        The placement of the stages, if the cut of the layers is searched as well; else None.
    known : Fraction
        The bound already proven for all cuts.
    least_seconds : float
        The least time for one cut.
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
    """An unexpected error in a search.

    Attributes
    ----------
    message : str
        The error in words.
    """

    message: str


@dataclass(frozen=True, eq=False)
class OverCuts:
    """The result of a search over cuts.

    Attributes
    ----------
    best : Schedule or None
        The shortest schedule, on its cut.
    proven : Fraction
        A lower bound for every cut and order.
    """

    best: Schedule | None
    proven: Fraction


Answer: TypeAlias = Schedule | OverCuts | Failure | None
"""The best schedule found, with its bound; an error; None if the search ended too early."""
