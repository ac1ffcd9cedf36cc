from __future__ import annotations

import random
from dataclasses import replace

import pytest

from solver.problem import Action, Block, Orders, Problem, Task
from solver.replay import replay
from solver.sensitivity import derivatives
from tests.evaluated import evaluated, pipeline

STEP = 1000
"""Durations are multiples of this. Changes on a path add up to less, so no shorter path becomes the longest."""

GROUPS = 7


def makespan(problem: Problem, orders: Orders) -> int:
    return max(start + problem.duration(action) for action, start in replay(problem, orders).items())


@pytest.mark.exhaustive(6)
@pytest.mark.parametrize("strategy", ["gpipe", "1f1b", "zb-h1", "zb-v", "interleaved", "hanayo"])
@pytest.mark.parametrize("most", [1, 2, 9])
def test_derivatives_are_the_differences_of_exact_replays(strategy: str, most: int) -> None:
    """With durations of 1 nearly everything is critical, and the two one-sided derivatives differ."""
    schedule = evaluated(strategy, pipeline(3, 6, p2p_latency=1))
    draw = random.Random(f"{strategy} {most}")
    group = {key: draw.randrange(GROUPS - 1) for key in schedule.problem.tasks}
    tasks = {key: Task(task.device, STEP * draw.randint(0, most)) for key, task in schedule.problem.tasks.items()}
    lags = [(before, after, lag and STEP * draw.randint(0, 1)) for before, after, lag in schedule.problem.precedences]
    problem = replace(schedule.problem, tasks=tasks, precedences=lags)

    def growth(action: Action) -> dict[int, float]:
        assert not isinstance(action, Block)
        return {group[action]: tasks[action].duration / STEP}

    starts = replay(problem, schedule.actions)
    found = derivatives(problem, schedule.actions, starts, GROUPS, growth, growth, GROUPS - 1)
    whole = makespan(problem, schedule.actions)
    for number in range(GROUPS):
        for sign, expected in ((1, found.growing), (-1, found.shrinking)):
            changed = {
                key: task._replace(duration=task.duration + sign * (task.duration // STEP) * (group[key] == number))
                for key, task in tasks.items()
            }
            moved = [(one, two, lag + sign * (lag // STEP) * (number == GROUPS - 1)) for one, two, lag in lags]
            other = makespan(replace(problem, tasks=changed, precedences=moved), schedule.actions)
            scale = STEP if number == GROUPS - 1 else 1
            assert sign * (other - whole) == expected[number] / scale, (number, sign)
    assert all(found.shrinking <= found.growing)


def test_blocks_count_as_what_they_are_said_to_be_made_of() -> None:
    schedule = evaluated("dualpipe", pipeline(4, 8))
    problem = schedule.problem

    def growth(action: Action) -> dict[int, float]:
        return {int(isinstance(action, Block)): float(problem.duration(action))}

    starts = replay(problem, schedule.actions)
    found = derivatives(problem, schedule.actions, starts, 2, growth, growth)
    assert found.growing[0] + found.growing[1] >= makespan(problem, schedule.actions)
    assert 0 < found.shrinking[1] <= found.growing[1]
