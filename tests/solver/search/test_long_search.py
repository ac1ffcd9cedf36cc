"""Schedules of long problems, made from those of short ones by exact copies of a part."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest

from solver import jit
from solver.bounds.makespan import makespan_bound
from solver.checker import violations
from solver.numbered import place
from solver.problem import Problem, Task
from solver.replay import replay
from solver.search.compiled import CompiledProblem, Tokens, compile_problem
from solver.search.greedy import greedy_tokens
from solver.search.long_search import LongSearch, is_long, repeats
from solver.search.portfolio import search
from solver.search.state import Search, Standing
from solver.search.stretching import cuts, periods
from solver.search.string_runner import Runner, is_a_lattice, orders_of
from solver.search.tool_threads import running_in_threads
from tests.solver.search.search_cases import FUSED, REAL, UNIT, Case, case, faults

KINDS: dict[str, dict[str, Any]] = {
    "linear": {"limit": 4, "times": REAL, "latency": 20},
    "linear, part returned early": {"limit": 5, "times": UNIT, "activation": 2, "held_for_weight": 0.5},
    "v": {"limit": 6, "times": REAL, "latency": 20},
    "interleaved": {"limit": 11, "times": REAL, "latency": 10},
    "bidirectional": {"limit": 5, "times": FUSED, "overlap": True},
    "linear, merged": {"limit": 4, "times": {**UNIT, "backward": 1.9}},
}
LOOPS = [False, pytest.param(True, marks=pytest.mark.skipif(find_spec("numba") is None, reason="needs numba"))]


def case_of(kind: str, microbatches: int) -> Case:
    return case(kind.split(",")[0], 4, microbatches, **KINDS[kind])


def problem_of(kind: str, microbatches: int) -> Problem:
    return case_of(kind, microbatches).problem


def first_schedule(compiled: CompiledProblem) -> Tokens:
    return next(greedy_tokens(compiled, deadline=time.perf_counter() + 60))[1]


def check(tried: Case, compiled: CompiledProblem, tokens: Tokens, makespan: int | None) -> None:
    assert makespan is not None
    assert faults(tried, makespan, orders_of(tried.problem.chains, compiled, tokens)) == []


@pytest.fixture(params=LOOPS)
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(jit, "jitted", lambda _module, *, may_compile: None)
    return bool(request.param)


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("kind", KINDS)
def test_strings_run_as_orders_do(kind: str, loops: bool) -> None:
    tried = case_of(kind, 12)
    compiled = compile_problem(tried.problem)
    assert is_a_lattice(compiled)
    runner = Runner(compiled)
    assert runner.is_jitted == loops
    for makespan, tokens in greedy_tokens(compiled, deadline=time.perf_counter() + 0.3):
        assert runner.makespan(tokens) == makespan
        check(tried, compiled, tokens, makespan)


def test_strings_that_wait_for_each_other_are_found_out(loops: bool) -> None:
    tasks = {(chain, number): Task(chain % 2, 1) for chain in range(4) for number in range(2)}
    waits = [((a, number), (b, number), 0) for a, b in ((0, 3), (1, 2)) for number in range(2)]
    problem = Problem(2, tasks, waits, chains=[[(chain, number) for number in range(2)] for chain in range(4)])
    runner = Runner(compile_problem(problem))
    assert runner.makespan([[2, 0, 2, 0], [3, 1, 3, 1]]) is None
    assert runner.timed([[2, 0, 2, 0], [3, 1, 3, 1]]) is None
    assert runner.makespan([[0, 2, 0, 2], [1, 3, 1, 3]]) == 4


@pytest.mark.exhaustive(3)
@pytest.mark.parametrize("kind", ["linear", "v", "interleaved"])
@pytest.mark.parametrize("more", [1, 15])
def test_a_part_is_repeated_exactly(kind: str, more: int, loops: bool) -> None:
    """The stretched schedule is one of the longer problem, with the length that was stated."""
    compiled = compile_problem(problem_of(kind, 12))
    runner = Runner(compiled)
    timed = runner.timed(first_schedule(compiled))
    assert timed is not None
    found = periods(runner, timed, more, 0, lambda: False)
    assert found is not None
    length, periodic, copies = found
    longer = periodic.unrolled(copies)
    assert length == runner.makespan(longer)
    check(case_of(kind, 12 + more), compiled, longer, length)


def test_a_cut_part_has_as_much_of_every_chain() -> None:
    compiled = compile_problem(problem_of("v", 12))
    tokens = first_schedule(compiled)
    for device, string in enumerate(tokens):
        found = cuts(compiled, device, string, list(range(len(string))), 2)
        for begin, end in zip(found.starts, found.ends, strict=True):
            count = Counter(string[begin:end])
            assert all(count[chain] == 2 for chain in compiled.local_chains[device])


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["linear", "v", "bidirectional"])
def test_a_long_problem_is_searched_by_way_of_short_ones(kind: str) -> None:
    tried = case_of(kind, 48)
    assert repeats(tried.problem)
    assert is_long(tried.problem)
    found = Search(tried.problem, "makespan", 2.5)
    found.proven(makespan_bound(tried.problem))
    LongSearch(found, 1).run()
    assert found.best is not None
    assert faults(tried, found.best, [list(order) for order in found.orders]) == []
    assert found.bound <= found.best


@pytest.mark.exhaustive
@pytest.mark.parametrize("workers", [2, 1, 4])
def test_the_tools_work_side_by_side(workers: int) -> None:
    problem = problem_of("v", 12)
    found = search(problem, seconds=1.5, workers=workers)
    rows = place(problem, found.orders, replay(problem, found.orders))
    assert violations(problem, rows) == []
    assert found.best == max(row.end for row in rows)


def test_what_is_found_beside_is_told_where_the_search_was_made() -> None:
    home = threading.current_thread()
    told: list[tuple[threading.Thread, Standing]] = []
    problem = problem_of("v", 16)
    search(problem, seconds=1, workers=3, progress=lambda standing: told.append((threading.current_thread(), standing)))
    assert {thread for thread, _ in told} == {home}


def test_a_tool_that_fails_ends_the_search() -> None:
    found = Search(problem_of("v", 12), "makespan", 20)

    def fail() -> None:
        raise ZeroDivisionError

    def wait() -> None:
        with running_in_threads(found, [fail]):
            while not found.done():
                time.sleep(0.01)

    with pytest.raises(ZeroDivisionError):
        wait()
    assert not found.done()


def test_what_does_not_repeat_is_searched_as_a_whole() -> None:
    problem = problem_of("linear", 12)
    first = problem.chains[0]
    assert not repeats(replace(problem, precedences=[*problem.precedences, (first[0], first[2], 1)]))
    assert not repeats(replace(problem, chains=problem.chains[1:]))


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [1, 2])
def test_some_copies_show_all(kind: str, more: int, loops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of many copies, derived from a few, equal those of running all of them, tick by tick."""
    compiled = compile_problem(problem_of(kind, 14))
    runner = Runner(compiled)
    seen = 0
    for _, tokens in greedy_tokens(compiled, deadline=time.perf_counter() + 0.5):
        timed = runner.timed(tokens)
        assert timed is not None
        found = periods(runner, timed, 400 * more, 0, lambda: False)
        if found is None:
            continue
        for copies in (found[2], found[2] + 1, found[2] + 2, found[2] + 3):
            few = runner.whole(found[1], copies)
            with monkeypatch.context() as every:
                every.setattr(Runner, "_steady_run", lambda *_: None)
                whole = runner.whole(found[1], copies)
            assert few is not None
            assert whole is not None
            assert replace(few, run=copies) == whole
            assert whole.run == copies
            assert whole.makespan == runner.makespan(found[1].unrolled(copies))
            seen += few.run < copies
    assert seen or "linear, merged" in kind or "bidirectional" in kind


def test_the_work_does_not_grow_with_the_copies() -> None:
    compiled = compile_problem(problem_of("linear", 12))
    runner = Runner(compiled)
    timed = runner.timed(first_schedule(compiled))
    assert timed is not None
    found = periods(runner, timed, 5000, 0, lambda: False)
    assert found is not None
    some = [runner.whole(found[1], copies) for copies in (1000, 10_000, 10**9)]
    assert len({each.run for each in some if each is not None}) == 1
    lengths = [each.makespan for each in some if each is not None]
    assert (lengths[2] - lengths[0]) * 9000 == (lengths[1] - lengths[0]) * (10**9 - 1000)


def test_tokens_that_take_no_time_are_all_run() -> None:
    problem = problem_of("linear", 12)
    tasks = {key: Task(task.device, task.duration * (key.kind != "W")) for key, task in problem.tasks.items()}  # type: ignore[attr-defined]
    compiled = compile_problem(replace(problem, tasks=tasks))
    runner = Runner(compiled)
    timed = runner.timed(first_schedule(compiled))
    assert timed is not None
    found = periods(runner, timed, 600, 0, lambda: False)
    assert found is not None
    whole = runner.whole(found[1], found[2])
    assert whole is not None
    assert whole.run == found[2]
