"""The content of a sweep's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reports.sweeps.winners import Place, Row, by_point, ranked, winners


@dataclass(frozen=True)
class AxisShown:
    """An axis of a grid.

    Attributes
    ----------
    name : str
        The name of what varies.
    values : sequence
        Its values, in their order: numbers, or texts.
    """

    name: str
    values: Sequence[Any]

    @property
    def is_numeric(self) -> bool:
        """Whether all its values are numbers in increasing order."""
        numbers = [each for each in self.values if isinstance(each, (int, float)) and not isinstance(each, bool)]
        return len(numbers) == len(self.values) and numbers == sorted(numbers)


@dataclass(frozen=True)
class SweepShown:
    """A sweep.

    Attributes
    ----------
    title : str
        Its title, such as its file.
    axes : sequence of AxisShown
        Its axes.
    strategies : sequence of str
        The strategies run at each point.
    rows : sequence of mapping
        For each job the values of the axes and its figures.
    jobs : int
        The number of jobs; a sweep that was stopped early has fewer rows.
    unit : str
        The unit of time; empty if it has no name.
    source : str
        Where the costs come from; empty if that is not known.
    """

    title: str
    axes: Sequence[AxisShown]
    strategies: Sequence[str]
    rows: Sequence[Row]
    jobs: int
    unit: str = ""
    source: str = ""

    @property
    def names(self) -> list[str]:
        """The names of the axes."""
        return [axis.name for axis in self.axes]

    @cached_property
    def sides(self) -> list[int]:
        """The indices of the one or two axes to draw: numeric ones first, then those with the most values."""
        varying = [place for place, axis in enumerate(self.axes) if len(axis.values) > 1] or [0]
        varying.sort(key=lambda place: (not self.axes[place].is_numeric, -len(self.axes[place].values)))
        return varying[:2]

    @cached_property
    def points(self) -> dict[Place, list[Row]]:
        """The rows of each point."""
        return by_point(self.names, self.rows)

    @cached_property
    def winners(self) -> dict[Place, Row]:
        """The winner at each point where any schedule fits."""
        return winners(self.names, self.rows)

    def lead(self, place: Place) -> float | None:
        """Return the fraction by which the second at a point is longer than the winner; None if there is no second."""
        first, *others = ranked(self.points[place])
        return others[0]["makespan"] / first["makespan"] - 1 if others else None

    def bound(self, place: Place) -> float | None:
        """Return the makespan that nothing at a point can beat, the least of the bounds; None if one is not known."""
        bounds = [row["bound"] for row in self.points[place] if row["makespan"] is not None]
        return min(bounds) if bounds and None not in bounds else None
