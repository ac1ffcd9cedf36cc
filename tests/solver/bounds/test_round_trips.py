"""What round trips wait for one another: never above the optimum, and near what schedules reach."""

from __future__ import annotations

import random
from collections import deque
from fractions import Fraction
from itertools import combinations_with_replacement

import pytest

from solver.bounds.makespan import makespan_bound
from solver.bounds.round_trips import Row, round_trips_bound, row_of
from solver.problem import Problem
from solver.repetition import as_repetition, shortened
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.test_bounds import pipeline_problem

MEASURED = (185, 181, 93)


def random_row(seed: int) -> tuple[Problem, str]:
    """Draw a row with memory for at most as many jobs as devices, and W longer than a link, there and back."""
    draw = random.Random(seed)
    devices = draw.choice([2, 3, 3, 4])
    live, latency = draw.randint(2, devices), draw.choice([0, 0, 1, 2])
    least = draw.randint(1, 9), draw.randint(1, 9), 2 * latency + draw.randint(1, 6)
    beyond = draw.choice([0, 0, 3])
    times = tuple([each + draw.randint(0, beyond) for _ in range(devices)] for each in least)
    jobs = draw.randint(2 * live, 3 * live + 3)
    problem = pipeline_problem("linear", devices, jobs, times, live, latency=latency)
    return problem, f"{seed}: p{devices} m{jobs} {times} l{latency} c{live}"


@pytest.mark.exhaustive(4)
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(10))
def test_no_schedule_is_shorter(block: int) -> None:
    for seed in range(6 * block, 6 * (block + 1)):
        problem, text = random_row(seed)
        assert row_of(problem) is not None, text
        bound = round_trips_bound(as_repetition(problem))
        if bound is not None:
            assert not ExactModel(problem, chains=True).is_shorter_than(bound.value, 0.3), text


Levels = tuple[int, ...]


def levels_after(x: Levels, hops: tuple[int, ...], place: int, lag: int, growth: int) -> Levels:
    """Let one more job pass, as the module says of levels; hops at one distance may be many."""
    y = []
    for d in range(len(x)):
        here = sorted(g for g in hops if g >= max(d, 1))
        ways = [growth + x[-1] - place * len(here)]
        ways += [x[d - 1]] if d else []
        ways += [x[here[0] - 1] - lag] if here and here[0] > d else []
        y.append(max(ways))
    return tuple(y)


@pytest.mark.parametrize("slots", [2, 3, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("lag", [0, 1, 2])
def test_the_theorem_holds_for_every_sequence_of_hops(slots: int, lag: int) -> None:
    """A search over all levels that are reached; those far below the highest are taken for a little higher."""
    row = Row(devices=slots, first=0, forward=8, to_input=8 - lag, lag=lag, to_weight=30, live=slots)
    place, growth = slots * row.meeting, int(slots * row.growth(slots))
    assert growth == 16 - 2 * lag
    choices = [hops for n in range(4) for hops in combinations_with_replacement(range(1, slots), n)]
    least = {(0,) * slots: 0}
    changed = deque(least)
    while changed:
        x = changed.popleft()
        for hops in choices:
            y = levels_after(x, hops, place, slots * lag, growth)
            after = tuple(max(level - y[-1], -2 * place) for level in y)
            more = least[x] + slots * (y[-1] - growth) + place * len(hops)
            assert more >= 0, (x, hops)
            if more < least.get(after, more + 1):
                least[after] = more
                changed.append(after)


@pytest.mark.parametrize(
    ("devices", "live", "waste"),
    [(4, 3, 106), (5, 4, 159), (6, 4, 159), (8, 4, 159), (8, 5, 212), (8, 6, 265), (8, 7, 273), (10, 8, 273)],
)
def test_the_growth_is_near_that_of_the_best_periods_known(devices: int, live: int, waste: int) -> None:
    """CP-SAT found periods in which each turn wastes this much, and proved most of them to be the shortest."""
    period = Fraction(devices * (185 + 181 + 40) + 93 - 40 + waste, live)

    def bound(jobs: int) -> int:
        found = round_trips_bound(as_repetition(pipeline_problem("linear", devices, jobs, MEASURED, live, latency=20)))
        assert found is not None
        return found.value

    grown = Fraction(bound(60 * live) - bound(50 * live), 10 * live)
    assert 0.98 * period < grown <= period


def test_few_jobs_show_the_bound_of_many() -> None:
    many = pipeline_problem("linear", 8, 256, MEASURED, 6, latency=20)
    few = shortened(many, 16)
    assert few is not None
    assert round_trips_bound(few) == round_trips_bound(as_repetition(many))
    found = makespan_bound(many)
    assert (found.piece, found.device) == ("round trips", 0)
    assert found.value > 0.98 * 154185


def test_stages_that_differ_are_taken_for_the_shortest() -> None:
    even = pipeline_problem("linear", 4, 40, (5, 5, 4), 3)
    uneven = pipeline_problem("linear", 4, 40, ([9, 5, 6, 5], [5, 5, 7, 5], [4, 1, 1, 9]), 3)
    assert row_of(uneven) == row_of(even)


def test_numbers_of_any_size() -> None:
    small, large = (
        pipeline_problem("linear", 4, 40, tuple(10**digits * each for each in MEASURED), 3) for digits in (0, 18)
    )
    bounds = [round_trips_bound(as_repetition(each)) for each in (small, large)]
    assert bounds[0] is not None
    assert bounds[1] is not None
    assert 0 <= 10**18 * bounds[0].value - bounds[1].value < 10**18


@pytest.mark.parametrize(
    ("placement", "devices", "limit"), [("v", 4, 6), ("interleaved", 4, 6), ("bidirectional", 4, 3), ("linear", 4, 5)]
)
def test_other_placements_and_more_memory_are_no_row(placement: str, devices: int, limit: int) -> None:
    assert row_of(pipeline_problem(placement, devices, 16, MEASURED, limit)) is None
