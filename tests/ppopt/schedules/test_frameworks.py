"""``framework``: communication as frameworks do it, and by time where no framework has a program."""

from __future__ import annotations

import contextlib
import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt.commands.cli import cli
from ppopt.commands.plan_printing import as_searched
from ppopt.comparison.ranking import comparison_of
from ppopt.schedules.replaying import replay_orders
from reports.page.tables import number_titles, numbers
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


def test_tables_json_and_the_page_say_what_is_placed_by_time() -> None:
    given = ["1f1b", "zb-h1", "--framework", "megatron", "--time", "backward=2", "--p2p-latency", "0.5"]
    table = run("evaluate", *given).stdout.splitlines()
    (megatrons,) = [line for line in table if " 1f1b " in line]
    (ours,) = [line for line in table if " zb-h1 " in line]
    assert "~" not in megatrons
    assert ours.split()[-1] == "~0.0%"
    assert "~ transfers placed by time: this communication is no framework's" in table
    schedules = json.loads(run("evaluate", *given, "--format", "json").stdout)["schedules"]
    assert [(each["framework"], each["p2p"], each["placed_by"]) for each in schedules] == [
        ("megatron", "batched", "Megatron-Core"),
        ("megatron", "batched", "time"),
    ]
    costs = pipeline(framework="megatron", p2p_latency=0.5)
    made = [ppopt.evaluate(costs, name) for name in ("1f1b", "zb-h1")]
    section = comparison_of(costs, made).section("c.yaml")
    place = number_titles(section).index("communication")
    assert [row[0].text + row[place].text.partition("%")[2] for row in numbers(section)] == [
        "zb-h1, placed by time",
        "1f1b",
    ]


def test_placed_by_time_is_marked_only_where_something_else_was_asked_for() -> None:
    assert not ppopt.evaluate(pipeline(p2p="rendezvous"), "zb-h1").placed_for_want_of_program
    assert not ppopt.evaluate(pipeline(framework="pytorch"), "zb-h1").placed_for_want_of_program
    assert ppopt.evaluate(pipeline(framework="zero-bubble"), "zb-h1").placed_for_want_of_program
    assert ppopt.evaluate(pipeline(p2p="links"), "zb-h1").placed_by == ""


def test_an_order_of_a_file_is_no_frameworks_whatever_the_file_is_called(tmp_path: Path) -> None:
    costs = pipeline(p2p="batched", communication={"transfer": 0.5})
    path = tmp_path / "1f1b:x.csv"
    ppopt.export(ppopt.evaluate(costs, "1f1b"), path)
    with contextlib.chdir(tmp_path):
        assert ppopt.evaluate(costs, path.name).placed_by == "time"


def test_a_rehearsal_takes_no_framework() -> None:
    result = run("rehearse", "1f1b", "--framework", "megatron")
    assert result.exit_code != 0
    assert "--framework: a rehearsal runs PyTorch's runtime; choose its queues with --communicators" in str(
        result.output
    )


@pytest.mark.parametrize("framework", COMMUNICATING)
def test_a_saved_search_replays_without_the_framework(framework: str) -> None:
    plan = SimpleNamespace(pipeline=pipeline(stages=4, framework=framework, communication={"transfer": 0.5}))
    saved = ppopt.Pipeline.from_mapping(as_searched(plan, plan.pipeline.to_mapping()))
    found = ppopt.optimize(plan.pipeline, time_limit=0, workers=1)
    again = replay_orders("saved", saved, found.layout, found.actions, "graph")
    assert again.rows == found.rows
