"""A command's time limit covers everything that it does; whatever it has no time for is left out and named."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import ppopt
from ppopt import Pipeline
from ppopt.commands.cli import cli
from ppopt.optimization.explain import explain_within
from ppopt.optimization.optimize import optimize_each
from ppopt.optimization.options import SearchOptions
from ppopt.optimization.published_beside import compared_with_published
from ppopt.process import time_limit
from ppopt.process.time_limit import MOMENT, Afterwards, TimeLimit
from solver.bounds.makespan import load_bound, makespan_bound
from solver.budget import Phase
from solver.deadline import OutOfTimeError, until
from solver.search.compiled import compile_problem
from solver.search.portfolio import Tool
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem


def costs(p: int = 4, m: int = 8, **more: Any) -> Pipeline:
    return Pipeline.from_mapping({"devices": p, "microbatches": m, **more})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still until the test moves it."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time_limit, "perf_counter", lambda: clock.now)
    monkeypatch.setattr("solver.search.portfolio.perf_counter", lambda: clock.now)
    return clock


def test_turns_share_what_is_left_without_what_is_put_aside(clock: SimpleNamespace) -> None:
    limit = TimeLimit(12)
    limit.begin_turn(3)
    assert limit.left_of_turn == 4
    limit.put_aside(files=1.5, bounds=0.5)
    assert limit.left_of_turn == 2
    clock.now += 1
    limit.begin_turn(2)
    assert limit.left_of_turn == (12 - 2 - 1) / 2
    clock.now += 9
    assert limit.left == 0
    assert limit.bounds_end == clock.now + 0.5


def test_a_part_has_its_own_end_and_names_the_whole(clock: SimpleNamespace) -> None:
    limit = TimeLimit(10, Afterwards(shown=3))
    part = limit.part(4)
    assert part.left == 2.5
    assert (part.used_up, part.afterwards) == ("the time limit of 10 s was used up", Afterwards(shown=3))


def test_ctrl_c_leaves_a_moment(clock: SimpleNamespace) -> None:
    limit = TimeLimit(10)
    clock.now += 3
    limit.hurry()
    assert limit.left == limit.left_of_turn == 0
    assert limit.last_moment == clock.now + MOMENT
    assert limit.used_up == "the search was interrupted"


def test_a_tool_that_cannot_end_in_time_says_how_long_it_needs(clock: SimpleNamespace) -> None:
    def run(deadline: float) -> None:
        clock.now = max(deadline, clock.now + 5)

    tool = Tool(run)
    tool.take_turn(clock.now + 20)
    assert tool.needs == 0
    tool.take_turn(clock.now + 1)
    assert tool.needs == 5


def test_what_is_gone_through_ends_soon_after_it_is_over() -> None:
    taken: list[int] = []
    with pytest.raises(OutOfTimeError):
        taken.extend(until(lambda: len(taken) > 3000, iter(range(10**6))))
    assert 3000 < len(taken) < 3000 + 1025


def test_reading_a_problem_keeps_a_deadline() -> None:
    layout = make_placement("linear", 4, 4, 8)
    problem = build_search_problem(costs(stages=4), layout, split_backward=True, overlap=False)
    with pytest.raises(OutOfTimeError):
        compile_problem(problem, deadline=0.0)


def test_what_an_explanation_has_no_time_for_is_named() -> None:
    made = ppopt.optimize(costs(memory={"limit": 3}, p2p_latency=0.5), time_limit=5)
    whole = ppopt.explain(made)
    short = ppopt.explain(made, time_limit=0)
    if "left out" not in short:  # a moment was enough
        assert short == whole
    limit = TimeLimit(7)
    limit.turn_ends -= 1000
    text = explain_within(limit, made)
    left_out = "The effect of more memory and no latency was left out: the time limit of 7 s was used up."
    assert text.endswith(left_out)
    assert "left out" not in whole
    assert text.removesuffix(f" {left_out}") in whole


def test_published_schedules_that_there_is_no_time_for_are_named() -> None:
    made = ppopt.optimize(costs(), time_limit=5)
    limit = TimeLimit(7)
    everything, none = compared_with_published(made, limit)
    limit.turn_ends -= 1000
    nothing, left_out = compared_with_published(made, limit)
    assert not none
    assert not nothing
    assert [each.strategy for each in everything] == left_out


def test_the_command_names_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimeLimit, "last_moment", 0.0)
    arguments = ["optimize", "--devices", "4", "--microbatches", "8", "--memory-limit", "3", "--explain"]
    result = CliRunner().invoke(cli, [*arguments, "--time-limit", "1.5", "--format", "json"], catch_exceptions=False)
    (row,) = json.loads(result.stdout)["schedules"]
    assert row["explanation"].endswith("The effect of more memory was left out: the time limit of 1.5 s was used up.")
    assert any("1f1b" in note and "left out beside it: the time limit of 1.5 s" in note for note in row["notes"])
    assert "left out beside it" in result.stderr


def test_a_comparison_names_what_it_did_not_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppopt.comparison.compare.PUBLISHED", Phase("published schedules", share=-1.0))
    made = ppopt.compare(costs(), ["1f1b", "zb-h1", "gpipe"], placement="linear", time_limit=3)
    assert {each.strategy for each in made.schedules} == {"1f1b", "optimized-linear"}
    assert [name for name, _ in made.left_out] == ["zb-h1", "gpipe"]
    assert all("time limit of 3 s was used up" in reason for _, reason in made.left_out)


def test_without_a_search_a_comparison_evaluates_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppopt.comparison.compare.PUBLISHED", Phase("published schedules", share=-1.0))
    made = ppopt.compare(costs(), ["1f1b", "zb-h1", "gpipe"], optimize=False, time_limit=0)
    assert len(made.schedules) == 3
    assert made.bounds_cut_short
    assert made.bound is not None
    assert made.bound >= 8 * 3 + 3  # the work of the last device, and the forwards before it


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("placement", ["linear", "v", "interleaved", "bidirectional"])
@pytest.mark.parametrize("objective", ["makespan", "span"])
def test_no_bound_is_below_the_work_however_short_the_time(placement: str, objective: str) -> None:
    pipeline = costs(4, 24, memory={"limit": 6})
    made = ppopt.optimize(pipeline, placement=placement, objective=objective, time_limit=0)
    assert made.bound is not None
    assert made.bound >= 24 * 3
    problem = build_search_problem(made.pipeline, made.layout, split_backward=True, overlap=False)
    if objective == "makespan":
        assert load_bound(problem).value <= made.bound * problem.ticks_per_unit <= makespan_bound(problem).value


def test_each_of_several_searches_raises_its_bound_by_all_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solver.search.portfolio.run_tools", lambda *_: None)
    pipeline = costs(4, 8, memory={"limit": 4}, p2p_latency=0.5)
    for made in optimize_each(pipeline, SearchOptions(placement="all", time_limit=100)):
        assert isinstance(made, ppopt.Schedule)
        problem = build_search_problem(made.pipeline, made.layout, split_backward=True, overlap=False)
        assert made.proven is not None
        assert made.proven * problem.ticks_per_unit >= makespan_bound(problem).value, made.placement


def test_what_follows_a_search_is_taken_from_its_time() -> None:
    pipeline = costs(8, 32, memory={"limit": 5}, p2p_latency=1)
    ends = []
    for afterwards in (Afterwards(), Afterwards(beside=True, per_result=40.0)):
        limit = TimeLimit(1.0, afterwards)
        (made,) = optimize_each(pipeline, SearchOptions(), limit)
        assert isinstance(made, ppopt.Schedule)
        ends.append(limit.owed)
    assert ends[0] == 0
    assert ends[1] > 0
