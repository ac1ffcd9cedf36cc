"""Costs of sixteen digits, like Python's floats, are searched and proven like others."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

import ppopt
from ppopt import InfeasibleError, Pipeline, Schedule
from ppopt.optimization.optimize import optimize_each
from ppopt.optimization.options import SearchOptions
from tests.brute_force import optimum

TIMES = {"forward": 18.522345678901234, "backward_input": 18.086123456789012, "backward_weight": 9.337987654321098}
LATENCY = "0.00060123456789012345"


def exact_makespan(schedule: Schedule) -> Fraction:
    ends = [row.end for row in schedule.rows]
    return Fraction(max(ends) - min(row.start for row in schedule.rows), schedule.problem.ticks_per_unit)


def test_times_of_many_digits_are_proven() -> None:
    costs = Pipeline.from_mapping({"devices": 4, "microbatches": 16, "times": TIMES, "p2p_latency": Fraction(LATENCY)})
    found = ppopt.optimize(costs, time_limit=30, workers=1)
    assert found.status == "optimal"
    assert found.bound == found.makespan
    rounded = Pipeline.from_mapping(
        {
            "devices": 4,
            "microbatches": 16,
            "times": {key: round(value, 5) for key, value in TIMES.items()},
            "p2p_latency": Fraction("0.00060"),
        }
    )
    assert ppopt.optimize(rounded, time_limit=30, workers=1).status == "optimal"


def test_memory_of_many_digits_is_searched() -> None:
    memory = {"activation": 12.345678901234567, "held_for_weight": 0.012345678901234567, "limit": 45.5}
    costs = Pipeline.from_mapping({"devices": 4, "microbatches": 16, "times": TIMES, "memory": memory})
    found = ppopt.optimize(costs, time_limit=1, workers=1)
    assert max(found.peak_memory) <= 45.5
    assert found.bound is not None
    assert found.bound <= found.makespan
    assert ppopt.violations(found.problem, found.rows) == []


def test_a_limit_that_is_just_missed_is_missed() -> None:
    activation = Fraction("12.345678901234567")
    for limit, live in ((3 * activation, 3), (3 * activation - Fraction(1, 10**25), 2)):
        memory = {"activation": activation, "limit": limit}
        costs = Pipeline.from_mapping({"devices": 3, "microbatches": 6, "times": TIMES, "memory": memory})
        found = ppopt.optimize(costs, time_limit=3, workers=1, split_backward=False)
        assert max(found.peak_memory) == pytest.approx(live * float(activation))
        assert ppopt.violations(found.problem, found.rows) == []


def test_long_pipelines_of_many_digits_have_exact_figures() -> None:
    costs = Pipeline.from_mapping({"devices": 4, "microbatches": 12_000, "times": TIMES, "p2p_latency": 0.1})
    (found,) = optimize_each(costs, SearchOptions(time_limit=6, workers=1, periodic=True))
    assert isinstance(found, Schedule)
    work = 12_000 * sum(Fraction(repr(value)) for value in TIMES.values())
    assert set(found.figures.busy) == {float(work)}
    assert found.bound is not None
    assert float(work) < found.bound <= found.makespan


def drawn(seed: int) -> tuple[dict[str, Any], str]:
    draw = random.Random(seed)
    placement = draw.choice(["linear", "linear", "linear", "v", "interleaved"])
    stages = 2 if placement == "linear" else 4
    even = draw.random() < 0.5

    def column() -> list[float]:
        values = [draw.uniform(0.1, 3) for _ in range(stages)]
        return values[:1] * stages if even else values

    costs: dict[str, Any] = {
        "devices": 2,
        "stages": stages,
        "microbatches": 1 if stages == 4 else 2,
        "times": {key: column() for key in ("forward", "backward_input", "backward_weight")},
    }
    if draw.random() < 0.6:
        costs["p2p_latency"] = draw.uniform(0.0001, 0.3)
    if draw.random() < 0.5:
        activation = draw.uniform(0.01, 20)
        held = activation * draw.uniform(0, 1)
        limit = activation * draw.uniform(1.0, 3) * stages / 2
        costs["memory"] = {"activation": activation, "held_for_weight": held, "limit": limit}
    return costs, placement


@pytest.mark.exhaustive(3)
@pytest.mark.parametrize("seed", range(12))
def test_what_is_proven_is_so(seed: int) -> None:
    mapping, placement = drawn(seed)
    split, overlap = seed % 3 > 0, seed % 5 == 0
    costs = Pipeline.from_mapping(mapping)
    best = optimum(costs, placement, split=split, overlap=overlap)
    options = {"placement": placement, "split_backward": split, "overlap": overlap}
    try:
        found = ppopt.optimize(costs, time_limit=2, workers=1, **options)
    except InfeasibleError:
        assert best is None
        return
    assert best is not None
    assert exact_makespan(found) >= best
    assert found.bound is not None
    assert found.bound <= float(best)
    if found.status == "optimal":
        assert exact_makespan(found) == best


def test_a_gap_that_floats_cannot_tell_is_not_called_proven() -> None:
    times = {"forward": 0.1234567890123456, "backward_input": 0.1234567890123457, "backward_weight": 0.0987654321098765}
    costs = Pipeline.from_mapping({"devices": 4, "stages": 4, "microbatches": 8, "times": times})
    made = ppopt.compare(costs, ["zb-v"], optimize=False)
    (schedule,) = made.schedules
    assert schedule.proven is not None
    assert schedule.proven < schedule.exact_makespan
    assert float(schedule.proven) == schedule.makespan  # the gap is too small for a float
    assert made.bound is not None
    assert schedule.bound is not None
    assert made.bound < schedule.makespan
    assert schedule.bound < schedule.makespan
    assert "it is proven" not in made.verdict
