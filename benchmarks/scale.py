"""The search at the sizes of real runs: makespans, bounds and times.

``python -m benchmarks.scale [seconds] [part of a name]`` takes 60 seconds for each search by default. F, I and W last
185, 181 and 93, a transfer 20, as measured on a model of 1.5 billion parameters. Each line gives the makespan found,
the bound, the gap, the seconds until the gap was 1 % and 0, and the total time. Every schedule that is written out has
passed the checker. ``python -m benchmarks.scale growth [picture.svg]`` measures the time to a gap of 1 % on 16 devices
as the number of microbatches grows; each search ends there. ``python -m benchmarks.scale cores [seconds]`` counts the
moves of local search alone on one core and on more, and gives the makespans that they reach.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple
from unittest.mock import patch

import altair as alt

import ppopt
from ppopt import Pipeline, Standing
from reports.charts import palette
from reports.picture import picture
from solver.search.local_search import LocalSearch
from solver.search.portfolio import search
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem

TIMES = {"forward": 185, "backward_input": 181, "backward_weight": 93}
LATENCY = 20
CLOSE = 0.01


class Row(NamedTuple):
    """A pipeline, and the freedom of the search."""

    placement: str
    devices: int
    microbatches: int
    limit: int
    chunks: int = 1
    block: int | None = None

    @property
    def name(self) -> str:
        """A short name."""
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


def run(row: Row, seconds: float) -> None:
    """Search one row and print its line."""
    told: list[Standing] = []
    optimize = ppopt.optimize  # the first access loads its libraries
    pipeline, began = row.pipeline, perf_counter()
    made = optimize(
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


def _first(told: list[Standing], bound: float, gap: float) -> float | None:
    return next((at.seconds for at in told if at.best is not None and at.best - bound <= gap * at.best), None)


def _seconds(value: float | None) -> str:
    return "   –   " if value is None else f"{value:5.1f} s"


def seconds_to_close(row: Row, seconds: float) -> float | None:
    """Search one row until the gap is 1 %, and return the seconds that it took, including writing the problem."""
    reached: list[float] = []

    def end_if_close(at: Standing) -> None:
        if not reached and at.best is not None and at.best - at.bound <= CLOSE * at.best:
            reached.append(perf_counter() - began)
            signal.raise_signal(signal.SIGINT)

    optimize = ppopt.optimize
    pipeline, began = row.pipeline, perf_counter()
    made = optimize(pipeline, placement=row.placement, time_limit=seconds, progress=end_if_close)
    assert ppopt.violations(made.problem, made.rows) == []
    print(f"{row.name:38} found {made.makespan:<9g} gap {100 * (made.gap or 0):5.2f} %  1 % after", end=" ")
    print(_seconds(reached[0] if reached else None), flush=True)
    return reached[0] if reached else None


def growth(seconds: float, path: str | None) -> None:
    """Print the time to 1 % as the number of microbatches grows; draw it, too, if a file is named."""
    points = [
        {"placement": name, "microbatches": 2**power, "seconds": seconds_to_close(row, seconds)}
        for name, placement, limit, chunks in (("linear", "linear", 16, 1), ("V", "v", 32, 2))
        for power in range(5, 13)
        for row in [Row(placement, 16, 2**power, limit, chunks)]
    ]
    if path is not None:
        written = picture(
            growth_chart([point for point in points if point["seconds"] is not None]), Path(path).suffix[1:]
        )
        Path(path).write_bytes(written)


def growth_chart(points: Sequence[Mapping[str, object]]) -> alt.LayerChart:
    """Draw seconds over microbatches, with a line for each placement."""
    x = alt.X(
        "microbatches:Q",
        title="microbatches",
        scale=alt.Scale(type="log", base=2, domain=[32, 4096], nice=False),
        axis=alt.Axis(values=[2**power for power in range(5, 13)], format=",d"),
    )
    y = alt.Y("seconds:Q", title="seconds until the gap is 1 %", scale=alt.Scale(domainMin=0))
    colour = alt.Color(
        "placement:N",
        title=None,
        scale=alt.Scale(domain=["linear", "V"], range=[palette.KINDS["F"], palette.SEARCHED]),
        legend=alt.Legend(orient="top"),
    )
    lines = alt.Chart(alt.InlineData(values=list(points))).encode(x=x, y=y, color=colour)
    return alt.LayerChart(layer=[lines.mark_line(), lines.mark_point(filled=True, size=60)], width=560, height=240)


def cores(seconds: float) -> None:
    """Print the moves and results of local search alone on 1, 2, 4, … cores in the same time, with two seeds each.

    A published schedule is optimal on this instance, so the bound is the optimum. Local search does not get that
    schedule; it starts from list schedules.
    """
    pipeline = Row("v", 16, 32, 32, 2).pipeline
    problem = build_search_problem(pipeline, make_placement("v", 16, 32, 32))
    there = len(os.sched_getaffinity(0))
    for seed in range(2):
        for workers in [count for count in (1, 2, 4, 8, 16, 32, 64) if count <= there]:
            moves: list[int] = []
            began, cpu = perf_counter(), process_time()
            with patch.object(LocalSearch, "__init__", _counting(moves)):
                found = search(problem, tools=("local search",), seconds=seconds, workers=workers, seed=seed)
            took, cpu = perf_counter() - began, process_time() - cpu
            assert found.best is not None
            print(
                f"{workers:3} cores: {sum(moves) / took:9,.0f} moves a second, {sum(moves) / cpu:9,.0f} a second of a "
                f"core, which it had {cpu / took:5.2f} of; found {found.best / problem.ticks_per_unit:g}, "
                f"gap {100 * (found.best - found.bound) / found.best:5.2f} %",
                flush=True,
            )


def _counting(moves: list[int]) -> Callable[..., None]:
    plain = LocalSearch.__init__

    def begin(local: LocalSearch, *arguments: Any, **named: Any) -> None:
        plain(local, *arguments, **named)
        anneal = local.functions["anneal"]

        def counted(fixed: Any, state: Any, count: int, *rest: Any) -> Any:
            moves.append(count)
            return anneal(fixed, state, count, *rest)

        local.functions = {**local.functions, "anneal": counted}

    return begin


if __name__ == "__main__":
    numbers = [float(argument) for argument in sys.argv[1:] if argument.replace(".", "", 1).isdigit()]
    words = [argument for argument in sys.argv[1:] if not argument.replace(".", "", 1).isdigit()]
    limit = numbers[0] if numbers else 60.0
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {limit:g} s each")
    if words[:1] == ["growth"]:
        growth(limit, words[1] if len(words) > 1 else None)
    elif words[:1] == ["cores"]:
        cores(limit)
    else:
        for row in ROWS:
            if all(word in row.name for word in words):
                run(row, limit)
