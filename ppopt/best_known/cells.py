"""The cells of the atlas, and the file that holds them.

A stage's activation is its share of its device's part of the model, so a microbatch that a device holds in full counts
1, on every placement. Weights are not counted. One microbatch at a time holds 1, so every cell has a schedule.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any, NamedTuple

from strategies.model.pipeline import Pipeline

FILE = "atlas.csv"

TIMES: dict[str, dict[str, Any]] = {
    "unit": {"times": {"forward": 1, "backward_input": 1, "backward_weight": 1}, "p2p_latency": 0},
    "measured": {"times": {"forward": 18522, "backward_input": 18086, "backward_weight": 9337}, "p2p_latency": 601},
}
"""The times of a device's whole part of the model. ``measured`` is `examples/measured-1.5b.yaml`, in µs."""

STAGES = {"linear": 1, "v": 2, "interleaved": 2, "bidirectional": 1}
"""The placements, with the stages of a device."""

DEVICES = (2, 4, 8, 16)
MICROBATCHES = {"p": 1, "2p": 2, "4p": 4, "16p": 16}
MEMORY = {"p/2": Fraction(1, 2), "p": Fraction(1), "3p/2": Fraction(3, 2), "2p": Fraction(2), "none": None}
"""The memory limits in activations, as multiples of the number of devices; the last is no limit."""


class Key(NamedTuple):
    """The place of a cell in the grid.

    Attributes
    ----------
    times : str
        A name in `TIMES`.
    placement : str
        A name in `STAGES`.
    devices, microbatches : int
        The sizes.
    memory : int or None
        The most activations that a device may hold; None without a limit.
    """

    times: str
    placement: str
    devices: int
    microbatches: int
    memory: int | None

    @property
    def label(self) -> str:
        """The memory limit as a multiple of the number of devices: a name in `MEMORY`."""
        return next(name for name, share in MEMORY.items() if memory_of(share, self.devices) == self.memory)

    @property
    def command(self) -> str:
        """The command that searches it; its times are those of a device's whole part, hence as many stages."""
        costs = TIMES[self.times]
        times = (
            "" if self.times == "unit" else "".join(f" --time {name}={each}" for name, each in costs["times"].items())
        )
        latency = f" --p2p-latency {costs['p2p_latency']}" if costs["p2p_latency"] else ""
        limit = "" if self.memory is None else f" --memory-limit {self.memory}"
        sizes = f"--devices {self.devices} --stages {self.devices} --microbatches {self.microbatches}"
        return f"ppopt optimize {sizes} --placement {self.placement}{limit}{times}{latency}"

    def allows(self, memory: float | None) -> bool:
        """Return whether a memory limit is no higher than the cell's, or a schedule's peak fits into it."""
        return self.memory is None or (memory is not None and memory <= self.memory)


def memory_of(share: Fraction | None, devices: int) -> int | None:
    """Return a limit of `MEMORY` in activations; the numbers of devices are even, so it is whole."""
    return None if share is None else int(share * devices)


def keys() -> Iterator[Key]:
    """List the cells of the grid, memory fastest."""
    for times, placement, devices, factor, share in product(
        TIMES, STAGES, DEVICES, MICROBATCHES.values(), MEMORY.values()
    ):
        yield Key(times, placement, devices, factor * devices, memory_of(share, devices))


def costs_of(times: str, devices: int, microbatches: int) -> Pipeline:
    """Make the pipeline of cells, without a memory limit."""
    return Pipeline.from_mapping({**TIMES[times], "devices": devices, "stages": devices, "microbatches": microbatches})


@dataclass(frozen=True)
class Cell:
    """What is known about one cell.

    Attributes
    ----------
    key : Key
        Its place in the grid.
    found : float or None
        The shortest known makespan, searched or published; None if none is known.
    peak_memory : float or None
        The most activations that a device holds in that schedule.
    bound : float or None
        A proven lower bound of the makespan; None if none is known.
    published : tuple of str
        The shortest published schedules that fit, equally long.
    published_makespan : float or None
        Their makespan; None if none fits.
    time_limit : float or None
        The longest time limit of a search in this very cell, in seconds; None if the others' results settled it.
    seconds : float
        The time of all searches in this very cell.
    """

    key: Key
    found: float | None = None
    peak_memory: float | None = None
    bound: float | None = None
    published: tuple[str, ...] = ()
    published_makespan: float | None = None
    time_limit: float | None = None
    seconds: float = 0.0

    @property
    def proven(self) -> bool:
        """Whether nothing shorter is possible."""
        return self.found is not None and self.found == self.bound

    @property
    def status(self) -> str:
        """``optimal`` if that is proven, ``feasible`` if a shorter schedule may exist, ``unknown`` if none is known."""
        return "optimal" if self.proven else "unknown" if self.found is None else "feasible"

    @property
    def gap(self) -> float | None:
        """(found − bound) ÷ found."""
        return None if self.found is None or self.bound is None else (self.found - self.bound) / self.found

    @property
    def is_published(self) -> bool:
        """Whether a published schedule is as short as the best known."""
        return self.found is not None and self.found == self.published_makespan

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as plain values: a row of the file."""
        return {
            **self.key._asdict(),
            "found": self.found,
            "bound": self.bound,
            "status": self.status,
            "peak_memory": self.peak_memory,
            "published": " ".join(self.published),
            "published_makespan": self.published_makespan,
            "time_limit": self.time_limit,
            "seconds": self.seconds,
        }


def _from_row(row: Mapping[str, str]) -> Cell:
    numbers = {name: float(row[name]) if row[name] else None for name in _NUMBERS}
    memory = None if row["memory"] == "none" else int(row["memory"])
    key = Key(row["times"], row["placement"], int(row["devices"]), int(row["microbatches"]), memory)
    return Cell(key, published=tuple(row["published"].split()), seconds=float(row["seconds"]), **numbers)


_NUMBERS = ("found", "peak_memory", "bound", "published_makespan", "time_limit")


@cache
def read_cells() -> Mapping[Key, Cell]:
    """Read the cells of the atlas."""
    text = files("ppopt.best_known").joinpath(FILE).read_text(encoding="utf-8")
    return {cell.key: cell for cell in map(_from_row, csv.DictReader(io.StringIO(text)))}


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows, of cells or with those of cells, as the file holds them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(name, value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _plain(name: str, value: object) -> object:
    if value is None:
        return "none" if name == "memory" else ""
    return int(value) if isinstance(value, float) and value.is_integer() else value
