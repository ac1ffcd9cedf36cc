"""Schedules of long problems, made from those of short ones by steady states, inserts, and exact copies of a part."""

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
from solver.search import annealing
from solver.search.compiled import CompiledProblem, Tokens, compile_problem
from solver.search.greedy import greedy_tokens
from solver.search.local_search import LocalSearch
from solver.search.long_search import LongSearch, is_long, repeats
from solver.search.portfolio import search
from solver.search.state import Search, Standing
from solver.search.steady import SteadySearch
from solver.search.stretching import Periodic, Runner, cuts, is_a_lattice, orders_of, periods
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
        assert runner.fits(tokens)
        check(tried, compiled, tokens, makespan)
        timed = runner.timed(tokens)
        assert timed is not None
        planned = [list(zip(*pair, strict=True)) for pair in zip(timed.starts, tokens, strict=True)]
        assert runner.makespan(runner.repaired(planned) or []) == makespan


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
    steady = SteadySearch(runner, 1)
    state = steady.alone(steady.least_period + steady.least_period // 10)
    tokens = steady.unrolled(state, 12)
    assert tokens is not None
    timed = runner.timed(tokens)
    assert timed is not None
    found = periods(runner, timed, more, 0, lambda: False)
    assert found is not None
    length, periodic, copies = found
    longer = periodic.unrolled(copies)
    assert length == runner.makespan(longer)
    check(case_of(kind, 12 + more), compiled, longer, length)


def periodic_schedule(compiled: CompiledProblem, size: int) -> Periodic:
    """Find a schedule with a repeating part that has more than one task of each chain."""
    runner = Runner(compiled)
    steady = SteadySearch(runner, 1)
    state = steady.alone(steady.least_period + steady.least_period // 10)
    tokens = steady.unrolled(state, size)
    timed = None if tokens is None else runner.timed(tokens)
    found = None if timed is None else periods(runner, timed, size, 0, lambda: False)
    assert found is not None
    before, period, after, tasks = found[1].before, found[1].period, found[1].after, found[1].tasks
    return Periodic(before, [string * 2 for string in period], after, 2 * tasks)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["linear", "v", "interleaved"])
def test_copies_stay_alike_while_all_are_annealed(kind: str, loops: bool) -> None:
    """Every schedule made from one with three copies of a part works with any number of copies, too."""
    compiled = compile_problem(problem_of(kind, 12))
    periodic = periodic_schedule(compiled, 12)
    base = Runner(compiled).sizes(periodic.unrolled(0))[0]
    size, longer = (base + copies * periodic.tasks for copies in (3, 7))
    local = LocalSearch(compile_problem(problem_of(kind, size)), 5, span=False, jitted=loops)
    local.tie([*map(len, periodic.before)], [*map(len, periodic.period)], 3)
    local.add([periodic.unrolled(3)])
    worst, seen = local.best, set()

    def look() -> None:
        parts = [
            (string[:begin], string[begin : begin + length], string[begin + 3 * length :])
            for string, begin, length in local.with_ties(local.elite[0][1])
        ]
        assert [before + 3 * part + after for before, part, after in parts] == local.elite[0][1]
        seen.add(tuple(len(before) for before, _, _ in parts))
        tried = [before + 7 * part + after for before, part, after in parts]
        check(case_of(kind, longer), compiled, tried, Runner(compiled).makespan(tried))

    until = time.perf_counter() + 4
    while time.perf_counter() < until and (local.best == worst or len(seen) < 2):
        local.run_round(0, lambda: time.perf_counter() > until, look, 0.2)
    assert local.best < worst
    assert seen


def test_a_token_moves_across_the_border_of_what_repeats() -> None:
    """Then there is one token more before all copies and one less after them, or the other way round."""
    compiled = compile_problem(problem_of("linear", 12))
    local = LocalSearch(compiled, 1, span=False, jitted=False)
    string = [*"cab", *"abc", *"abc", *"cab"]
    earlier, later = [*"caab", *"bac", *"bac", *"cb"], [*"ab", *"acb", *"acb", *"ccab"]
    fixed, state = local.fixed, local.state
    state.mode[: len(string)] = [ord(token) for token in string]
    state.length[0] = len(string)
    for shifted, token, goal, expected, begin in (
        (annealing.shift_earlier, 0, -1, earlier, 4),
        (annealing.shift_later, 2, 3, later, 2),
    ):
        state.tied[0], state.period[0], state.slots[annealing.COPIES] = 3, 3, 2
        assert shifted(fixed, state, 0, token, goal)
        low, size = state.slots[annealing.LOW], state.slots[annealing.TEXT]
        made = string[:low] + [chr(token) for token in state.text[low:size]]
        assert made == expected
        assert state.tied[0] == begin


def test_a_cut_part_has_as_much_of_every_chain() -> None:
    compiled = compile_problem(problem_of("v", 12))
    tokens = first_schedule(compiled)
    for device, string in enumerate(tokens):
        found = cuts(compiled, device, string, list(range(len(string))), 2)
        for begin, end in zip(found.starts, found.ends, strict=True):
            count = Counter(string[begin:end])
            assert all(count[chain] == 2 for chain in compiled.local_chains[device])


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("kind", ["linear", "v", "interleaved", "linear, part returned early"])
def test_a_steady_state_keeps_all_rules(kind: str, loops: bool) -> None:
    compiled = compile_problem(problem_of(kind, 12))
    runner = Runner(compiled)
    steady = SteadySearch(runner, 3)
    period = steady.least_period * 11 // 10
    state = steady.alone(period)
    for chain, tasks in enumerate(compiled.chains):
        for before, lag in compiled.predecessors[tasks[0]]:
            other = compiled.chain[before]
            assert state.times[chain] >= state.times[other] + steady.durations[other] + lag
    for device, local in enumerate(compiled.local_chains):
        phases = sorted((state.times[chain] % period, steady.durations[chain]) for chain in local)
        ends = [phase + duration for phase, duration in phases]
        starts = [phase for phase, _ in phases[1:]] + [phases[0][0] + period]
        assert all(end <= start for end, start in zip(ends, starts, strict=True)), device


@pytest.mark.parametrize("kind", ["linear", "v"])
def test_a_steady_state_is_inserted_where_a_schedule_stands(kind: str, loops: bool) -> None:
    compiled = compile_problem(problem_of(kind, 12))
    runner = Runner(compiled)
    timed = runner.timed(first_schedule(compiled))
    assert timed is not None
    steady = SteadySearch(runner, 5)
    state, ahead = steady.at_state(timed, timed.makespan // 2, steady.least_period)
    tokens = steady.inserted(timed, timed.makespan // 2, state, ahead, 6)
    assert tokens is not None
    assert runner.sizes(tokens) == [18] * len(compiled.chains)
    assert runner.fits(tokens)
    check(case_of(kind, 18), compiled, tokens, runner.makespan(tokens))


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


def test_without_numba_a_steady_state_is_asked_to_stop_more_often_the_larger_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With more chains, both a move and the number of moves grow; the time between two looks must not."""
    monkeypatch.setattr(jit, "jitted", lambda _module, *, may_compile: None)
    looks: list[int] = []
    for devices in (4, 32):
        made = case("v", devices, 2 * devices, limit=2 * devices, times=REAL, latency=20)
        count = [0]

        def stop(count: list[int] = count) -> bool:
            count[0] += 1
            return False

        steady = SteadySearch(Runner(compile_problem(made.problem)), 1, stop=stop)
        steady.functions = {**steady.functions, "anneal_circle": lambda *arguments: arguments[-1]}
        steady.alone(steady.least_period)
        looks.append(count[0])
    assert looks[1] >= 4 * looks[0]  # 192 chains are twice the 96 that parts are sized for
