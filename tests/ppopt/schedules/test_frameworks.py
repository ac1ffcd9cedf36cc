"""``framework``: communication as frameworks do it, and by time where no framework has a program."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt.commands.cli import cli
from strategies.language.registry import all_strategies
from strategies.model.communication import COMMUNICATING
from tests.examples import examples
from tests.lowered_orders import TIMES

OWN = {
    "1f1b": "Megatron-Core",
    "interleaved": "Megatron-Core",
    "dualpipe": "DualPipe's code",
    "dualpipe-v": "DualPipe's code",
}
SIZES = {"devices": 4, "microbatches": 8, "times": TIMES}


def pipeline(**more: Any) -> ppopt.Pipeline:
    return ppopt.Pipeline.from_mapping({**SIZES, **more})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def published(costs: ppopt.Pipeline) -> list[ppopt.Schedule]:
    """Run all published schedules that take the sizes; what is refused is refused for its sizes, and never hangs."""
    made, refused = [], []
    for name in all_strategies():
        try:
            made.append(ppopt.evaluate(costs, name))
        except ppopt.InputError as error:
            refused.append(str(error))
    assert not [each for each in refused if "hangs" in each or "crossed" in each]
    return made


@settings(max_examples=examples(12), deadline=None)
@given(
    st.sampled_from([(1, 3), (2, 2), (2, 5), (3, 6), (4, 6), (4, 8)]),
    st.sampled_from([{"p2p": "batched"}, {"framework": "megatron-overlap"}, {"framework": "zero-bubble"}]),
    st.sampled_from([0, Fraction(1, 2)]),
    st.sampled_from([TIMES, {"forward": 3, "backward": 5, "backward_input": 2, "backward_weight": 3}]),
)
def test_free_transfers_cost_nothing_where_a_placement_is_ours(
    sizes: tuple[int, int], waiting: dict[str, str], latency: Fraction, times: dict[str, int]
) -> None:
    devices, microbatches = sizes
    given = {"devices": devices, "microbatches": microbatches, "times": times, "communication": {"latency": latency}}
    found = published(ppopt.Pipeline.from_mapping({**given, **waiting}))
    assert len(found) > 10
    for made in found:
        assert made.unhindered_makespan is not None
        assert made.exact_makespan >= made.unhindered_makespan
        if made.placed_by == "time":
            assert made.exact_makespan == made.unhindered_makespan
        else:
            assert OWN[made.strategy] == made.placed_by


@settings(max_examples=examples(6), deadline=None)
@given(
    st.sampled_from([(2, 4), (3, 7), (4, 8)]),
    st.sampled_from(["megatron", "megatron-overlap", "zero-bubble", "dualpipe"]),
    st.lists(st.integers(1, 9), min_size=8, max_size=8),
    st.integers(0, 12),
)
def test_no_schedule_hangs_for_a_placement_that_is_ours(
    sizes: tuple[int, int], framework: str, forward: list[int], transfer: int
) -> None:
    devices, microbatches = sizes
    stages = {"stages": 8, "times": {"forward": forward, "backward": [2 * each for each in forward]}}
    if devices == 3:
        stages = {"stages": 6, "times": {"forward": forward[:6], "backward": forward[2:]}}
    given = {"devices": devices, "microbatches": microbatches, **stages, "communication": {"transfer": transfer}}
    for made in published(ppopt.Pipeline.from_mapping({**given, "framework": framework})):
        assert ppopt.violations(made.problem, made.rows, memory=False) == []


STANDS_FOR = {
    "megatron": {"p2p": "batched"},
    "megatron-overlap": {"p2p": "rendezvous", "communicators": "pair", "lowering": "megatron"},
    "pytorch": {"p2p": "rendezvous", "communicators": "pair", "lowering": "pytorch"},
    "pytorch-rank": {"p2p": "rendezvous", "communicators": "rank", "lowering": "pytorch"},
    "zero-bubble": {"p2p": "rendezvous", "communicators": "rank", "lowering": "timed"},
    "dualpipe": {"p2p": "batched"},
}


@pytest.mark.parametrize("framework", COMMUNICATING)
def test_a_framework_stands_for_its_keys(framework: str) -> None:
    costs = {"communication": {"transfer": 0.25}}
    short, long = pipeline(framework=framework, **costs), pipeline(**STANDS_FOR[framework], **costs)
    for name in ("interleaved", "zb-h1", "dualpipe-v"):
        one, other = ppopt.evaluate(short, name), ppopt.evaluate(long, name)
        assert (one.rows, one.placed_by) == (other.rows, other.placed_by)
    assert ppopt.Pipeline.from_mapping(short.to_mapping()) == short
    assert short.to_mapping()["framework"] == framework
    assert not short.to_mapping().keys() & {"p2p", "communicators", "lowering"}
    assert pipeline(framework=framework, **STANDS_FOR[framework], **costs) == short
    assert short.with_stages(8).recut(16).framework == framework
    assert short.without_waiting() == pipeline(**costs)


def test_two_devices_of_megatron_have_a_group_each_way() -> None:
    assert pipeline(framework="megatron-overlap").communicators == "pair"
    two = pipeline(framework="megatron-overlap").model_copy(update={"devices": 2})
    assert two.communicators == "edge"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"framework": "megatron", "p2p": "async"},
            "p2p: contradicts framework: megatron, which means p2p: batched; found async; leave one of the two out",
        ),
        (
            {"framework": "pytorch", "communicators": "rank"},
            "communicators: contradicts framework: pytorch, which means communicators: pair; found rank",
        ),
        (
            {"framework": "dualpipe", "lowering": "timed"},
            "lowering: contradicts framework: dualpipe, which has no lowering to choose; found timed",
        ),
        (
            {"framework": "megatorn"},
            "pytorch-rank, zero-bubble, dualpipe; found 'megatorn'; did you mean megatron?",
        ),
    ],
)
def test_contradictions_are_named_in_a_line(more: dict[str, str], message: str) -> None:
    with pytest.raises(ppopt.InputError) as caught:
        pipeline(**more)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
