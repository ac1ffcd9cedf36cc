"""Every schedule runs wherever its requirements are met, however small."""

from __future__ import annotations

import pytest

import ppopt
from ppopt import DeadlockError, InputError
from strategies.registry import all_strategies
from tests.evaluated import evaluated, pipeline

NAMES = list(all_strategies())


def test_the_eleven_schedules_are_there() -> None:
    assert NAMES == [
        "1f1b", "1f1b-overlap", "dualpipe", "dualpipe-v", "gpipe", "interleaved", "interleaved-overlap", "looped-bfs",
        "zb-h1", "zb-h2", "zb1p",
    ]  # fmt: skip


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
            assert "interleaved" in name
            assert m % p
            assert_cycle(error)
            continue
        assert len(made.timeline) == len(made.problem.tasks)


def assert_cycle(error: DeadlockError) -> None:
    assert len(error.cycle) >= 2
    assert all(ppopt.parse_action(str(action)) == action for action in error.cycle)


def test_a_deadlock_is_told_with_its_cycle() -> None:
    with pytest.raises(
        DeadlockError,
        match=r"interleaved:group_size=3: the order deadlocks: \d+[FB]\d+ → .*each waits for the one before",
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
