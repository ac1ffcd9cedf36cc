"""What devices do beside computing, as a configuration says it: read, refused, written, cut again."""

from __future__ import annotations

import copy
import math
import pickle
from fractions import Fraction
from typing import Any

import pytest

from solver.errors import InputError
from strategies.model.pipeline import Pipeline

STAGES = {"devices": 4, "stages": 4, "microbatches": 8, "times": {"forward": 1, "backward": 2}}
OPEN = {key: value for key, value in STAGES.items() if key != "stages"}
LAYERS = {
    "devices": 2,
    "microbatches": 4,
    "layers": [{"name": "a", "count": 5, "forward": 1, "backward": 2}, {"name": "b", "forward": 1, "backward": 2}],
}
EACH = "must have a value for each kind of layers, such as {a: …, b: …}"

WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        STAGES,
        {"all_gather": [1, 2]},
        "all_gather: must have one entry for each of the 4 stages; found 2 entries",
    ),
    (
        STAGES,
        {"all_gather": {0: 1, 1: 1}},
        "all_gather: must have one entry for each of the 4 stages; found 2",
    ),
    (STAGES, {"all_gather": {0: 1, 2: 1}}, "all_gather: must name every stage from 0; stage 1 is missing"),
    (STAGES, {"all_gather": -1}, "all_gather: must be at least 0; found -1"),
    (STAGES, {"all_gather": "1"}, "all_gather: must be a number; found '1'"),
    (STAGES, {"all_gather": True}, "all_gather: must be a number; found True"),
    (STAGES, {"all_gather": math.nan}, "all_gather: must be a finite number; found nan"),
    (STAGES, {"all_gather": []}, "all_gather: must be a number, or one for each stage; found an empty list"),
    (STAGES, {"all_gather": 1e-40}, "all_gather: must lie between 1e-30 and 1e30; found 1e-40"),
    (STAGES, {}, "all_gather: is missing; give it, or bytes and bandwidth"),
    (STAGES, {"bandwidth": 2}, "all_gather: is missing; give it, or bytes and bandwidth"),
    (STAGES, {"bytes": 3}, "bytes: needs bandwidth, in bytes per unit of time"),
    (STAGES, {"bytes": 3, "bandwidth": 0}, "bandwidth: must be greater than 0; found 0"),
    (STAGES, {"bytes": 3, "bandwidth": 1, "all_gather": 1}, "all_gather: contradicts bytes"),
    (STAGES, {"bytes": 3, "bandwidth": 1, "reduce_scatter": 1}, "reduce_scatter: contradicts bytes"),
    (STAGES, {"all_gather": 1, "bandwidth": 1}, "bandwidth: is for bytes, and there are none; give them"),
    (STAGES, {"all_gather": 1, "bytes_gradients": 1}, "bytes_gradients: needs bytes"),
    (
        STAGES,
        {"all_gather": 1, "resident": 0},
        "resident: must be a whole number of at least 1, or auto; found 0",
    ),
    (STAGES, {"all_gather": 1, "resident": True}, "resident: must be a whole number of at least 1, or auto;"),
    (
        STAGES,
        {"all_gather": 1, "lookahead": "ful"},
        "lookahead: must be a whole number of at least 1, full, or",
    ),
    (
        STAGES,
        {"all_gather": 1, "reduce_stream": "sam"},
        "reduce_stream: must be one of same, own; found 'sam'",
    ),
    (STAGES, {"all_gather": 1, "weight": 3}, "weight: is not a known key; did you mean weights?"),
    (STAGES, {"all_gather": {"a": 1}}, "all_gather: is given by names of layers, but there are no layers"),
    (OPEN, {"all_gather": [1, 2, 3, 4]}, "all_gather: has one entry a stage, so it needs stages"),
    (LAYERS, {"all_gather": 1}, f"all_gather: {EACH}; found 1"),
    (LAYERS, {"all_gather": {0: 1, 1: 2}}, f"all_gather: {EACH}; found [1, 2]"),
    (
        LAYERS,
        {"all_gather": {"a": 1}},
        "all_gather: must name every kind of layers, and b is missing; give {a:",
    ),
    (
        LAYERS,
        {"all_gather": {"a": 1, "c": 1}},
        "all_gather: names 'c', which is no kind of layers; give {a: …,",
    ),
    (LAYERS, {"all_gather": {"a": 1, "b": -2}}, "all_gather: b: must be at least 0; found -2"),
    (LAYERS, {"all_gather": {"a": 1, "b": False}}, "all_gather: b: must be a number; found False"),
]


