"""The table of plans: the makespan, bound and layers of the best cut of each order."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from reports.numbers import number, percent
from reports.table import (
    RESIDENT,
    RUNS_IN,
    aligned,
    differ_in_resident,
    legend,
    letters,
    resident_cell,
    tells_frameworks,
)
from reports.units import Units


@dataclass(frozen=True)
class PlanRow:
    """One plan of the table.

    Attributes
    ----------
    name : str
        The order.
    stages_per_device : int
        The number of stages on each device.
    makespan : float
        Its makespan.
    bound : float or None
        A makespan that no cut can beat; None if nothing is proven.
    status : str
        ``optimal`` or ``feasible``.
    peak_memory : float
        The most memory that a device holds.
    layers : sequence of int
        The layers of each stage.
    recomputed : sequence of int
        The number of recomputed layers of each stage.
    runs_in : mapping of str to str, or None
        The letter and the name of each framework that runs the order, if known.
    resident : int or None
        How many stages of a device have their parameters at once; None where nothing is sharded, or a file says it.
    """

    name: str
    stages_per_device: int
    makespan: float
    bound: float | None
    status: str
    peak_memory: float
    layers: Sequence[int]
    recomputed: Sequence[int]
    runs_in: Mapping[str, str] | None = None
    resident: int | None = None


def plan_table(rows: Sequence[PlanRow], units: Units, width: int | None) -> str:
    """Write plans as a table, best first, with the first marked ``*``.

    Parameters
    ----------
    rows : sequence of PlanRow
        The plans; at least one.
    units : Units
        The units of time and of memory.
    width : int or None
        The number of columns; the layers of each plan then get a line of their own. None for as many as needed.
    """
    tells = differ_in_resident(rows)
    titles = (
        "",
        "strategy",
        "v",
        "makespan",
        "bound",
        "gap",
        "status",
        "memory",
        *([RESIDENT] if tells else []),
        *([RUNS_IN] if tells_frameworks(rows) else []),
    )
    below = units.below(titles)
    named = [("*" if place == 0 and len(rows) > 1 else "", *_cells(row, tells=tells)) for place, row in enumerate(rows)]
    lines = aligned([titles, *below, *named], width)
    cuts, notes = [_cut(row) for row in rows], legend(row.runs_in for row in rows)
    if width is None:
        wide = max(map(len, lines))
        beside = ["layers per stage", *[""] * len(below), *cuts]
        told = [f"{line.ljust(wide)}  {cut}".rstrip() for line, cut in zip(lines, beside, strict=True)]
        return "\n".join([*told, *notes])
    heads, bodies = lines[: 1 + len(below)], _bodies(lines[1 + len(below) :], len(rows))
    indent = "     "
    parts = [
        [*body, *textwrap.wrap(cut, width, initial_indent=indent, subsequent_indent=indent)]
        for body, cut in zip(bodies, cuts, strict=True)
    ]
    folded = [line for note in notes for line in textwrap.wrap(note, width, subsequent_indent="  ")]
    return "\n".join([*heads, *(line for part in parts for line in part), *folded])


def _bodies(lines: Sequence[str], rows: int) -> list[list[str]]:
    """Split aligned lines into the lines of each row; a name that is too long has made two lines of its row."""
    whole = [line.split("\n") for line in lines]
    return whole if len(whole) == rows else [[line] for line in lines]


def _cells(row: PlanRow, *, tells: bool) -> tuple[str, ...]:
    bound = row.bound or None
    return (
        row.name,
        str(row.stages_per_device),
        number(row.makespan),
        "" if bound is None else number(bound),
        "" if bound is None else percent((row.makespan - bound) / row.makespan),
        row.status,
        number(row.peak_memory),
        *([resident_cell(row)] if tells else []),
        *([] if row.runs_in is None else [letters(row.runs_in)]),
    )


def _cut(row: PlanRow) -> str:
    text = shortened(row.layers)
    return f"{text}; recomputed {shortened(row.recomputed)}" if any(row.recomputed) else text


def shortened(counts: Sequence[int]) -> str:
    """Write numbers in a row, grouping equal neighbours: ``11 10×4 9``."""
    rows = [(value, len(list(row))) for value, row in groupby(counts)]
    return " ".join(f"{value}×{times}" if times > 2 else " ".join([str(value)] * times) for value, times in rows)
