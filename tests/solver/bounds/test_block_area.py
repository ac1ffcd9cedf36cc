"""The bound from the memory of blocks: never above the optimum, and above all other bounds where it should be."""

from __future__ import annotations

import random

import pytest

from solver.bounds.analysis import analyse
from solver.bounds.bound import Bound
from solver.bounds.makespan import bound_as_written, bound_of, implied_network
from solver.errors import InfeasibleError
from solver.problem import Problem
from solver.repetition import Repetition
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.random_problems import written_problem
from tests.solver.bounds.test_bounds import pipeline_problem
from tests.solver.bounds.test_stretched import from_the_first


def random_fused_problem(seed: int, most: int) -> tuple[Problem, str]:
    """Draw a pipeline with little memory and blocks that save much, as uneven as possible in everything else."""
    draw = random.Random(seed)
    name = draw.choice(["v", "bidirectional", "bidirectional", "interleaved", "linear"])
    devices = draw.choice([2, 2, 3]) if name in ("linear", "bidirectional") else 2
    stages = 2 * devices if name in ("v", "interleaved") else devices
    microbatches = draw.randint(3, most)
    if name == "bidirectional":
        microbatches = max(4, microbatches - microbatches % 2)
    uneven, top = draw.random() < 0.5, draw.choice([2, 5, 9])

    def times() -> list[int]:
        values = [draw.randint(1, top) for _ in range(stages)]
        return values if uneven else values[:1] * stages

    split = draw.random() < 0.6
    costs: dict[str, object] = {"forward": times(), "backward_input": times(), "backward_weight": times()}
    rule: dict[str, object] = {}
    if draw.random() < 0.5:
        rule["overlap"] = draw.choice([0.25, 0.5, 0.9, 1])
    else:
        share = draw.choice([0.5, 0.7, 0.85])
        costs["overlapped_forward_backward"] = [
            max(1, round(share * (f + i + w)))
            for f, i, w in zip(*(costs[key] for key in list(costs)), strict=True)  # type: ignore[call-overload]
        ]
    sizes = [draw.randint(1, 2) for _ in range(stages)] if draw.random() < 0.3 else [1] * stages
    memory: dict[str, object] = {"activation": sizes}
    if draw.random() < 0.3:
        memory["held_for_weight"] = [draw.choice([0, size / 2, size]) for size in sizes]
    memory["limit"] = max(sizes) * (stages // devices) + draw.randint(0, 2)
    latency, numbers = draw.choice([0, 1, 3]), (devices, stages, microbatches)
    return written_problem(seed, name, numbers, costs, memory, latency, rule, split=split, overlap=True)


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


@pytest.mark.parametrize(("placement", "cap", "hops"), [("bidirectional", 5, 6), ("v", 8, 12), ("v", 9, 12)])
def test_it_holds_the_bound_of_long_pipelines_where_blocks_are_long(placement: str, cap: int, hops: int) -> None:
    """A fully fused microbatch (or two, if bidirectional) would take 800, and more memory than there is.

    Let a share x be fused on every device. Then a microbatch takes 918 − 118 x, and holds a unit on all devices
    together for as long as all its stages last, one more for the device itself, and the hops: 366 + 434 x each, with a
    W of 93 twice outside blocks. The bound may choose the share on each device, so it is a little smaller.
    """
    alone = 366 * (5 if placement == "bidirectional" else 9) + 20 * hops + 93 * 2
    longer = 434 * (5 if placement == "bidirectional" else 9) - 93 * 2
    share = (918 * cap - alone) / (longer + 118 * cap)
    bounds = []
    problem = pipeline_problem(placement, 4, 12 if placement == "v" else 24, (185, 181, 93), cap, latency=20, block=400)
    for more in (1000, 2000):
        found = bound_as_written(Repetition(problem, (more,) * len(problem.chains)))
        assert found.piece == "block area"
        bounds.append(found.value)
    expected = 918 - 118 * share
    assert 0.6 * (expected - 800) < (bounds[1] - bounds[0]) / 1000 - 800 <= expected - 800