@pytest.mark.parametrize(("model", "sharding", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_sharding_gives_one_line(model: dict[str, Any], sharding: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Pipeline.from_mapping(model | {"sharding": sharding})
    assert str(error.value).startswith(f"sharding.{message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"sharding": True}, "sharding: must be a mapping of "),
        ({"sharding": [1]}, "sharding: must be a mapping of "),
        ({"data_parallel": 12}, "data_parallel: must be a mapping of all_reduce, overlap; found 12"),
        ({"data_parallel": {}}, "data_parallel.all_reduce: is missing"),
        (
            {"data_parallel": {"all_reduce": 1, "overlap": "no"}},
            "data_parallel.overlap: must be true or false; found 'no'",
        ),
        ({"data_parallel": {"all_reduce": 1, "overlap": 1}}, "data_parallel.overlap: must be true or false; found 1"),
        ({"data_parallel": {"all_reduce": [1, 2]}}, "data_parallel.all_reduce: must have one entry for each of the 4"),
        (
            {"data_parallel": {"all_reduce": 1}, "sharding": {"all_gather": 1}},
            "data_parallel: contradicts sharding, whose reduce_scatter reduces the gradients; leave one of the two out",
        ),
    ],
)
def test_other_wrong_streams_give_one_line(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Pipeline.from_mapping(STAGES | more)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


BY_STAGE = {"all_gather": [1, 0.1, 2, 3], "weights": {0: 1, 1: 2, 2: 3, 3: 0.7}, "gradients": 4, "resident": "auto"}
BY_LAYER = {"bytes": {"a": 3, "b": 0}, "bandwidth": 7, "weights": {"a": 1, "b": 5}, "lookahead": "auto"}
READ = [(STAGES, BY_STAGE), (OPEN, {"all_gather": 1, "lookahead": 2}), (LAYERS, BY_LAYER)]


@pytest.mark.parametrize(("model", "sharding"), READ)
def test_a_pipeline_is_written_read_copied_and_hashed(model: dict[str, Any], sharding: dict[str, Any]) -> None:
    made = Pipeline.from_mapping(model | {"sharding": sharding})
    copies = [Pipeline.from_mapping(made.to_mapping()), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)]
    for other in copies:
        assert other == made
        assert hash(other) == hash(made)
        assert other.sharding is not None
        assert type(other.sharding.weights) is type(made.sharding.weights)


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 8, 12])
@pytest.mark.parametrize("rate", [{}, {"bandwidth": 7}])
def test_a_new_cut_keeps_every_total_exactly(stages: int, rate: dict[str, int]) -> None:
    sharding: dict[str, Any] = BY_STAGE | {"reduce_scatter": [0.3, 0.7, 1, 2]}
    if rate:
        sizes = {"bytes": sharding.pop("all_gather"), "bytes_gradients": sharding.pop("reduce_scatter")}
        sharding |= sizes | rate
    made = Pipeline.from_mapping(STAGES | {"sharding": sharding, "data_parallel": None})
    cut = made.recut(stages)
    for name in ("gather", "reduce", "weights", "gradients"):
        whole = sum(getattr(each, name) for each in made.side_costs)
        assert sum(getattr(each, name) for each in cut.side_costs) == whole
    assert cut.sharding.bandwidth == made.sharding.bandwidth
    assert Pipeline.from_mapping(cut.to_mapping()).sharding.resident == "auto"


def test_costs_of_layers_add_up_on_their_stages() -> None:
    made = Pipeline.from_mapping(LAYERS | {"sharding": BY_LAYER, "layers_per_stage": [2, 4]})
    assert [each.gather for each in made.side_costs] == [Fraction(6, 7), Fraction(9, 7)]
    assert [each.weights for each in made.side_costs] == [2, 8]
    staged = made.as_stages()
    assert staged.layers is None
    assert staged.side_costs == made.side_costs
    assert staged.sharding.bandwidth == 7
