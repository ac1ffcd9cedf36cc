"""The table of all figures of all schedules."""

from __future__ import annotations

from dataclasses import dataclass

from reports.charts.records import label, makespan_text
from reports.content import Section
from reports.numbers import grouped, percent, signed_percent, titled
from reports.table import RUNS_IN, Row, tells_frameworks


@dataclass(frozen=True)
class Cell:
    """A cell of the table of numbers: its text, and the value that it is sorted by."""

    text: str
    value: float | str


def number_titles(section: Section) -> list[str]:
    """Return the header of the table of numbers."""
    makespan, bound, span = (titled(title, section.units.time) for title in ("makespan", "bound", "span"))
    memory = titled("peak memory", section.units.memory)
    compared = [] if section.baseline is None else [f"vs {section.baseline.name}"]
    return [
        "schedule", makespan, *compared, bound, "gap", "status", "bubble ratio", "over ideal", span, "span bubble",
        memory, "placement", "stages", *(["communication"] if _waits(section) else []),
        *([RUNS_IN] if tells_frameworks([each.summary for each in section.schedules]) else []),
    ]  # fmt: skip


def _waits(section: Section) -> bool:
    """Return whether transfers wait in any schedule."""
    return any(each.summary.communication is not None for each in section.schedules)


def numbers(section: Section) -> list[list[Cell]]:
    """Put all figures of each schedule into cells that can be sorted."""
    return [_cells(section, rank) for rank in range(len(section.schedules))]


def _cells(section: Section, rank: int) -> list[Cell]:
    presented = section.schedules[rank]
    row, figures = presented.summary, presented.summary.figures
    gap = None if row.bound is None else (row.value - row.bound) / row.value
    none = Cell("", "Infinity")
    return [
        Cell(label(presented), row.name),
        Cell(makespan_text(presented), figures.makespan),
        *_compared(figures.makespan, section.baseline),
        none if row.bound is None else _amount(row.bound),
        none if gap is None else _ratio(gap),
        Cell(row.status, row.status),
        _ratio(figures.bubble_ratio),
        _ratio(figures.bubble_over_ideal),
        _amount(figures.span),
        _ratio(figures.span_bubble_ratio),
        _peak(row),
        Cell(presented.placement, presented.placement),
        Cell(str(row.sizes[1]), row.sizes[1]),
        *([_waiting(row)] if _waits(section) else []),
        *([_frameworks(row)] if tells_frameworks([each.summary for each in section.schedules]) else []),
    ]


def _waiting(row: Row) -> Cell:
    share = row.communication
    if share is None:
        return Cell("", "Infinity")
    return Cell(signed_percent(share) + (", placed by time" if row.placed_by_time else ""), share)


def _peak(row: Row) -> Cell:
    """Write the peak memory, with ``?`` if it lacks the second copy of the weights."""
    peak = _amount(max(row.figures.peak_memory))
    return Cell(f"{peak.text} ?", peak.value) if row.lacks_second_copy else peak


def _frameworks(row: Row) -> Cell:
    names = ", ".join((row.runs_in or {}).values())
    return Cell(names or "–", names)


def _compared(makespan: float, baseline: Row | None) -> list[Cell]:
    if baseline is None:
        return []
    ratio = makespan / baseline.figures.makespan - 1
    return [Cell(signed_percent(ratio), ratio)]


def _amount(value: float) -> Cell:
    return Cell(grouped(value), value)


def _ratio(value: float) -> Cell:
    return Cell(percent(value), value)
