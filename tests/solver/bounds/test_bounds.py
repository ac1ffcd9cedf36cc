"""No bound is ever above the optimum: checked against exact optima of small problems, and against closed forms."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.bounds.heads_tails import heads_and_tails
from solver.bounds.makespan import implied_network, makespan_bound
from solver.bounds.memory_edges import memory_edges
from solver.errors import InfeasibleError
from solver.problem import Hold, Problem, Task
from strategies.model.pipeline import Pipeline
from strategies.model.placements import make_placement
from strategies.problem.search_problem import build_search_problem
from tests.examples import examples
from tests.solver.bounds.exact_optimum import ExactModel
from tests.solver.bounds.random_problems import random_problem


def quick(problem: Problem) -> int | None:
    try:
        return makespan_bound(problem).value
    except InfeasibleError:
        return None


@pytest.mark.exhaustive(2)
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(8))
def test_no_schedule_is_shorter_than_the_quick_bound(block: int) -> None:
    for seed in range(30 * block, 30 * (block + 1)):
        problem, text = random_problem(seed)
        assert not ExactModel(problem).is_shorter_than(quick(problem), 0.3), text


def test_a_bound_is_called_a_path_only_where_precedences_alone_show_it() -> None:
    found: set[str] = set()
    for seed in range(150):
        problem, text = random_problem(seed)
        with suppress(InfeasibleError):
            bound, graph = makespan_bound(problem), implied_network(problem)
            lead = graph.thinned.least_action
            ends: dict[int, int] = {}
            for task in graph.order:
                ends[task] = lead[task] + max((ends[before] + lag for before, lag in graph.preds[task]), default=0)
            longest = max(ends.values())
            assert bound.value == longest if bound.piece == "path" else bound.value > longest, text
            found.add(bound.piece)
    assert {"path", "heads and tails"} <= found


@pytest.mark.no_cover
@settings(max_examples=examples(60), deadline=None)
@given(st.integers(10_000, 10_000_000))
def test_nor_anywhere_else(seed: int) -> None:
    problem, text = random_problem(seed)
    assert not ExactModel(problem).is_shorter_than(quick(problem), 0.3), text


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(4))
def test_every_schedule_obeys_edges_heads_and_tails(block: int) -> None:
    for seed in range(400 + 10 * block, 410 + 10 * block):
        problem, text = random_problem(seed)
        schedule = ExactModel(problem, chains=True).any_schedule(seed)
        try:
            edges = memory_edges(problem)
        except InfeasibleError:
            assert schedule is None, text
            continue
        if schedule is None:
            continue
        starts, ends = schedule
        heads, tails = heads_and_tails(problem, edges)
        last = max(ends.values())
        assert all(starts[after] >= ends[before] + lag for before, after, lag in edges), text
        assert all(starts[key] >= heads[key] for key in heads), text
        assert all(last - ends[key] >= tails[key] for key in tails), text


def pipeline_problem(
    placement: str,
    devices: int,
    microbatches: int,
    times: tuple[object, ...],
    cap: int | None,
    *,
    latency: int = 0,
    block: int | None = None,
) -> Problem:
    stages = 2 * devices if placement in ("v", "interleaved") else devices
    names = ("forward", "backward_input", "backward_weight") if len(times) == 3 else ("forward", "backward")
    costs = dict(zip(names, times, strict=True))
    if block is not None:
        costs["overlapped_forward_backward"] = block
    sizes = {"devices": devices, "stages": stages, "microbatches": microbatches}
    memory = {"activation": 1} | ({} if cap is None else {"limit": cap})
    pipeline = Pipeline.from_mapping({**sizes, "times": costs, "p2p_latency": latency, "memory": memory})
    layout = make_placement(placement, devices, stages, microbatches)
    return build_search_problem(pipeline, layout, split_backward=len(times) == 3, overlap=block is not None)


@pytest.mark.parametrize(
    ("placement", "devices", "microbatches", "times", "latency", "cap", "optimal"),
    [
        ("linear", 4, 8, (1, 1, 1), 0, 3, 31),
        ("linear", 8, 16, (1, 1, 1), 0, 5, 68),
        ("linear", 8, 32, (1, 1, 1), 0, 6, 109),
        ("linear", 8, 16, (185, 181, 93), 20, 8, 9815),
        ("linear", 8, 32, (185, 181, 93), 0, 8, 16599),
        ("linear", 8, 32, (3, 2, 2), 0, 8, 245),
        ("v", 2, 8, (185, 181, 93), 20, 2, 10905),
        ("v", 4, 8, (1, 1, 1), 0, 8, 51),
        ("v", 4, 8, (1, 1, 1), 0, 6, 53),
        ("v", 4, 8, (1, 1, 1), 0, 5, 56),
        ("v", 8, 16, (1, 1, 1), 0, 16, 103),
        ("v", 8, 16, (1, 1, 1), 0, 10, 113),
        ("v", 8, 16, (1, 1, 1), 0, 8, 119),
        ("v", 8, 16, (185, 181, 93), 20, 10, 19449),
        ("interleaved", 4, 8, (185, 181, 93), 10, 11, 7929),
    ],
)
def test_the_quick_bound_meets_known_optima(
    placement: str,
    devices: int,
    microbatches: int,
    times: tuple[int, ...],
    latency: int,
    cap: int,
    optimal: int,
) -> None:
    problem = pipeline_problem(placement, devices, microbatches, times, cap, latency=latency)
    assert makespan_bound(problem).value == optimal


@pytest.mark.parametrize(
    ("times", "block", "bound", "reached"), [((2, 4), 5, 131, 131), ((1, 1, 1), 2, 51, 51), ((2, 2, 2), 5, 114, 116)]
)
def test_blocks_are_bounded_too(times: tuple[int, ...], block: int, bound: int, reached: int) -> None:
    problem = pipeline_problem("bidirectional", 8, 20, times, 9, block=block)
    assert bound <= makespan_bound(problem).value <= reached


def linear_closed_form(devices: int, count: int, times: tuple[int, int, int], latency: int) -> int:
    """Return the load of a device with the forwards before it and the backwards after it, without memory."""
    forward, to_input, to_weight = times
    return max(
        d * (forward + latency)
        + count * sum(times)
        + max(0, d * (to_input + latency) + (d > 0) * to_weight - count * to_weight)
        for d in range(devices)
    )


def v_window_form(devices: int, count: int, times: tuple[int, int, int], latency: int, cap: int) -> int:
    """Return the V placement's window bound, adding front and back if their windows are disjoint."""
    F, I, W = times
    p, m, l = devices, count, latency
    n, cd, ce = min(cap, 2 * m), min(cap, m), min(cap - 1, m)
    last = 2 * p - 1

    def hops(stages: range) -> int:
        return sum(l for stage in stages if stage != p - 1)

    off_f = [stage * F + hops(range(stage)) for stage in range(2 * p)]
    off_i = [off_f[last] + F + (last - stage) * I + hops(range(stage, last)) for stage in range(2 * p)]
    end = off_i[0] + I + W
    best = 0
    for d in range(p):
        e = last - d
        f1 = max(0, off_i[e] - n * F)
        f2 = max(0, off_i[d] - cd * F - ce * (F + I + W))
        b1 = max(0, end - off_f[e] - F - n * (I + W))
        b2 = max(0, end - off_f[d] - F - cd * (I + W) - ce * (F + I + W))
        b3 = max(0, d * (I + l) + W * (d > 0) - n * W)
        front0 = off_f[d]
        fronts = {"F": front0, "F1": f1, "F2": f2}
        backs = {"0": 0, "B1": b1, "B2": b2, "B3": b3}
        for f, front in fronts.items():
            for b, back in backs.items():
                apart = f == "F" and b in ("0",)
                apart |= f == "F1" and b in ("B1", "B3", "0") and 2 * m > cap
                apart |= f in ("F1", "F2") and b == "B2" and m > cap
                apart |= f == "F2" and b == "B1" and m > cap - 1
                best = max(best, 2 * m * (F + I + W) + (front + back if apart else max(front, back)))
    return best


