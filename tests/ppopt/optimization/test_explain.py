"""An explanation uses the freedom of its schedule's search, without being given it again."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

import ppopt
from ppopt import Pipeline
from ppopt.optimization.published_beside import compared_with_published
from ppopt.optimization.span_bound import first_span_bound
from reports.numbers import number
from solver.bounds.makespan import ARGUMENTS, makespan_bound
from strategies.model.placements import make_placement
from strategies.problem.search_problem import Allowed, build_search_problem

ROOT = Path(__file__).parents[3]
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
    made = ppopt.optimize(COSTS, **allowed._asdict(), time_limit=0.5)
    assert made.allowed == allowed
    bound, text = quick_bound(made, allowed), ppopt.explain(made)
    first = re.search(r"the quick bound (?:falls from|stays at) ([\d.]+\d)", text)
    assert first is not None
    assert first[1] == number(bound)
    assert all(quick_bound(made, other) != bound for other in ALLOWED if other != allowed)


@pytest.mark.parametrize(
    ("more", "allowed", "said"),
    [
        ({}, Allowed(), "on this placement c"),
        ({"overlap": 0.5}, Allowed(), "on this placement without overlapped blocks c"),
        ({"overhead": 1}, Allowed(), "on this placement without overlapped blocks c"),
        ({"overhead": 1}, Allowed(overlap=True), "on this placement c"),
        ({"overhead": 1}, Allowed(split_backward=False), "on this placement with whole backwards and without over"),
    ],
)
def test_an_explanation_names_what_its_search_left_out(more: dict[str, float], allowed: Allowed, said: str) -> None:
    mapping = COSTS.to_mapping() | {"times": {"forward": 2, "backward_input": 2, "backward_weight": 1}} | more
    made = ppopt.optimize(Pipeline.from_mapping(mapping), **allowed._asdict(), time_limit=0.5)
    assert f"no schedule {said}" in ppopt.explain(replace(made, status="feasible"))


def test_the_parts_of_a_bound_add_up_with_the_end_of_the_step() -> None:
    times = {"forward": [1, 2, 2, 3], "backward_input": 2, "backward_weight": 3}
    ending = Pipeline.from_mapping(COSTS.to_mapping() | {"times": times, "memory": {}, "step": {"after": 70}})
    made = ppopt.optimize(ending, placement="linear", time_limit=1)
    parts = re.search(
        r"\(load ([\d.]+), front ([\d.]+), back ([\d.]+)\)\. It includes 70 after the last", ppopt.explain(made)
    )
    assert parts is not None
    assert sum(map(float, parts.groups())) + 70 == made.bound
    assert "after the last" not in ppopt.explain(
        ppopt.optimize(ending, placement="linear", objective="span", time_limit=1)
    )


def arguments_in_code() -> set[str]:
    """Read the names of arguments where bounds are made: in ``Bound(value, name)`` and ``found.keep(name)``."""
    named: list[ast.expr] = []
    for file in (file for room in ("solver", "ppopt") for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name("Bound"), args=[_, name, *_]):
                    named.append(name)
                case ast.Call(func=ast.Attribute(ast.Name("found"), "keep"), args=[name]):
                    named.append(name)
    choices = [part for name in named for part in ([name.body, name.orelse] if isinstance(name, ast.IfExp) else [name])]
    return {part.value for part in choices if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def test_each_argument_has_a_sentence_of_its_own() -> None:
    assert set(ARGUMENTS) == arguments_in_code()
    assert len(set(ARGUMENTS.values())) == len(ARGUMENTS)


@pytest.mark.parametrize(
    ("forward", "weight", "named"), [([2, 2, 2, 2], 1, ("span", 3)), ([1, 2, 2, 3], 3, ("work", 3))]
)
def test_a_span_is_bounded_by_the_device_that_is_named(forward: list[int], weight: int, named: tuple[str, int]) -> None:
    times = {"forward": forward, "backward_input": 2, "backward_weight": weight}
    pipeline = Pipeline.from_mapping({**COSTS.to_mapping(), "times": times, "memory": {}})
    placement = make_placement("linear", 4, 4, pipeline.microbatches)
    bound = first_span_bound(pipeline, placement, build_search_problem(pipeline, placement))
    assert (bound.piece, bound.device) == named


def test_published_schedules_beside_a_result_are_compared_with_what_it_was_allowed() -> None:
    made = ppopt.optimize(COSTS, split_backward=False, time_limit=1)
    beside, _ = compared_with_published(made)
    assert beside
    assert {each.allowed for each in beside} == {made.allowed} == {Allowed(split_backward=False)}


def test_blocks_may_take_less_than_the_work_and_a_cut_is_named() -> None:
    parts = {"forward": [1, {"comm": 9}], "backward": [{"comm": 9}, 2]}
    layers = [{"name": "moe", "count": 4, "forward": 10, "backward": 11, "parts": parts}]
    model = Pipeline.from_mapping({"devices": 2, "microbatches": 8, "layers": layers})
    made = ppopt.optimize(model, placement="v", overlap=True, time_limit=1)
    text = ppopt.explain(made)
    assert made.ideal > made.makespan
    assert f"Without overlapping, the work itself, spread evenly over 2 devices, would be {made.ideal:g}." in text
    assert "Of the" not in text
    assert "schedule on this placement and cut" in text
