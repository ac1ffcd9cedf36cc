"""A deadline is called impossible only if no schedule meets it."""

from __future__ import annotations

import random
from contextlib import suppress
from time import perf_counter

import pytest

from solver.bounds.makespan import implied_analysis, makespan_bound
from solver.bounds.memory_edges import limited_memories
from solver.bounds.refutation import is_refuted, refuted_bounds
from solver.errors import InfeasibleError
from solver.problem import Problem
from solver.search.first_bounds import quick_bound, refute_deadlines
from solver.search.state import Search
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.random_problems import random_problem, written_problem
from tests.solver.bounds.test_bounds import pipeline_problem

TIMES = (185, 181, 93)


def random_short_of_memory(seed: int) -> tuple[Problem, str]:
    """Draw a small pipeline whose memory is close to the least that any schedule needs, uneven in all else."""
    draw = random.Random(seed)
    name = draw.choice(["linear", "v", "v", "v", "interleaved", "bidirectional"])
    devices = 2 if name == "interleaved" else draw.choice([2, 2, 3])
    stages = 2 * devices if name in ("v", "interleaved") else devices
    microbatches = 2 * draw.randint(1, 2) if name == "bidirectional" else draw.randint(2, 4 if stages <= 4 else 3)
    uneven, top = draw.random() < 0.4, draw.choice([1, 3, 9, 30])

    def times() -> list[int]:
        values = [draw.randint(1, top) for _ in range(stages)]
        return values if uneven else values[:1] * stages

    costs = {"forward": times(), "backward_input": times(), "backward_weight": times()}
    sizes = [draw.randint(1, 2) for _ in range(stages)] if draw.random() < 0.25 else [1] * stages
    memory: dict[str, object] = {"activation": sizes}
    if draw.random() < 0.3:
        memory["held_for_weight"] = [draw.choice([0, size / 2, size]) for size in sizes]
    memory["limit"] = max(sizes) * (stages // devices) + draw.randint(0, 2)
    latency, split = draw.choice([0, 0, 1, 3]), draw.random() < 0.85
    return written_problem(
        seed, name, (devices, stages, microbatches), costs, memory, latency, {}, split=split, overlap=False
    )


def raised(problem: Problem) -> tuple[int, int] | None:
    """Return the bound without and with refuted deadlines; None if no schedule fits the memory."""
    with suppress(InfeasibleError):
        known = makespan_bound(problem).value
        return known, max((bound.value for bound in refuted_bounds(problem, known)), default=known)
    return None


@pytest.mark.exhaustive(2)
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(12))
def test_no_schedule_meets_a_refuted_deadline(block: int) -> None:
    higher = 0
    for seed in range(20 * block, 20 * (block + 1)):
        problem, text = (random_short_of_memory if seed % 4 else random_problem)(seed)
        bounds = raised(problem)
        if bounds is not None and bounds[1] > bounds[0]:
            higher += 1
            assert not ExactModel(problem).is_shorter_than(bounds[1], 0.5), text
    assert higher


@pytest.mark.parametrize(
    ("devices", "microbatches", "optimum"), [(2, 3, 3548), (2, 5, 5640), (3, 3, 5172), (3, 4, 6624)]
)
def test_it_closes_some_of_the_gap_below_a_known_optimum(devices: int, microbatches: int, optimum: int) -> None:
    problem = pipeline_problem("v", devices, microbatches, TIMES, 3, latency=20)
    bounds = raised(problem)
    assert bounds is not None
    assert bounds[0] < bounds[1] <= optimum


def test_a_search_is_given_what_is_refuted() -> None:
    problem = pipeline_problem("v", 4, 8, TIMES, 4, latency=20)
    search = Search(problem, "makespan", 600.0, None)
    quick_bound(search)
    quick = search.bound
    refute_deadlines(search)
    assert search.bound > 1.02 * quick
    assert search.held_by.piece == "deadline"


@pytest.mark.parametrize("scale", [10**digits for digits in (3, 12, 15, 18)])
def test_deadlines_of_many_digits_are_exact(scale: int) -> None:
    problem = pipeline_problem("v", 2, 3, tuple(scale * time for time in TIMES), 3, latency=20 * scale)
    found = implied_analysis(problem)
    limits = limited_memories(problem, found.network)
    assert is_refuted(problem, found, limits, 3480 * scale)
    assert not is_refuted(problem, found, limits, 3548 * scale)


def test_nothing_is_looked_for_in_blocks_without_a_limit_or_without_time() -> None:
    short = pipeline_problem("v", 2, 3, TIMES, 3, latency=20)
    assert list(refuted_bounds(short, 3420))
    assert not list(refuted_bounds(short, 3420, deadline=perf_counter()))
    assert not list(refuted_bounds(pipeline_problem("v", 2, 3, TIMES, None, latency=20), 1000))
    assert not list(refuted_bounds(pipeline_problem("v", 2, 3, TIMES, 3, latency=20, block=300), 1000))
