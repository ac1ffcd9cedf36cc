"""Searches of orders of microbatches that differ, or are cut into slices."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem
from tests.running import call_ppopt
from tests.solver.bounds.exact_optimum import ExactModel


def drawn(seed: int) -> Pipeline:
    draw = random.Random(seed)
    listed: list[dict[str, Any]] = [
        {"size": draw.choice([0.5, 1, 2, 3]), "attention": draw.choice([1, 4])} for _ in range(draw.randint(2, 3))
    ]
    if seed % 3 == 0:
        listed = [{"documents": [12], "slices": [5, 7]}, {"documents": [20], "slices": 2}]
    return Pipeline.from_mapping(
        {
            "devices": 2,
            "tokens": 10,
            "microbatches": listed,
            "times": {"forward": [1, 2], "backward": [3, 2], "attention": 0.5},
            "p2p_latency": draw.choice([0, 0.5]),
            "memory": {"limit": draw.choice([4, 5, 9])},
        }
    )


@pytest.mark.exhaustive(3)
@pytest.mark.parametrize("seed", range(12))
def test_a_search_proves_the_optimum_of_small_ones(seed: int) -> None:
    pipeline = drawn(seed)
    try:
        found = ppopt.optimize(pipeline, time_limit=20, workers=1, split_backward=seed % 2 == 0)
    except ppopt.InfeasibleError:
        assert max(cost.activation for costs in pipeline.costs_by_class for cost in costs) > 1
        return
    problem = build_search_problem(found.pipeline, found.layout, split_backward=seed % 2 == 0)
    optimum = ExactModel(problem).solve()
    assert optimum is not None
    assert found.exact_makespan == Fraction(optimum, problem.ticks_per_unit)
    assert found.status == "optimal"
    assert not ppopt.violations(found.problem, found.rows)


def test_a_search_is_never_worse_than_published_schedules_in_the_best_feeding_order() -> None:
    draw = random.Random(4)
    sizes = [{"size": draw.randint(2, 20) / 10} for _ in range(8)]
    pipeline = Pipeline.from_mapping(
        {"devices": 4, "microbatches": sizes, "times": {"forward": 1, "backward": 2}, "memory": {"limit": 6}}
    )
    found = ppopt.optimize(pipeline, time_limit=1, workers=1, split_backward=False)
    rivals = [ppopt.evaluate(pipeline.model_copy(update={"feed": feed}), "1f1b") for feed in ("given", "pyramid")]
    assert found.fits
    assert all(found.makespan <= rival.makespan for rival in rivals if rival.fits)
    assert found.bound is not None
    assert found.bound <= found.makespan


@pytest.mark.parametrize("command", ["plan", "frontier", "rehearse", "calibrate"])
def test_who_takes_only_equal_microbatches_says_so_by_name(command: str, tmp_path: Path) -> None:
    lengths = tmp_path / "lengths.txt"
    lengths.write_text("10 20\n5\n")
    more = {"rehearse": ["1f1b"], "calibrate": ["--measured", "1f1b=10"], "plan": ["1f1b"]}.get(command, [])
    given = ["--devices", "2", "--lengths", str(lengths), "--tokens", "10"]
    if command == "frontier":  # takes those of stages, and not of layers
        given = ["-c", str(_layers(tmp_path))]
    done = call_ppopt(command, *more, *given)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert command in done.stderr
    assert "alike" in done.stderr


def _layers(folder: Path) -> Path:
    config = folder / "layers.json"
    layers = [{"name": "t", "count": 4, "forward": 1, "backward": 2}]
    config.write_text(json.dumps({"devices": 2, "layers": layers, "microbatches": [{"size": 2}, {}]}))
    return config


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(3))
def test_a_frontier_has_the_optimum_at_each_of_its_limits(seed: int) -> None:
    draw = random.Random(seed)
    listed = [{"size": draw.choice([1, 2, 3]), "attention": draw.choice([1, 2])} for _ in range(3)]
    pipeline = Pipeline.from_mapping(
        {
            "devices": 2,
            "stages": 2,
            "microbatches": listed,
            "times": {"forward": [1, 2], "backward": [3, 2], "attention": 0.5},
            "p2p_latency": 0.5,
        }
    )
    found = ppopt.frontier(pipeline, placement="linear", time_limit=12, workers=1)
    layout = make_placement("linear", 2, 2, 3)
    for point in found.points:
        problem = build_search_problem(pipeline.with_limit(Fraction(str(point.limit))), layout)
        optimum = ExactModel(problem).solve()
        assert optimum is not None
        assert point.makespan == float(Fraction(optimum, problem.ticks_per_unit))
        assert all(bound <= point.makespan for limit, bound in found.bounds if limit >= float(point.limit))


def test_nothing_is_searched_or_claimed_in_two_directions() -> None:
    """The feed decides which microbatches pass which way: two feeds of the same ones have different optima."""
    sizes = [{"size": 3}, {"size": 2}, {"size": 1}, {"size": 0.5}]
    given = Pipeline.from_mapping({"devices": 2, "microbatches": sizes, "memory": {"static": 1}})
    for pipeline in (drawn(0), given):
        with pytest.raises(InputError, match="in two directions the feed decides"):
            ppopt.optimize(pipeline, placement="bidirectional", time_limit=1)
    made = ppopt.compare(given, ["1f1b", "chimera"], time_limit=1)
    assert "chimera" not in [each.strategy for each in made.schedules]
    assert "bidirectional" not in made.searched
    assert [name for name, reason in made.left_out if "in two directions" in reason] == ["bidirectional", "chimera"]
    fed = [given.model_copy(update={"feed": feed}) for feed in ((0, 1, 2, 3), (0, 3, 1, 2))]
    assert len({ppopt.evaluate(each, "chimera").makespan for each in fed}) == 2


def test_every_search_of_all_placements_names_those_of_two_directions_in_the_same_sentence(tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"devices": 2, "microbatches": [{"size": 2}, {"count": 2}], "memory": {"limit": 9}}))
    said = (
        "bidirectional: microbatches: differ, and in two directions the feed decides which of them pass which way, so "
        "no bound is known; ppopt evaluate replays such a schedule as it is fed"
    )
    for command in ("optimize", "compare", "frontier"):
        named = [] if command == "compare" else ["--placement", "all"]
        more = ["--strategies", "1f1b"] if command == "compare" else []
        result = call_ppopt(command, "-c", str(config), "--time-limit", "1", *named, *more)
        assert result.returncode == 0
        assert f"left out: {said}" in result.stdout + result.stderr, command
    alone = call_ppopt("optimize", "-c", str(config), "--time-limit", "1", "--placement", "linear")
    assert "left out: bidirectional" not in alone.stdout + alone.stderr
