"""The table of figures, for terminals of 80 columns."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from reports.metrics import Figures
from reports.numbers import number, percent, signed_percent, with_unit
from reports.units import NO_UNITS, Units
from solver.states import Objective, Status


@dataclass(frozen=True)
class Row:
    """One schedule of the table.

    Attributes
    ----------
    name : str
        Its name.
    sizes : (int, int, int)
        Devices, stages, microbatches.
    figures : Figures
        Its figures.
    exact_limits : sequence of Fraction or None
        The memory limit of each device.
    status : str
        ``replayed``, or the status of a search.
    objective : str
        The objective: ``makespan`` or ``span``.
    bound : float or None
        A lower bound of the objective.
    units : Units
        The units of time and of memory.
    communication : float or None
        The fraction by which waiting transfers and work beside computing lengthen the makespan; None without both.
    placed_by_time : bool
        Whether its transfers are placed by time only because no framework has a program for it.
    runs_in : mapping of str to str, or None
        The letter and the name of each framework that runs it; None where that has no meaning, as for a measurement.
    lacks_second_copy : bool
        Whether it keeps two copies of the weights, and its memory counts none.
    source : str
        Where the costs come from; empty if that is not known.
    resident : int or None
        How many stages of a device have their parameters at once; None where nothing is sharded, or a file says it.
    """

    name: str
    sizes: tuple[int, int, int]
    figures: Figures
    exact_limits: Sequence[Fraction | None]
    status: Status = "replayed"
    objective: Objective = "makespan"
    bound: float | None = None
    units: Units = NO_UNITS
    communication: float | None = None
    placed_by_time: bool = False
    runs_in: Mapping[str, str] | None = None
    lacks_second_copy: bool = False
    source: str = ""
    resident: int | None = None

    @property
    def value(self) -> float:
        """The value of the objective."""
        return self.figures.span if self.objective == "span" else self.figures.makespan

    @property
    def limits(self) -> list[float | None]:
        """The memory limit of each device, to be shown."""
        return [None if limit is None else float(limit) for limit in self.exact_limits]

    @property
    def over(self) -> list[int]:
        """The devices that hold more than their limit."""
        return list(self.figures.excesses(self.exact_limits))

    @property
    def may_win(self) -> bool:
        """Whether it can be the best of several: it fits, and no second copy is missing from its memory."""
        return not self.over and not self.lacks_second_copy

    @property
    def worst(self) -> int:
        """The device that exceeds its limit most."""
        excesses = self.figures.excesses(self.exact_limits)
        return max(excesses, key=excesses.__getitem__)

    def excess(self, digits: Callable[[float], str], between: str) -> str:
        """Write what the worst device holds and its limit; how much more that is, where both read the same.

        Parameters
        ----------
        digits : callable
            How numbers are written, without their unit.
        between : str
            The words between the two.
        """
        held, limit = self.figures.peaks[self.worst], self.exact_limits[self.worst] or Fraction(0)
        holds, allowed, more = (
            with_unit(digits(float(amount)), self.units.memory) for amount in (held, limit, held - limit)
        )
        if holds == allowed:
            return f"{more} more than its limit of {allowed}"
        return f"{holds}{between}{allowed}"


TERMINAL_WIDTH = 80
"""The width of a table for a reader at a terminal."""

_SHORTEST_NAME = 12
_GAP = 2
"""Spaces between columns; one, where not even the shortest names would fit."""

_LONGEST_TITLE = 10
_BOUNDED = ("bubble", "memory", "bound", "gap")


def table(rows: Sequence[Row], width: int | None = TERMINAL_WIDTH) -> str:
    """Write the figures of schedules as a table, with the best marked ``*`` and those over the memory limit ``!``.

    If bounds are known, they replace the sizes.

    Parameters
    ----------
    rows : sequence of Row
        The schedules; at least one.
    width : int or None
        The number of columns; a name that does not fit gets a line of its own. None for as many as needed.
    """
    best = best_rows(rows)
    if any(row.bound is not None for row in rows):
        titles: tuple[str, ...] = (rows[0].objective, *_BOUNDED, "status")
        figures = [_bounded_cells(row) for row in rows]
    else:
        titles = ("dev", "stages", "mbatch", "makespan", "bubble", "over ideal", "memory")
        figures = [_cells(row) for row in rows]
    if any(row.communication is not None for row in rows):
        titles = (*titles, WAITING)
        figures = [(*cells, _waiting(row)) for row, cells in zip(rows, figures, strict=True)]
    if differ_in_resident(rows):
        titles = (*titles, RESIDENT)
        figures = [(*cells, resident_cell(row)) for row, cells in zip(rows, figures, strict=True)]
    named = [(_mark(row, row in best), row.name, *cells) for row, cells in zip(rows, figures, strict=True)]
    header = ("", "strategy", *titles)
    cells = [header, *rows[0].units.below(header), *named]
    lines = aligned(cells, width)
    return "\n".join([*lines, *_folded(_footnotes(rows, bool(best) and len(rows) > 1), width)])


RUNS_IN = "runs in"
"""The title of the column for the frameworks that run a schedule."""


class TellsFrameworks(Protocol):
    """Something that may say which frameworks run it."""

    @property
    def runs_in(self) -> Mapping[str, str] | None:
        """The letter and the name of each."""


def tells_frameworks(rows: Sequence[TellsFrameworks]) -> bool:
    """Return whether any row says which frameworks run it."""
    return any(row.runs_in is not None for row in rows)


def letters(frameworks: Mapping[str, str] | None) -> str:
    """Write the letters of frameworks in a cell."""
    return "".join(frameworks or ()) or "–"


def legend(frameworks: Iterable[Mapping[str, str] | None]) -> list[str]:
    """Explain the letters of the frameworks, if there are any."""
    named = {letter: name for each in frameworks for letter, name in (each or {}).items()}
    return [f"{RUNS_IN}: {', '.join(f'{letter} {name}' for letter, name in sorted(named.items()))}"] if named else []


WAITING = "comm"
"""The title of the column for the time that waiting transfers and work beside computing add to a schedule."""

RESIDENT = "resident"
"""The title of the column for the number of stages that have their parameters at once."""


class KeepsGathered(Protocol):
    """Something that may say how many stages of a device have their parameters at once."""

    @property
    def resident(self) -> int | None:
        """The number."""


def differ_in_resident(rows: Sequence[KeepsGathered]) -> bool:
    """Return whether schedules keep different numbers of stages gathered, as each chooses with ``resident: auto``."""
    return len({row.resident for row in rows} - {None}) > 1


def resident_cell(row: KeepsGathered) -> str:
    """Write how many stages a schedule keeps gathered."""
    return "" if row.resident is None else str(row.resident)


BY_TIME_MARK = "~"
"""The mark of a schedule whose transfers are placed by time for want of a framework's program."""


