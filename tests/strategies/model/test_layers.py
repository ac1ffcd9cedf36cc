from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppopt import InputError, Pipeline
from strategies.model.layers import Layers
from tests.strategies.made_models import DECODER, EMBEDDING, HEAD, all_cuts, model, models

LAYERS = [EMBEDDING, DECODER | {"count": 12}, HEAD]


def pipeline(**more: Any) -> Pipeline:
    return Pipeline.from_mapping({"devices": 4, "microbatches": 8, "layers": LAYERS} | more)


def one_kind(**more: Any) -> Any:
    return Layers.model_validate([{"name": "decoder", "forward": 1, **more}]).kinds[0]


def test_the_defaults_of_a_layer_are_those_of_a_stage() -> None:
    costs = one_kind(backward=3).costs
    assert costs[1:4] == (3, Fraction(3, 2), Fraction(3, 2))
    assert (costs.activation, costs.held_for_weight, costs.static) == (1, 1, 0)
    assert one_kind(backward_input=2, backward_weight=1).costs.backward == 3
    assert one_kind(backward=3, backward_weight=1).costs.backward_input == 2


def test_what_takes_no_time_keeps_nothing_by_default() -> None:
    assert one_kind(backward=0).costs.activation == 0
    assert one_kind(backward=2, backward_weight=0).costs[1:6] == (2, 2, 0, 1, 0)


def test_a_recomputed_layer_runs_its_forward_again_and_keeps_less() -> None:
    recomputed = model().kinds[1].recomputed
    assert recomputed is not None
    assert recomputed == (10, 30, 21, 9, 1, 1, 5)
    given = one_kind(backward=2, activation=9, held_for_weight=4, recompute={"time": 5, "activation": 2})
    assert given.recomputed[1:6] == (7, 6, 1, 2, 2)


@pytest.mark.parametrize(
    ("name", "letter"),
    [
        *(("embedding", "E"), ("tok_embeddings", "E"), ("wte", "E"), ("E", "E")),
        *(("decoder", "t"), ("moe", "t"), ("dense layer", "t"), ("t", "t")),
        *(("mtp", "m"), ("multi_token_prediction", "m"), ("MTP layer", "m")),
        *(("head", "L"), ("lm_head", "L"), ("loss", "L"), ("final_norm", "L"), ("output", "L"), ("unembedding", "L")),
    ],
)
def test_the_name_tells_the_letter(name: str, letter: str) -> None:
    kind = {"name": name, "forward": 1, "backward": 2}
    assert Layers.model_validate([kind]).letters == letter
    assert Layers.model_validate([kind | {"letter": "t"}]).letters == "t"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "layers: must be a list of kinds of layers, in the order of the model; found []"),
        ({"decoder": 3}, "layers: must be a list of kinds of layers, in the order of the model; found {'decoder': 3}"),
        ([{"name": "x", "forward": 0, "backward": 0}], "layers: must take some time; the forwards and"),
        ([{"forward": 1, "backward": 1}], "layers.0.name: is missing"),
        ([{"name": "x", "backward": 1}], "layers.0.forward: is missing"),
        ([{"name": "x", "forward": 1}], "layers.0.backward: is missing: give it, or both"),
        ([{"name": "x", "forwrd": 1, "forward": 1, "backward": 1}], "layers.0.forwrd: is not a known"),
        ([{"name": "x", "forward": -1, "backward": 1}], "layers.0.forward: must be at least 0; found -1"),
        ([{"name": "x", "forward": 1, "backward": float("nan")}], "layers.0.backward: must be a finite number"),
        ([{"name": "", "forward": 1, "backward": 1}], "layers.0.name: must be a name of at most 60"),
        ([{"name": "x", "count": 0, "forward": 1, "backward": 1}], "layers.0.count: must be a whole number"),
        (
            [{"name": "x", "letter": "T", "forward": 1, "backward": 1}],
            "layers.0.letter: must be one of E (embedding), t (decoder layer), m (multi-token prediction)",
        ),
        (
            [{"name": "x", "forward": 1, "backward": 2, "backward_weight": 2}],
            "layers.0.backward_weight: must be less than backward, which contains it; found 2 beside 2",
        ),
        (
            [{"name": "x", "forward": 1, "backward": 9, "backward_input": 2, "backward_weight": 2}],
            "layers.0.backward: contradicts the sum of its halves (at most 10% apart); found 9 beside 4",
        ),
        (
            [{"name": "x", "forward": 1, "backward": 2, "activation": 1, "held_for_weight": 2}],
            "layers.0.held_for_weight: must be at most the activation 1; found 2",
        ),
        (
            [{"name": "x", "forward": 1, "backward": 0, "activation": 2}],
            "layers.0.activation: must be 0 where the backward takes no time; found 2",
        ),
        (
            [{"name": "x", "forward": 1, "backward_input": 1, "backward_weight": 0, "held_for_weight": 1}],
            "layers.0.held_for_weight: must be 0 where backward_weight takes no time; found 1",
        ),
        (
            [{"name": "x", "forward": 1, "backward_input": 0, "backward_weight": 1, "held_for_weight": 0}],
            "layers.0.held_for_weight: must be all of the activation 1 where backward_input takes no time; found 0",
        ),
        (
            [{"name": "x", "forward": 1, "backward": 1, "activation": 1, "recompute": {"activation": 2}}],
            "layers.0.recompute.activation: must be at most the activation without recomputation, 1; found 2",
        ),
        (
            [{"name": "x", "forward": 1, "backward": 1, "recompute": {"activation": 1, "held_for_weight": 2}}],
            "layers.0.recompute.held_for_weight: must be at most the activation 1; found 2",
        ),
        (
            [{"name": "x", "forward": 1, "backward": 1, "recompute": {"tim": 1, "activation": 1}}],
            "layers.0.recompute.tim: is not a known key; did you mean time?",
        ),
        (
            [{"name": "x", "count": 7, "glue": 4, "forward": 1, "backward": 1}],
            "layers.0.count: must be a multiple of glue, 4 layers that stay together; found 7",
        ),
        (
            [{"name": "x", "count": 10**9, "forward": 1, "backward": 1}],
            "layers: must be at most 100,000 layers together; found 1,000,000,000",
        ),
        (
            [{"name": "x", "forward": 1, "backward": 1}, {"name": "x", "forward": 2, "backward": 1}],
            "layers: rows of one name must have the same costs, glue and letter; x differs",
        ),
        ([{"name": "x", "earliest_stage": 1.5, "forward": 1, "backward": 1}], "layers.0.earliest_stage: must be"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_key(layers: Any, message: str) -> None:
    with pytest.raises(InputError) as raised:
        pipeline(layers=layers)
    line, *others = str(raised.value).splitlines()
    assert line.startswith(message)
    assert not others


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"times": {"forward": 1, "backward": 2}}, "times: cannot be given beside layers, which have their own"),
        ({"memory": {"activation": 1}}, "memory.activation: cannot be given beside layers, which have their own"),
        ({"memory": {"static": 1}}, "memory.static: cannot be given beside layers, which have their own"),
        ({"layers": None, "layers_per_stage": [1, 1, 1, 1]}, "layers_per_stage: needs layers"),
        ({"recomputed_per_stage": [1, 1, 1, 1]}, "recomputed_per_stage: needs layers_per_stage"),
        ({"memory": {"limit": 5}}, "memory.limit: must hold the static memory, 6 for one layer of head; found 5"),
        (
            {"memory": {"limit": [17, 17, 17, 18]}},
            "memory.limit: must hold the static memory of all layers, 70; found 69 on all devices together",
        ),
    ],
)
def test_costs_come_from_one_place(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        pipeline(**more)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("pins", "stages", "message"),
    [
        ({"earliest_stage": 4}, 4, "layers.1.earliest_stage: must be one of 4 stages, −4 to 3; found 4"),
        ({"latest_stage": -5}, 4, "layers.1.latest_stage: must be one of 4 stages, −4 to 3; found -5"),
        (
            {"earliest_stage": 3, "latest_stage": 1},
            4,
            "layers.1.earliest_stage: must not come after latest_stage (1 of 4 stages, counted from 0); found 3",
        ),
    ],
)
def test_pins_must_leave_a_stage(pins: dict[str, int], stages: int, message: str) -> None:
    with pytest.raises(InputError) as raised:
        pipeline(layers=[LAYERS[0], LAYERS[1] | pins, LAYERS[2]], stages=stages)
    assert str(raised.value) == message


