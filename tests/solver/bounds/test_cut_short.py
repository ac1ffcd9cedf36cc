"""A bound cut short at any time is true, and never below the work of a device plus the least time around it."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import networkx as nx
import pytest

import solver.deadline
from solver.bounds.makespan import load_bound, makespan_bound
from solver.errors import InfeasibleError
from solver.problem import Key, Problem
from strategies.model.pipeline import Pipeline
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.random_problems import random_problem


def longest_before(graph: nx.DiGraph[Key]) -> dict[Key, int]:
    found: dict[Key, int] = {}
    for key in nx.topological_sort(graph):
        arrivals = [
            found[before] + graph.nodes[before]["duration"] + lag for before, _, lag in graph.in_edges(key, "lag")
        ]
        found[key] = max(arrivals, default=0)
    return found


def work_with_what_lies_around(problem: Problem) -> int:
    graph = problem.dag()
    heads, tails = longest_before(graph), longest_before(graph.reverse())
    devices = {task.device for task in problem.tasks.values()}
    held = {d: [key for key, task in problem.tasks.items() if task.device == d] for d in devices}
    return max(
        min(heads[key] for key in keys) + sum(problem.tasks[key].duration for key in keys) + min(map(tails.get, keys))
        for keys in held.values()
    )


@pytest.mark.exhaustive(1)
@pytest.mark.parametrize("block", range(4))
def test_behind_its_deadline_a_bound_is_true_and_not_below_the_work(block: int) -> None:
    for seed in range(500 + 20 * block, 520 + 20 * block):
        problem, text = random_problem(seed)
        bound = makespan_bound(problem, deadline=0.0)
        assert bound.value == load_bound(problem).value, text
        if not problem.fusing.firsts and not problem.merged_durations:
            assert bound.value >= work_with_what_lies_around(problem), text
        assert not ExactModel(problem).is_shorter_than(bound.value, 0.3), text


@pytest.mark.exhaustive(3)
@pytest.mark.parametrize("seed", range(660, 672))
def test_so_it_is_wherever_the_clock_stops_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, text = random_problem(seed)
    try:
        least, whole = load_bound(problem).value, makespan_bound(problem).value
    except InfeasibleError:
        return
    looks = count()
    monkeypatch.setattr(solver.deadline, "time", SimpleNamespace(perf_counter=lambda: next(looks)))
    found = []
    for last in range(1, 60):
        looks = count()
        found.append(makespan_bound(problem, deadline=last).value)
    assert all(least <= value <= whole for value in found), text
    assert found[-1] == whole
    assert not ExactModel(problem).is_shorter_than(max(found), 0.3), text


def large_problem(devices: int, stages: int, microbatches: int) -> Problem:
    pipeline = Pipeline.from_mapping({"devices": devices, "stages": stages, "microbatches": microbatches})
    layout = make_placement("interleaved", devices, stages, microbatches)
    return build_search_problem(pipeline, layout, split_backward=True, overlap=False)


@pytest.mark.parametrize(("devices", "stages", "microbatches"), [(8, 32, 512), (3, 6, 40)])
def test_a_large_pipeline_has_its_work_for_a_bound(devices: int, stages: int, microbatches: int) -> None:
    problem = large_problem(devices, stages, microbatches)
    bound = makespan_bound(problem, deadline=0.0)
    load = 3 * microbatches * stages // devices
    assert bound.value == load + devices - 1
    assert (bound.piece, bound.device) == ("load", devices - 1)
