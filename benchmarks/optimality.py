"""The search on published instances: makespans, bounds and gaps.

``python -m benchmarks.optimality [seconds] [part of a name]``

By default the placement is linear and W releases one unit of activation. Every schedule has passed the checker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import ppopt
from ppopt import Pipeline


class Instance(NamedTuple):
    """A pipeline, the freedom of the search, and the best known makespan (or span), with its bound if a gap is open."""

    name: str
    known: str
    placement: str
    devices: int
    microbatches: int
    limit: float
    times: dict[str, Any]
    latency: float = 0
    stages: int | None = None
    options: Mapping[str, Any] = MappingProxyType({})


def split(forward: float, to_input: float, to_weight: float, **more: Any) -> dict[str, Any]:
    return {"forward": forward, "backward_input": to_input, "backward_weight": to_weight, **more}


UNIT, MEASURED = split(1, 1, 1), split(185, 181, 93)
WHOLE_TIMES = {"forward": 2, "backward": 4, "overlapped_forward_backward": 5}
CHEAP_BLOCKS = {"forward": 1, "backward": 2, "overlapped_forward_backward": 2}
BLOCKS = split(2, 2, 2, overlapped_forward_backward=5)
WHOLE = {"split_backward": False, "overlap": True}
BOTH = {"overlap": True}
SPAN = {"objective": "span"}
HEAVY_ENDS = {
    "forward": [185 * 1.3, *[185] * 14, 185 * 1.6],
    "backward_input": [*[181] * 15, 181 * 1.6],
    "backward_weight": [*[93] * 15, 93 * 1.6],
}

PROVEN = [
    Instance("linear unit", "31", "linear", 4, 8, 3, UNIT),
    Instance("linear unit", "68", "linear", 8, 16, 5, UNIT),
    Instance("linear unit", "127", "linear", 8, 32, 5, UNIT),
    Instance("linear unit", "109", "linear", 8, 32, 6, UNIT),
    Instance("linear measured", "9815", "linear", 8, 16, 8, MEASURED, 20),
    Instance("linear measured", "16599", "linear", 8, 32, 8, MEASURED),
    Instance("linear measured", "31287", "linear", 8, 64, 8, MEASURED),
    Instance("linear measured", "60663", "linear", 8, 128, 8, MEASURED),
    Instance("linear measured", "31847", "linear", 8, 64, 8, MEASURED, 20),
    Instance("linear measured", "33471", "linear", 16, 64, 16, MEASURED),
    Instance("linear 3/2/2", "245", "linear", 8, 32, 8, split(3, 2, 2)),
    Instance("interleaved measured", "7929", "interleaved", 4, 8, 11, MEASURED, 10, 8),
    Instance("V unit", "51", "v", 4, 8, 8, UNIT, 0, 8),
    Instance("V unit", "53", "v", 4, 8, 6, UNIT, 0, 8),
    Instance("V unit", "56", "v", 4, 8, 5, UNIT, 0, 8),
    Instance("V unit", "101", "v", 4, 16, 6, UNIT, 0, 8),
    Instance("V unit", "104", "v", 4, 16, 5, UNIT, 0, 8),
    Instance("V unit", "103", "v", 8, 16, 16, UNIT, 0, 16),
    Instance("V unit", "113", "v", 8, 16, 10, UNIT, 0, 16),
    Instance("V unit", "119", "v", 8, 16, 8, UNIT, 0, 16),
    Instance("V measured", "19449", "v", 8, 16, 10, MEASURED, 20, 16),
    Instance("V measured", "33219", "v", 8, 32, 12, MEASURED, 20, 16),
    Instance("linear measured", "19983", "linear", 16, 32, 16, MEASURED, 20),
    Instance("bidirectional whole", "51", "bidirectional", 4, 8, 5, WHOLE_TIMES, options=WHOLE),
    Instance("bidirectional whole", "131", "bidirectional", 8, 20, 9, WHOLE_TIMES, options=WHOLE),
    Instance("bidirectional split", "51", "bidirectional", 8, 20, 9, CHEAP_BLOCKS, options=BOTH),
    Instance("span unit", "103", "linear", 8, 32, 8, UNIT, options=SPAN),
    Instance("span unit", "99", "linear", 8, 32, 12, UNIT, options=SPAN),
    Instance("span unit", "96", "linear", 8, 32, 15, UNIT, options=SPAN),
    Instance("span measured", "17159", "linear", 8, 32, 8, MEASURED, 20, options=SPAN),
    Instance("span measured", "16228", "linear", 8, 32, 15, MEASURED, 20, options=SPAN),
]  # fmt: skip
OPEN = [
    Instance("bidirectional split", "116 / 114", "bidirectional", 8, 20, 9, BLOCKS, options=BOTH),
    Instance("bidirectional split", "234 / 230", "bidirectional", 16, 40, 17, BLOCKS, options=BOTH),
    Instance("V unit", "172 / 158", "v", 8, 16, 5, UNIT, 0, 16),
    Instance("V measured", "21637 / 20367", "v", 8, 16, 8, MEASURED, 20, 16),
    Instance("V measured", "25521 / 23014", "v", 8, 16, 6, MEASURED, 20, 16),
    Instance("V measured", "34771 / 30698", "v", 8, 16, 4, MEASURED, 20, 16),
    Instance("V measured", "38201 / 35055", "v", 8, 32, 8, MEASURED, 20, 16),
    Instance("span measured", "21041 / 19899", "linear", 8, 32, 6, MEASURED, 20, options=SPAN),
    Instance("linear measured", "3.8 %", "linear", 16, 128, 12, MEASURED, 20),
    Instance("linear measured", "2.5 %", "linear", 32, 256, 24, MEASURED, 20),
    Instance("linear measured", "meets its bound", "linear", 32, 256, 32, MEASURED),
    Instance("V heavy ends", "20548 / 19982", "v", 8, 16, 12, HEAVY_ENDS, 20, 16),
]  # fmt: skip


def run(instance: Instance, seconds: float) -> None:
    mapping = {
        "devices": instance.devices,
        "microbatches": instance.microbatches,
        "times": instance.times,
        "p2p_latency": instance.latency,
        "memory": {"limit": instance.limit},
    }
    if instance.stages:
        mapping["stages"] = instance.stages
    costs = Pipeline.from_mapping(mapping)
    made = ppopt.optimize(costs, placement=instance.placement, time_limit=seconds, **instance.options)
    assert ppopt.violations(made.problem, made.rows) == []
    value, bound = made.objective_value, made.bound or 0
    size = f"p{instance.devices} m{instance.microbatches} cap {instance.limit:g} latency {instance.latency:g}"
    print(
        f"{instance.name:22} {size:30} known {instance.known:15} found {value:<9g} bound {bound:<9g} "
        f"gap {100 * (value - bound) / value:5.2f} %  {made.status:8} {made.seconds:5.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    print(f"{os.cpu_count()} cores, {limit:g} s each")
    for instance in [*PROVEN, *OPEN]:
        if part in instance.name:
            run(instance, limit)
