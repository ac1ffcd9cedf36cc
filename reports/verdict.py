"""The verdict on schedules in one sentence: which is best, how it compares, and how far it is from the bound."""

from __future__ import annotations

from collections.abc import Sequence

from reports.numbers import grouped, percent, signed_percent
from reports.table import Row, compared_rows


def verdict(
    rows: Sequence[Row],
    bound: float | None,
    baseline: Row | None,
    *,
    is_infeasible: bool = False,
    framework: str = "",
    has_cuts: bool = False,
) -> str:
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
    framework : str
        The title of the framework that runs all of them, if only such schedules were looked for.
    has_cuts : bool
        Whether stages are cuts of layers: other cuts may be shorter than the bound.
    """
    if not rows:
        return "No schedule fits the memory limit." if is_infeasible else "No schedule fits this pipeline."
    fair = compared_rows(rows)
    others = [row for row in rows if row.lacks_second_copy and row not in fair]
    runner = f" that {framework} runs" if framework else ""
    whose = f" of those{runner} with one copy of the weights" if others else runner
    first = min(fair, key=lambda row: row.figures.makespan)
    best = next((row for row in fair if not row.over), None)
    leads = f"{first.name} is the fastest{whose or ' of all'}, but {excess(first)}" if first.over else ""
    if best is None:
        nothing = "with one copy of the weights fits" if others else "fits"
        return f"No schedule {nothing} the memory limit. {leads}.{_about_copies(fair, others, None)}"
    distances = _against(best, baseline) + _above_bound(best, bound, others, has_cuts=has_cuts)
    if leads:
        text = f"{leads}; {best.name} is the fastest that fits"
    elif len(rows) > 1 and any(limit is not None for row in rows for limit in row.limits):
        text = f"{best.name} is the fastest{whose or ' of all'} and fits the memory limit"
    else:
        text = f"{best.name} is the fastest{whose}"
    return f"{text}{distances}.{_about_copies(fair, others, best)}"


def _about_copies(fair: Sequence[Row], others: Sequence[Row], best: Row | None) -> str:
    """Say what a second copy of the weights, which the memory does not count, would bring."""
    if any(row.lacks_second_copy for row in fair):
        return " It keeps two copies of the weights, of which its memory counts none: give memory.static."
    shorter = [row for row in others if not row.over and (best is None or row.figures.makespan < best.figures.makespan)]
    if not shorter:
        return ""
    least = min(shorter, key=lambda row: row.figures.makespan)
    what = "fit" if best is None else f"be {compared(least, best).removesuffix(f' than {best.name}')}"
    return f" {least.name} would {what}, with two copies of the weights: give memory.static to compare."


def by_framework(rows: Sequence[Row]) -> str:
    """Say in one sentence which schedule is the fastest that each framework runs; empty if no two rows are compared.

    Parameters
    ----------
    rows : sequence of Row
        The schedules.
    """
    fair = compared_rows(rows)
    fitting = sorted((row for row in fair if not row.over), key=lambda row: row.figures.makespan)
    named = {name for row in rows for name in (row.runs_in or {}).values()}
    if len(rows) < 2 or not fitting or not named:
        return ""
    fastest: dict[str, list[str]] = {}
    for name in sorted(named):
        best = next((row for row in fitting if name in (row.runs_in or {}).values()), None)
        fastest.setdefault("" if best is None else best.name, []).append(name)
    parts = [
        f"{_joined(fastest[row.name])} {row.name}{_longer(row, fitting[0])}" for row in fitting if row.name in fastest
    ]
    none = [f"{_joined(fastest[''])} nothing that fits"] if "" in fastest and any(row.over for row in rows) else []
    return f"Fastest of these by framework: {'; '.join([*parts, *none])}." if parts else ""


def worth_of_blocks(overlapped: Row, other: Row, hidden: float) -> str:
    """Say whether the best schedule with overlapped blocks is shorter than the best without, and why.

    Parameters
    ----------
    overlapped, other : Row
        Both schedules.
    hidden : float
        The share of the communication that the blocks hide.
    """
    hide = f"hide {percent(hidden)} of the communication within layers"
    if overlapped.figures.makespan < other.figures.makespan:
        shorter = f"{compared(overlapped, other)}, the best without overlapped blocks"
        return f"{overlapped.name} is {shorter}: its blocks {hide}."
    text = f"{overlapped.name}, the best with them, is {compared(overlapped, other)}, although its blocks {hide}"
    return f"Overlapped blocks do not pay here: {text}."


def _joined(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _longer(row: Row, best: Row) -> str:
    """Say how much longer a step is than the best; empty if it is not."""
    text = compared(row, best)
    return "" if row.figures.makespan == best.figures.makespan else f" ({text.removesuffix(f' than {best.name}')})"


def excess(row: Row) -> str:
    """Say on which device a schedule exceeds its memory limit most."""
    return f"needs {row.excess(grouped, ' of ')} on device {row.worst}"


def _against(row: Row, baseline: Row | None) -> str:
    return "" if baseline is None or baseline.name == row.name else f", {compared(row, baseline)}"


def compared(row: Row, baseline: Row) -> str:
    """Say how much shorter or longer a step is than the baseline's."""
    ratio = row.figures.makespan / baseline.figures.makespan - 1
    if not ratio:
        return f"as long as {baseline.name}"
    part = signed_percent(abs(ratio)).removeprefix("+")
    return f"{'less than 0.1%' if part == '0.0%' else part} {'shorter' if ratio < 0 else 'longer'} than {baseline.name}"


def _above_bound(row: Row, bound: float | None, others: Sequence[Row], *, has_cuts: bool) -> str:
    """Say how far a row is from the bound, which holds for the placements and cuts that are shown.

    It says nothing of others with two copies of the weights.
    """
    if bound is None:
        return ""
    makespan, whose = row.figures.makespan, " with one copy of the weights" if others else ""
    if makespan <= bound:
        where = "with these placements and cuts" if has_cuts else "on these placements"
        return f", and it is proven that none{whose} is shorter {where}"
    of_what = " for these cuts" if has_cuts else " of these" if others else ""
    return f", {percent((makespan - bound) / bound)} above the proven bound{of_what}"
