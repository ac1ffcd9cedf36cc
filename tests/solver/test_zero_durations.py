"""An operation that takes no time still has its turn: in both engines, the checker, the bounds and every search."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import InputError, Pipeline
from ppopt.cutting.least_memory import least_memory
from solver.bounds.heads_tails import heads_and_tails
from solver.bounds.makespan import makespan_bound
from solver.bounds.memory_edges import memory_edges
from solver.checker import violations
from solver.errors import DeadlockError, InfeasibleError
from solver.numbered import place
from solver.problem import Placed, Problem, Task
from solver.replay import replay
from solver.search.greedy import greedy_schedules
from solver.search.local_search import improve
from solver.search.sweep import Sweeper
from strategies.language.registry import all_strategies
from strategies.problem.search_problem import build_search_problem
from tests.brute_force import optimum
from tests.evaluated import evaluated_if_complete
from tests.examples import examples
from tests.layered_pipelines import Layered, random_layered
from tests.solver.bounds.exact_optimum import ExactModel

LAYERS = [
    {"name": "embedding", "forward": 0, "backward": 0, "static": 3, "latest_stage": 0},
    {"name": "decoder", "count": 6, "forward": 2, "backward_input": 2, "backward_weight": 1},
    {"name": "head", "forward": 1, "backward_input": 1, "backward_weight": 0, "earliest_stage": -1},
]


@st.composite
def cut_pipelines(draw: st.DrawFn) -> tuple[str, Pipeline]:
    strategy = draw(st.sampled_from(list(all_strategies().values())))
    needs = strategy.requirements
    devices = draw(st.integers(1, 4)) * (2 if needs.even_devices else 1)
    microbatches = max(1, 2 * devices * bool(needs.microbatches_per_device)) + 2 * draw(st.integers(0, 2))
    per_device = needs.stages_per_device or draw(st.integers(1, 3))
    if needs.stages_per_device is None:
        microbatches = devices * draw(st.integers(1, 3))
    microbatches += microbatches % 2 * needs.even_microbatches
    stages = per_device * devices
    inner = draw(st.lists(st.integers(0, stages - 1), min_size=6, max_size=6))
    cut = [inner.count(stage) for stage in range(stages)]
    cut[0] += 1
    cut[-1] += 1
    latency = draw(st.sampled_from([0, 0, 1, 0.3]))
    mapping = {"devices": devices, "microbatches": microbatches, "layers": LAYERS, "p2p_latency": latency}
    return strategy.name, Pipeline.from_mapping(mapping | {"layers_per_stage": cut})


@pytest.mark.no_cover
@settings(max_examples=examples(60), deadline=None)
@given(cut_pipelines())
def test_both_engines_replay_empty_stages_and_the_checker_agrees(case: tuple[str, Pipeline]) -> None:
    name, pipeline = case
    first, second = (evaluated_if_complete(name, pipeline, engine) for engine in ("graph", "cpsat"))
    assert first.rows == second.rows
    assert first.figures == second.figures
    assert violations(first.problem, first.rows) == []
    assert sum(each.idle for each in first.waiting.before) >= 0
    causes = ("filling", "data", "latency", "order", "draining")
    total = sum(getattr(idle, cause) for idle in first.waiting.devices for cause in causes)
    busy = sum(round(each * first.problem.ticks_per_unit) for each in first.busy)
    assert total + busy == pipeline.devices * round(first.makespan * first.problem.ticks_per_unit)


@pytest.mark.no_cover
@settings(max_examples=examples(40), deadline=None)
@given(cut_pipelines())
def test_a_stage_of_no_time_is_the_limit_of_one_of_little_time(case: tuple[str, Pipeline]) -> None:
    """The makespan of a fixed order is continuous in its durations: a small duration changes it only a little."""
    name, pipeline = case
    found = evaluated_if_complete(name, pipeline)
    stages = found.pipeline.as_stages()  # some rules need a different number of stages than was drawn
    little = 1e-6
    times = {
        key: [float(getattr(cost, key)) or little for cost in stages.costs]
        for key in ("forward", "backward_input", "backward_weight")
    }
    nearly = Pipeline.from_mapping(
        {
            "devices": stages.devices,
            "microbatches": stages.microbatches,
            "times": times,
            "p2p_latency": stages.p2p_latency,
        }
    )
    near = evaluated_if_complete(name, nearly)
    assume(found.orders == near.orders)  # some rules use the times
    operations = 3 * (stages.stages or 0) * stages.microbatches
    assert found.makespan <= near.makespan <= found.makespan + operations * little


def chain(durations: list[int], devices: list[int]) -> Problem:
    tasks = dict(enumerate(map(Task, devices, durations)))
    return Problem(max(devices) + 1, tasks, [(one, two, 0) for one, two in pairwise(tasks)])


@pytest.mark.parametrize("engine", ["graph", "cpsat"])
def test_a_cycle_of_tasks_of_no_duration_is_a_deadlock(engine: str) -> None:
    problem = chain([0, 0, 0, 0], [0, 1, 0, 1])
    assert replay(problem, [[0, 2], [1, 3]], engine) == dict.fromkeys(range(4), 0)
    with pytest.raises(DeadlockError):
        replay(problem, [[2, 0], [1, 3]], engine)


@pytest.mark.no_cover
@settings(max_examples=examples(150), deadline=None)
@given(st.integers(0, 10**9))
def test_the_engines_agree_on_any_order_of_any_problem(seed: int) -> None:
    draw = random.Random(seed)
    size, devices = draw.randint(1, 8), draw.randint(1, 3)
    tasks = {key: Task(draw.randrange(devices), draw.choice([0, 0, 1, 3])) for key in range(size)}
    pairs = [(a, b, draw.choice([0, 0, 2])) for b in range(size) for a in range(b) if draw.random() < 0.3]
    problem = Problem(devices, tasks, pairs)
    shuffled = draw.sample(range(size), size) if draw.random() < 0.5 else range(size)
    orders = [[key for key in shuffled if tasks[key].device == device] for device in range(devices)]
    found = []
    for engine in ("graph", "cpsat"):
        try:
            found.append(replay(problem, orders, engine))
        except DeadlockError:
            found.append(None)
    assert found[0] == found[1]
    assert Sweeper(problem).starts(orders) == found[0]
    if found[0] is not None:
        assert violations(problem, place(problem, orders, found[0])) == []


def test_the_checker_knows_when_a_device_is_free() -> None:
    problem = Problem(1, {"long": Task(0, 4), "none": Task(0, 0), "late": Task(0, 2)}, [])
    long, late = Placed("long", 0, 0, 4), Placed("late", 0, 4, 6)
    for moment in (0, 4, 6):
        assert violations(problem, [long, Placed("none", 0, moment, moment), late]) == []
    for moment in (1, 3, 5):
        found = violations(problem, [long, Placed("none", 0, moment, moment), late])
        assert [each.kind for each in found] == ["overlap"]
    assert "duration" in {each.kind for each in violations(problem, [long, Placed("none", 0, 6, 7), late])}


def problem_of(made: Layered) -> Problem:
    return build_search_problem(made.pipeline, made.placement, split_backward=made.split, overlap=made.overlap)


def fits(made: Layered) -> bool:
    needed = least_memory(made.pipeline, made.placement)
    return all(limit is None or limit >= least for (least, _), limit in zip(needed, made.pipeline.limits, strict=True))


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(8))
def test_no_bound_is_above_the_optimum(block: int) -> None:
    for seed in range(20 * block, 20 * (block + 1)):
        made = random_layered(seed)
        problem = problem_of(made)
        try:
            bound = makespan_bound(problem)
        except InfeasibleError:
            assert ExactModel(problem).solve() is None, made.text
            continue
        best = ExactModel(problem).solve()
        assert best is None or bound.value <= best, made.text


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(4))
def test_every_schedule_obeys_edges_heads_and_tails(block: int) -> None:
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        made = random_layered(seed)
        problem = problem_of(made)
        schedule = ExactModel(problem, chains=True).any_schedule(seed)
        if schedule is None:
            continue
        starts, ends = schedule
        edges = memory_edges(problem)
        heads, tails = heads_and_tails(problem, edges)
        last = max(ends.values())
        assert all(starts[after] >= ends[before] + lag for before, after, lag in edges), made.text
        assert all(starts[key] >= heads[key] for key in heads), made.text
        assert all(last - ends[key] >= tails[key] for key in tails), made.text


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(6))
def test_the_search_finds_the_optimum(block: int) -> None:
    for seed in range(3000 + 4 * block, 3004 + 4 * block):
        made = random_layered(seed, most_microbatches=2)
        options = {"placement": made.placement.name, "split_backward": made.split, "overlap": made.overlap}
        try:
            found = ppopt.optimize(made.pipeline, time_limit=60, seed=1, **options)
        except InfeasibleError:
            assert not fits(made), made.text
            continue
        best = optimum(made.pipeline, made.placement.name, split=made.split, overlap=made.overlap)
        assert best is not None, made.text
        assert (found.status, found.makespan, found.bound) == ("optimal", float(best), float(best)), made.text
        assert violations(found.problem, found.rows) == []


@pytest.mark.no_cover
@pytest.mark.parametrize("compiled", [False, True])
def test_heuristics_make_valid_schedules_and_get_stuck_nowhere(compiled: bool) -> None:
    if compiled:
        pytest.importorskip("numba")
    for seed in range(5000, 5012):
        made = random_layered(seed, most_microbatches=6)
        if not fits(made):
            continue
        problem = problem_of(made)
        start, orders = next(greedy_schedules(problem, deadline=time.perf_counter() + 60))
        assert violations(problem, place(problem, orders, replay(problem, orders))) == []
        target, deadline = makespan_bound(problem).value, time.perf_counter() + 0.2
        best, better = improve(problem, [orders], target=target, deadline=deadline, compiled=compiled)
        assert best <= start
        assert Sweeper(problem).objective(better, "makespan") == best
        assert Sweeper(problem).fits_memory(better)


@pytest.mark.no_cover
@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 10**6))
def test_spans_are_bounded_by_what_is_found(seed: int) -> None:
    made = random_layered(seed, most_microbatches=2)
    assume(fits(made) and made.placement.name == "linear")
    found = ppopt.optimize(made.pipeline, split_backward=made.split, objective="span", time_limit=20, seed=1)
    shortest = ppopt.optimize(made.pipeline, split_backward=made.split, time_limit=20, seed=1)
    assert found.bound is not None
    assert found.bound <= found.span <= shortest.span
    assert found.span <= found.makespan


def test_a_duration_of_nothing_is_still_refused_where_stages_are_given() -> None:
    with pytest.raises(InputError, match=r"^times.forward: must be greater than 0; found 0$"):
        Pipeline.from_mapping({"devices": 2, "microbatches": 2, "times": {"forward": 0, "backward": 1}})
