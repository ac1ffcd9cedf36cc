"""Planning a cut for a fixed order, on known instances.

``python -m benchmarks.plan [seconds] [part of a name]``

The instances, with the best values and bounds known before, come from ``tests/data/planned_models.json``; without a
part of a name, all of them run. ``llama70b-h1.14-interleaved-p8v5m64`` has 80 layers and a head of 1.14 layers.
Seconds are wall-clock time, and ``cpu`` is the CPU time of the process, which says more on a busy machine.
"""

from __future__ import annotations

import copy
import sys
from time import perf_counter, process_time
from typing import Any

from ppopt.cutting.quick import quick_cut
from tests.planned_models import pipeline_of
from tests.ppopt.cutting.test_fixed_order import INSTANCES, check_is_true, planned

LIGHT_HEAD = "llama70b-h1.14-interleaved-p8v5m64"


def all_instances() -> dict[str, dict[str, Any]]:
    light = copy.deepcopy(INSTANCES["llama70b-h2-interleaved-p8v5m64"])
    light["kinds"]["H"] |= {"forward": 114, "backward": 228, "backward_input": 114, "backward_weight": 114}
    return {**INSTANCES, LIGHT_HEAD: {**light, "name": LIGHT_HEAD, "value": 212462, "bound": 212076}}


def run(instance: dict[str, Any], seconds: float) -> bool:
    """Plan one instance; return whether the result is as good as the known one."""
    started, used = perf_counter(), process_time()
    plan = planned(instance, seconds)
    took, cpu = perf_counter() - started, process_time() - used
    known, makespan = instance["value"], plan.makespan
    if makespan is not None:
        check_is_true(plan)
    gap = "" if plan.gap is None else f"gap {100 * plan.gap:.3f} %"
    good = known is None if makespan is None else known is not None and makespan <= known
    true = known is None or plan.bound <= known
    verdict = "" if good else " WORSE"
    verdict += "" if true else " BOUND ABOVE A KNOWN VALUE"
    found = "–" if makespan is None else f"{float(makespan):g}"
    print(
        f"{instance['name']:45s} {found:>8s} known {known} {plan.status:10s} {gap:12s} "
        f"{plan.nodes:5d} nodes {plan.paths:5d} paths {took:6.2f} s cpu {cpu:6.2f}{verdict}",
        flush=True,
    )
    return good and true


def quick(instance: dict[str, Any]) -> None:
    stages = instance["devices"] * instance["stages_per_device"]
    pipeline, used = pipeline_of(instance), process_time()
    quick_cut(pipeline, instance["strategy"], stages=stages)
    print(f"{instance['name']:45s} quick cut, cpu {process_time() - used:.2f}", flush=True)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    chosen = [each for name, each in all_instances().items() if part in name]
    planned(INSTANCES["small-023-interleaved-p2v2m6"], 60)  # numba compiles before the clock starts
    quick(INSTANCES["llama70b-h2-interleaved-p8v5m64"])
    good = sum(run(instance, seconds) for instance in chosen)
    print(f"{good} of {len(chosen)} as good as known or better")


if __name__ == "__main__":
    main()
