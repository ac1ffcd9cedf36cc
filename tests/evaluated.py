"""Evaluates schedules for tests, and passes each through the independent checker."""

from __future__ import annotations

from typing import Any

from hypothesis import reject

import ppopt
from ppopt import InputError, Pipeline, Schedule

UNIT = {"forward": 1, "backward_input": 1, "backward_weight": 1}


def pipeline(devices: int, microbatches: int, **more: Any) -> Pipeline:
    return Pipeline.from_mapping({"devices": devices, "microbatches": microbatches, "times": UNIT, **more})


def evaluated(strategy: str, costs: Pipeline, engine: str = "graph") -> Schedule:
    schedule = ppopt.evaluate(costs, strategy, engine=engine)
    assert ppopt.violations(schedule.problem, schedule.rows, memory=False) == []
    return schedule


def evaluated_if_complete(strategy: str, costs: Pipeline, engine: str = "auto") -> Schedule:
    """Evaluate a pipeline drawn by hypothesis; if a heuristic finds no complete order on its times, draw again."""
    try:
        return ppopt.evaluate(costs, strategy, engine=engine)
    except InputError as error:
        if "heuristic" not in str(error):
            raise
        reject()
