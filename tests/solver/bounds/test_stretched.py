"""A bound from the first microbatches alone is never above the optimum of all of them."""

from __future__ import annotations

import random
import time

import pytest

from solver.bounds.bound import Bound
from solver.bounds.loads import least_loads
from solver.bounds.makespan import bound_as_written, makespan_bound
from solver.errors import InfeasibleError
from solver.problem import Hold, Problem, Task
from solver.repetition import Repetition, is_regular, shortened
from solver.search.greedy import greedy_schedules
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.random_problems import written_problem
from tests.solver.bounds.test_bounds import pipeline_problem


def random_long_problem(seed: int, most: int) -> tuple[Problem, str]:
    """Draw a pipeline with two devices and many microbatches, as uneven as possible in everything else."""
    draw = random.Random(seed)
    name = draw.choice(["linear", "linear", "v", "interleaved", "bidirectional"])
    devices = draw.choice([2, 2, 3]) if name in ("linear", "bidirectional") else 2
    stages = 2 * devices if name in ("v", "interleaved") else devices
    microbatches = draw.randint(3, most)
    if name == "bidirectional":
        microbatches = max(6, microbatches - microbatches % 2)
    top = draw.choice([1, 4, 9])
    uneven = draw.random() < 0.4

    def times() -> list[int]:
        values = [draw.randint(1, top) for _ in range(stages)]
        return values if uneven else values[:1] * stages

    split = draw.random() < 0.7
    costs: dict[str, object] = {"forward": times(), "backward_input": times(), "backward_weight": times()}
    more: dict[str, object] = {}
    if draw.random() < 0.3:
        more["overlap"] = draw.choice([0.25, 0.5, 1])
    sizes = [draw.randint(1, 2) for _ in range(stages)] if draw.random() < 0.2 else [1] * stages
    memory: dict[str, object] = {"activation": sizes}
    if draw.random() < 0.3:
        memory["held_for_weight"] = [draw.choice([0, size / 2, size]) for size in sizes]
    if draw.random() < 0.85:
        memory["limit"] = max(sizes) * (stages // devices) + draw.randint(0, 4)
    latency, numbers = draw.choice([0, 0, 1, 3]), (devices, stages, microbatches)
    return written_problem(seed, name, numbers, costs, memory, latency, more, split=split, overlap="overlap" in more)


def from_the_first(problem: Problem, size: int) -> Bound | None:
    short = shortened(problem, size)
    assert short is not None
    try:
        return bound_as_written(short)
    except InfeasibleError:
        return None


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(20))
def test_no_schedule_is_shorter(block: int) -> None:
    for seed in range(3 * block, 3 * (block + 1)):
        problem, text = random_long_problem(seed, 5)
        for size in range(2, min(map(len, problem.chains)) + 1):
            found = from_the_first(problem, size)
            value = None if found is None else found.value
            assert not ExactModel(problem).is_shorter_than(value, 0.2), f"{size} of {text}"


@pytest.mark.exhaustive(4)
@pytest.mark.parametrize("seed", range(1000, 1020))
def test_nor_is_it_above_the_bound_of_the_whole_or_a_schedule(seed: int) -> None:
    problem, text = random_long_problem(seed, 14)
    try:
        whole = makespan_bound(problem).value
    except InfeasibleError:
        return
    length, _ = next(greedy_schedules(problem, deadline=time.perf_counter() + 5), (None, None))
    values = [found.value for size in (2, 3) if (found := from_the_first(problem, size)) is not None]
    assert all(length is None or value <= length for value in values), text
    assert all(value <= whole for value in values), text


@pytest.mark.parametrize(
    ("placement", "devices", "microbatches", "cap", "latency"),
    [
        ("linear", 4, 24, 4, 20),
        ("linear", 4, 24, 7, 0),
        ("linear", 4, 24, None, 3),
        ("v", 4, 24, 6, 20),
        ("v", 4, 24, 8, 0),
        ("interleaved", 4, 24, 11, 10),
    ],
)
def test_three_periods_show_all_of_a_long_pipeline(
    placement: str, devices: int, microbatches: int, cap: int | None, latency: int
) -> None:
    times = (185, 181, 93)
    problem = pipeline_problem(placement, devices, microbatches, times, cap, latency=latency)
    far = pipeline_problem(placement, devices, 10 * microbatches, times, cap, latency=latency)
    found, further = from_the_first(problem, 3 * devices), from_the_first(far, 3 * devices)
    assert found is not None
    assert further is not None
    assert found.value == makespan_bound(problem).value
    stages = 1 if placement == "linear" else 2
    assert further.value == found.value + 9 * microbatches * stages * sum(times)


