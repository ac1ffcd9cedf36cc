"""What a process that searches is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from ppopt.optimization.optimize import SearchOptions
from ppopt.result import Schedule
from strategies.pipeline import Pipeline


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
    compiles : bool
        Whether the inner loops are compiled first, where numba is there and they are not.
    """

    placement: str
    limit: Fraction | None
    pipeline: Pipeline
    options: SearchOptions
    compiles: bool = False


Answer: TypeAlias = Schedule | None
"""The best schedule that was found, with its bound; None where a search could not tell anything."""
