from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from ppopt import DeadlockError, InputError, Problem
from solver.problem import Block, Task
from solver.replay import replay
from solver.sampled_replay import SampledReplay
from tests.evaluated import evaluated, pipeline

STRATEGIES = ["gpipe", "1f1b", "zb-h1", "zb-v", "interleaved", "dualpipe", "1f1b-overlap", "hanayo"]


def makespan(problem: Problem, orders: object) -> int:
    starts = replay(problem, orders)  # type: ignore[arg-type]
    return max(start + problem.duration(action) for action, start in starts.items())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_sample_is_the_makespan_of_its_own_replay(strategy: str) -> None:
    schedule = evaluated(strategy, pipeline(4, 8, p2p_latency=3))
    replayed = SampledReplay(schedule.problem, schedule.actions)
    draw = random.Random(strategy)
    samples = []
    expected = []
    for _ in range(8):
        tasks = {key: Task(task.device, draw.randint(0, 9)) for key, task in schedule.problem.tasks.items()}
        lags = [(before, after, lag and draw.randint(0, 5)) for before, after, lag in schedule.problem.precedences]
        changed = replace(schedule.problem, tasks=tasks, precedences=lags)
        samples.append((changed, [lag for *_, lag in lags]))
        expected.append(makespan(changed, schedule.actions))
    durations = [
        [
            # a block's length does not follow from its tasks; here it stays
            schedule.problem.duration(action) if isinstance(action, Block) else changed.duration(action)
            for changed, _ in samples
        ]
        for action in replayed.actions
    ]
    lags = np.array([lags for _, lags in samples], dtype=float).T
    assert replayed.makespans(np.array(durations, dtype=float), lags).tolist() == expected


def test_lags_are_those_of_the_problem_where_none_are_given() -> None:
    schedule = evaluated("zb-v", pipeline(4, 8, p2p_latency=0.5))
    replayed = SampledReplay(schedule.problem, schedule.actions)
    found = replayed.makespans(np.repeat(replayed.durations[:, np.newaxis], 3, axis=1))
    assert (found / schedule.problem.ticks_per_unit).tolist() == [schedule.makespan] * 3


def test_orders_that_cannot_run_are_refused() -> None:
    schedule = evaluated("1f1b", pipeline(2, 2))
    with pytest.raises(DeadlockError, match="deadlocks"):
        SampledReplay(schedule.problem, [list(reversed(order)) for order in schedule.actions])
    with pytest.raises(InputError, match="missing"):
        SampledReplay(schedule.problem, [order[1:] for order in schedule.actions])
