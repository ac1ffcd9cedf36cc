"""The number of stages that a model is cut into, and the number that its times are meant for."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from solver.errors import InputError
from strategies.given_model.stages import Cut, GivenModel, count_stages, in_stages
from strategies.language.orders import parse_strategy
from strategies.model.pipeline import Pipeline
from strategies.model.placements import make_placement
from strategies.order_files.given_order import GivenOrder, Named
from tests.strategies.made_models import model

OPEN: dict[str, Any] = {"devices": 4, "microbatches": 8, "times": {"forward": 1, "backward": 2}}


def pipeline(**changes: Any) -> Pipeline:
    return Pipeline.from_mapping(OPEN | changes)


def cut_for(made: GivenModel, text: str) -> Cut:
    return made.for_strategy(*parse_strategy(text))


def order(stages: int) -> GivenOrder:
    return GivenOrder(f"{stages}.csv", make_placement("interleaved", 4, stages, 8), [])


@pytest.mark.parametrize(
    ("text", "stages"),
    [("1f1b", 4), ("interleaved", 8), ("hanayo:waves=2", 16), ("zb-v", 8), ("interleaved:stages=4", 4)],
)
def test_alone_open_times_are_those_of_the_schedules_own_stages(text: str, stages: int) -> None:
    cut = cut_for(GivenModel(pipeline()), text)
    assert [cost.forward for cost in cut.pipeline.costs] == [1] * stages
    assert cut.given is cut.pipeline


@pytest.mark.parametrize(
    ("names", "placements", "times_of"),
    [
        (["interleaved"], [], 8),
        (["interleaved", "1f1b"], [], 4),
        (["interleaved", "hanayo:waves=2"], [], 8),
        (["hanayo:waves=2", order(12)], [], 12),
        (["zb-v"], ["interleaved"], 8),
        (["zb-v"], ["linear"], 4),
        ([], ["interleaved", "wave"], 8),
    ],
)
def test_side_by_side_open_times_are_those_of_the_fewest_stages(
    names: list[Named], placements: list[str], times_of: int
) -> None:
    made = GivenModel.of_several(pipeline(), names, placements)
    assert made.times_of == times_of
    assert made.settled().stages == times_of
    cut = cut_for(made, "hanayo:waves=2")
    assert [cost.forward for cost in cut.pipeline.costs] == [Fraction(times_of, 16)] * 16
    assert made.for_order(order(12)).pipeline.ideal == cut.pipeline.ideal == made.settled().ideal


def test_stages_that_are_given_are_kept_where_they_fit() -> None:
    made = GivenModel.of_several(pipeline(stages=16), ["1f1b"])
    assert cut_for(made, "interleaved").pipeline is made.pipeline
    assert made.for_placement("interleaved").pipeline is made.pipeline
    assert cut_for(made, "1f1b").pipeline.stages == 4
    assert cut_for(made, "interleaved:stages=8").pipeline.stages == 8
    one_a_device = GivenModel(pipeline(stages=4))
    assert cut_for(one_a_device, "interleaved").pipeline.stages == 4
    assert one_a_device.for_placement("interleaved").pipeline.stages == 8  # a search can use them
    with pytest.raises(InputError, match=r"^stages: the pipeline has 4, but 8.csv has 8$"):
        one_a_device.for_order(order(8))


@pytest.mark.parametrize("stages", [None, 4, 8])
def test_layers_without_a_cut_get_one_however_many_stages_are_given(stages: int | None) -> None:
    made = GivenModel(Pipeline(devices=4, microbatches=8, stages=stages, layers=model(14)))
    for text in ("1f1b", "interleaved", "zb-v"):
        cut = cut_for(made, text)
        assert cut.pipeline.costs == in_stages(made.pipeline, cut.pipeline.stages or 0).costs
        assert not cut.given.is_open_cut


@pytest.mark.parametrize(
    ("changes", "named", "stages"),
    [
        ({}, [], 4),
        ({}, ["interleaved"], 8),
        ({}, ["interleaved", "1f1b"], 4),
        ({}, [order(12)], 12),
        ({"stages": 6}, ["interleaved"], 6),
        ({"times": {"forward": [1] * 8}}, ["1f1b"], 8),
        ({"stages": 10**9}, [], 1_000_000),
        ({"stages": "many"}, [], 1),
    ],
)
def test_a_configuration_that_is_not_yet_checked_has_stages(
    changes: dict[str, Any], named: list[Named], stages: int
) -> None:
    assert count_stages(OPEN | changes, named) == stages
