"""Greedy schedules are complete and valid, and each is shorter than the one before."""

from __future__ import annotations

from itertools import islice, pairwise
from time import perf_counter

import pytest

from solver.problem import Hold, Problem, Task
from solver.search.compiled import compile_problem, tokens_from
from solver.search.greedy import greedy_schedules
from tests.solver.search.search_cases import CASES, REAL, case, faults


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("name", CASES)
def test_every_greedy_schedule_is_valid_and_shorter_than_those_before(name: str) -> None:
    found = list(greedy_schedules(CASES[name].problem, deadline=perf_counter() + 0.2))
    assert found
    assert all(later < earlier for (earlier, _), (later, _) in pairwise(found))
    for makespan, orders in found:
        assert faults(CASES[name], makespan, orders) == []


def test_unlimited_linear_is_soon_near_its_bound() -> None:
    tried = case("linear", 8, 32, 8, REAL)
    made = greedy_schedules(tried.problem, deadline=perf_counter() + 60)
    assert any(makespan <= 1.005 * 16599 for makespan, _ in islice(made, 200))


def test_one_seed_gives_one_sequence() -> None:
    def first_two(seed: int) -> list[int]:
        made = greedy_schedules(CASES["v"].problem, deadline=perf_counter() + 5, seed=seed)
        return [makespan for makespan, _ in islice(made, 2)]

    assert first_two(1) == first_two(1)


def test_stop_is_obeyed() -> None:
    assert list(greedy_schedules(CASES["v"].problem, deadline=perf_counter() + 5, stop=lambda: True)) == []


def test_what_cannot_fit_gives_nothing() -> None:
    problem = Problem(1, {"a": Task(0, 1)}, [], [Hold("a", 2, (("a", 2),))], [1])
    assert list(greedy_schedules(problem, deadline=perf_counter() + 0.2)) == []


def test_tasks_without_chains_are_scheduled() -> None:
    tasks = {"a": Task(0, 2), "b": Task(1, 3), "c": Task(0, 1)}
    problem = Problem(2, tasks, [("a", "b", 1), ("c", "a", 0)])
    made = list(greedy_schedules(problem, deadline=perf_counter() + 0.2))
    assert made[-1] == (7, [["c", "a"], ["b"]])


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        compile_problem(Problem(1, {"a": Task(0, 1), "b": Task(0, 1)}, [("a", "b", 0), ("b", "a", 0)]))


@pytest.mark.parametrize("name", CASES)
def test_orders_survive_the_way_through_tokens(name: str) -> None:
    compiled = compile_problem(CASES[name].problem)
    _, orders = next(greedy_schedules(CASES[name].problem, deadline=perf_counter() + 60))
    tokens = tokens_from(compiled, orders)
    assert tokens is not None
    assert compiled.orders(tokens) == orders
