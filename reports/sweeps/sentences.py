"""Explains a sweep in a sentence or two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from reports.numbers import grouped, percent
from reports.sweeps.content import SweepShown
from solver.counted import counted

MOST_NAMED = 3


def verdict(sweep: SweepShown) -> str:
    """Say who wins where, and where that changes."""
    if not sweep.winners:
        return "At no point of the grid does any schedule run and fit the memory limit."
    counts = Counter(str(row["strategy"]) for row in sweep.winners.values())
    points = len(sweep.points)
    if len(counts) == 1:
        winner = next(iter(counts))
        where = "everywhere" if counts[winner] == points else f"at all {counts[winner]:,} points where anything fits"
        return f"{winner} wins {where}{_leads(sweep)}."
    if len(sweep.sides) == 1 and len(sweep.winners) == points and points == len(sweep.axes[sweep.sides[0]].values):
        return _along_one_axis(sweep)
    (first, most), *rest = counts.most_common(MOST_NAMED)
    named = [f"{first} wins at {most:,} of {points:,} points", *(f"{name} at {count:,}" for name, count in rest)]
    others = len(counts) - len(named)
    more = f", {counted(others, 'other')} elsewhere" if others > 0 else ""
    changes = "; ".join(_changes(sweep))
    return f"{', '.join(named)}{more}{_leads(sweep)}. {changes[:1].upper()}{changes[1:]}."


def _leads(sweep: SweepShown) -> str:
    leads = [lead for place in sweep.winners if (lead := sweep.lead(place)) is not None]
    if not leads:
        return ""
    least, most = percent(min(leads)), percent(max(leads))
    return f", by {least}" if least == most else f", by {least} to {most}"


def _along_one_axis(sweep: SweepShown) -> str:
    axis = sweep.axes[sweep.sides[0]]
    runs: list[tuple[str, Any, Any]] = []
    for value in axis.values:
        winner = next(row["strategy"] for row in sweep.winners.values() if row[axis.name] == value)
        if runs and runs[-1][0] == winner:
            runs[-1] = (winner, runs[-1][1], value)
        else:
            runs.append((str(winner), value, value))
    parts = [f"{name} at {_span(first, last)}" for name, first, last in runs]
    return f"Along {axis.name}, the winner changes: {', '.join(parts)}."


def _span(first: Any, last: Any) -> str:
    return shown(first) if first == last else f"{shown(first)} to {shown(last)}"


def _changes(sweep: SweepShown) -> Iterator[str]:
    """Say between which values of each drawn axis the winner changes, and how often."""
    for side in sweep.sides:
        axis = sweep.axes[side]
        steps = list(pairwise(map(str, axis.values)))
        written = {str(value): shown(value) for value in axis.values}
        changed: Counter[tuple[str, str]] = Counter()
        for place, row in sweep.winners.items():
            for step in steps:
                if place[side] != step[0]:
                    continue
                other = sweep.winners.get((*place[:side], step[1], *place[side + 1 :]))
                if other is not None and other["strategy"] != row["strategy"]:
                    changed[step] += 1
        if not changed:
            yield f"along {axis.name} it never changes"
            continue
        step, times = changed.most_common(1)[0]
        low, high = (written[text] for text in step)
        often = (
            f", most often between {low} and {high} ({counted(times, 'time')})"
            if len(changed) > 1
            else f" between {low} and {high}"
        )
        yield f"along {axis.name} the winner changes{often}"


def shown(value: Any) -> str:
    """Write a value of an axis."""
    return grouped(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
