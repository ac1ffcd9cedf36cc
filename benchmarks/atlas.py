"""The atlas: the best known makespans on a grid of pipelines, with proven bounds.

``python -m benchmarks.atlas [seconds]...`` fills `ppopt/best_known/atlas.csv` and the table of its page of the docs.

Each number of seconds is one pass over the cells that are not proven, with that limit for each search. What the table
shows already counts: a run that was stopped continues, passes add up, and a better search betters the cells that are
open. Without the table it starts from nothing. Everything runs as `ppopt sweep` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import ppopt
from ppopt.best_known.cells import FILE, MEMORY, STAGES, TIMES, Cell, Key, as_csv, keys, read_cells
from ppopt.best_known.summary import Line, proven_part, summed_up
from ppopt.process.processes import take_termination_as_interrupt
from ppopt.process.whole_files import written_whole
from ppopt.sweeps.grid import read_grid
from ppopt.sweeps.sweeping import run_sweep
from reports.numbers import percent

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "ppopt" / "best_known" / FILE
PAGE = ROOT / "docs" / "explanation" / "atlas.md"
BEGIN, END = "<!-- python -m benchmarks.atlas writes the lines from here -->", "<!-- to here -->"

NEED_SLICES = {"seq1f1b"}
MIND_THE_LIMIT = {"zb-auto"}
"""Schedules whose order depends on the memory limit; all others are replayed once."""


class Found(NamedTuple):
    """A schedule: its makespan, the most activations that a device holds, and its name if it is published."""

    makespan: float
    peak: float
    name: str = ""


class Known:
    """Everything that sweeps showed.

    More memory makes no schedule longer. So a bound holds for every cell with no more memory than the one for which it
    was proven, and a schedule belongs to every cell into which its peak fits. Run k times in a row, it is a schedule of
    k times the microbatches with the same peak.
    """

    def __init__(self) -> None:
        self.found: dict[Key, list[Found]] = {}
        self.bounds: dict[Key, list[tuple[Key, float]]] = {}
        self.efforts: dict[Key, list[tuple[float, float]]] = {}

    def read(self, cells: Iterable[Cell]) -> None:
        """Add what cells show: a schedule found stays one, and a bound proven stays proven."""
        for cell in cells:
            if cell.found is not None and cell.peak_memory is not None:
                self.found.setdefault(_without_limit(cell.key), []).append(Found(cell.found, cell.peak_memory))
            if cell.bound is not None:
                self.bounds.setdefault(_without_limit(cell.key), []).append((cell.key, cell.bound))
            if cell.time_limit is not None:
                self.efforts.setdefault(cell.key, []).append((cell.time_limit, cell.seconds))

    def replayed(self, key: Key, row: dict[str, Any]) -> None:
        """Add a published schedule. Its bound holds for nothing else: others may split backwards where it does not."""
        if row["makespan"] is not None:
            found = Found(row["makespan"], row["peak_memory"], row["strategy"])
            self.found.setdefault(_without_limit(key), []).append(found)

    def searched(self, key: Key, row: dict[str, Any], limit: float) -> None:
        """Add the result of a search."""
        self.efforts.setdefault(key, []).append((limit, row["seconds"] or limit))
        if row["makespan"] is not None:
            self.found.setdefault(_without_limit(key), []).append(Found(row["makespan"], row["peak_memory"]))
            self.bounds.setdefault(_without_limit(key), []).append((key, row["bound"]))

    def cell(self, key: Key) -> Cell:
        """Return what all that says about a cell."""
        fitting = [each for each in self.found.get(_without_limit(key), ()) if key.allows(each.peak)]
        best = min([*fitting, *self._repeated(key)], default=None)
        bounds = [bound for other, bound in self.bounds.get(_without_limit(key), ()) if other.allows(key.memory)]
        published = [each for each in fitting if each.name]
        least = min((each.makespan for each in published), default=None)
        efforts = self.efforts.get(key, [])
        return Cell(
            key,
            found=None if best is None else best.makespan,
            peak_memory=None if best is None else best.peak,
            bound=max(bounds, default=None),
            published=tuple(sorted({each.name for each in published if each.makespan == least})),
            published_makespan=least,
            time_limit=max((limit for limit, _ in efforts), default=None),
            seconds=round(sum(seconds for _, seconds in efforts), 2),
        )

    def _repeated(self, key: Key) -> Iterator[Found]:
        """Yield schedules of fewer microbatches that fit, run in a row; they are nobody's published ones."""
        for factor in (factor for factor in range(2, key.microbatches) if key.microbatches % factor == 0):
            for each in self.found.get(_without_limit(key._replace(microbatches=key.microbatches // factor)), ()):
                if key.allows(each.peak):
                    yield Found(factor * each.makespan, each.peak)


def _without_limit(key: Key) -> Key:
    return key._replace(memory=None)


def point(key: Key) -> dict[str, Any]:
    """Return the keys of a configuration that make it a cell's."""
    costs = TIMES[key.times]
    return {
        "devices": key.devices,
        "stages": key.devices,
        "microbatches": key.microbatches,
        "memory.limit": key.memory,
        "p2p_latency": costs["p2p_latency"],
        **{f"times.{name}": value for name, value in costs["times"].items()},
    }


def swept(
    cells: Sequence[Key], run: Sequence[object], folder: Path, seconds: float = 0.0
) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Run schedules or a search on cells; yield each cell with each of its rows.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, once the finished rows are yielded.
    """
    if not cells or not run:
        return
    grid = read_grid({"base": {}, "axes": {"cell": [point(key) for key in cells]}, "run": run, "time_limit": seconds})
    outcome = run_sweep(grid, folder, workers=1)
    (axis,) = grid.axes
    key_of = {axis.shown(place): key for place, key in enumerate(cells)}
    for row in outcome.rows:
        yield key_of[row[axis.name]], row
    if outcome.interrupted:
        raise KeyboardInterrupt


def published_on(placement: str) -> list[str]:
    """Return the published schedules of a placement; a wave of two stages per device is a V."""
    names = {"v": ("v", "wave")}.get(placement, (placement,))
    return [
        each["name"] for each in ppopt.strategies() if each["placement"] in names and each["name"] not in NEED_SLICES
    ]


def replay_published(known: Known, cells: Sequence[Key], folder: Path) -> None:
    """Replay all published schedules."""
    for placement in STAGES:
        names, here = published_on(placement), [key for key in cells if key.placement == placement]
        for key, row in swept(list(dict.fromkeys(map(_without_limit, here))), names, folder):
            known.replayed(key, row)
        for key, row in swept([key for key in here if key.memory], [*MIND_THE_LIMIT.intersection(names)], folder):
            known.replayed(key, row)


def search(known: Known, cells: Sequence[Key], folder: Path, seconds: float) -> Iterator[None]:
    """Search the cells that are not proven, those with the most memory first: their bounds hold for the others.

    Yields
    ------
    None
        After each placement with each limit.
    """
    for label in reversed(MEMORY):
        for placement in STAGES:
            here = [key for key in cells if (key.label, key.placement) == (label, placement)]
            left = [key for key in here if not known.cell(key).proven]
            for key, row in swept(left, [{"optimize": placement}], folder, seconds):
                known.searched(key, row, seconds)
            yield


def filled(
    cells: Sequence[Key], folder: Path, limits: Sequence[float], before: Iterable[Cell] = ()
) -> Iterator[list[Cell]]:
    """Replay published schedules and search, and yield the cells from time to time, better each time.

    Ctrl-C ends it with what is known.
    """
    known = Known()
    known.read(before)
    try:
        replay_published(known, cells, folder)
        for seconds in limits:
            for _ in search(known, cells, folder, seconds):
                yield [known.cell(key) for key in cells]
    except KeyboardInterrupt:
        yield [known.cell(key) for key in cells]


def markdown(cells: Sequence[Cell]) -> str:
    """Write the table of the page."""
    head = "| times | placement | memory | proven | a published one is optimal | none is | the best one is longer by |"
    rows = "\n".join(map(_row, summed_up(cells)))
    return f"{proven_part(cells)}.\n\n{head}\n| --- | --- | --- | --: | --- | --: | --: |\n{rows}"


def _row(line: Line) -> str:
    names = ", ".join(f"`{name}` {number}" for name, number in line.names.items())
    optimal = f"{line.optimal}: {names}" if names else "0"
    longer = "none fits" if line.longer is None else f"≤ {percent(line.longer)}" if line.longer else "–"
    shares = f"{line.proven} of {line.cells} | {optimal} | {line.beaten} | {longer}"
    return f"| {line.times} | {line.placement} | {line.memory} | {shares} |"


def write(cells: Sequence[Cell]) -> None:
    with written_whole(TABLE) as file:
        file.write(as_csv([cell.to_dict() for cell in cells]))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    with written_whole(PAGE) as file:
        file.write(f"{before}{BEGIN}\n\n{markdown(cells)}\n\n{END}{rest.partition(END)[2]}")


def main() -> None:
    take_termination_as_interrupt()
    limits = [float(each) for each in sys.argv[1:]] or [4.0]
    table = read_cells().values() if TABLE.exists() else ()
    with TemporaryDirectory() as folder:
        for cells in filled(list(keys()), Path(folder) / "rows", limits, table):
            write(cells)
            searched = sum(cell.time_limit is not None for cell in cells)
            print(f"{searched} cells searched; {proven_part(cells)}", flush=True)


if __name__ == "__main__":
    main()
