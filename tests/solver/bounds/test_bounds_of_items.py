"""No bound is above the optimum where microbatches differ or are cut into slices, against all orders of small ones."""

from __future__ import annotations

import random
from typing import Any

import pytest

from solver.bounds.makespan import load_bound, makespan_bound
from solver.errors import InfeasibleError
from solver.problem import Problem
from solver.repetition import is_regular
from strategies.model.pipeline import Pipeline
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem
from tests.solver.bounds.exact_optimum import ExactModel


def random_items(seed: int) -> tuple[Problem, str]:
    """Draw a small pipeline of microbatches that differ, and write it as a search does."""
    draw = random.Random(seed)
    name = draw.choice(["linear", "linear", "v", "interleaved"])
    devices = 2 if name != "linear" else draw.choice([1, 2, 2, 3])
    stages = devices * (2 if name in ("v", "interleaved") else 1)
    most = 2 if stages == 4 else 4
    sizes = [draw.randint(1, 6) / draw.choice([1, 2]) for _ in range(3)]
    listed: list[dict[str, Any]] = [
        draw.choice([{}, {"size": draw.choice(sizes), "attention": draw.choice(sizes)}])
        for _ in range(draw.randint(1, most))
    ]
    listed.append({"size": sizes[0], "attention": sizes[1]})
    if name == "linear" and draw.random() < 0.4:
        slices = draw.choice([2, [3, 9], [7, 5]])
        listed = [{"documents": [12], "slices": slices}, draw.choice([{}, {"documents": [12], "slices": slices}])]
    mapping: dict[str, Any] = {
        "devices": devices,
        "stages": stages,
        "microbatches": listed,
        "tokens": 10,
        "times": {
            "forward": [draw.randint(1, 5) for _ in range(stages)],
            "backward_input": [draw.randint(1, 5) for _ in range(stages)],
            "backward_weight": [draw.randint(1, 5) for _ in range(stages)],
            "attention": draw.choice([0, 0.5]),
        },
        "communication": {"transfer": draw.choice([0, 0, 2]), "latency": draw.choice([0, 1])},
        "memory": {"activation": 2, "held_for_weight": draw.choice([0, 1, 2])},
    }
    if draw.random() < 0.5:
        mapping["memory"]["limit"] = draw.choice([4, 6, 8, 11, 15])
    if draw.random() < 0.4:
        mapping["overlap"] = draw.choice([0.5, 1])
    if draw.random() < 0.3:
        mapping["overhead"] = 0.5
    pipeline = Pipeline.from_mapping(mapping)
    placement = make_placement(name, devices, stages, pipeline.microbatches)
    split, overlap = draw.random() < 0.6, draw.random() < 0.5
    problem = build_search_problem(pipeline, placement, split_backward=split, overlap=overlap)
    return problem, f"seed {seed}: {name} split={split} overlap={overlap} {mapping}"


@pytest.mark.exhaustive(2)
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(80))
def test_no_schedule_is_shorter_than_the_bound(block: int) -> None:
    for seed in range(25 * block, 25 * (block + 1)):
        problem, text = random_items(seed)
        model = ExactModel(problem)
        try:
            bound = max(makespan_bound(problem).value, load_bound(problem).value)
        except InfeasibleError:
            assert not model.is_shorter_than(None, 0.3), text
            continue
        assert not model.is_shorter_than(bound, 0.3), text


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(12))
def test_the_order_among_equal_ones_loses_no_makespan(seed: int) -> None:
    problem, text = random_items(9000 + seed)
    if len(problem.tasks) <= 18:
        assert ExactModel(problem, chains=True).solve() == ExactModel(problem).solve(), text


def test_nothing_follows_by_repetition_where_microbatches_differ() -> None:
    times = {"forward": 1, "backward": 2}
    alike, differing = (
        Pipeline.from_mapping({"devices": 2, "stages": 2, "microbatches": each, "times": times})
        for each in (40, [{"count": 20}, {"count": 20, "size": 2}])
    )
    placement = make_placement("linear", 2, 2, 40)
    assert is_regular(build_search_problem(alike, placement))
    assert not is_regular(build_search_problem(differing, placement))
