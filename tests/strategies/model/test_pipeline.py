from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ppopt
from ppopt import InputError, Pipeline
from strategies.model.plausibility import doubts


def pipeline(**more: Any) -> Pipeline:
    return Pipeline.from_mapping({"devices": 2, "microbatches": 4} | more)


def test_times_are_a_number_a_list_or_a_mapping() -> None:
    for forward in (1.5, [1.5, 1.5], {0: 1.5, 1: 1.5}, {"1": 1.5, "0": 1.5}):
        made = pipeline(stages=2, times={"forward": forward, "backward": 2})
        assert [cost.forward for cost in made.costs] == [Fraction(3, 2)] * 2


def test_decimals_are_taken_as_written() -> None:
    made = pipeline(stages=2, times={"forward": 0.1, "backward": [1e-3, 18522.37]})
    assert made.costs[0].forward == Fraction(1, 10)
    assert made.costs[0].backward == Fraction(1, 1000)
    assert made.costs[1].backward == Fraction(1852237, 100)


@pytest.mark.parametrize(
    ("times", "halves"),
    [
        ({"backward": 3}, (3, 1.5, 1.5)),
        ({"backward": 3, "backward_input": 1}, (3, 1, 2)),
        ({"backward": 3, "backward_weight": 1}, (3, 2, 1)),
        ({"backward_input": 2, "backward_weight": 1}, (3, 2, 1)),
        ({"backward": 3.1, "backward_input": 2, "backward_weight": 1}, (3.1, 2, 1)),
    ],
)
def test_what_is_not_given_of_the_backward_follows(times: dict[str, float], halves: tuple[float, ...]) -> None:
    made = pipeline(stages=2, times={"forward": 1, **times})
    cost = made.costs[0]
    assert tuple(map(float, cost[1:4])) == halves
    assert made.block_duration(0, 1) == 1 + cost.backward


UNEVEN = {"forward": [1, 5], "backward": [20, 2]}


def test_without_a_rule_a_block_lasts_as_long_as_both_its_halves() -> None:
    made = pipeline(times=UNEVEN)
    assert [[made.block_duration(f, b) for b in range(2)] for f in range(2)] == [[21, 3], [25, 7]]


def test_a_share_of_the_shorter_half_is_saved() -> None:
    made = pipeline(times=UNEVEN, overlap=0.3)
    saved = [[Fraction(3, 10), Fraction(3, 10)], [Fraction(15, 10), Fraction(6, 10)]]
    alone = pipeline(times=UNEVEN, overlap=0)
    for f in range(2):
        for b in range(2):
            assert alone.block_duration(f, b) - made.block_duration(f, b) == saved[f][b]
    whole = pipeline(times=UNEVEN, overlap=1)
    assert [[whole.block_duration(f, b) for b in range(2)] for f in range(2)] == [[20, 2], [20, 5]]


def test_the_share_is_shown_with_the_costs() -> None:
    assert "; overlap 0.3; activation 1" in repr(pipeline(overlap=0.3))
    assert "overlap" not in repr(pipeline())


def test_given_per_stage_a_block_goes_by_the_stage_of_its_forward() -> None:
    made = pipeline(times={**UNEVEN, "overlapped_forward_backward": [3, 4]})
    assert [[made.block_duration(f, b) for b in range(2)] for f in range(2)] == [[3, 3], [4, 4]]


@pytest.mark.parametrize("overlap", [-0.1, 2, 40, True, "0.5", [0.5]])
def test_a_share_that_is_none_is_refused(overlap: object) -> None:
    with pytest.raises(InputError, match=r"^overlap: must (be at least 0 and less than 2|be a number); found"):
        pipeline(overlap=overlap)


@pytest.mark.parametrize("overlap", [0, 0.5])
def test_two_durations_of_blocks_are_a_contradiction(overlap: float) -> None:
    times = {"forward": 1, "backward": 2, "overlapped_forward_backward": 3}
    with pytest.raises(InputError, match=r"^overlap: contradicts times.overlapped_forward_backward, .*leave one"):
        pipeline(times=times, overlap=overlap)


