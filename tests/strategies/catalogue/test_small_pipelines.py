"""Every schedule runs on any pipeline that meets its requirements, however small."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import DeadlockError, InputError
from strategies.language.registry import all_strategies
from tests.evaluated import evaluated, pipeline
from tests.examples import examples

NAMES = list(all_strategies())
MAY_DEADLOCK = ("interleaved", "interleaved-overlap")


def test_the_26_schedules_are_there() -> None:
    assert NAMES == [
        "1f1b", "1f1b-overlap", "1f1b-v", "chimera", "dualpipe", "dualpipe-v", "eager-1f1b", "gpipe", "hanayo",
        "interleaved", "interleaved-group", "interleaved-overlap", "looped-bfs", "pipeoffload", "seq1f1b", "v-half",
        "v-half-primus", "v-min", "v-min-primus", "zb-auto", "zb-h1", "zb-h2", "zb-interleaved", "zb-v", "zb-v-auto",
        "zb1p",
    ]  # fmt: skip


@pytest.mark.exhaustive(30)
@pytest.mark.no_cover
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("p", [1, 2, 3, 4, 5])
def test_a_schedule_runs_completely_or_says_why_not(name: str, p: int) -> None:
    strategy = all_strategies()[name]
    for m in range(1, 2 * p + 4):
        costs = pipeline(p, m)
        if strategy.requirements.unmet(name, costs):
            with pytest.raises(InputError, match=rf"^{name} needs an? (even )?number of .*{m if p % 2 == 0 else ''}"):
                ppopt.evaluate(costs, name)
            continue
        try:
            made = evaluated(name, costs)
        except DeadlockError as error:
            assert name in MAY_DEADLOCK
            assert m % p
            assert_cycle(error)
            continue
        assert len(made.timeline) == len(made.problem.tasks)


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data(), p=st.integers(1, 9), m=st.integers(1, 20))
def test_no_schedule_deadlocks_but_where_its_rule_says_so(data: st.DataObject, p: int, m: int) -> None:
    strategy = all_strategies()[data.draw(st.sampled_from([name for name in NAMES if name not in MAY_DEADLOCK]))]
    bounds = {"group_size": p, "waves": 3, "depth": 5, "slices": 5, "equal": 2}
    options = {key: data.draw(st.none() | st.integers(1, bounds[key])) for key in strategy.options}
    if strategy.requirements.stages_per_device is None and "waves" not in strategy.options:
        options["stages"] = p * data.draw(st.integers(1, 4))
    if options.get("slices") is None:
        options.pop("equal", None)
    costs = pipeline(p, m, p2p_latency=data.draw(st.sampled_from([0, 0.5, 7])), tokens=40)
    if not strategy.requirements.unmet(strategy.name, costs):
        made = ppopt.evaluate(costs, strategy.name, engine="graph", **options)
        assert ppopt.violations(made.problem, made.rows) == []
        assert len(made.timeline) == len(made.problem.tasks)


@pytest.mark.parametrize("name", NAMES)
def test_both_engines_give_the_same_times(name: str) -> None:
    costs = pipeline(4, 8, p2p_latency=0.25)
    graph, cpsat = evaluated(name, costs, "graph"), evaluated(name, costs, "cpsat")
    assert graph.rows == cpsat.rows


def assert_cycle(error: DeadlockError) -> None:
    assert len(error.cycle) >= 2
    assert all(ppopt.parse_action(str(action)) == action for action in error.cycle)


def test_a_deadlock_is_told_with_its_cycle() -> None:
    with pytest.raises(
        DeadlockError,
        match=r"interleaved:group_size=3: the order deadlocks: .*; the cycle is \d+[FB]\d+ → .*each waits for the one",
    ):
        find_deadlock()


def find_deadlock() -> None:
    for m in range(1, 20):
        ppopt.evaluate(pipeline(4, m), "interleaved:group_size=3")
    pytest.fail("no deadlock was found")


@pytest.mark.parametrize(
    ("name", "p", "m", "message"),
    [
        ("dualpipe", 8, 21, "dualpipe needs an even number of microbatches ≥ 14; 20 and 22 fit, 21 does not"),
        ("dualpipe", 8, 4, "dualpipe needs an even number of microbatches ≥ 14; 14 and 16 fit, 4 does not"),
        ("dualpipe", 3, 8, "dualpipe needs an even number of devices; 2 and 4 fit, 3 does not"),
        ("dualpipe", 1, 8, "dualpipe needs an even number of devices; 2 and 4 fit, 1 does not"),
        ("dualpipe-v", 4, 5, "dualpipe-v needs a number of microbatches ≥ 7; 7 and 8 fit, 5 does not"),
    ],
)
def test_an_unfit_pipeline_is_refused_with_what_would_fit(name: str, p: int, m: int, message: str) -> None:
    with pytest.raises(InputError) as refused:
        ppopt.evaluate(pipeline(p, m), name)
    assert str(refused.value) == message
