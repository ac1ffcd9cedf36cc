from __future__ import annotations

from itertools import product

import pytest

import ppopt
from ppopt.comparison.comparison import Comparison
from reports.focus import FEW, in_focus
from tests.evaluated import pipeline


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    costs = pipeline(4, 8, p2p_latency=0.25, memory={"limit": 6})
    return ppopt.compare(costs, optimize=False, engine="graph")


def test_a_focus_holds_every_candidate_and_leaves_most_out(comparison: Comparison) -> None:
    section = comparison.section("t")
    focus = in_focus(section)
    names = {section.schedules[rank].summary.name for rank in focus}
    assert section.winner is not None
    assert {section.winner.summary.name, "1f1b"} <= names
    assert len(focus) < len(section.schedules) / 2
    fitting = [each for each in section.schedules if each.summary.may_win]
    best_of = {}
    for each, letter in product(fitting, "DMPRUZ"):
        if letter in (each.summary.runs_in or {}):
            best_of.setdefault(letter, each.summary.name)
    assert set(best_of.values()) <= names


def test_what_is_folded_takes_no_less_time_and_memory_than_something_shown(comparison: Comparison) -> None:
    section = comparison.section("t")
    focus = in_focus(section)
    shown = [section.schedules[rank] for rank in focus]
    for rank, each in enumerate(section.schedules):
        if rank in focus or not each.summary.may_win:
            continue
        assert any(
            other.summary.figures.makespan <= each.summary.figures.makespan and other.peak <= each.peak
            for other in shown
        )


def test_few_schedules_are_all_shown() -> None:
    names = ["gpipe", "1f1b", "zb-h1", "zb-h2", "zb-v", "dualpipe"]
    section = ppopt.compare(pipeline(4, 8), names, optimize=False).section("t")
    assert len(section.schedules) <= FEW
    assert in_focus(section) == frozenset(range(len(section.schedules)))
