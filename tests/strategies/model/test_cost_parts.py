from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from strategies.model.cost_parts import Cost, PartsOfKinds, cost_parts
from strategies.model.pipeline import Pipeline
from tests.evaluated import pipeline

TIMES = {"forward": [1, 2, 3, 4], "backward": [2, 4, 6, 8.5], "backward_input": [1, 2.5, 3, 4]}
LAYERS = [
    {"name": "embedding", "forward": 1, "backward": 0, "latest_stage": 0},
    {"name": "decoder", "count": 10, "forward": 2, "backward": 5, "backward_input": 3, "backward_weight": 2.25,
     "recompute": {"activation": 0}},
    {"name": "head", "forward": 4, "backward": 8, "recompute": {"activation": 0, "time": 1}},
]  # fmt: skip


def layered(**more: Any) -> Pipeline:
    return Pipeline.from_mapping({"devices": 4, "microbatches": 8, "layers": LAYERS, **more})


def found(given: Pipeline, cut: Pipeline) -> PartsOfKinds:
    parts = cost_parts(given, cut)
    assert parts is not None
    return parts


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 6, 8, 16])
def test_parts_of_any_cut_add_up_to_its_times(stages: int) -> None:
    given = pipeline(2, 4, stages=4, times=TIMES)
    cut = given.recut(stages)
    parts = found(given, cut)
    for stage, costs in enumerate(cut.costs):
        assert sum(parts["F"][stage].values()) == costs.forward
        assert sum(parts["B"][stage].values()) == costs.backward
        assert sum(parts["I"][stage].values()) == costs.backward_input
    assert "block" not in parts


def test_parts_say_how_times_change_with_the_costs() -> None:
    given = pipeline(2, 4, stages=4, times=TIMES)
    slower = pipeline(2, 4, stages=4, times=TIMES | {"forward": [1, 2, 6, 4]})
    for stages in (2, 3, 8):
        parts, after = found(given, given.recut(stages)), slower.recut(stages)
        for stage, costs in enumerate(after.costs):
            twice = {cost: amount * (1 + (cost == Cost("forward", 2))) for cost, amount in parts["F"][stage].items()}
            assert sum(twice.values()) == costs.forward


def test_a_full_backward_belongs_to_the_costs_of_both_halves() -> None:
    given = pipeline(2, 4, stages=4, times=TIMES)
    parts = found(given, given)
    last = parts["B"][3]
    assert last[Cost("backward_input", 3)] == Fraction(4)
    assert last[Cost("backward_weight", 3)] == Fraction(9, 2)


def test_blocks_with_times_of_their_own_are_costs() -> None:
    given = pipeline(2, 4, stages=4, times=TIMES | {"overlapped_forward_backward": 5})
    parts = found(given, given.recut(8))
    assert parts["block"][7] == {Cost("overlapped_forward_backward", 3): Fraction(5, 2)}


def test_stages_of_layers_are_made_of_their_kinds() -> None:
    cut = layered(layers_per_stage=[3, 3, 3, 3], recomputed_per_stage=[1, 0, 0, {"head": 1}])
    parts = found(layered(), cut)
    assert parts["F"][0] == {Cost("forward", "embedding"): 1, Cost("forward", "decoder"): 4, Cost("forward", "head"): 0}
    assert parts["I"][0][Cost("forward", "decoder")] == 2  # the forward, run again
    assert parts["I"][3][Cost("backward_input", "head")] == 4 + 1
    for stage, costs in enumerate(cut.costs):
        assert sum(parts["B"][stage].values()) == costs.backward


def test_another_model_is_no_cut() -> None:
    assert cost_parts(pipeline(2, 4, stages=4, times=TIMES), pipeline(2, 4, stages=2)) is None
