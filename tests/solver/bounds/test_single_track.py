"""The bound for memory below one activation per device: never above the optimum, and above the area bound."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from solver.bounds.analysis import analyse
from solver.bounds.makespan import bound_as_written, bound_of, implied_network, makespan_bound
from solver.bounds.single_track import Row, raise_by_turns, row_of
from solver.problem import Problem
from solver.repetition import Repetition, shortened
from strategies.model.pipeline import Pipeline
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem
from tests.solver.bounds.exact_optimum import ExactModel


def row_problem(
    devices: int,
    jobs: int,
    times: tuple[int, int, int],
    latency: int,
    live: int,
    placement: str = "linear",
    **more: object,
) -> Problem:
    names = ("forward", "backward_input", "backward_weight")
    stages = 2 * devices if placement in ("v", "interleaved") else devices
    memory = {"limit": live, **more}
    pipeline = Pipeline.from_mapping(
        {
            "devices": devices,
            "stages": stages,
            "microbatches": jobs,
            "times": dict(zip(names, times, strict=True)),
            "p2p_latency": latency,
            "memory": memory,
        }
    )
    return build_search_problem(pipeline, make_placement(placement, devices, stages, jobs))


def random_row(seed: int) -> tuple[Problem, str]:
    """Draw a row with less memory than devices and W longer than two lags, so that the argument applies."""
    draw = random.Random(seed)
    devices = draw.choice([2, 3, 3, 4])
    live = draw.randint(2, max(2, devices - 1))
    latency = draw.choice([0, 0, 1, 2])
    weight = 2 * latency + draw.randint(1, 6)
    forward, to_input = draw.randint(1, 9), draw.randint(1, 9)
    if forward + to_input <= weight:
        forward += weight
    jobs = draw.randint(2 * live + 1, 2 * live + 4)
    times = (forward, to_input, weight)
    return row_problem(devices, jobs, times, latency, live), f"{seed}: p{devices} m{jobs} {times} l{latency} c{live}"


def bound_with(problem: Problem, row: Row | None) -> int:
    found = analyse(problem, implied_network(problem))
    raise_by_turns(problem, found, row)
    return bound_of(problem, found, row).value


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(6))
def test_no_schedule_is_shorter(block: int) -> None:
    for seed in range(10 * block, 10 * (block + 1)):
        problem, text = random_row(seed)
        row = row_of(problem)
        assert row is not None, text
        assert row.wasted_in_thirds > 0, text
        values = [bound_with(problem, row)]
        shorts = [shortened(problem, size) for size in (2, row.live + 1, 2 * row.live)]
        values += [bound_as_written(short).value for short in shorts if short is not None]
        assert not ExactModel(problem, chains=True).is_shorter_than(max(values), 0.3), text


def test_turns_prove_more_than_the_area() -> None:
    problem = row_problem(8, 48, (185, 181, 93), 20, 6)
    row = row_of(problem)
    assert row is not None
    assert row == Row((185,) * 8, (181,) * 8, (40,) * 7, 93, 6, row.chain, problem.holds[0].amount)
    assert row.turn == 8 * (185 + 181) + 14 * 20 + 93
    assert row.wasted_in_thirds == 3 * (93 - 2 * 20)
    without = bound_with(problem, None)
    assert bound_with(problem, row) > without
    assert makespan_bound(problem).piece == "slot turns"


def test_long_rows_keep_what_turns_prove() -> None:
    """Each turn of a slot costs R and its waste, at any number of turns: c more jobs add that much."""
    small = row_problem(8, 16, (185, 181, 93), 20, 6)
    row = row_of(small)
    assert row is not None
    values = [bound_as_written(Repetition(small, (jobs - 16,) * len(small.chains))).value for jobs in (600, 60_000)]
    more = (values[1] - values[0]) / 59_400
    assert abs(more - (row.turn + float(row.turns.best(6)[0].harmonic)) / 6) < 0.01
    assert values[0] <= makespan_bound(row_problem(8, 600, (185, 181, 93), 20, 6)).value


@pytest.mark.parametrize(
    ("times", "latency"), [((3, 3, 2), 1), ((1, 1, 2), 0), ((3, 3, 1), 4)], ids=["W = 2l", "W = F + I", "W < 2l"]
)
def test_where_turns_waste_nothing_nothing_is_said(times: tuple[int, int, int], latency: int) -> None:
    problem = row_problem(4, 12, times, latency, 3)
    row = row_of(problem)
    assert row is not None
    assert row.wasted_in_thirds == 0


def test_what_is_not_such_a_row_is_not_taken_for_one() -> None:
    given = row_problem(3, 8, (4, 3, 2), 0, 2)
    assert row_of(given) is not None
    assert row_of(row_problem(3, 8, (4, 3, 2), 0, 4, "v")) is None
    assert row_of(row_problem(3, 8, (4, 3, 2), 0, 4, "interleaved")) is None
    assert row_of(row_problem(3, 8, (4, 3, 2), 0, 1)) is None  # one slot never meets another
    assert row_of(row_problem(3, 8, (4, 3, 2), 0, 2, held_for_weight=0)) is None  # nothing is held until W
    assert row_of(replace(given, capacities=[None] * 3)) is None
    assert row_of(replace(given, capacities=[10**15] * 3)) is None  # more room than the work can use


def test_stages_that_differ_make_a_row_by_device() -> None:
    times = {"forward": [4, 6, 5], "backward_input": [3, 5, 4], "backward_weight": [4, 3, 2]}
    pipeline = Pipeline.from_mapping(
        {"devices": 3, "stages": 3, "microbatches": 8, "times": times, "p2p_latency": 1, "memory": {"limit": 2}}
    )
    row = row_of(build_search_problem(pipeline, make_placement("linear", 3, 3, 8)))
    assert row is not None
    assert (row.forwards, row.to_inputs, row.lags, row.to_weight) == ((4, 6, 5), (3, 5, 4), (2, 2), 4)
    assert row.turn == 15 + 12 + 4 + 4
    assert not row.is_even
    assert row.wasted_in_thirds == 0


@pytest.mark.parametrize(("held", "live", "slots"), [(0.5, 2, 3), (0.9, 2, 2), (0.9, 3, 3), (0.75, 4, 5), (1, 4, 4)])
def test_memory_that_is_returned_in_part_before_leaves_more_slots(held: float, live: int, slots: int) -> None:
    row = row_of(row_problem(8, 8, (4, 3, 2), 0, live, held_for_weight=held))
    assert row is not None
    assert row.live == slots
    assert (row.amount > 0) == (held == 1)


def test_no_schedule_is_shorter_where_memory_is_returned_in_part() -> None:
    raised = 0
    for seed in range(12):
        draw = random.Random(seed)
        times, jobs = (draw.randint(3, 6), draw.randint(3, 6), draw.randint(2, 4)), draw.randint(8, 11)
        problem = row_problem(4, jobs, times, 0, 2, held_for_weight=draw.choice([0.8, 0.9]))
        row = row_of(problem)
        assert row is not None
        value = bound_with(problem, row)
        raised += value > bound_with(problem, None)
        assert not ExactModel(problem, chains=True).is_shorter_than(value, 0.3), seed
    assert raised
