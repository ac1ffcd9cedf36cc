"""The atlas as a table, and where an order from a file stands in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppopt.best_known.cells import DEVICES, MICROBATCHES, STAGES, TIMES, Cell, costs_of, read_cells
from ppopt.evaluation.evaluate import evaluate
from ppopt.process.internal_error import InternalError
from ppopt.schedules.order_files import read_given_order
from ppopt.schedules.schedule import Schedule
from reports.numbers import number, percent
from solver.counted import counted
from solver.errors import InputError
from strategies.order_files.given_order import GivenOrder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class OwnOrder:
    """An order beside a cell of its sizes and placement: the one with the least memory into which it fits.

    Attributes
    ----------
    cell : Cell
        The cell.
    makespan : float
        The order's makespan at the cell's times.
    peak_memory : float
        The most activations that one of its devices holds.
    """

    cell: Cell
    makespan: float
    peak_memory: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values: its own, then those of the cell."""
        return {"mine": self.makespan, "mine_peak_memory": self.peak_memory, **self.cell.to_dict()}

    def sentence(self) -> str:
        """Say where the order stands."""
        cell = self.cell
        within = "any memory" if cell.key.memory is None else f"at most {cell.key.memory}"
        parts = [
            f"yours: {number(self.makespan)} at {counted_activations(self.peak_memory)}{self._verdict()}",
            f"best known with {within}: {_shown(cell.found)}, proven bound {_shown(cell.bound)}",
            f"published: {_published(cell)}",
        ]
        return f"{cell.key.times} times: {'; '.join(parts)}"

    def _verdict(self) -> str:
        found = self.cell.found
        if self.makespan == self.cell.bound:
            return ", which is optimal"
        if found is None or self.makespan < found:
            return ", shorter than any known"
        return "" if self.makespan == found else f", {percent(self.makespan / found - 1)} longer than the best known"


def counted_activations(amount: float) -> str:
    """Write an amount of memory."""
    return f"{number(amount)} activation{'' if amount == 1 else 's'}"


def _shown(value: float | None) -> str:
    return "unknown" if value is None else number(value)


def _published(cell: Cell) -> str:
    if cell.published_makespan is None:
        return "none fits"
    return f"{', '.join(cell.published)} {number(cell.published_makespan)}"


def place_order(path: str | Path) -> tuple[GivenOrder, list[OwnOrder]]:
    """Replay an order from a file at the times of the atlas, and put it beside the matching cells.

    Parameters
    ----------
    path : str or Path
        A schedule file, as `ppopt.evaluate` reads it.

    Returns
    -------
    tuple of (GivenOrder, list of OwnOrder)
        The order, and where it stands at each of the times.

    Raises
    ------
    InputError
        If the file has faults, or its sizes or placement are not those of a cell.
    InternalError
        If the order is shorter than a bound of the atlas.
    """
    given = read_given_order(path)
    _refuse_other_grids(given)
    return given, [_beside(given, times) for times in TIMES]


def _beside(given: GivenOrder, times: str) -> OwnOrder:
    sizes = given.sizes
    costs = costs_of(times, sizes["devices"], sizes["microbatches"]).recut(sizes["stages"])
    made = evaluate(costs, given, engine="graph")
    cell = _cell_of(given, times, made)
    if cell.bound is not None and made.makespan < cell.bound:
        raise InternalError(f"{given.name}: takes {number(made.makespan)}, less than the atlas's bound, {cell.bound:g}")
    return OwnOrder(cell, made.makespan, max(made.peak_memory))


def _cell_of(given: GivenOrder, times: str, made: Schedule) -> Cell:
    place = (times, given.placement.name, given.sizes["devices"], given.sizes["microbatches"])
    fitting = [cell for key, cell in read_cells().items() if key[:4] == place and key.allows(max(made.peak_memory))]
    return min(fitting, key=lambda cell: float("inf") if cell.key.memory is None else cell.key.memory)


def _refuse_other_grids(given: GivenOrder) -> None:
    """Refuse an order of which the atlas has no cell.

    Raises
    ------
    InputError
        With the nearest cells, and the command that searches the order's own sizes.
    """
    sizes, name = given.sizes, given.placement.name
    devices, microbatches, per_device = sizes["devices"], sizes["microbatches"], sizes["stages"] // sizes["devices"]
    if STAGES.get(name) != per_device or sizes["stages"] % devices:
        layout = f"{given.name}: has the placement {name} with {counted(sizes['stages'], 'stage')}"
        known = ", ".join(f"{each} ({stages} a device)" for each, stages in STAGES.items())
        raise InputError(f"{layout} on {counted(devices, 'device')}; the atlas has {known}{_search(given)}")
    if devices in DEVICES and microbatches in _microbatches(devices):
        return
    nearest = " or ".join(f"{p} devices with {counted(m, 'microbatch')}" for p, m in _nearest(devices, microbatches))
    raise InputError(
        f"{given.name}: has {counted(devices, 'device')} and {counted(microbatches, 'microbatch')}, of which the atlas "
        f"has no cell; nearest: {nearest}{_search(given)}"
    )


def _search(given: GivenOrder) -> str:
    if given.placement.name == "custom":
        return ""
    sizes, name = given.sizes, given.placement.name
    stages = sizes["devices" if STAGES.get(name, 0) * sizes["devices"] == sizes["stages"] else "stages"]
    options = f"--devices {sizes['devices']} --stages {stages} --microbatches {sizes['microbatches']}"
    return f". `ppopt optimize {options} --placement {name}` finds the best of yours, with a bound"


def _microbatches(devices: int) -> list[int]:
    return [factor * devices for factor in MICROBATCHES.values()]


def _nearest(devices: int, microbatches: int) -> Iterator[tuple[int, int]]:
    """List the sizes next to these in the grid, with about as many microbatches for each device."""
    for p in _around(DEVICES, devices):
        yield from ((p, m) for m in _around(_microbatches(p), microbatches * p / devices))


def _around(values: Sequence[int], value: float) -> list[int]:
    """Return a value if it is there, else its neighbours."""
    below, above = [each for each in values if each <= value], [each for each in values if each >= value]
    return sorted({*below[-1:], *above[:1]})


def atlas(mine: str | Path | None = None) -> pd.DataFrame:
    """Return the best known makespans on a grid of pipelines, with proven bounds, or where an order of yours stands.

    Parameters
    ----------
    mine : str or Path, optional
        A schedule file, such as `ppopt.export` writes.

    Returns
    -------
    pandas.DataFrame
        One row for each cell: ``times``, ``placement``, ``devices``, ``microbatches``, ``memory`` (the limit in
        activations; missing without one), ``found``, ``bound``, ``status``, ``peak_memory``, ``published`` (the
        shortest published schedules that fit) with ``published_makespan``, ``time_limit`` and ``seconds``. With
        ``mine``, one row for each of the times: the order's own makespan and peak, ``mine`` and ``mine_peak_memory``,
        and the cell with the least memory into which it fits.

    Raises
    ------
    InputError
        If the file has faults, or its sizes or placement are not those of a cell.
    """
    import pandas as pd

    rows = read_cells().values() if mine is None else place_order(mine)[1]
    return pd.DataFrame([row.to_dict() for row in rows])
