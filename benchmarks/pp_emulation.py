"""A whole evaluation against PP-Emulation's own code for the same schedules.

``python -m benchmarks.pp_emulation FOLDER``, a checkout of PP-Emulation (1dd92bf is the version compared in docs).
PP-Emulation makes the orders and replays them; ppopt also checks every start, counts memory and reports figures.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from typing import Any

import ppopt
from benchmarks.timing import compare, median_seconds

CASES = (
    ("1f1b", "generate_1f1b_schedule", "standard", 8, 8, 32),
    ("interleaved", "generate_1f1b_interleave_schedule", "interleave", 16, 32, 128),
    ("1f1b", "generate_1f1b_schedule", "standard", 32, 32, 256),
    ("zb1p", "generate_zero_bubble_1p_schedule", "standard", 32, 32, 256),
    ("1f1b", "generate_1f1b_schedule", "standard", 64, 64, 1024),
)

if len(sys.argv) != 2:
    sys.exit("python -m benchmarks.pp_emulation FOLDER: a checkout of PP-Emulation")
sys.path.insert(0, sys.argv[1])
model: Any = importlib.import_module("src.execution_model")
strategies: Any = importlib.import_module("src.strategies")


def theirs(generate: str, placement: str, devices: int, stages: int, microbatches: int, split: bool) -> float:
    config = model.ScheduleConfig(devices, stages, microbatches, placement_strategy=placement, split_backward=split)
    schedule = getattr(strategies, generate)(config)
    schedule.execute()
    makespan: float = schedule.get_total_execution_time()
    return makespan


for name, generate, placement, devices, stages, microbatches in CASES:
    times = {"forward": 1, "backward_input": 1, "backward_weight": 1}
    sizes = {"devices": devices, "stages": stages, "microbatches": microbatches}
    pipeline = ppopt.Pipeline.from_mapping({**sizes, "times": times})
    case = generate, placement, devices, stages, microbatches, name == "zb1p"
    assert ppopt.evaluate(pipeline, name, engine="graph").makespan == theirs(*case)
    ours = median_seconds(partial(ppopt.evaluate, pipeline, name, engine="graph"))
    compare(f"{name}, p {devices}, m {microbatches}", ours, median_seconds(partial(theirs, *case)), "theirs")