@pytest.mark.parametrize(
    ("placement", "devices", "cap", "latency"),
    [("v", 4, 3, 0), ("v", 3, 3, 20), ("interleaved", 4, 3, 10)],
)
def test_a_path_through_memory_is_as_long_as_that_of_the_whole(
    placement: str, devices: int, cap: int, latency: int
) -> None:
    problem = pipeline_problem(placement, devices, 10 * devices, (185, 181, 93), cap, latency=latency)
    found, whole = from_the_first(problem, 3 * devices), bound_as_written(problem)
    assert found == whole
    assert whole.piece == "path"


@pytest.mark.parametrize(("devices", "cap", "latency"), [(4, 2, 0), (4, 3, 20), (3, 2, 7)])
def test_memory_for_few_microbatches_takes_a_round_trip_for_each_turn(devices: int, cap: int, latency: int) -> None:
    turns = 60
    made = [
        from_the_first(pipeline_problem("linear", devices, count, (185, 181, 93), cap, latency=latency), 3 * devices)
        for count in (5 * devices, 5 * devices + turns * cap)
    ]
    round_trip = devices * (185 + 181) + 2 * (devices - 1) * latency + 93
    assert None not in made
    assert made[1].value - made[0].value >= turns * round_trip - 185  # type: ignore[union-attr]


@pytest.mark.parametrize("scale", [10**digits for digits in (11, 12, 13, 14, 15, 16, 18)])
def test_a_repeated_path_of_many_digits_is_exact(scale: int) -> None:
    small, large = (
        from_the_first(pipeline_problem("linear", 4, 200, tuple(each * time for time in (185, 181, 93)), 2), 12)
        for each in (1, scale)
    )
    assert small is not None
    assert large is not None
    assert large.value == scale * small.value


def test_blocks_are_bounded_from_the_first_too() -> None:
    for microbatches in (20, 40):
        problem = pipeline_problem("bidirectional", 4, microbatches, (2, 4), 5, block=5)
        found = from_the_first(problem, 8)
        assert found is not None
        assert found.value == from_the_first(problem, microbatches // 2).value  # type: ignore[union-attr]


def test_it_is_the_work_of_all_that_counts() -> None:
    problem = pipeline_problem("v", 2, 40, (1, 2, 3), None)
    short = shortened(problem, 4)
    assert short is not None
    assert short.tasks == len(problem.tasks)
    assert least_loads(short.problem, short.copies().__getitem__) == least_loads(problem)


def chain_problem(**changes: object) -> Problem:
    """Write two chains of three tasks, one after the other, with memory that one takes and the other returns."""
    tasks = {(chain, place): Task(chain, 1 + chain) for chain in range(2) for place in range(3)}
    waits = [((0, place), (1, place), 1) for place in range(3)]
    waits += [((chain, place), (chain, place + 1), 0) for chain in range(2) for place in range(2)]
    given = {"precedences": waits, "holds": (), "chains": [[(c, k) for k in range(3)] for c in range(2)]} | changes
    return Problem(2, given.pop("tasks", tasks), capacities=[9, 9], **given)  # type: ignore[arg-type]


WAITS = chain_problem().precedences


@pytest.mark.parametrize(
    "changes",
    [
        {"chains": [[(0, k) for k in range(3)]]},  # a task is in no chain
        {"precedences": [*WAITS, ((0, 0), (1, 2), 0)]},  # between different places
        {"precedences": WAITS[1:]},  # not at every place
        {"precedences": [(*WAITS[0][:2], 2), *WAITS[1:]]},  # with a different lag
        {"precedences": [edge for edge in WAITS if edge[0][0] != edge[1][0] or edge[0][0] == 1]},  # an unordered chain
        {"tasks": {(c, k): Task(c, 1 + (k == 2)) for c in range(2) for k in range(3)}},  # one takes longer
        {"holds": [Hold((0, 0), 1, (((0, 0), 1),))]},  # only the first takes memory
        {"holds": [Hold((0, k), 1 + k, (((0, k), 1 + k),)) for k in range(3)]},  # each takes a different amount
        {"holds": [Hold((0, k), 1, (((0, (k + 1) % 3), 1),)) for k in range(3)]},  # returned at another place
    ],
)
def test_what_does_not_repeat_is_not_shortened(changes: dict[str, object]) -> None:
    assert is_regular(chain_problem())
    assert not is_regular(chain_problem(**changes))
    assert shortened(chain_problem(**changes), 2) is None


def test_a_hundred_thousand_microbatches_are_bounded_without_being_listed() -> None:
    small = pipeline_problem("linear", 8, 24, (185, 181, 93), 8, latency=20)
    found = bound_as_written(Repetition(small, (100_000 - 24,) * len(small.chains)))
    assert found.value == makespan_bound(small).value + (100_000 - 24) * (185 + 181 + 93)