@pytest.mark.exhaustive(6)
@pytest.mark.parametrize("cap", [4, 5, 6, 8, 10, 16])
@pytest.mark.parametrize("times", [(1, 1, 1), (185, 181, 93), (2, 3, 1)])
@pytest.mark.parametrize("latency", [0, 20])
def test_the_v_window_bound_is_contained(cap: int, times: tuple[int, int, int], latency: int) -> None:
    problem = pipeline_problem("v", 4, 8, times, cap, latency=latency)
    assert makespan_bound(problem).value >= v_window_form(4, 8, times, latency, cap)


@pytest.mark.parametrize("cap", [4, 8, None])
@pytest.mark.parametrize("times", [(1, 1, 1), (185, 181, 93)])
def test_the_load_with_its_ends_is_contained(cap: int | None, times: tuple[int, int, int]) -> None:
    problem = pipeline_problem("linear", 4, 12, times, cap, latency=3)
    assert makespan_bound(problem).value >= linear_closed_form(4, 12, times, 3)


def test_memory_becomes_the_exact_order_of_returns_and_takes() -> None:
    edges = memory_edges(pipeline_problem("linear", 2, 5, (1, 1, 1), 2))
    named = {(str(before), str(after)) for before, after, _ in edges}
    assert named == {(f"{s}W{k}", f"{s}F{k + 2}") for s in range(2) for k in range(3)}


def test_a_hold_larger_than_the_memory_is_infeasible() -> None:
    tasks = {"take": Task(0, 1), "give": Task(0, 1)}
    holds = [Hold("take", 5, (("give", 5),))]
    problem = Problem(1, tasks, [("take", "give", 0)], holds, [4])
    with pytest.raises(InfeasibleError, match="device 0 must hold 5 at one time, but has 4") as caught:
        makespan_bound(problem)
    assert (caught.value.device, caught.value.needed, caught.value.capacity) == (0, 5, 4)


@pytest.mark.parametrize("unit", [10**6, 10**17, 10**30])
def test_large_ticks_lose_almost_nothing(unit: int) -> None:
    tasks = {k: Task(k % 2, unit * (k + 1)) for k in range(6)}
    problem = Problem(2, tasks, [(k, k + 1, unit) for k in range(5)], (), [None, None])
    exact = 26 * unit
    assert exact * (1 - 1e-12) <= makespan_bound(problem).value <= exact


def test_a_deadline_in_the_past_leaves_a_true_bound() -> None:
    problem = pipeline_problem("v", 8, 16, (1, 1, 1), 10)
    bound = makespan_bound(problem, deadline=0.0)
    assert 0 < bound.value <= 113
