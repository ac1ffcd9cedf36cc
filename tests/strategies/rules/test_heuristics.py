"""The schedules built from times: their use of the pipeline, and the cases in which their authors' code stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import InputError, Pipeline
from tests.evaluated import evaluated, pipeline
from tests.examples import examples

KEYS = ("forward", "backward_input", "backward_weight")
STOPS = {"forward": [8, 1, 5], "backward_input": [3, 2, 8], "backward_weight": [4, 9, 9]}
"""With these times each of the heuristic's eight variants orders an action before its input."""


@st.composite
def uneven(draw: st.DrawFn) -> Pipeline:
    p, m = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    durations = st.lists(st.integers(1, 9), min_size=p, max_size=p)
    activation = draw(st.integers(0, 3))
    memory: dict[str, Any] = {"activation": activation, "held_for_weight": draw(st.integers(0, activation))}
    if draw(st.booleans()):
        memory["limit"] = activation * draw(st.sampled_from([1, 1.5, p, 2 * p]))
    times = {key: draw(durations) for key in KEYS}
    return pipeline(p, m, times=times, p2p_latency=draw(st.sampled_from([0, 0.5, 20])), memory=memory)


@settings(max_examples=examples(120), deadline=None)
@given(costs=uneven())
def test_zb_auto_keeps_the_limit_or_says_that_no_variant_is_complete(costs: Pipeline) -> None:
    refused, made = "", None
    try:
        made = ppopt.evaluate(costs, "zb-auto", engine="graph")
    except InputError as error:
        refused = str(error)
    if made is None:
        assert refused.startswith("zb-auto: none of the heuristic's eight variants is complete")
    else:
        assert ppopt.violations(made.problem, made.rows) == []  # memory included


@settings(max_examples=examples(60), deadline=None)
@given(costs=uneven())
def test_zb_v_auto_runs_on_any_times(costs: Pipeline) -> None:
    evaluated("zb-v-auto", costs)


@pytest.mark.no_cover
@pytest.mark.parametrize(("name", "factor"), [("ZB-1p", 1), ("ZB-2p", 2)])
def test_table_5_of_the_zero_bubble_paper(data: Path, name: str, factor: int) -> None:
    for row in json.loads((data / "zero_bubble_profiles.json").read_text())["rows"]:
        limit = factor * row["devices"] * row["activation"]
        memory = {"activation": row["activation"], "held_for_weight": row["held_for_weight"], "limit": limit}
        times = {key: row[key] for key in KEYS}
        costs = pipeline(
            row["devices"], row["microbatches"], times=times, p2p_latency=row["p2p_latency"], memory=memory
        )
        made = ppopt.evaluate(costs, "zb-auto", engine="graph")
        assert round(made.span_bubble_ratio, 4) == row["span_bubble_ratio"][name], row["model"]


def test_more_memory_takes_zb_auto_from_1f1bs_bubble_to_none() -> None:
    spans = [
        evaluated("zb-auto", pipeline(8, 32, memory={"limit": limit})).span_bubble_ratio for limit in (1, 4, 8, 12, 16)
    ]
    assert spans == sorted(spans, reverse=True)
    assert spans[-1] == evaluated("zb-auto", pipeline(8, 32)).span_bubble_ratio == 0


def test_one_activation_at_a_time_is_enough_and_less_is_not() -> None:
    assert max(evaluated("zb-auto", pipeline(4, 6, memory={"limit": 1})).peak_memory) == 1
    with pytest.raises(InputError) as refused:
        ppopt.evaluate(pipeline(4, 6, memory={"limit": [4, 4, 0.5, 4]}), "zb-auto")
    assert str(refused.value) == "zb-auto: memory.limit: device 2 cannot hold one activation, 1; found 0.5"


def test_where_no_variant_is_complete_the_message_says_what_helps() -> None:
    with pytest.raises(InputError, match=r"^zb-auto: none of .* variants is complete .* a lower memory.limit may help"):
        ppopt.evaluate(pipeline(3, 4, times=STOPS), "zb-auto")
    assert evaluated("zb-auto", pipeline(3, 4, times=STOPS, memory={"limit": 3})).fits


def test_the_heuristics_take_the_latency_into_account() -> None:
    for name in ("zb-auto", "zb-v-auto"):
        near, far = (ppopt.evaluate(pipeline(4, 16, p2p_latency=latency), name) for latency in (0, 2))
        assert near.orders != far.orders
        replayed = ppopt.evaluate(pipeline(4, 16), name).orders
        assert replayed == near.orders


def test_interleaving_in_groups_takes_the_backward_into_account() -> None:
    light, heavy = (
        ppopt.evaluate(pipeline(6, 12, times={"forward": 1, "backward_input": i, "backward_weight": 1}), name)
        for i, name in ((1, "interleaved-group:group_size=3"), (8, "interleaved-group:group_size=3"))
    )
    assert max(heavy.peak_memory) > max(light.peak_memory)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (
            "interleaved-group:group_size=5",
            "interleaved-group: group_size: must be at most the number of devices, 4; found 5",
        ),
        ("hanayo:waves=2,stages=8", "hanayo:stages: contradicts waves=2, which are 16 stages on 4 devices; found 8"),
        ("hanayo:stages=12", "hanayo:stages: 12 do not fit 4 devices; 8 do"),
        ("eager-1f1b:depth=0", "eager-1f1b:depth: must be a whole number of at least 1; found 0"),
    ],
)
def test_options_that_cannot_work_are_refused(strategy: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        ppopt.evaluate(pipeline(4, 8), strategy)
    assert str(refused.value) == message


def test_the_waves_of_hanayo_cut_the_model() -> None:
    model = pipeline(4, 8, stages=4, times={"forward": 4, "backward": 8})
    one, two, stages = (ppopt.evaluate(model, name) for name in ("hanayo", "hanayo:waves=2", "hanayo:stages=16"))
    assert [each.pipeline.stages for each in (one, two, stages)] == [8, 16, 16]
    assert [each.strategy for each in (one, two, stages)] == ["hanayo", "hanayo:waves=2", "hanayo:stages=16"]
    assert two.makespan == stages.makespan < one.makespan
    assert [each.placement for each in (one, two)] == ["v", "wave"]
    both = ppopt.evaluate_all(pipeline(4, 8, times={"forward": 4, "backward": 8}), ["hanayo:waves=2", "1f1b"])
    assert [each.pipeline.costs[0].forward for each in both] == [1, 4]
