"""The span bound against exact optima of small rows of devices."""

from __future__ import annotations

import random

import pytest

from solver.bounds.span import span_bounds
from strategies.model.pipeline import Pipeline
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem
from tests.solver.bounds.exact_optimum import ExactModel


@pytest.mark.parametrize(("cap", "span"), [(8, 103), (12, 99), (15, 96)])
def test_known_spans_of_unit_tasks(cap: int, span: int) -> None:
    ones = [1] * 8
    assert max(span_bounds(ones, ones, ones, lag=0, live=[cap] * 8, count=32)) == span


@pytest.mark.parametrize(("cap", "span"), [(8, 17159), (15, 16228)])
def test_known_spans_with_latency(cap: int, span: int) -> None:
    assert max(span_bounds([185] * 8, [181] * 8, [93] * 8, lag=20, live=[cap] * 8, count=32)) == span


@pytest.mark.exhaustive(24)
@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(120))
def test_it_is_never_above_the_shortest_span(seed: int) -> None:
    draw = random.Random(seed)
    devices, count, split = draw.choice([2, 3]), draw.choice([1, 2, 3, 4]), draw.random() < 0.7
    count = min(count, 3) if devices == 3 else count
    forward, to_input, to_weight = ([draw.randint(1, 6) for _ in range(devices)] for _ in range(3))
    cap, latency, held = draw.randint(2, 6), draw.choice([0, 1, 4]), draw.choice([2, 2, 1])
    backward = [a + b for a, b in zip(to_input, to_weight, strict=True)]
    mapping = {
        "devices": devices,
        "microbatches": count,
        "times": {"forward": forward, "backward_input": to_input, "backward_weight": to_weight},
        "p2p_latency": latency,
        "memory": {"activation": 2, "held_for_weight": held, "limit": cap},
    }
    placement = make_placement("linear", devices, devices, count)
    problem = build_search_problem(
        Pipeline.from_mapping({**mapping, "stages": devices}), placement, split_backward=split
    )
    if split:
        pending = None if held == 2 else [cap // held] * devices
        bounds = span_bounds(
            forward, to_input, to_weight, lag=latency, live=[cap // 2] * devices, count=count, pending=pending
        )
    else:
        bounds = span_bounds(forward, backward, [0] * devices, lag=latency, live=[cap // 2] * devices, count=count)
    assert not is_shorter_than(ExactModel(problem), max(bounds))


def is_shorter_than(exact: ExactModel, bound: int) -> bool:
    """Make the longest span of a device the objective, and return whether one shorter than the bound exists."""
    model = exact.model
    span = model.new_int_var(0, exact.horizon, "")
    for device in range(exact.problem.devices):
        keys = [key for key, task in exact.problem.tasks.items() if task.device == device]
        first = model.new_int_var(0, exact.horizon, "")
        model.add_min_equality(first, [exact.start[key] for key in keys])
        for key in keys:
            model.add(span >= exact.end[key] - first)
    exact.makespan = span
    return exact.is_shorter_than(bound, 0.5)
