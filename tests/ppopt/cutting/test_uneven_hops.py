"""Plans with uneven hops, against every cut of small models."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import pytest

import ppopt
from ppopt.cutting.best_cut import plan_fixed_order

LAYERS = [
    {"name": "embedding", "forward": 1, "backward": 1, "latest_stage": 0},
    {"name": "decoder", "count": 7, "forward": 2, "backward": 4},
    {"name": "head", "forward": 3, "backward": 5, "earliest_stage": -1},
]
HOPS = {"latency": {"node": 0, "network": 5}, "transfer": 1, "devices_per_node": 2}


def pipeline(**more: object) -> ppopt.Pipeline:
    return ppopt.Pipeline.from_mapping(
        {"devices": 4, "microbatches": 6, "layers": LAYERS, "communication": HOPS, **more}
    )


def best_of_every_cut(costs: ppopt.Pipeline, strategy: str) -> Fraction:
    lengths = []
    for ends in combinations(range(1, 9), 3):
        held = [after - before for before, after in zip((0, *ends), (*ends, 9), strict=True)]
        made = ppopt.evaluate(costs.with_cut(held), strategy, "graph")
        lengths.append(Fraction(max(row.end for row in made.rows), made.problem.ticks_per_unit))
    return min(lengths)


@pytest.mark.parametrize("strategy", ["1f1b", "zb-h1", "gpipe"])
def test_a_plan_is_the_best_of_all_cuts(strategy: str) -> None:
    plan = plan_fixed_order(pipeline(), strategy, empty=False, time_limit=20)
    assert plan.makespan == best_of_every_cut(pipeline(), strategy)
    assert plan.bound == plan.makespan


def test_what_is_planned_without_waiting_is_shown_with_it() -> None:
    costs = pipeline(p2p="rendezvous", lowering="pytorch", communicators="rank")
    (made,) = ppopt.plan(costs, ["1f1b"], time_limit=5).plans
    assert made.schedule.unhindered_makespan is not None
    assert made.bound <= made.schedule.unhindered_makespan
    assert (made.status == "optimal") == (made.bound == Fraction(made.schedule.makespan))
