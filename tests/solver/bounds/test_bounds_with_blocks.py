"""All bounds of problems with blocks and little memory: never above the optimum."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from solver.bounds.analysis import analyse
from solver.bounds.block_area import block_area_bound
from solver.bounds.blocks import blocks_curve
from solver.bounds.bound import Bound
from solver.bounds.makespan import bound_as_written, bound_of, implied_analysis, implied_network
from solver.bounds.stretched import devices_of
from solver.deadline import OutOfTimeError
from solver.errors import InfeasibleError
from solver.problem import Problem
from solver.repetition import Repetition, as_repetition, shortened
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.random_problems import random_fused_problem
from tests.solver.bounds.test_bounds import pipeline_problem
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


def area_above(problem: Problem | Repetition, known: int, deadline: float | None = None) -> Bound | None:
    """Find what blocks and memory show above a time that is known to be a bound."""
    whole = as_repetition(problem)
    written, found = whole.problem, implied_analysis(whole.problem)
    devices = list(devices_of(whole, found))
    curves = [blocks_curve(written, found, each.view, each.left) for each in devices]
    known_curves = [curve for curve in curves if curve is not None]
    ends = {each.view.device: each.ends for each in devices}
    return block_area_bound(written, found, known_curves, known, whole.copies(), ends, deadline)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(6))
def test_blocks_and_memory_show_nothing_above_the_optimum(block: int) -> None:
    for seed in range(1000 + 20 * block, 1020 + 20 * block):
        problem, text = random_fused_problem(seed, 3)
        if len(problem.tasks) > 18:
            continue
        if seed % 3 == 0:
            problem = with_blocks_of_any_length(problem, seed)
        try:
            optimum = ExactModel(problem).solve(0.3)
        except TimeoutError:
            continue
        if optimum is not None:
            assert area_above(problem, optimum) is None, text
            short = shortened(problem, 2)
            assert short is None or area_above(short, optimum) is None, text


@pytest.mark.parametrize(("placement", "cap", "hops"), [("bidirectional", 4, 6), ("v", 6, 12), ("v", 7, 12)])
def test_they_hold_the_bound_of_long_pipelines_where_blocks_are_long(placement: str, cap: int, hops: int) -> None:
    """A fully fused microbatch (or two, if bidirectional) would take 800, and more memory than there is.

    Let a share x be fused on every device. Then a microbatch takes 918 − 118 x, and holds a unit on all devices
    together for as long as all its stages last, one more for the device itself, and the hops: 366 + 434 x each, with a
    W of 93 twice outside blocks. The bound may choose the share on each device, so it is a little smaller.
    """
    stages = 5 if placement == "bidirectional" else 9
    alone, longer = 366 * stages + 20 * hops + 93 * 2, 434 * stages - 93 * 2
    share = (918 * cap - alone) / (longer + 118 * cap)
    problem = pipeline_problem(placement, 4, 12 if placement == "v" else 24, (185, 181, 93), cap, latency=20, block=400)
    bounds = [bound_as_written(Repetition(problem, (more,) * len(problem.chains))) for more in (1000, 2000)]
    assert {bound.piece for bound in bounds} == {"block area"}
    growth = (bounds[1].value - bounds[0].value) / 1000
    assert 0.7 * 118 * (1 - share) < growth - 800 <= 118 * (1 - share)


def test_a_deadline_ends_it() -> None:
    problem = pipeline_problem("v", 4, 12, (185, 181, 93), 6, latency=20, block=400)
    assert area_above(problem, 1) is not None
    with pytest.raises(OutOfTimeError):
        area_above(problem, 1, deadline=0.0)
