"""All bounds of problems with blocks and little memory: never above the optimum."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from solver.bounds.analysis import analyse
from solver.bounds.bound import Bound
from solver.bounds.makespan import bound_of, implied_network
from solver.errors import InfeasibleError
from solver.problem import Problem
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.random_problems import random_fused_problem
from tests.solver.bounds.test_stretched import from_the_first


def of_the_whole(problem: Problem) -> Bound | None:
    try:
        return bound_of(problem, analyse(problem, implied_network(problem)))
    except InfeasibleError:
        return None


@pytest.mark.exhaustive(1)
@pytest.mark.parametrize("block", range(4))
def test_no_schedule_is_shorter(block: int) -> None:
    for seed in range(8 * block, 8 * (block + 1)):
        problem, text = random_fused_problem(seed, 5)
        found = of_the_whole(problem)
        assert not ExactModel(problem).is_shorter_than(None if found is None else found.value, 0.2), text


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("seed", range(100, 110))
def test_nor_than_what_the_first_microbatches_show(seed: int) -> None:
    problem, text = random_fused_problem(seed, 6)
    for size in (2, 3):
        if size < min(map(len, problem.chains)):
            found = from_the_first(problem, size)
            assert not ExactModel(problem).is_shorter_than(None if found is None else found.value, 0.2), text


def with_blocks_of_any_length(problem: Problem, seed: int) -> Problem:
    """Give each pair of halves a length of its own, often below that of a half alone, as parts of layers do."""
    draw, fusing = random.Random(seed), problem.fusing
    lengths = {pair: draw.randint(1, 2 * length) for pair, length in fusing.durations.items()}
    return replace(problem, fusing=replace(fusing, durations=lengths))


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("block", range(12))
def test_nor_whatever_each_pair_of_halves_takes(block: int) -> None:
    for seed in range(200 + 3 * block, 203 + 3 * block):
        drawn, text = random_fused_problem(seed, 5)
        problem = with_blocks_of_any_length(drawn, seed)
        lengths = f"{text} {dict(problem.fusing.durations)}"
        found = of_the_whole(problem)
        assert not ExactModel(problem).is_shorter_than(None if found is None else found.value, 0.2), lengths
        if min(map(len, problem.chains)) > 2:
            found = from_the_first(problem, 2)
            assert not ExactModel(problem).is_shorter_than(None if found is None else found.value, 0.2), lengths
