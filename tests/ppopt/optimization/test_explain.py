"""An explanation uses the freedom of its schedule's search, without being given it again."""

from __future__ import annotations

import re

import pytest

import ppopt
from ppopt import Pipeline
from ppopt.optimization.optimize import compared_with_published
from reports.numbers import number
from solver.bounds.makespan import makespan_bound
from strategies.problem.search_problem import Allowed, build_search_problem

COSTS = Pipeline.from_mapping(
    {
        "devices": 4,
        "stages": 4,
        "microbatches": 8,
        "times": {"forward": 2, "backward_input": 2, "backward_weight": 1, "overlapped_forward_backward": 4},
        "memory": {"limit": 4},
    }
)
ALLOWED = [Allowed(), Allowed(split_backward=False), Allowed(overlap=True)]


def quick_bound(made: ppopt.Schedule, allowed: Allowed) -> float:
    problem = build_search_problem(made.pipeline, made.layout, **allowed._asdict())
    return makespan_bound(problem).value / problem.ticks_per_unit


@pytest.mark.parametrize("allowed", ALLOWED)
def test_the_bounds_of_an_explanation_are_those_of_the_search(allowed: Allowed) -> None:
    made = ppopt.optimize(COSTS, **allowed._asdict(), time_limit=2)
    assert made.allowed == allowed
    bound, text = quick_bound(made, allowed), ppopt.explain(made)
    first = re.search(r"the quick bound (?:falls from|stays at) ([\d.]+\d)", text)
    assert first is not None
    assert first[1] == number(bound)
    assert all(quick_bound(made, other) != bound for other in ALLOWED if other != allowed)


def test_published_schedules_beside_a_result_are_compared_with_what_it_was_allowed() -> None:
    made = ppopt.optimize(COSTS, split_backward=False, time_limit=1)
    beside, _ = compared_with_published(made)
    assert beside
    assert {each.allowed for each in beside} == {made.allowed} == {Allowed(split_backward=False)}
