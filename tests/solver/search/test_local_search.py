"""The local search returns valid schedules, never worse than its starts, and finds known optima."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from time import perf_counter, process_time
from typing import Any

import pytest

from solver.problem import Action, Problem
from solver.search import local_search
from solver.search.compile_all import compile_all
from solver.search.compiled import compile_problem, tokens_from
from solver.search.greedy import greedy_schedules, greedy_tokens
from solver.search.local_search import LocalSearch, improve
from tests.solver.search.search_cases import CASES, case, faults

LOOPS = [False, pytest.param(True, marks=pytest.mark.skipif(find_spec("numba") is None, reason="needs numba"))]


def orders_from(problem: Problem, orders: list[list[Action]]) -> tuple[int, list[list[Action]]] | None:
    """Make given orders a start for the search."""
    compiled = compile_problem(problem)
    tokens = tokens_from(compiled, orders)
    search = LocalSearch(compiled, 0, span=False, jitted=False)
    search.add([] if tokens is None else [tokens])
    return (search.best, search.orders()) if search.elite else None


def greedy(name: str) -> tuple[int, list[list[Action]]]:
    return next(greedy_schedules(CASES[name].problem, deadline=perf_counter() + 60))


@pytest.mark.exhaustive(2)
@pytest.mark.no_cover
@pytest.mark.parametrize("name", CASES)
def test_every_schedule_told_of_is_valid(name: str) -> None:
    tried = CASES[name]
    start, orders = greedy(name)
    told: list[tuple[int, list[list[Action]]]] = []
    deadline = perf_counter() + 0.4
    made = improve(
        tried.problem, [orders], target=0, deadline=deadline, on_solution=lambda *it: told.append(it), compiled=False
    )
    assert made == told[-1]
    assert made[0] <= start
    for makespan, better in told:
        assert faults(tried, makespan, better) == []


@pytest.mark.no_cover
@pytest.mark.parametrize("compiled", LOOPS)
def test_a_known_optimum_is_found(compiled: bool) -> None:
    tried = CASES["linear"]
    if compiled:
        compile_all()  # the first compilation takes longer than the search
    limit = perf_counter() + 60
    made, orders = improve(tried.problem, [greedy("linear")[1]], target=31, deadline=limit, compiled=compiled)
    assert made == 31
    assert faults(tried, made, orders) == []


def test_without_starts_it_makes_its_own() -> None:
    tried = case("linear", 2, 4)
    made, orders = improve(tried.problem, [], target=13, deadline=perf_counter() + 1, compiled=False)
    assert faults(tried, made, orders) == []


def test_the_span_is_no_longer_than_the_makespan() -> None:
    tried = CASES["linear"]
    deadline = perf_counter() + 0.4
    start, orders = greedy("linear")
    span, _ = improve(tried.problem, [orders], target=0, deadline=deadline, objective="span", compiled=False)
    assert 24 <= span <= start


def test_stop_is_obeyed() -> None:
    started, deadline = process_time(), perf_counter() + 60
    start, orders = greedy("v")
    made, _ = improve(CASES["v"].problem, [orders], target=0, deadline=deadline, stop=lambda: True, compiled=False)
    assert made == start
    assert process_time() - started < 30


def test_orders_with_their_numbers_mixed_up_are_numbered_anew() -> None:
    tried = CASES["linear"]
    start, orders = greedy("linear")
    swapped = [list(reversed(order)) for order in orders]
    numbered: list[list[Action]] = []
    for order, backwards in zip(orders, swapped, strict=True):
        by_kind = {kind: [a for a in backwards if a.kind == kind] for kind in "FIW"}  # type: ignore[attr-defined]
        numbered.append([by_kind[a.kind].pop(0) for a in order])  # type: ignore[attr-defined]
    assert numbered != orders
    assert orders_from(tried.problem, numbered) == (start, orders)


def test_orders_that_miss_a_task_are_no_start() -> None:
    orders = greedy("linear")[1]
    assert orders_from(CASES["linear"].problem, [orders[0][:-1], *orders[1:]]) is None


def test_orders_that_exceed_the_memory_are_put_right() -> None:
    roomy = case("linear", 4, 8)
    _, orders = next(greedy_schedules(roomy.problem, deadline=perf_counter() + 60))
    tight = CASES["linear"]
    made = orders_from(tight.problem, orders)
    assert made is None or faults(tight, *made) == []


@pytest.mark.slow
def test_without_numba_the_clock_is_looked_at_however_slow_a_move_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a move takes 10 ms, at most five are made between two looks at the clock, once that has been measured."""
    clock, pieces, looks = [0.0], [], []
    monkeypatch.setattr(local_search, "perf_counter", lambda: clock[0])
    search = LocalSearch(compile_problem(CASES["linear"].problem), 0, span=False, jitted=False)
    plain = search.functions["anneal"]

    def slow(fixed: Any, state: Any, moves: int, *rest: Any) -> int:
        pieces.append(moves)
        clock[0] += moves * 0.01
        return int(plain(fixed, state, min(moves, 5), *rest))

    search.functions = {**search.functions, "anneal": slow}
    search.add([tokens for _, tokens in greedy_tokens(search.problem, deadline=perf_counter() + 5)])

    def over() -> bool:
        looks.append(clock[0])
        return clock[0] > 60

    search.run(0, over, lambda: None)
    first, *others = pieces
    assert first > 1
    assert max(others) <= 5
    assert max(after - before for before, after in pairwise(looks)) <= max(first, 5) * 0.01 + 1e-9
    assert looks[-1] <= 60 + 6 * 0.05


