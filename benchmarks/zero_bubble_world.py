"""The search on the Zero Bubble paper's own profiles, with room for p, 1.5 p and 2 p activations per device.

``python -m benchmarks.zero_bubble_world [seconds]``. Latency and times are the paper's measurements; an activation is
one unit, held until W. The paper's handcrafted schedules are printed next to the result if they fit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ppopt
from ppopt import Pipeline

PROFILES = Path(__file__).parents[1] / "tests" / "data" / "zero_bubble_profiles.json"
TIMES = ("forward", "backward_input", "backward_weight")


def run(profile: dict[str, float], factor: float, seconds: float) -> None:
    costs = Pipeline.from_mapping(
        {
            **{key: profile[key] for key in ("devices", "microbatches", "p2p_latency")},
            "times": {key: profile[key] for key in TIMES},
            "memory": {"limit": factor * profile["devices"]},
        }
    )
    made = ppopt.optimize(costs, time_limit=seconds)
    published = {}
    for name in ("zb-h1", "zb-h2", "zb1p"):
        each = ppopt.evaluate(costs, name, engine="graph")
        if max(each.peak_memory) <= factor * profile["devices"]:
            published[name] = each.makespan
            assert made.makespan <= each.makespan
    print(
        f"{profile['model']:5} p{profile['devices']} m{profile['microbatches']} cap {factor} p: {made.makespan:.0f}, "
        f"bound {made.bound:.0f}, gap {100 * (made.gap or 0):.2f} %, {made.seconds:.1f} s; "
        + ", ".join(f"{name} +{100 * (makespan / made.makespan - 1):.2f} %" for name, makespan in published.items()),
        flush=True,
    )


if __name__ == "__main__":
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    for row in json.loads(PROFILES.read_text())["rows"]:
        for room in (1, 1.5, 2):
            run(row, room, limit)
