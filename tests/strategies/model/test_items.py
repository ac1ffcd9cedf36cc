"""Microbatches that differ: what a configuration may say, the factors that follow, and wrong input in one line."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from ppopt import InputError, Pipeline
from strategies.model.items import pyramid

BASE = {"devices": 4, "tokens": 8192, "times": {"forward": 3, "backward": 6, "attention": 0.25}}


def pipeline(microbatches: Any, **more: Any) -> Pipeline:
    return Pipeline.from_mapping({**BASE, "microbatches": microbatches, **more})


def test_size_and_attention_follow_from_documents() -> None:
    made = pipeline([{"documents": [4096, 1200], "count": 2}])
    assert made.microbatches == 2
    assert made.items.classes == ((Fraction(5296, 8192), Fraction(4096**2 + 1200**2, 8192**2)),)


def test_a_time_grows_by_its_share_with_tokens_and_with_pairs_of_tokens() -> None:
    made = pipeline(
        [{"size": 2, "attention": 4}, {"count": 3}], memory={"activation": 3, "held_for_weight": 1}, stages=4
    )
    long, usual = made.costs_by_class
    assert usual == made.measured
    assert long[0].forward == 3 * (Fraction(3, 4) * 2 + Fraction(1, 4) * 4)
    assert long[0].backward == 6 * (Fraction(3, 4) * 2 + Fraction(1, 4) * 4)
    assert (long[0].activation, long[0].held_for_weight) == (6, 2)


def test_the_halves_of_a_backward_have_its_attention_and_w_has_none() -> None:
    long = pipeline([{"size": 2, "attention": 10}, {}], stages=4).costs_by_class[0][0]
    assert long.backward_weight == 3 * 2
    assert long.backward_input + long.backward_weight == long.backward
    said = pipeline(
        [{"size": 2, "attention": 10}, {}], stages=4, times=BASE["times"] | {"attention_weight": 0.5}
    ).costs_by_class[0][0]
    assert said.backward_weight == 3 * (Fraction(1, 2) * 2 + Fraction(1, 2) * 10)
    assert said.backward_input + said.backward_weight == said.backward


def test_w_has_the_attention_that_i_is_too_short_for() -> None:
    times = {"forward": 1, "backward": 2, "backward_input": 0.5, "attention": 0.5}
    costs = pipeline([{"size": 1, "attention": 3}, {}], times=times, stages=4).costs_by_class[0][0]
    assert (costs.backward_input, costs.backward_weight) == (Fraction(3, 2), 1 + Fraction(3, 2))
    assert costs.backward == 4


def test_attention_may_be_missing_and_then_grows_with_the_size() -> None:
    assert pipeline([{"size": 2}, {}]).items.classes[0] == (2, 2)


def test_a_size_for_each_stage() -> None:
    made = pipeline([{"size": [1, 1, 1, 3], "attention": 2}, {}])
    assert made.stages == 4
    assert [cost.activation for cost in made.costs_by_class[0]] == [1, 1, 1, 3]
    with pytest.raises(InputError, match=r"microbatches.0.size: is given for each of the 4 stages"):
        made.recut(8)


def test_work_is_that_of_the_mean_microbatch() -> None:
    made = pipeline([{"size": 3, "attention": 9}, {"count": 2}, {"size": 0.5}], stages=4)
    total = sum(made.costs_by_class[each][0].forward for each in made.items.of)
    assert made.work[0].forward * 4 == total
    assert (
        made.ideal
        == sum(cost.forward + cost.backward for each in made.items.of for cost in made.costs_by_class[each]) / 4
    )


def test_a_list_of_microbatches_as_measured_is_their_number() -> None:
    assert pipeline([{"count": 3}, {"size": 1}, {"documents": [8192]}]) == pipeline(5)


def test_recutting_spreads_what_grows_with_pairs_of_tokens() -> None:
    times = {"forward": [1, 2, 4, 8], "backward": [3, 3, 5, 7], "attention": [0.1, 0.2, 0.3, 0.9]}
    made = pipeline([{"size": 2, "attention": 7}, {}], times=times)
    for stages in (2, 8, 6):
        cut = made.recut(stages)
        for key in ("forward", "backward", "backward_input", "backward_weight", "activation"):
            for here, there in zip(cut.costs_by_class, made.costs_by_class, strict=True):
                assert sum(getattr(cost, key) for cost in here) == sum(getattr(cost, key) for cost in there)


def test_layers_have_shares_of_their_own() -> None:
    layers = [
        {"name": "embedding", "count": 1, "forward": 1, "backward": 1},
        {"name": "block", "count": 3, "forward": 2, "backward": 4, "attention": 0.5, "recompute": {"activation": 0}},
    ]
    mapping: dict[str, Any] = {
        "devices": 2,
        "tokens": 100,
        "layers": layers,
        "microbatches": [{"size": 2, "attention": 6}, {}],
    }
    made = Pipeline.from_mapping(mapping | {"layers_per_stage": [2, 2], "recomputed_per_stage": [0, 1]})
    long = made.costs_by_class[0]
    assert long[0].forward == 1 * 2 + 2 * (1 + 3)
    assert long[1].backward == 4 * (1 + 3) + 6 * (1 + 3)
    alike = made.averaged()
    assert [cost.forward for cost in alike.work] == [cost.forward for cost in made.work]
    assert [cost.backward_weight for cost in alike.work] == [cost.backward_weight for cost in made.work]
    assert [cost.activation for cost in alike.work] == [cost.activation for cost in made.work]


def test_the_pyramid_has_small_microbatches_at_both_ends() -> None:
    assert pyramid([Fraction(each) for each in (5, 1, 4, 2, 3)]) == [1, 4, 0, 2, 3]
    made = pipeline([{"size": each} for each in (5, 1, 4, 2, 3)], feed="pyramid")
    assert made.items.feed == (1, 4, 0, 2, 3)
    assert [made.items.classes[each].size for each in made.items.of] == [1, 3, 5, 4, 2]
    given = pipeline([{"size": each} for each in (5, 1, 4)], feed=[2, 0, 1])
    assert [given.items.classes[each].size for each in given.items.of] == [4, 5, 1]


def test_a_pipeline_is_written_as_it_was_read() -> None:
    listed = [{"count": 3, "size": 2, "attention": 4}, {"documents": [4096, 1200]}, {"slices": 4, "cut": "equal"}]
    made = pipeline(listed, feed="pyramid")
    mapping = made.to_mapping()
    assert mapping["microbatches"] == listed
    assert Pipeline.from_mapping(mapping) == made


@pytest.mark.parametrize(
    ("listed", "more", "message"),
    [
        ([], {}, "microbatches: must be a number, or a list of mappings of count, size"),
        ([3], {}, "microbatches.0: must be a number, or a list"),
        ([{"count": 0}], {}, "microbatches.0.count: must be a whole number of at least 1; found 0"),
        ([{"size": 0}], {}, "microbatches.0.size: must be greater than 0; found 0"),
        ([{"size": -1}], {}, "microbatches.0.size: must be greater than 0; found -1"),
        ([{"size": float("nan")}], {}, "microbatches.0.size: must be a finite number; found nan"),
        ([{"documents": [0]}], {}, "microbatches.0.documents: must be a whole number of at least 1; found 0"),
        ([{"documents": [4.5]}], {}, "microbatches.0.documents: must be a whole number of at least 1; found 4.5"),
        ([{"documents": []}], {}, "microbatches.0.documents: must be a list of numbers of tokens"),
        ([{"sise": 1}], {}, "microbatches.0.sise: is not a known key; did you mean size"),
        ([{}, {"documents": [10], "slices": 20}], {}, "microbatches.1.slices: must be at most the 10 tokens"),
        ([{"documents": [10], "slices": [5, 6]}], {}, "microbatches.0.slices: must have the 10 tokens .* found 11"),
        ([{"size": 2, "documents": [10]}], {}, "microbatches.0.size: follows from documents"),
        ([{"cut": "equal"}], {}, "microbatches.0.cut: needs slices"),
        ([{"slices": 2, "cut": "even"}], {}, "microbatches.0.cut: must be balanced"),
        ([{"documents": [10]}], {"tokens": None}, "microbatches.0.documents: needs tokens"),
        ([{"size": [1, 2, 3]}], {}, "microbatches.0.size: must have one entry for each stage"),
        ([{"size": 2}], {"feed": "best first"}, "feed: must be one of given, pyramid"),
        ([{"size": 2}, {}], {"feed": [0, 0]}, "feed: must name each of the 2 microbatches once"),
        ([{"size": 2}], {"tokens": 0}, "tokens: must be a whole number of at least 1"),
        ([{"size": 2}], {"entries": 1}, "entries: is not a known key; did you mean microbatches"),
        ([{"count": 10**12, "size": 2}], {}, "devices, stages, microbatches: are too many together"),
        (
            [{"size": 2}],
            {"times": {"forward": 1, "backward": 2, "overlapped_forward_backward": 2}},
            "times.overlapped_forward_backward: gives the time of a block by its forward's stage",
        ),
        ([{"size": 2}], {"times": {"forward": 1, "backward": 2, "attention": 2}}, "times.attention: must lie between"),
    ],
)
def test_wrong_input_is_refused_in_one_line(listed: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        pipeline(listed, **more)
    assert "\n" not in str(caught.value)


def test_balanced_slices_cost_the_same_to_within_a_token() -> None:
    draw = random.Random(1)
    for _ in range(40):
        share = draw.choice([0, 0.25, 0.5, 0.8, 1])
        length, slices = draw.randint(50, 70_000), draw.choice([1, 2, 3, 4, 8])
        times = {"forward": 1, "backward": 2, "attention": share}
        made = pipeline(
            [{"documents": [length], "slices": slices}, {}], times=times, tokens=draw.randint(10, 9000), stages=4
        )
        of = [made.costs_by_class[each][0].forward for each in made.items.of[:slices]]
        tokens = made.tokens or 1
        dearest = (1 - Fraction(str(share))) / tokens + Fraction(str(share)) * (2 * length - 1) / tokens**2
        assert max(abs(each - sum(of) / slices) for each in of) <= dearest
        assert (
            sum(of)
            == pipeline([{"documents": [length]}, {}], times=times, tokens=tokens, stages=4)
            .costs_by_class[0][0]
            .forward
        )


def test_slices_of_packed_documents_have_only_pairs_within_documents() -> None:
    made = pipeline([{"documents": [30, 70], "slices": [20, 30, 50]}, {}], tokens=100)
    tokens = [0] * 30 + [1] * 70
    ends = [0, 20, 50, 100]
    for item, (start, end) in enumerate(pairwise(ends)):
        seen = [sum(tokens[key] == tokens[query] for key in range(query)) for query in range(start, end)]
        assert made.items.classes[made.items.of[item]].attention == Fraction(2 * sum(seen) + end - start, 100**2)