@pytest.mark.parametrize("rule", [{}, {"overlap": 0.4}])
def test_a_cut_model_has_the_blocks_of_its_new_stages(rule: dict[str, float]) -> None:
    made = pipeline(times=UNEVEN, **rule)
    cut = made.recut(4)
    assert cut.overlap == made.overlap
    assert cut.times.overlapped_forward_backward is None
    assert cut.block_duration(0, 3) == Fraction(1, 2) + 1 - Fraction(1, 2) * (cut.overlap or 0)
    assert "overlapped_forward_backward" not in cut.to_mapping()["times"]
    assert Pipeline.from_mapping(cut.to_mapping()) == cut
    given = pipeline(times={**UNEVEN, "overlapped_forward_backward": [3, 4]}).recut(4)
    assert [given.block_duration(stage, 0) for stage in range(4)] == [1.5, 1.5, 2, 2]


def test_activations_default_to_one_kept_until_the_weight_gradient() -> None:
    cost = pipeline(stages=2).costs[1]
    assert (cost.activation, cost.held_for_weight) == (1, 1)
    cost = pipeline(stages=2, memory={"activation": [3, 4], "held_for_weight": 2}).costs[1]
    assert (cost.activation, cost.held_for_weight) == (4, 2)


def test_the_number_of_stages_follows_from_the_lists() -> None:
    assert pipeline(times={"forward": [1, 2, 3, 4], "backward": 1}).stages == 4
    assert pipeline().stages is None


PP_EMULATION = {
    "num_devices": 4,
    "num_stages": 8,
    "num_batches": 12,
    "visualization_port": 8050,
    "strategy": "interleave",
    "p2p_latency": 0.5,
    "microbatch_group_size_per_vp_stage": None,
    "op_times": {
        "forward": {stage: 1.0 + stage / 10 for stage in range(8)},
        "backward": 2.0,
        "backward_D": 1.0,
        "backward_W": 1.0,
        "overlapped_forward_backward": 2.5,
    },
}


def test_pp_emulations_configuration_loads_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(PP_EMULATION))
    made = Pipeline.from_file(file)
    assert (made.devices, made.stages, made.microbatches, made.p2p_latency) == (4, 8, 12, Fraction(1, 2))
    assert made.costs[3].forward == Fraction(13, 10)
    assert made.costs[0].overlapped == Fraction(5, 2)


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=12),
    st.integers(1, 24),
)
def test_recutting_keeps_the_model(forwards: list[int], stages: int) -> None:
    made = pipeline(
        devices=1, times={"forward": forwards, "backward": 2}, memory={"activation": forwards, "held_for_weight": 0.5}
    )
    cut = made.recut(stages)
    assert cut.stages == stages
    for column in (
        "forward",
        "backward",
        "backward_input",
        "backward_weight",
        "activation",
        "held_for_weight",
    ):
        totals = [sum(getattr(cost, column) for cost in each.costs) for each in (made, cut)]
        assert totals[0] == totals[1]
    assert cut.recut(len(forwards)).ideal == made.ideal


def test_recutting_splits_evenly_and_merges_neighbours() -> None:
    made = pipeline(times={"forward": [1, 3], "backward": [2, 4]})
    assert [float(cost.forward) for cost in made.recut(4).costs] == [0.5, 0.5, 1.5, 1.5]
    assert made.recut(4).recut(2).costs == made.costs


def test_what_was_written_reads_back() -> None:
    made = pipeline(stages=2, times={"forward": [0.1, 0.2], "backward": 2}, memory={"limit": 3}, p2p_latency=0.25)
    assert Pipeline.from_mapping(made.to_mapping()) == made
    json.dumps(made.to_mapping(), allow_nan=False)


