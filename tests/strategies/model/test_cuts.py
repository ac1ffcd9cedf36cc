from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import ppopt
from ppopt import InputError, Pipeline
from strategies.model.cuts import check_cut, counts_by_kind, even_cut, stage_costs
from strategies.model.layers import Layers
from tests.strategies.made_models import DECODER, EMBEDDING, HEAD, model, models
from tests.strategies.model.test_layers import allowed

LAYERS = [EMBEDDING, DECODER | {"count": 12}, HEAD]


def pipeline(**more: Any) -> Pipeline:
    return Pipeline.from_mapping({"devices": 4, "microbatches": 8, "layers": LAYERS} | more)


def test_a_stage_costs_what_its_layers_cost() -> None:
    made = pipeline(layers_per_stage=[5, 3, 0, 6], recomputed_per_stage=[2, 3, 0, 0])
    first, second, third, last = made.costs
    assert made.stages == 4
    assert first[:4] == (1 + 40, 2 + 80 + 20, 1 + 44 + 20, 1 + 36)
    assert (first.activation, first.held_for_weight, first.static) == (1 + 2 * 10 + 2, 1 + 2 * 6 + 2, 4 + 20)
    assert second[:4] == (30, 60 + 30, 33 + 30, 27)
    assert (second.activation, second.static) == (3, 15)
    assert (*third.durations, *third.amounts) == (0,) * 7
    assert last.forward == 5 * 10 + 20
    assert last.static == 5 * 5 + 6


def test_an_open_cut_costs_nothing_yet() -> None:
    with pytest.raises(InputError, match=r"^layers_per_stage: is missing; give it, or cut the layers evenly$"):
        pipeline(stages=4).costs  # noqa: B018
    assert pipeline().is_open_cut
    assert not pipeline(layers_per_stage=[5, 3, 0, 6]).is_open_cut


def test_a_cut_is_the_pipeline_of_its_stages() -> None:
    made = pipeline().with_cut([4, 3, 3, 4])
    assert made == pipeline(layers_per_stage=[4, 3, 3, 4])
    stages = Pipeline.from_mapping(
        {
            "devices": 4,
            "microbatches": 8,
            "times": {
                "forward": [31, 30, 30, 50],
                "backward_input": [34, 33, 33, 53],
                "backward_weight": [28, 27, 27, 47],
            },
            "memory": {"activation": [31, 30, 30, 33], "held_for_weight": [19, 18, 18, 21], "static": [19, 15, 15, 21]},
        }
    )
    assert made.costs == stages.costs
    assert ppopt.evaluate(made, "zb-h1").makespan == ppopt.evaluate(stages, "zb-h1").makespan


def test_other_numbers_of_stages_are_cut_evenly_anew() -> None:
    made = pipeline(layers_per_stage=[8, 2, 2, 2])
    assert made.recut(4) is made
    assert made.recut(8).layers_per_stage == (3, 2, 2, 2, 1, 1, 1, 2)
    assert pipeline().with_stages(2 * 4) == made.recut(8)
    assert sum(cost.forward for cost in made.recut(8).costs) == sum(cost.forward for cost in made.costs)


@pytest.mark.parametrize("more", [{}, {"layers_per_stage": [4, 3, 3, 4]}])
@pytest.mark.parametrize("recomputed", [None, [2, 0, 0, 1]])
def test_written_and_read_again_it_is_the_same(more: dict[str, Any], recomputed: Any) -> None:
    if recomputed and more:
        more = more | {"recomputed_per_stage": recomputed}
    made = pipeline(memory={"limit": 500}, **more)
    mapping = made.to_mapping()
    assert "times" not in mapping
    assert mapping["memory"] == {"limit": 500}
    assert mapping.get("recomputed_per_stage") == (recomputed if more else None)
    assert Pipeline.from_mapping(mapping) == made


