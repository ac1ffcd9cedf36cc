"""Predicted against measured step times: schedules in PyTorch's runtime, on 2 and 4 local processes.

Stages wait for 20 to 60 ms instead of computing; docs/how-to/rehearse.md says what that shows. It needs PyTorch.
"""

from __future__ import annotations

import os
from statistics import median

import ppopt

NAMES = ("gpipe", "1f1b", "interleaved", "looped-bfs", "zb1p", "zb-h1", "dualpipe-v")
SEARCHED = (("linear", 4), ("interleaved", 12), ("v", 8))
TIMES = {"forward": 20, "backward_input": 22, "backward_weight": 18, "backward": 40}
UNEVEN = {"forward": [20, 30, 25, 40], "backward_input": [22, 35, 25, 45], "backward_weight": [18, 25, 25, 30]}
STEPS = 5

errors: list[float] = []


def searched(model: ppopt.Pipeline, placement: str, limit: int) -> ppopt.Schedule:
    capped = model.model_copy(update={"memory": {"limit": limit}})
    return ppopt.optimize(capped, placement=placement, time_limit=2, workers=1)


def show(model: ppopt.Pipeline, schedules: list[str | ppopt.Schedule], what: str = "") -> None:
    for made in ppopt.rehearse_all(model, schedules, steps=STEPS):
        off = made.start_deviations["calibrated"]
        errors.append(made.errors["calibrated"])
        print(
            f"{made.schedule.strategy + what:<24}{model.devices:>3}{made.predicted_nominal.makespan:>9.1f}"
            f"{made.predicted_calibrated.makespan:>11.1f}{made.median:>9.1f}{made.errors['nominal']:>+9.2%}"
            f"{made.errors['calibrated']:>+11.2%}{off.median:>7.2f}{off.largest:>7.2f}"
            f"{made.gradient_difference:>11.1e}",
            flush=True,
        )


print(f"{os.cpu_count()} cores, {STEPS} steps, load {os.getloadavg()[0]:.1f}; times in ms")
print(
    f"{'schedule':<24}{'p':>3}{'nominal':>9}{'calibrated':>11}{'measured':>9}{'error':>9}{'calibrated':>11}"
    f"{'starts off':>14}{'gradients':>11}"
)
for devices in (2, 4):
    pipeline = ppopt.Pipeline.from_mapping({"devices": devices, "microbatches": 8, "times": TIMES})
    show(pipeline, [*NAMES, *(searched(pipeline, *how) for how in SEARCHED)])
show(ppopt.Pipeline.from_mapping({"devices": 4, "microbatches": 8, "times": UNEVEN}), ["1f1b", "zb-h1"], ", uneven")
show(
    ppopt.Pipeline.from_mapping({"devices": 4, "microbatches": 8, "times": TIMES, "p2p_latency": 5}),
    ["1f1b", "zb-h1", "interleaved"],
    ", latency 5",
)
print(f"calibrated error: median {median(map(abs, errors)):.2%}, worst {max(map(abs, errors)):.2%}")
