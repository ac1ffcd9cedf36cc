"""Layers whose costs have sixteen digits are planned, and refused, like others."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

import ppopt
from ppopt import InfeasibleError, Pipeline

COSTS = {
    "forward": 0.0123456789012345,
    "backward_input": 0.0187654321098765,
    "backward_weight": 0.009337987654321098,
    "activation": 0.012345678901234567,
    "held_for_weight": 0.0012345678901234567,
}


def model(limit: float | None, **more: Any) -> Pipeline:
    memory = {} if limit is None else {"memory": {"limit": limit}}
    layers = [{"name": "block", "count": 4, **COSTS}]
    latency = 0.00060123456789012345
    return Pipeline.from_mapping(
        {"devices": 2, "microbatches": 4, "layers": layers, "p2p_latency": latency, **memory, **more}
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("strategy", ["1f1b", "interleaved", "zb-v"])
def test_no_cut_fits_and_that_is_proven(strategy: str) -> None:
    with pytest.raises(InfeasibleError, match=r"holds 0\.037037"):
        ppopt.plan(model(0.0155), [strategy], time_limit=20)


@pytest.mark.exhaustive
@pytest.mark.parametrize("strategy", ["1f1b", "interleaved", "zb-v"])
def test_a_plan_fits_and_is_no_longer_than_an_even_cut(strategy: str) -> None:
    costs = model(0.3)
    best = ppopt.plan(costs, [strategy], time_limit=4).plans[0]
    even = ppopt.evaluate(costs, strategy)
    assert best.makespan <= even.makespan
    assert float(best.bound) <= best.makespan
    assert max(best.schedule.peak_memory) <= 0.3


def test_free_plans_take_amounts_of_many_digits() -> None:
    found = ppopt.plan(model(0.3), ["1f1b"], free=True, time_limit=6)
    assert all(float(plan.bound) <= plan.makespan for plan in found.plans)


@pytest.mark.parametrize("strategy", ["1f1b", "interleaved"])
def test_the_best_cut_is_proven_to_the_last_digit(strategy: str) -> None:
    costs = model(0.3)
    stages = 2 if strategy == "1f1b" else 4
    found = ppopt.plan(costs, [strategy], stages_per_device=stages // 2, time_limit=20).plans[0]
    assert found.status == "optimal"
    cuts = [cut for cut in product(range(5), repeat=stages) if sum(cut) == 4]
    made = (ppopt.evaluate(costs.with_cut(cut), strategy, engine="graph") for cut in cuts)
    fitting = [each for each in made if not each.over_limit]
    assert found.makespan == min(each.makespan for each in fitting)


@pytest.mark.exhaustive
@pytest.mark.parametrize("semantics", ["batched", "rendezvous", "links"])
def test_plans_are_made_where_transfers_wait(semantics: str) -> None:
    costs = Pipeline.from_mapping(
        {
            "devices": 2,
            "microbatches": 2,
            "layers": [{"name": "block", "count": 4, **COSTS}],
            "communication": {"transfer": 0.0123456789012345678},
            "p2p": semantics,
        }
    )
    found = ppopt.plan(costs, ["1f1b"], time_limit=3)
    assert all(float(plan.bound) <= plan.makespan for plan in found.plans)