def test_several_kinds_that_can_be_recomputed_are_told_by_name() -> None:
    layers = [DECODER | {"name": name, "count": count} for name, count in (("dense", 2), ("moe", 5), ("dense", 1))]
    made = pipeline(devices=2, layers=layers, layers_per_stage=[4, 4], recomputed_per_stage=[{"moe": 1}, {"dense": 1}])
    assert made.recomputed_per_stage == ((0, 1, 0), (0, 0, 1))
    assert made.to_mapping()["recomputed_per_stage"] == [{"moe": 1}, {"dense": 1}]
    assert Pipeline.from_mapping(made.to_mapping()) == made
    assert made.with_cut([4, 4], [3, 0]).recomputed_per_stage == ((2, 1, 0), (0, 0, 0))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"layers_per_stage": 9},
            "layers_per_stage: must be a list with the number of layers of each stage; found 9",
        ),
        (
            {"layers_per_stage": [4, -3, 9, 4]},
            "layers_per_stage: stage 1: must be a whole number of at least 0; found -3",
        ),
        ({"layers_per_stage": [4, 3, 3, 3]}, "layers_per_stage: must sum to the 14 layers of the model; found 13"),
        (
            {"layers_per_stage": [4, 5, 5]},
            "layers_per_stage: must have one entry for each stage, 4 or a multiple of it; found 3 entries",
        ),
        (
            {"stages": 8, "layers_per_stage": [4, 3, 3, 4]},
            "layers_per_stage: must have one entry for each of the 8 stages; found 4 entries",
        ),
        (
            {"layers_per_stage": [0, 5, 4, 5]},
            "layers_per_stage: puts embedding on stage 1; allowed are stage 0",
        ),
        ({"layers_per_stage": [4, 4, 6, 0]}, "layers_per_stage: puts head on stage 2; allowed are stage 3"),
        (
            {"layers_per_stage": [4, 3, 3, 4], "recomputed_per_stage": [1, 1, 1]},
            "recomputed_per_stage: must have one entry for each of the 4 stages; found 3 entries",
        ),
        (
            {"layers_per_stage": [4, 3, 3, 4], "recomputed_per_stage": [4, 0, 0, 0]},
            "recomputed_per_stage: stage 0 holds 3 layers that can be recomputed; found 4",
        ),
        (
            {"layers_per_stage": [4, 3, 3, 4], "recomputed_per_stage": [{"head": 1}, 0, 0, 0]},
            "recomputed_per_stage: stage 0: 'head' is no kind that can be recomputed; there is decoder",
        ),
        (
            {"layers_per_stage": [4, 3, 3, 4], "recomputed_per_stage": [0, [1, 1], 0, 0]},
            "recomputed_per_stage: stage 1: must have one number for each of the 3 kinds of layers; found 2",
        ),
    ],
)
def test_a_wrong_cut_is_one_line_that_names_it(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        pipeline(**more)
    assert str(raised.value) == message


def test_glued_layers_are_not_parted() -> None:
    glued = model(12, glue=4)
    check_cut(glued, [5, 4, 0, 5])
    with pytest.raises(InputError, match="splits decoder after stage 1, after 6 of 12; 4 at a time stay together"):
        check_cut(glued, [5, 2, 2, 5])
    with pytest.raises(InputError, match="stage 2 is empty, and none may be"):
        check_cut(glued, [5, 4, 0, 5], empty=False)


def test_a_cut_needs_layers() -> None:
    plain = Pipeline.from_mapping({"devices": 2, "microbatches": 4})
    for cut in (lambda: plain.with_cut([1, 1]), lambda: plain.with_even_cut(2)):
        with pytest.raises(InputError, match="needs layers, and this pipeline gives the times of its stages"):
            cut()


def test_the_even_cut_is_megatrons_where_the_ends_are_pinned_and_torchtitans_where_they_are_not() -> None:
    assert even_cut(model(32), 8) == (5, 4, 4, 4, 4, 4, 4, 5)
    free = Layers.model_validate([kind | {"earliest_stage": None, "latest_stage": None} for kind in LAYERS])
    assert even_cut(free, 4) == (4, 4, 3, 3)
    assert even_cut(free, 5, empty=False) == (3, 3, 3, 3, 2)


@given(models(), st.integers(1, 4), st.booleans())
def test_the_even_cut_is_allowed_wherever_one_is(layers: Layers, stages: int, empty: bool) -> None:
    places = list(allowed(layers, stages, empty))
    assume(places)
    cut = even_cut(layers, stages, empty=empty)
    check_cut(layers, cut, empty=empty)
    assert [list(counts) for counts in counts_by_kind(layers, cut)] in places


@given(models(), st.integers(1, 4))
def test_a_cut_is_refused_exactly_where_it_is_not_allowed(layers: Layers, stages: int) -> None:
    places = list(allowed(layers, stages, empty=True))
    assume(places)
    good = {tuple(map(sum, table)) for table in places}
    for cut in list(good)[:5]:
        check_cut(layers, cut)
        moved = list(cut)
        moved[0] += 1
        moved[-1] -= 1
        if moved[-1] >= 0 and tuple(moved) not in good:
            with pytest.raises(InputError):
                check_cut(layers, moved)


@given(models(), st.integers(1, 4), st.data())
def test_all_totals_are_kept_by_every_cut(layers: Layers, stages: int, data: st.DataObject) -> None:
    places = list(allowed(layers, stages, empty=True))
    assume(places)
    table = data.draw(st.sampled_from(places))
    cut = tuple(map(sum, table))
    recomputed = tuple(
        tuple(data.draw(st.integers(0, n)) if kind.recompute else 0 for kind, n in zip(layers.kinds, row, strict=True))
        for row in table
    )
    costs = stage_costs(layers, cut, recomputed)
    plain = stage_costs(layers, cut)
    grown = sum(
        (
            (kind.recompute.time or 0) * twice
            for row in recomputed
            for kind, twice in zip(layers.kinds, row, strict=True)
            if kind.recompute
        ),
        Fraction(0),
    )
    for key in ("forward", "backward_weight", "static"):
        assert sum(getattr(cost, key) for cost in costs) == getattr(layers.sum_of_costs, key)
    for key in ("backward", "backward_input"):
        assert sum(getattr(cost, key) for cost in plain) == getattr(layers.sum_of_costs, key)
        assert sum(getattr(cost, key) for cost in costs) == getattr(layers.sum_of_costs, key) + grown
