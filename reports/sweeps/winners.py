"""Finds the shortest schedule that fits at each point of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
Place: TypeAlias = tuple[str, ...]
"""The coordinates of a point on the axes, as text."""


def place_of(axes: Sequence[str], row: Row) -> Place:
    """Return the point of a row."""
    return tuple(str(row[axis]) for axis in axes)


def by_point(axes: Sequence[str], rows: Iterable[Row]) -> dict[Place, list[Row]]:
    """Group the rows by point."""
    points: dict[Place, list[Row]] = {}
    for row in rows:
        points.setdefault(place_of(axes, row), []).append(row)
    return points


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Sort the rows of a point whose schedules fit the memory: the shortest first, then the one with less memory.

    Those whose memory lacks a second copy of the weights count only if there are no others.
    """
    fitting = [row for row in rows if row["makespan"] is not None and row["fits"]]
    fitting = [row for row in fitting if not row.get("lacks_second_copy")] or fitting
    return sorted(fitting, key=lambda row: (row["makespan"], row["peak_memory"]))


def winners(axes: Sequence[str], rows: Iterable[Row]) -> dict[Place, Row]:
    """Return the winner at each point at which any schedule fits."""
    best = {place: ranked(each) for place, each in by_point(axes, rows).items()}
    return {place: each[0] for place, each in best.items() if each}
