"""Memory frontiers: the best published, found and proven step at each limit, and the V schedules at their memory.

``python -m benchmarks.memory_frontier [seconds] [part of a name]``

Without a name, `examples/measured-1.5b.yaml` runs as well. The unit of memory is the activation of a device's part of
the model.
"""

from __future__ import annotations

import os
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import ppopt
from ppopt import Frontier, Pipeline

ROOT = Path(__file__).parent.parent
TIMES: dict[str, dict[str, Any]] = {
    "unit": {"times": {"forward": 1, "backward_input": 1, "backward_weight": 1}},
    "measured": {"times": {"forward": 185, "backward_input": 181, "backward_weight": 93}, "p2p_latency": 20},
}
LIMITS = {4: [1, 1.5, 2, 2.5, 3, 3.5, 4, 5], 8: list(range(1, 11))}
ON_A_V = ("v-min", "v-min-primus", "v-half", "v-half-primus", "1f1b-v", "zb-v", "zb-v-auto")


def costs_of(kind: str, devices: int, microbatches: int) -> Pipeline:
    sizes = {"devices": devices, "stages": devices, "microbatches": microbatches}
    return Pipeline.from_mapping({**sizes, **TIMES[kind]})


def best_published(costs: Pipeline, frontier: Frontier, limit: float) -> str:
    fitting = [
        (each.makespan, each.strategy)
        for place, each in enumerate(frontier.published)
        if place in frontier.comparable and max(each.peak_memory) <= limit
    ]
    within = ppopt.evaluate(costs.with_limit(Fraction(limit)), "zb-auto", engine="graph")
    makespan, name = min([*fitting, (within.makespan, "zb-auto")])
    return f"{name} {makespan:g}"


def show(costs: Pipeline, frontier: Frontier, on_a_v: Frontier) -> None:
    print("| limit | best published | best found | bound | gap |\n| --: | --- | --- | --: | --: |")
    for point in frontier.points:
        best = best_published(costs, frontier, point.limit)
        gap = "optimal" if point.status == "optimal" else f"{point.gap:.2%}"
        print(f"| {point.limit:g} | {best} | {point.placement} {point.makespan:g} | {point.bound:g} | {gap} |")
    print("\n| schedule | memory | makespan | best V found | bound on V | best of all |\n|---|--:|--:|--:|--:|--:|")
    for name in ON_A_V:
        made = next(each for each in frontier.published if each.strategy == name)
        memory = max(made.peak_memory)
        v = next(point for point in on_a_v.points if point.limit == memory)
        every = min(each.makespan for each in frontier.stairs if max(each.peak_memory) <= memory)
        print(f"| {name} | {memory:g} | {made.makespan:g} | {v.makespan:g} | {v.bound:g} | {every:g} |")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 100.0
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    print(f"{os.cpu_count()} cores, {seconds:g} s each")
    for devices in (4, 8):
        for microbatches in (16, 32):
            for kind in TIMES:
                name = f"{kind} p={devices} m={microbatches}"
                if part not in name:
                    continue
                costs = costs_of(kind, devices, microbatches)
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder) / "found.json"
                    found = ppopt.frontier(costs, limits=LIMITS[devices], time_limit=seconds, save_to=file)
                    own = sorted({max(each.peak_memory) for each in found.published if each.strategy in ON_A_V})
                    on_a_v = ppopt.frontier(costs, placement="v", limits=own, time_limit=0, save_to=file)
                print(f"\n## {name}: mean gap {found.mean_gap:.2%}\n")
                show(costs, found, on_a_v)
    if not part:
        measured = ppopt.frontier(Pipeline.from_file(ROOT / "examples" / "measured-1.5b.yaml"), time_limit=seconds)
        print(f"\n## measured-1.5b: mean gap {measured.mean_gap:.2%} over {len(measured.points)} limits")


if __name__ == "__main__":
    main()
