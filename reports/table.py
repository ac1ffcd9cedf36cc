"""The table of figures, for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from reports.metrics import Figures
from reports.numbers import number, percent


@dataclass(frozen=True)
class Row:
    """One schedule of the table.

    Attributes
    ----------
    name : str
        What it is called.
    sizes : (int, int, int)
        Devices, stages, microbatches.
    figures : Figures
        Its figures.
    limits : sequence of float or None
        The memory limit of each device.
    status : str
        ``replayed``, or what a search says of its result.
    objective : str
        What is compared: ``makespan`` or ``span``.
    bound : float or None
        A lower bound of the objective.
    """

    name: str
    sizes: tuple[int, int, int]
    figures: Figures
    limits: Sequence[float | None]
    status: str = "replayed"
    objective: str = "makespan"
    bound: float | None = None

    @property
    def value(self) -> float:
        """The objective's value."""
        return self.figures.span if self.objective == "span" else self.figures.makespan

    @property
    def over(self) -> list[int]:
        """The devices that hold more than their limit."""
        pairs = zip(self.figures.peak_memory, self.limits, strict=True)
        return [device for device, (peak, limit) in enumerate(pairs) if limit is not None and peak > limit]


_HEADER = ("", "strategy", "dev", "stages", "mbatch", "makespan", "bubble", "over ideal", "memory")
_BOUNDED_HEADER = ("", "strategy", "makespan", "bubble", "memory", "bound", "gap", "status")
_LONGEST_NAME, _LONGEST_BOUNDED_NAME = 19, 23


def table(rows: Sequence[Row]) -> str:
    """Write the figures of schedules as a table, the best marked ``*`` and those over the memory limit ``!``.

    Where bounds are known, they take the place of the sizes.
    """
    best = best_rows(rows)
    bounded = any(row.bound is not None for row in rows)
    header: tuple[str, ...] = _BOUNDED_HEADER if bounded else _HEADER
    if bounded and rows[0].objective == "span":
        header = tuple("span" if title == "makespan" else title for title in header)
    write = _bounded_cells if bounded else _cells
    cells = [header, *((_mark(row, row in best), row.name, *write(row)) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    widths[1] = min(widths[1], _LONGEST_BOUNDED_NAME if bounded else _LONGEST_NAME)
    lines = [_line(each, widths) for each in cells]
    return "\n".join([*lines, *_footnotes(rows, bool(best) and len(rows) > 1)])


def ranking(rows: Sequence[Row], bound: float | None) -> str:
    """Write ranked schedules as a table, each with its own bound and gap, and the bound of them all as the last line.

    Parameters
    ----------
    rows : sequence of Row
        Best first.
    bound : float or None
        What no schedule can beat that fits the memory.
    """
    best = best_rows(rows)
    cells = [_BOUNDED_HEADER, *((_mark(row, row in best), row.name, *_bounded_cells(row, of_own=True)) for row in rows)]
    if bound is not None:
        cells.append(("", "lower bound", number(bound), *[""] * (len(_BOUNDED_HEADER) - 3)))
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    widths[1] = min(widths[1], _LONGEST_BOUNDED_NAME)
    lines = [_line(each, widths).rstrip() for each in cells]
    return "\n".join([*lines, *_footnotes(rows, bool(best))])


def best_rows(rows: Sequence[Row]) -> list[Row]:
    """Choose the rows with the least objective among those that fit; none of one, or beside a measurement."""
    fitting = [row for row in rows if not row.over]
    if len(rows) < 2 or not fitting or any(row.status == "measured" for row in rows):
        return []
    least = min(row.value for row in fitting)
    return [row for row in fitting if row.value == least]


def _mark(row: Row, best: bool) -> str:
    return "!" if row.over else "*" if best else " "


def _bounded_cells(row: Row, *, of_own: bool = False) -> tuple[str, ...]:
    """Write a row with bound and gap; what is proven within the memory limit says nothing of a row over it."""
    bound = row.bound
    return (
        number(row.value),
        percent(row.figures.bubble_ratio),
        number(max(row.figures.peak_memory)),
        "" if bound is None else number(bound),
        "" if bound is None or (row.over and not of_own) else percent((row.value - bound) / row.value),
        row.status,
    )


def _cells(row: Row) -> tuple[str, ...]:
    figures = row.figures
    return (
        *map(str, row.sizes),
        number(figures.makespan),
        percent(figures.bubble_ratio),
        percent(figures.bubble_over_ideal),
        number(max(figures.peak_memory)),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Align a row; a name too long for its column gets a line of its own."""
    mark, name, *numbers = cells
    first = mark.ljust(widths[0]) + " " + name
    if _width(name) > widths[1]:
        first += "\n" + " " * (widths[0] + 1 + widths[1])
    else:
        first += " " * (widths[1] - _width(name))
    return "  ".join([first, *(number.rjust(width) for number, width in zip(numbers, widths[2:], strict=True))])


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _footnotes(rows: Sequence[Row], marked: bool) -> list[str]:
    """Say what the marks mean, in lines of at most 80 characters."""
    limited = any(limit is not None for row in rows for limit in row.limits)
    notes = ["* the shortest" + (" that fits the memory limit" if limited else "")] if marked else []
    for row in rows:
        if row.over:
            worst = max(row.over, key=lambda device: row.figures.peak_memory[device] - (row.limits[device] or 0))
            peak, limit = row.figures.peak_memory[worst], row.limits[worst] or 0
            others = f" (and {len(row.over) - 1} more)" if len(row.over) > 1 else ""
            notes.append(
                f"! {row.name} is over the memory limit: device {worst}{others} holds {number(peak)}, "
                f"its limit is {number(limit)}"
            )
    return list(chain.from_iterable(textwrap.wrap(note, 80, subsequent_indent="  ") for note in notes))
