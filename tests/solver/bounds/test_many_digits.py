"""Bounds do not depend on the size of a tick, even with numbers beyond 64 bits."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product
from math import gcd

import pytest

from solver.bounds.between import amounts_on_paths, none_between
from solver.bounds.makespan import makespan_bound
from solver.errors import InfeasibleError
from solver.problem import Hold, Problem, Task
from solver.resolution import Resolution
from strategies.model.pipeline import Pipeline
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.random_problems import random_problem

TICKS, UNITS = 10**21 + 7, 10**19 + 9
"""Factors on ticks of time and of memory, with which nothing fits 64 bits."""


def in_finer_ticks(problem: Problem, time: int, memory: int) -> Problem:
    finer = Resolution().rounded(problem)
    return Problem(
        devices=problem.devices,
        tasks={key: Task(task.device, task.duration * time) for key, task in problem.tasks.items()},
        precedences=[(before, after, lag * time) for before, after, lag in problem.precedences],
        holds=[
            Hold(hold.take, hold.amount * memory, tuple((task, part * memory) for task, part in hold.returns))
            for hold in problem.holds
        ],
        capacities=[None if each is None else each * memory for each in problem.capacities],
        fusing=problem.fusing.scaled(lambda duration: duration * time),
        partners=finer.partners,
        merged_durations={key: duration * time for key, duration in problem.merged_durations.items()},
        chains=finer.chains,
    )


def bound_or_none(problem: Problem) -> int | None:
    try:
        return makespan_bound(problem).value
    except InfeasibleError:
        return None


@pytest.mark.parametrize("microbatches", [1, 2, 3, 4])
def test_nor_where_only_some_times_of_blocks_fit_64_bits(microbatches: int) -> None:
    costs = {"forward": 0.1234567890123456, "backward_input": 0.1198765432109876, "backward_weight": 0.0612345678901234}
    sizes = {"devices": 4, "stages": 8, "microbatches": microbatches}
    pipeline = Pipeline.from_mapping(sizes | {"times": costs, "overlap": 0.7, "memory": {"limit": 5}})
    problem = build_search_problem(pipeline, make_placement("v", 4, 8, microbatches), overlap=True)
    forward, backward_input, backward_weight = costs.values()
    chain = 8 * (forward + backward_input) + backward_weight
    assert makespan_bound(problem).value >= chain * problem.ticks_per_unit * (1 - 1e-9)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(4))
def test_a_bound_is_as_high_in_ticks_that_are_too_fine_for_64_bits(part: int) -> None:
    alike = 0
    for seed in range(40 * part, 40 * part + 40):
        problem, text = random_problem(seed)
        few = bound_or_none(problem)
        many = bound_or_none(in_finer_ticks(problem, TICKS, UNITS))
        assert (few is None) == (many is None), text
        # with few ticks some arguments round up to the next tick, and others build on that
        assert few is None or many is None or many <= few * TICKS, text
        alike += few is None or many is None or -(-many // TICKS) == few
    assert alike >= 38


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(10))
def test_bounds_of_a_rounded_problem_hold_for_the_problem(part: int) -> None:
    for seed in range(3 * part, 3 * part + 3):
        problem, text = random_problem(seed)
        draw = random.Random(seed)
        time = TICKS + draw.randrange(10**20)
        fine = in_finer_ticks(problem, time, UNITS + draw.randrange(10**18))
        exact = ExactModel(problem).solve()
        for resolution in (Resolution.for_loops(fine), Resolution.for_cpsat(fine, enough=1000)):
            rounded = resolution.rounded(fine)
            lengths = [task.duration for task in rounded.tasks.values()]
            assert sum(lengths) + sum(lag for *_, lag in rounded.precedences) < 2**54, text
            found = bound_or_none(rounded)
            assert exact is None or (found is not None and resolution.ticks(found, "makespan") <= exact * time), text


def test_what_fits_is_not_rounded() -> None:
    for seed in range(60):
        problem, text = random_problem(seed)
        assert Resolution.for_loops(problem) == Resolution(), text
        assert Resolution.for_loops(problem).rounded(problem) is problem, text
        assert not Resolution.for_cpsat(problem).loses_time(problem), text


def test_no_sum_of_durations_lies_where_none_is_said_to_lie() -> None:
    shown = 0
    for seed in range(300):
        draw = random.Random(seed)
        amounts = [draw.randrange(10**6, 10**7) for _ in range(draw.randint(1, 4))]
        if len(amounts) > 2 and seed % 2:
            amounts[2] = amounts[0] + amounts[1]  # equal sums, such as a full backward and its halves
        counts = [draw.randint(1, 3) for _ in amounts]
        tasks = {
            (amount, place): Task(0, amount)
            for amount, count in zip(amounts, counts, strict=True)
            for place in range(count)
        }
        problem = Problem(1, tasks, [])
        sums = sorted(
            {sum(n * a for n, a in zip(ns, amounts, strict=True)) for ns in product(*(range(c + 1) for c in counts))}
        )
        best = draw.choice(sums[1:])
        nearest = max(each for each in sums if each < best)
        open_ = draw.choice([best - nearest - 1, best - nearest, (best - nearest) // 2, 1 + (best - nearest) // 50])
        if open_ > 0 and none_between(amounts_on_paths(problem), Fraction(best - open_), Fraction(best)):
            shown += 1
            assert nearest < best - open_
    assert shown > 30


def test_a_common_factor_is_no_resolution() -> None:
    problem, _ = random_problem(5)
    coarse = Resolution.for_cpsat(in_finer_ticks(problem, 12, 1))
    assert gcd(coarse.time, 12) == 12