def _waiting(row: Row) -> str:
    if row.communication is None:
        return ""
    return (BY_TIME_MARK if row.placed_by_time else "") + signed_percent(row.communication)


def ranking(
    rows: Sequence[Row], bound: float | None, baseline: Row | None = None, width: int | None = TERMINAL_WIDTH
) -> str:
    """Write ranked schedules as a table, each with its own bound and gap, and their common bound as the last line.

    Parameters
    ----------
    rows : sequence of Row
        The schedules, best first.
    bound : float or None
        A makespan that no schedule within the memory can beat.
    baseline : Row or None
        The schedule that the others are compared with, in a column of its own.
    width : int or None
        As for `table`.
    """
    titles, *cells = ranking_cells(rows, bound, baseline)
    lines = aligned([titles, *rows[0].units.below(titles), *cells], width)
    return "\n".join([*lines, *_folded(ranking_notes(rows, baseline), width)])


def _folded(notes: Sequence[str], width: int | None) -> Sequence[str]:
    if width is None:
        return notes
    return [line for note in notes for line in textwrap.wrap(note, width, subsequent_indent="  ")]


def ranking_cells(rows: Sequence[Row], bound: float | None, baseline: Row | None) -> list[tuple[str, ...]]:
    """Write the titles of a ranking, a row for each schedule, and one for the bound, each with mark, name and figures.

    Parameters
    ----------
    rows, bound, baseline
        As for `ranking`.
    """
    best = best_rows(rows)
    compared = [versus(baseline)] if baseline is not None else []
    waiting = [WAITING] if any(row.communication is not None for row in rows) else []
    runs_in = [RUNS_IN] if tells_frameworks(rows) else []
    resident = [RESIDENT] if differ_in_resident(rows) else []
    titles = ("", "strategy", "makespan", *compared, *_BOUNDED, *waiting, *resident, *runs_in)
    cells: list[tuple[str, ...]] = [titles]
    for row in rows:
        value, *figures = _bounded_cells(row, of_own=True)[:-1]
        figures[-1] = "optimal" if row.status == "optimal" else figures[-1]
        figures += [_waiting(row)] * len(waiting) + [resident_cell(row)] * len(resident)
        figures += [letters(row.runs_in)] * len(runs_in)
        cells.append((_mark(row, row in best), row.name, value, *_compared(row.value, baseline), *figures))
    if bound is not None:
        blank = [""] * (len(titles) - 3 - len(compared))
        cells.append(("", "lower bound", number(bound), *_compared(bound, baseline), *blank))
    return cells


