"""At each point of a grid the shortest schedule that fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
Place: TypeAlias = tuple[str, ...]
"""The values of a point on the axes, as text."""


def place_of(axes: Sequence[str], row: Row) -> Place:
    """Return where a row lies."""
    return tuple(str(row[axis]) for axis in axes)


def by_point(axes: Sequence[str], rows: Iterable[Row]) -> dict[Place, list[Row]]:
    """Gather the rows of each point."""
    points: dict[Place, list[Row]] = {}
    for row in rows:
        points.setdefault(place_of(axes, row), []).append(row)
    return points


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Sort the rows of a point that have a schedule within its memory: the shortest first, then that with less."""
    fitting = [row for row in rows if row["makespan"] is not None and row["fits"]]
    return sorted(fitting, key=lambda row: (row["makespan"], row["peak_memory"]))


def winners(axes: Sequence[str], rows: Iterable[Row]) -> dict[Place, Row]:
    """Choose the winner at each point where any schedule fits."""
    best = {place: ranked(each) for place, each in by_point(axes, rows).items()}
    return {place: each[0] for place, each in best.items() if each}
