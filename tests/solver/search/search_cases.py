"""Pipelines to search, and an independent check of a search's result."""

from __future__ import annotations

from typing import Any, NamedTuple

import ppopt
from ppopt import Pipeline
from ppopt.schedules.replaying import replay_orders
from solver.problem import Action, Problem
from strategies.model.placements import Placement, make_placement
from strategies.problem.search_problem import build_search_problem, pipeline_actions

UNIT = {"forward": 1, "backward_input": 1, "backward_weight": 1}
REAL = {"forward": 185, "backward_input": 181, "backward_weight": 93}
FUSED = {"forward": 2, "backward_input": 2, "backward_weight": 2, "overlapped_forward_backward": 5}


class Case(NamedTuple):
    pipeline: Pipeline
    placement: Placement
    problem: Problem


def case(
    placement: str,
    devices: int,
    microbatches: int,
    limit: int | None = None,
    times: dict[str, Any] = UNIT,
    *,
    latency: float = 0,
    split: bool = True,
    overlap: bool = False,
    **memory: Any,
) -> Case:
    stages = devices * (2 if placement in ("v", "interleaved") else 1)
    pipeline = Pipeline.from_mapping(
        {
            "devices": devices,
            "stages": stages,
            "microbatches": microbatches,
            "times": times,
            "p2p_latency": latency,
            "memory": memory if limit is None else {"limit": limit, **memory},
        }
    )
    laid_out = make_placement(placement, devices, stages, microbatches)
    problem = build_search_problem(pipeline, laid_out, split_backward=split, overlap=overlap)
    return Case(pipeline, laid_out, problem)


CASES = {
    "linear": case("linear", 4, 8, 3),
    "linear with latency": case("linear", 4, 8, 4, REAL, latency=20),
    "linear, unlimited": case("linear", 4, 8, None, REAL),
    "linear, part returned early": case("linear", 4, 8, 4, activation=2, held_for_weight=0.5),
    "uneven": case("linear", 4, 8, 4, {"forward": [1, 2, 1, 3], "backward_input": 2, "backward_weight": 1}),
    "v": case("v", 4, 8, 5),
    "v, least memory": case("v", 4, 6, 2, REAL, latency=20),
    "interleaved": case("interleaved", 4, 8, 11, REAL, latency=10),
    "bidirectional": case("bidirectional", 4, 8, 5, FUSED, overlap=True),
    "bidirectional, whole backwards": case("bidirectional", 4, 8, 5, FUSED, split=False, overlap=True),
    "v, overlapped": case("v", 2, 6, 5, FUSED, overlap=True),
    "merged pays": case("linear", 4, 8, 3, {**UNIT, "backward": 1.9}),
}


def faults(tried: Case, makespan: int, orders: list[list[Action]]) -> list[str]:
    """Replay orders on the pipeline, check the timeline with its memory, and compare the makespan."""
    schedule = replay_orders("found", tried.pipeline, tried.placement, pipeline_actions(orders), "graph")
    found = [str(violation) for violation in ppopt.violations(schedule.problem, schedule.rows)]
    if max(row.end for row in schedule.rows) != makespan:
        found.append(f"the makespan is {max(row.end for row in schedule.rows)}, not {makespan}")
    return found
