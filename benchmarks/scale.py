"""What the search finds and proves at the sizes of real runs.

``python -m benchmarks.scale [seconds] [part of a name]``, by default 60 seconds for each. F, I and W take 185, 181 and
93, a transfer 20, as measured on a model of 1.5 billion parameters. Each line says what was found, the bound, the gap
between them, after how many seconds the gap was 1 % and 0, and how long the whole took; every schedule that is written
out has passed the checker. ``python -m benchmarks.scale growth`` measures the time to 1 % on 16 devices as the number
of microbatches grows.
"""

from __future__ import annotations

import os
import sys
from time import perf_counter
from typing import NamedTuple

import ppopt
from ppopt import Pipeline, Standing

TIMES = {"forward": 185, "backward_input": 181, "backward_weight": 93}
LATENCY = 20
CLOSE = 0.01


class Row(NamedTuple):
    """A pipeline, and what is searched."""

    placement: str
    devices: int
    microbatches: int
    limit: int
    chunks: int = 1
    block: int | None = None

    @property
    def name(self) -> str:
        """In a few words."""
        kind = f"{self.placement} v{self.chunks}" if self.placement == "interleaved" else self.placement
        fused = f" fused {self.block}" if self.block else ""
        return f"{kind}{fused} p{self.devices} m{self.microbatches} cap {self.limit}"

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        times = TIMES | ({"overlapped_forward_backward": self.block} if self.block else {})
        return Pipeline.from_mapping(
            {
                "devices": self.devices,
                "stages": self.devices * self.chunks,
                "microbatches": self.microbatches,
                "times": times,
                "p2p_latency": LATENCY,
                "memory": {"limit": self.limit},
            }
        )


ROWS = [
    Row("linear", 64, 1024, 64),
    Row("linear", 64, 100_000, 64),
    Row("linear", 8, 100_000, 8),
    Row("v", 16, 128, 20, 2),
    Row("v", 16, 128, 32, 2),
    Row("v", 16, 512, 20, 2),
    Row("v", 16, 512, 32, 2),
    Row("v", 32, 512, 64, 2),
    Row("v", 8, 32, 12, 2),
    Row("v", 8, 32, 8, 2),
    Row("v", 4, 16, 8, 2),
    Row("interleaved", 16, 128, 40, 2),
    Row("interleaved", 8, 64, 40, 4),
    Row("interleaved", 16, 256, 80, 4),
    Row("bidirectional", 16, 128, 17, 1, 400),
    Row("v", 8, 64, 18, 2, 400),
    Row("linear", 16, 128, 12),
    Row("linear", 32, 256, 24),
    Row("linear", 8, 256, 6),
]


def run(row: Row, seconds: float) -> float | None:
    """Search one row, print its line, and return after how many seconds the gap was 1 %."""
    told: list[Standing] = []
    search = ppopt.optimize  # loads its libraries
    pipeline, began = row.pipeline, perf_counter()
    made = search(
        pipeline, placement=row.placement, overlap=row.block is not None, time_limit=seconds, progress=told.append
    )
    took = perf_counter() - began
    assert ppopt.violations(made.problem, made.rows) == []
    bound = made.bound or 0.0
    close, closed = (_first(told, bound, gap) for gap in (CLOSE, 0.0))
    print(
        f"{row.name:38} found {made.makespan:<9g} bound {bound:<9g} gap {100 * (made.gap or 0):5.2f} %  "
        f"1 % after {_seconds(close)} 0 after {_seconds(closed)} all {took:5.1f} s",
        flush=True,
    )
    return close


def _first(told: list[Standing], bound: float, gap: float) -> float | None:
    return next((at.seconds for at in told if at.best is not None and at.best - bound <= gap * at.best), None)


def _seconds(value: float | None) -> str:
    return "   –   " if value is None else f"{value:5.1f} s"


def growth(seconds: float) -> None:
    """Print the time to 1 % as the number of microbatches grows."""
    for placement, limit, chunks in (("linear", 16, 1), ("v", 32, 2)):
        for power in range(5, 13):
            run(Row(placement, 16, 2**power, limit, chunks), seconds)


if __name__ == "__main__":
    numbers = [float(argument) for argument in sys.argv[1:] if argument.replace(".", "", 1).isdigit()]
    words = [argument for argument in sys.argv[1:] if not argument.replace(".", "", 1).isdigit()]
    limit = numbers[0] if numbers else 60.0
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {limit:g} s each")
    if words == ["growth"]:
        growth(limit)
    else:
        for row in ROWS:
            if all(word in row.name for word in words):
                run(row, limit)
