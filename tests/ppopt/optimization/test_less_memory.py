"""Of equally short schedules the one with the least memory wins, and the remaining time is used to find it."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline, Standing
from ppopt.optimization.starts import one_at_a_time, published_orders
from solver.search.first_bounds import plain_bound, quick_bound
from solver.search.memory_reduction import TightSearch, spare_memory
from solver.search.portfolio import run_tools
from solver.search.state import Search
from solver.search.tools import usual_tools
from strategies.language.registry import find_strategy
from strategies.model.placements import Placement, make_placement
from strategies.problem.search_problem import build_search_problem
from tests.brute_force import optimum


def pipeline(p: int = 4, m: int = 8, stages: int | None = None, **more: Any) -> Pipeline:
    times = {"forward": 1, "backward_input": 1, "backward_weight": 1}
    return Pipeline.from_mapping({"devices": p, "stages": stages or p, "microbatches": m, "times": times, **more})


def small(chance: random.Random, p: int, stages: int, m: int) -> Pipeline:
    def numbers(low: int, high: int) -> list[int]:
        return [chance.randint(low, high) for _ in range(stages)]

    activation = numbers(1, 3)
    times = {key: numbers(1, 4) for key in ("forward", "backward_input", "backward_weight")}
    memory = {"activation": activation, "held_for_weight": [chance.randint(0, each) for each in activation]}
    return Pipeline.from_mapping({"devices": p, "microbatches": m, "times": times, "memory": memory})


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 5, 7])
@pytest.mark.parametrize(
    ("placement", "p", "stages", "m", "split"),
    [("linear", 2, 2, 4, False), ("linear", 2, 2, 2, True), ("v", 2, 4, 2, False), ("interleaved", 2, 4, 2, False)],
)
def test_the_least_memory_is_that_of_an_exhaustive_search(
    placement: str, p: int, stages: int, m: int, split: bool, seed: int
) -> None:
    costs = small(random.Random(f"{placement} {p} {m} {seed}"), p, stages, m)
    made = ppopt.optimize(costs, placement=placement, split_backward=split, time_limit=600)
    assert made.status == "optimal"
    assert ppopt.violations(made.problem, made.rows) == []
    peak = max(made.peak_memory)
    for limit in range(1, int(peak) + 1):
        memory = costs.memory.model_copy(update={"limit": Fraction(limit)})
        best = optimum(costs.model_copy(update={"memory": memory}), placement, split=split, overlap=False)
        assert (best is not None and float(best) == made.makespan) == (limit == peak), (limit, peak)


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize(("placement", "stages", "peak"), [("linear", 4, 4), ("v", 8, 8), ("interleaved", 8, 8)])
def test_greed_does_not_stay(placement: str, stages: int, peak: float) -> None:
    """By the bound, no schedule within a smaller limit is as short, and the search's result holds no more than that."""
    costs = pipeline(stages=stages)
    search, layout = searched(costs, placement)
    spare(search, layout, 100.0)
    assert search.closed
    assert search.memory[0] == peak * search.problem.amounts_per_unit
    below = costs.model_copy(update={"memory": costs.memory.model_copy(update={"limit": Fraction(peak) - 1})})
    tight = Search(build_search_problem(below, layout), "makespan", 100)
    run(tight, layout)
    assert search.best is not None
    assert tight.bound > search.best


def spare(search: Search, layout: Placement, seconds: float) -> None:
    frugal = one_at_a_time(layout, search.problem)
    spare_memory(search, frugal, lambda problem: plain_bound(problem, "makespan"), seconds, 2, 0)


def run(search: Search, layout: Placement) -> None:
    search.offer(one_at_a_time(layout, search.problem))
    search.proven(plain_bound(search.problem, search.objective))
    quick_bound(search)
    run_tools(search, usual_tools(search.problem, search.objective), 2, 0)


def searched(
    costs: Pipeline, placement: str = "linear", told: list[Standing] | None = None
) -> tuple[Search, Placement]:
    layout = make_placement(placement, costs.devices, costs.stages or 0, costs.microbatches)
    progress = None if told is None else told.append
    search = Search(build_search_problem(costs, layout), "makespan", 200, progress)
    run(search, layout)
    assert search.closed
    return search, layout


def test_the_clock_an_interruption_and_progress_hold() -> None:
    told: list[Standing] = []
    costs = pipeline(stages=8)
    search, layout = searched(costs, "interleaved", told)
    before = search.orders
    search.interrupt()
    spare(search, layout, 5.0)
    assert search.orders is before
    search.interrupted = False
    spare(search, layout, 0.0)
    assert search.orders is before
    best = search.best
    spare(search, layout, 100.0)
    peaks = [standing.memory for standing in told if standing.memory is not None]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[-1] == search.memory[0] / search.problem.amounts_per_unit == 8
    assert search.best == best
    assert {standing.best for standing in told if standing.memory is not None} == {told[-1].best}


def test_without_time_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr("ppopt.optimization.one_search.spare_memory", lambda *given: asked.append(given[3]))
    for limit, allowed in ((2.0, 0.2), (600.0, 5.0)):
        assert ppopt.optimize(pipeline(), time_limit=limit).status == "optimal"
        assert asked.pop() == pytest.approx(allowed, rel=0.2)


def test_a_tight_search_knows_when_it_is_through() -> None:
    search, _ = searched(pipeline())
    peak = search.memory[0]
    same, less = TightSearch(search, peak, 10), TightSearch(search, peak - 1, 10)
    assert same.problem.capacities == [peak] * 4
    same.offer(search.orders)
    assert same.reached
    assert same.done()
    less.offer(search.orders)
    assert less.best is None
    less.raise_bound(search.bound + 1)
    assert less.excluded
    assert less.done()


def test_a_search_keeps_the_shorter_and_of_equally_short_ones_the_one_with_less_memory() -> None:
    costs = pipeline(m=6)
    layout = make_placement("linear", 4, 4, 6)
    problem = build_search_problem(costs, layout)
    named = (find_strategy(name) for name in ("gpipe", "1f1b", "zb-h2"))
    greedy, frugal, short = (published_orders(problem, costs, strategy, {}) for strategy in named)
    assert greedy is not None
    assert frugal is not None
    assert short is not None
    search = Search(problem, "makespan", 5)
    for orders, kept in ((greedy, greedy), (frugal, frugal), (greedy, frugal), (short, short), (frugal, short)):
        search.offer(orders)
        assert search.orders is kept
    peaks = ppopt.evaluate(costs, "zb-h2").peak_memory
    assert search.memory == (max(peaks), sum(peaks))


def test_of_placements_and_rows_that_are_equally_short_the_one_with_less_memory_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = pipeline(m=6)
    rows = ppopt.compare(costs, ["gpipe", "1f1b"], optimize=False).schedules
    assert [each.makespan for each in rows] == [27, 27]
    assert [each.strategy for each in rows] == ["1f1b", "gpipe"]
    monkeypatch.setattr("ppopt.optimization.optimize.optimize_each", lambda *_: reversed(rows))
    assert ppopt.optimize(costs, placement="all") is rows[0]
    assert rows[0].memory_taken == (max(rows[0].peak_memory), sum(rows[0].peak_memory)) == (4, 10)