def test_pins_of_neighbours_may_not_cross() -> None:
    layers = [LAYERS[0] | {"earliest_stage": 2, "latest_stage": 3}, LAYERS[1] | {"latest_stage": 1}, LAYERS[2]]
    with pytest.raises(InputError, match=r"^layers.0: embedding has no stage: what comes before it begins on stage 2"):
        pipeline(layers=layers, stages=4)


def test_fewer_layers_than_stages_cannot_fill_them() -> None:
    with pytest.raises(InputError, match="are too few for 8 stages of which none may be empty; found 4"):
        model(2).stage_windows(8, empty=False)
    assert model(2).stage_windows(8) == ((0, 0), (0, 7), (7, 7))


@given(models(), st.integers(1, 4))
def test_windows_are_what_some_cut_uses(layers: Layers, stages: int) -> None:
    for empty in (True, False):
        places = list(allowed(layers, stages, empty))
        try:
            windows = layers.stage_windows(stages, empty=empty)
        except InputError:
            assert not places
            continue
        assert places
        if empty:
            for kind, (first, last) in enumerate(windows):
                used = {stage for cut in places for stage, counts in enumerate(cut) if counts[kind]}
                assert (min(used), max(used)) == (first, last)


def allowed(layers: Layers, stages: int, empty: bool) -> Any:
    """List all cuts that pins and glue allow, as layers of each kind on each stage, by trying every cut."""
    ends = [sum(kind.count for kind in layers.kinds[: place + 1]) for place in range(len(layers.kinds))]
    for cut in all_cuts(len(layers.groups), stages):
        stage_of = [stage for stage, count in enumerate(cut) for _ in range(count)]
        table = [[0] * len(ends) for _ in range(stages)]
        for stage, (kind, size) in zip(stage_of, layers.groups, strict=True):
            table[stage][kind] += size
        if not empty and not all(map(sum, table)):
            continue
        if all(
            may_lie(layers.kinds[kind], stage, stages)
            for stage, row in enumerate(table)
            for kind, n in enumerate(row)
            if n
        ):
            yield table


def may_lie(kind: Any, stage: int, stages: int) -> bool:
    first, last = kind.earliest_stage or 0, stages - 1 if kind.latest_stage is None else kind.latest_stage
    return (first + stages if first < 0 else first) <= stage <= (last + stages if last < 0 else last)
