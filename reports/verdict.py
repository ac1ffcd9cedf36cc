"""The verdict on schedules in one sentence: which is best, how it compares, and how far it is from the bound."""

from __future__ import annotations

from collections.abc import Sequence

from reports.numbers import grouped, percent, signed_percent
from reports.table import Row


def verdict(rows: Sequence[Row], bound: float | None, baseline: Row | None, *, is_infeasible: bool = False) -> str:
    """Say which schedule wins, by how much, and what prevents a faster one.

    Parameters
    ----------
    rows : sequence of Row
        The schedules, best first; those over the memory limit come after those that fit.
    bound : float or None
        A makespan that no schedule within the memory can beat.
    baseline : Row or None
        The schedule that the others are compared with.
    is_infeasible : bool
        Whether nothing was found because nothing fits the memory.
    """
    if not rows:
        return "No schedule fits the memory limit." if is_infeasible else "No schedule fits this pipeline."
    first = min(rows, key=lambda row: row.figures.makespan)
    best = next((row for row in rows if not row.over), None)
    if best is None:
        return f"No schedule fits the memory limit. {first.name} is the fastest of all, but {excess(first)}."
    distances = _against(best, baseline) + _above_bound(best, bound)
    if first is best:
        return f"{best.name} is the fastest{_that_fits(rows)}{distances}."
    return f"{first.name} is the fastest of all, but {excess(first)}; {best.name} is the fastest that fits{distances}."


def excess(row: Row) -> str:
    """Say on which device a schedule exceeds its memory limit most."""
    return f"needs {row.excess(grouped, ' of ')} on device {row.worst}"


def _that_fits(rows: Sequence[Row]) -> str:
    limited = any(limit is not None for row in rows for limit in row.limits)
    return " of all and fits the memory limit" if limited and len(rows) > 1 else ""


def _against(row: Row, baseline: Row | None) -> str:
    return "" if baseline is None or baseline.name == row.name else f", {compared(row, baseline)}"


def compared(row: Row, baseline: Row) -> str:
    """Say how much shorter or longer a step is than the baseline's."""
    ratio = row.figures.makespan / baseline.figures.makespan - 1
    if not ratio:
        return f"as long as {baseline.name}"
    part = signed_percent(abs(ratio)).removeprefix("+")
    return f"{'less than 0.1%' if part == '0.0%' else part} {'shorter' if ratio < 0 else 'longer'} than {baseline.name}"


def _above_bound(row: Row, bound: float | None) -> str:
    if bound is None:
        return ""
    makespan = row.figures.makespan
    if makespan <= bound:
        return ", and it is proven that none is shorter"
    return f", {percent((makespan - bound) / bound)} above the proven bound"