def test_evaluating_alone_takes_times_per_stage_as_given_and_together_the_same_model() -> None:
    alone = ppopt.evaluate(pipeline(), "interleaved")
    together = ppopt.evaluate_all(pipeline(), ["1f1b", "interleaved"])
    assert alone.ideal == 2 * together[1].ideal
    assert together[0].ideal == together[1].ideal
    assert any("re-partitioned from 2 stages" in note for note in together[1].notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": 0}, "devices: must be a whole number of at least 1; found 0"),
        ({"devices": -1}, "devices: must be a whole number of at least 1; found -1"),
        ({"devices": 10**12}, "at least 8,000,000,000,000 operations; at most 30,000,000 are taken"),
        ({"stages": 10**12}, "at most 30,000,000"),
        ({"microbatches": 10**12}, "at most 30,000,000"),
        ({"microbatches": 10**5000}, "at most 30,000,000"),
        ({"devices": 2.0}, "devices: must be a whole number"),
        ({"devices": True}, "devices: must be a whole number"),
        ({"devices": None}, "devices: is missing"),
        ({"times": {"forward": [1, 1, 1], "backward": 1}}, "one entry for each stage, 2 or a multiple of it; found 3"),
        ({"device": 4}, "device: is not a known key; did you mean devices?"),
        ({"times": {"forwrad": 1}}, "times.forwrad: is not a known key; did you mean forward?"),
        ({"times": {"forward": 1}}, "times: backward is missing"),
        ({"times": {"forward": 0, "backward": 1}}, "times.forward: must be greater than 0; found 0"),
        ({"times": {"forward": -1.5, "backward": 1}}, "times.forward: must be greater than 0; found -1.5"),
        ({"times": {"forward": float("nan"), "backward": 1}}, "times.forward: must be a finite number; found nan"),
        ({"times": {"forward": float("inf"), "backward": 1}}, "times.forward: must be a finite number; found inf"),
        ({"times": {"forward": 1e300, "backward": 1}}, "times.forward: must lie between 1e-30 and 1e30"),
        ({"times": {"forward": "1", "backward": 1}}, "times.forward: must be a number; found '1'"),
        ({"times": {"forward": True, "backward": 1}}, "times.forward: must be a number; found True"),
        ({"times": {"forward": [1, "x"], "backward": 1}}, "times.forward: stage 1: must be a number; found 'x'"),
        ({"times": {"forward": [], "backward": 1}}, "times.forward: must be a number, or one for each stage"),
        ({"times": {"forward": {0: 1, 2: 1}, "backward": 1}}, "must name every stage from 0; stage 1 is missing"),
        ({"times": {"forward": {0: 1}, "backward": 1}, "stages": 2}, "must have one entry for each of the 2 stages"),
        ({"times": {"forward": [1, 1, 1], "backward": 1}, "stages": 2}, "times.forward: must have one entry for each"),
        (
            {"times": {"forward": [1, 1], "backward": [1, 1, 1, 1]}},
            "times.backward: must have one entry for each of the 2",
        ),
        (
            {"times": {"forward": 1, "backward": 5, "backward_input": 1, "backward_weight": 1}},
            "times.backward: contradicts",
        ),
        (
            {"times": {"forward": 1, "backward": 2, "backward_input": 3}},
            "times.backward_input: must be less than backward",
        ),
        ({"times": 3}, "times: must be a mapping of forward, backward"),
        (
            {"memory": {"activation": 1, "held_for_weight": 2}},
            "memory.held_for_weight: must be at most the activation 1",
        ),
        ({"memory": {"limit": [1, 2, 3]}}, "memory.limit: must have one entry for each of the 2 devices"),
        ({"memory": {"limit": -1}}, "memory.limit: must be at least 0; found -1"),
        ({"p2p_latency": -0.5}, "p2p_latency: must be at least 0; found -0.5"),
        ({"times": {"forward": {0: 1, "0": 1}, "backward": 1}}, "must name each stage once; stage 0 appears twice"),
        ({"times": {"forward": Decimal("1e-400"), "backward": 1}}, "times.forward: must lie between 1e-30 and 1e30"),
        ({"times": {"forward": Decimal("1e999999"), "backward": 1}}, "times.forward: must lie between"),
        ({"times": {"forward": Decimal("NaN"), "backward": 1}}, "times.forward: must be a finite number; found NaN"),
        ({"devices": Decimal("2.5")}, "devices: must be a whole number of at least 1; found 2.5"),
        ({1: 2}, "1: is not a known key; Allowed are devices"),
        ({"times": {2: 1}}, "times.2: is not a known key; Allowed are forward"),
        ({"num_devices": 2}, "devices: is given twice, as devices and as num_devices"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        Pipeline.from_mapping({"devices": 2, "microbatches": 4} | change)
    assert message in str(refused.value)


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(InputError) as refused:
        Pipeline.from_mapping({"devices": 0, "microbatch": 3, "times": {"forward": -1, "backward": 1}})
    lines = str(refused.value).split("\n")
    assert [line.split(":")[0] for line in lines] == ["devices", "microbatches", "times.forward", "microbatch"]


@pytest.mark.parametrize("wrong", [None, [], "1f1b", 3])
def test_a_configuration_is_a_mapping(wrong: Any) -> None:
    with pytest.raises(InputError, match="configuration: must be a mapping"):
        Pipeline.from_mapping(wrong)


def test_numbers_of_other_libraries_are_numbers() -> None:
    times = {"forward": np.float32(0.1), "backward": [np.float64(0.2), Decimal("0.3")]}
    made = pipeline(devices=np.int64(2), times=times, p2p_latency=np.int32(1))
    assert type(made.devices) is int
    assert [cost.backward for cost in made.costs] == [Fraction(1, 5), Fraction(3, 10)]
    assert (made.costs[0].forward, made.p2p_latency) == (Fraction(1, 10), 1)


def test_a_copy_has_its_own_costs() -> None:
    made = pipeline(stages=2)
    assert made.costs[0].forward == 1
    copy = made.model_copy(update={"times": {"forward": 5, "backward": 2}})
    assert [cost.forward for cost in copy.costs] == [5, 5]
    assert made.model_copy() == made
    with pytest.raises(InputError, match="device: is not a known key; did you mean devices"):
        made.model_copy(update={"device": 3})


def test_stages_are_settled_after_the_costs_were_asked_for() -> None:
    made = pipeline(stages=2)
    assert len(made.costs) == 2
    assert len(made.with_stages(4).costs) == 4


@pytest.mark.parametrize("stages", [0, -1, True, 2.0, None, "2", 10**12])
def test_a_wrong_number_of_stages_is_refused(stages: Any) -> None:
    for change in (pipeline(stages=2).recut, pipeline().with_stages):
        with pytest.raises(InputError, match=r"stages: must be a whole number of at least 1|are too many together"):
            change(stages)


def test_lists_hold_against_another_number_of_stages() -> None:
    with pytest.raises(InputError, match=r"times\.forward: must have one entry for each of the 4 stages"):
        pipeline(times={"forward": [1, 1], "backward": 1}).with_stages(4)


def test_a_cut_may_leave_the_range_of_what_is_written() -> None:
    made = pipeline(stages=2, times={"forward": 1e-30, "backward": 1e30}, memory={"activation": 1e30, "limit": [1, 2]})
    assert made.recut(8).costs[0].forward == Fraction(1, 4 * 10**30)
    assert made.recut(1).costs[0].activation == 2 * 10**30
    assert made.recut(4).memory.limit == (1, 2)
    assert made.recut(8).recut(2).costs == made.costs


@pytest.mark.parametrize(
    ("latency", "forward", "doubted"),
    [
        (601, 18.5, True),
        (10, 1, False),
        (10.01, 1, True),
        (0, 1, False),
        (30, [1, 2, 4, 1], False),
        (41, [1, 2, 4, 1], True),
    ],
)
def test_a_latency_of_more_than_ten_forwards_is_asked_about(latency: float, forward: Any, doubted: bool) -> None:
    mapping = {"devices": 4, "microbatches": 4, "times": {"forward": forward, "backward": 2}, "p2p_latency": latency}
    costs = Pipeline.from_mapping(mapping)
    found = list(doubts(costs))
    assert bool(found) == doubted
    assert all("are both in the same unit?" in line for line in found)
    for made in (ppopt.evaluate(costs, "interleaved"), ppopt.optimize(costs, time_limit=0)):
        assert [note for note in made.notes if "unit?" in note] == found


@pytest.mark.parametrize(("latency", "doubted"), [(390, False), (401, True)])
def test_layers_that_are_not_cut_yet_are_taken_as_stages_alike(latency: int, doubted: bool) -> None:
    layers = [{"name": "layer", "count": 8, "forward": 20, "backward": 40}]
    costs = Pipeline.from_mapping({"devices": 4, "microbatches": 4, "layers": layers, "p2p_latency": latency})
    found = list(doubts(costs))
    assert [note.partition(" the ")[2] for note in found] == [
        "average forward, 40; are both in the same unit?"
    ] * doubted