@pytest.mark.slow
def test_as_many_moves_are_made_at_once_as_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast machine makes whole batches."""
    pieces: list[int] = []
    monkeypatch.setattr(local_search, "perf_counter", lambda: 0.0)
    search = LocalSearch(compile_problem(CASES["linear"].problem), 0, span=False, jitted=False)
    plain = search.functions["anneal"]

    def counted(fixed: Any, state: Any, moves: int, *rest: Any) -> int:
        pieces.append(moves)
        return int(plain(fixed, state, min(moves, 5), *rest))

    search.functions = {**search.functions, "anneal": counted}
    search.add([tokens for _, tokens in greedy_tokens(search.problem, deadline=perf_counter() + 5)])
    search.run_round(0, lambda: len(pieces) > 3, lambda: None)
    assert pieces[1] == pieces[2] > pieces[0]


def _watched(search: LocalSearch, seconds_per_move: float, clock: list[float]) -> list[tuple[int, float, float]]:
    """Note the moves and temperatures of every piece; only a few of its moves are made."""
    pieces: list[tuple[int, float, float]] = []
    plain = search.functions["anneal"]

    def noted(fixed: Any, state: Any, moves: int, hot: float, cold: float, *rest: Any) -> int:
        pieces.append((moves, hot, cold))
        clock[0] += moves * seconds_per_move
        return int(plain(fixed, state, min(moves, 5), hot, cold, *rest))

    search.functions = {**search.functions, "anneal": noted}
    search.add([tokens for _, tokens in greedy_tokens(search.problem, deadline=perf_counter() + 5)])
    return pieces


def test_a_round_that_is_cut_short_goes_on_where_it_was() -> None:
    search = LocalSearch(compile_problem(CASES["linear"].problem), 0, span=False, jitted=False)
    pieces = _watched(search, 0.0, [0.0])
    best = search.elite[0][1]
    search.run_round(0, lambda: len(pieces) >= 3, lambda: None)
    here = list(search.state.mode), list(search.state.start)
    search.add([best])
    assert (list(search.state.mode), list(search.state.start)) == here
    search.run_round(0, lambda: len(pieces) >= 6, lambda: None)
    assert len(pieces) == 6
    assert all(cold == hot for (_, _, cold), (_, hot, _) in pairwise(pieces))
    assert all(hot > cold for _, hot, cold in pieces)


def test_rounds_grow_and_the_last_one_cools_down_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(local_search, "perf_counter", lambda: clock[0])
    search = LocalSearch(compile_problem(CASES["linear"].problem), 0, span=False, jitted=False)
    pieces = _watched(search, 1e-5, clock)
    search.ends = 10.0
    lengths: list[int] = []
    while clock[0] < search.ends - 0.01:
        before = len(pieces)
        search.run_round(0, lambda: False, lambda: None)
        lengths.append(sum(moves for moves, _, _ in pieces[before:]))
        assert pieces[-1][2] == pytest.approx(0.05 * search.mean)
    assert clock[0] <= search.ends + 0.1
    assert all(after == 2 * before for before, after in pairwise(lengths[:-1]))
    assert len(lengths) > 3


def test_the_second_round_starts_from_another_start() -> None:
    """Without any moves, a round ends where it began."""
    search = LocalSearch(compile_problem(CASES["linear"].problem), 0, span=False, jitted=False)
    search.functions = {**search.functions, "anneal": lambda *_: 0}
    made = [tokens for _, tokens in greedy_tokens(search.problem, deadline=perf_counter() + 5)]
    longest = [[mode for mode in chains for _ in search.problem.chains[mode]] for chains in search.problem.local_chains]
    search.add([made[-1], longest, *made[:-1]])
    other = search.other
    assert other is not None
    begun: list[Any] = []
    for _ in range(3):
        search.run_round(0, lambda: False, lambda: None)
        begun.append(local_search.tokens_in(search.fixed, search.state.mode, search.state.length))
    assert begun[1] == other
    assert begun[0] == search.elite[0][1] != other
    assert search.other is None
