"""The critical path is a chain of actions that wait for each other, as long as the schedule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings

import ppopt
from ppopt import Op, Pipeline, Schedule
from reports.critical_path import critical_path
from solver.problem import Placed, Problem, Task
from tests.evaluated import evaluated
from tests.examples import examples
from tests.reports.test_idle import schedules
from tests.strategies.catalogue.test_golden_makespans import ROWS, ROWS_BY_STRATEGY, costs_of


def actions_of(rows: Sequence[Placed], path: Sequence[int]) -> list[list[Placed]]:
    """Group the path's rows by action, with all rows of a block."""
    assert len(set(path)) == len(path)
    blocks: dict[object, list[Placed]] = {}
    for place in path:
        row = rows[place]
        blocks.setdefault(row.task if row.block is None else row.block, []).append(row)
    assert all(len(each) == (1 if each[0].block is None else 2) for each in blocks.values())
    return list(blocks.values())


def assert_holds_up(problem: Problem, rows: Sequence[Placed]) -> None:
    actions = actions_of(rows, critical_path(problem, rows))
    lags = {(before, after): lag for before, after, lag in problem.precedences}
    total = sum(action[0].end - action[0].start for action in actions)
    for earlier, later in pairwise(actions):
        gap = later[0].start - earlier[0].end
        sent = [lags.get((before.task, after.task)) for before in earlier for after in later]
        assert (gap == 0 and earlier[0].device == later[0].device) or gap in sent, (earlier, later)
        total += gap
    assert actions[0][0].start == min(row.start for row in rows)
    assert actions[-1][0].end == max(row.end for row in rows)
    assert total == max(row.end for row in rows) - min(row.start for row in rows)


@settings(max_examples=examples(80), deadline=None)
@given(schedules())
def test_durations_and_latencies_add_up_to_the_makespan(made: Schedule) -> None:
    assert_holds_up(made.problem, made.rows)
    assert critical_path(made.problem, made.rows) == critical_path(made.problem, list(made.rows))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ROWS_BY_STRATEGY)
def test_golden_schedules_have_one(strategy: str) -> None:
    for row in [row for row in ROWS if row["strategy"] == strategy][::8]:
        made = ppopt.evaluate(costs_of(row), strategy, engine="graph")
        assert_holds_up(made.problem, made.rows)


def test_1f1b_with_latency() -> None:
    sizes = {"devices": 2, "microbatches": 2}
    made = evaluated("1f1b", Pipeline.from_mapping({**sizes, "times": {"forward": 1, "backward": 2}, "p2p_latency": 1}))
    # 1 + 1 + 1 + 2 + 1 + 2 + 1 + 2: after F0 and its transfer, device 1 is never idle, and then B1's result goes back
    assert [made.rows[place].task for place in critical_path(made.problem, made.rows)] == [
        Op(0, "F", 0), Op(1, "F", 0), Op(1, "B", 0), Op(1, "F", 1), Op(1, "B", 1), Op(0, "B", 1)
    ]  # fmt: skip


def test_the_example_of_the_documentation() -> None:
    sizes = {"devices": 2, "microbatches": 3}
    made = evaluated("1f1b", Pipeline.from_mapping({**sizes, "times": {"forward": 1, "backward": 2}, "p2p_latency": 1}))
    path = " ".join(str(made.rows[place].task) for place in critical_path(made.problem, made.rows))
    assert path == "0F0 1F0 1B0 0B0 0F2 1F2 1B2 0B2"


def test_both_halves_of_a_block_are_on_it() -> None:
    sizes = {"devices": 2, "microbatches": 4, "times": {"forward": 2, "backward": 4, "overlapped_forward_backward": 5}}
    made = evaluated("1f1b-overlap", Pipeline.from_mapping(sizes))
    path = critical_path(made.problem, made.rows)
    assert any(made.rows[place].block is not None for place in path)
    assert_holds_up(made.problem, made.rows)


def test_the_device_comes_before_the_producer_where_both_hold_up() -> None:
    problem = Problem(2, {"a": Task(0, 2), "b": Task(1, 2), "c": Task(1, 1)}, [("a", "c", 0)])
    assert critical_path(problem, [Placed("a", 0, 0, 2), Placed("b", 1, 0, 2), Placed("c", 1, 2, 3)]) == (1, 2)


def test_it_ends_where_an_action_starts_later_than_it_could() -> None:
    problem = Problem(2, {"a": Task(0, 2), "b": Task(1, 2)}, [("a", "b", 0)])
    assert critical_path(problem, [Placed("a", 0, 0, 2), Placed("b", 1, 3, 5)]) == (1,)


def test_nothing_has_none() -> None:
    assert critical_path(Problem(1, {}, []), []) == ()