def ranking_notes(rows: Sequence[Row], baseline: Row | None) -> list[str]:
    """Explain the marks of a ranking, and name the baseline if its name is too long for a title."""
    is_short = baseline is None or baseline.name in versus(baseline)
    notes = [] if is_short or baseline is None else [f"{versus(baseline)}: against {baseline.name}"]
    return [*notes, *_footnotes(rows, bool(best_rows(rows))), *legend(row.runs_in for row in rows)]


def versus(baseline: Row) -> str:
    """Write the title of the column that compares with a baseline."""
    title = f"vs {baseline.name}"
    return title if _width(title) <= _LONGEST_TITLE else "vs base"


def _compared(value: float, baseline: Row | None) -> list[str]:
    return [] if baseline is None else [signed_percent(value / baseline.value - 1)]


def best_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that may win with the least objective; none if there is only one row, or next to a measurement.

    Where all keep two copies of the weights, they are compared with each other.
    """
    fitting = [row for row in compared_rows(rows) if not row.over]
    if len(rows) < 2 or not fitting or any(row.status == "measured" for row in rows):
        return []
    least = min(row.value for row in fitting)
    return [row for row in fitting if row.value == least]


def compared_rows(rows: Sequence[Row]) -> Sequence[Row]:
    """Leave out rows whose memory lacks the second copy of the weights, unless there are no others."""
    return [row for row in rows if not row.lacks_second_copy] or rows


def _mark(row: Row, best: bool) -> str:
    return "!" if row.over else "*" if best else "?" if row.lacks_second_copy else " "


def _bounded_cells(row: Row, *, of_own: bool = False) -> tuple[str, ...]:
    """Write a row with bound and gap; a proof within the memory limit says nothing about a row over it."""
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


def aligned(cells: Sequence[Sequence[str]], width: int | None = TERMINAL_WIDTH) -> list[str]:
    """Align rows of a mark, a name and figures, as in this file's tables.

    Parameters
    ----------
    cells : sequence of sequence of str
        The cells of each row, titles first.
    width : int or None
        The number of columns; names get the columns that the figures leave. None for as many as needed.
    """
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    gap = _GAP
    if width is not None:
        left = width - widths[0] - 1 - sum(widths[2:])
        if left - _GAP * len(widths[2:]) < min(widths[1], _SHORTEST_NAME):
            gap = 1
        widths[1] = min(widths[1], max(_SHORTEST_NAME, left - gap * len(widths[2:])))
    return [_line(each, widths, gap).rstrip() for each in cells]


def _line(cells: Sequence[str], widths: Sequence[int], gap: int) -> str:
    """Align a row; a name that is too long for its column gets a line of its own."""
    mark, name, *numbers = cells
    first = mark.ljust(widths[0]) + " " + name
    if _width(name) > widths[1]:
        first += "\n" + " " * (widths[0] + 1 + widths[1])
    else:
        first += " " * (widths[1] - _width(name))
    return (" " * gap).join([first, *(number.rjust(width) for number, width in zip(numbers, widths[2:], strict=True))])


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _footnotes(rows: Sequence[Row], marked: bool) -> list[str]:
    limited = any(limit is not None for row in rows for limit in row.limits)
    notes = ["* the shortest" + (" that fits the memory limit" if limited else "")] if marked else []
    for row in rows:
        if row.over:
            others = f" (and {len(row.over) - 1} more)" if len(row.over) > 1 else ""
            excess = row.excess(number, ", its limit is ")
            notes.append(f"! {row.name} is over the memory limit: device {row.worst}{others} holds {excess}")
    if any(row.placed_by_time for row in rows):
        notes.append(f"{BY_TIME_MARK} transfers placed by time: this communication is no framework's")
    if any(row.lacks_second_copy and not row.over for row in rows):
        notes.append("? lacks the second copy of the weights: give memory.static to compare")
    if any(row.source == "estimated" for row in rows):
        notes.append("on estimated costs")
    return notes
