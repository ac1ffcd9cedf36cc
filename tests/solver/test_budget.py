"""Time is handed out to named phases: in shares of what is left, or as much as was kept; and it can be printed."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from solver import budget
from solver.budget import DEBUG, Budget, Phase
from solver.deadline import OutOfTimeError

HALF = Phase("half", share=0.5)
BRIEF = Phase("brief", share=0.5, most=2.0)
CAREFUL = Phase("careful", share=0.25, caution=1.5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still until it is moved."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(budget, "perf_counter", lambda: clock.now)
    return clock


def test_a_phase_has_a_share_up_to_its_most() -> None:
    assert (HALF.within(10), BRIEF.within(10), BRIEF.within(3)) == (5, 2, 1.5)
    assert (CAREFUL.foreseen(1.0), CAREFUL.foreseen(1.0, 20), CAREFUL.foreseen(1.0, 4)) == (1.5, 1.5, 1)


def test_a_phase_ends_with_its_share_of_what_is_left(clock: SimpleNamespace) -> None:
    given = Budget(12)
    clock.now += 2
    with given.running(HALF) as deadline:
        assert deadline == clock.now + 5
    with given.running(HALF, 100) as deadline:
        assert deadline == 112


def test_what_is_kept_for_a_phase_is_taken_from_those_before_it_and_given_to_it(clock: SimpleNamespace) -> None:
    given = Budget(12)
    given.keep(BRIEF, 3)
    given.keep(CAREFUL, 1)
    assert given.deadline == 108
    with given.running(HALF) as deadline:
        assert deadline == 104
    with given.running(BRIEF) as deadline:
        assert deadline == 103
    assert given.deadline == 111
    assert given.release() == 1
    assert given.deadline == 112


def test_to_keep_time_again_replaces_what_was_kept(clock: SimpleNamespace) -> None:
    given = Budget(12)
    given.keep(BRIEF, 3)
    given.keep(BRIEF, 2)
    assert given.deadline == 110
    assert given.release(BRIEF) == 2
    assert given.release(BRIEF) == 0


def test_phases_are_printed_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> str:
        given = Budget(10)
        with given.running(HALF), suppress(OutOfTimeError), given.running(BRIEF):
            clock.now += 1
            raise OutOfTimeError
        return capsys.readouterr().err

    monkeypatch.delenv(DEBUG, raising=False)
    assert run() == ""
    monkeypatch.setenv(DEBUG, "1")
    lines = run().splitlines()
    assert lines == ["clock:   brief: had 2.000 s, took 1.000 s", "clock: half: had 5.000 s, took 1.000 s"]


def test_shares_and_safety_factors_are_in_the_table_and_nowhere_else() -> None:
    phases = [each for each in vars(budget).values() if isinstance(each, Phase)]
    assert len({each.name for each in phases}) == len(phases) > 10
    assert all(0 < each.share <= 1 <= each.caution for each in phases)
    root = Path(__file__).parent.parent.parent
    for room in ("solver/search", "ppopt/optimization", "ppopt/comparison", "ppopt/process"):
        for file in (root / room).rglob("*.py"):
            found = re.findall(r"^\w*(?:SHARE|CAUTION)\w*(?:, \w+)* = .*[01]\.\d.*", file.read_text(), re.MULTILINE)
            assert not found, f"{file.relative_to(root)}: {found}"
