"""Sums the cells of the atlas up: where a published schedule is optimal, where none is, and how much is proven."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from ppopt.best_known.cells import Cell
from reports.numbers import percent


class Line(NamedTuple):
    """Cells with the same times, placement and memory.

    Attributes
    ----------
    times, placement, memory : str
        What they share.
    cells : int
        Their number.
    proven : int
        Of how many the best known is optimal.
    optimal : int
        In how many a published schedule is optimal.
    names : dict of str to int
        The published schedules that are optimal in some, with the number.
    beaten : int
        In how many the best known is shorter than every published schedule that fits, or none fits.
    longer : float or None
        By what fraction the best published one that fits is longer than the best known, at most.
    """

    times: str
    placement: str
    memory: str
    cells: int
    proven: int
    optimal: int
    names: dict[str, int]
    beaten: int
    longer: float | None

    @property
    def open(self) -> int:
        """In how many a published schedule is the best known, and nobody knows whether it is optimal."""
        return self.cells - self.optimal - self.beaten


def summed_up(cells: Iterable[Cell]) -> list[Line]:
    """Make a line for all cells with the same times, placement and memory limit, in the order of the cells."""
    together: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        together.setdefault((cell.key.times, cell.key.placement, cell.key.label), []).append(cell)
    return [_line(place, each) for place, each in together.items()]


def _line(place: tuple[str, str, str], cells: Sequence[Cell]) -> Line:
    optimal = [cell for cell in cells if cell.proven and cell.is_published]
    names = Counter(name for cell in optimal for name in cell.published)
    longer = [each.published_makespan / each.found - 1 for each in cells if each.found and each.published_makespan]
    return Line(
        *place,
        cells=len(cells),
        proven=sum(cell.proven for cell in cells),
        optimal=len(optimal),
        names=dict(names.most_common()),
        beaten=sum(not cell.is_published for cell in cells),
        longer=max(longer, default=None),
    )


def proven_part(cells: Sequence[Cell]) -> str:
    """Say how much of the atlas is proven."""
    proven = f"{sum(cell.proven for cell in cells)} of {len(cells)} cells are proven"
    gaps = [cell.gap for cell in cells if not cell.proven and cell.gap is not None]
    if not gaps:
        return proven
    below = f"{percent(median(gaps))} below the best known (median), at most {percent(max(gaps))}"
    return f"{proven}; in the others the bound is {below}"
