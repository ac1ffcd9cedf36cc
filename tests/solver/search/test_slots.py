"""Steady states in which memory is a row of slots: their periods, the rules, and the schedules made from them."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import networkx as nx
import pytest

from solver import jit
from solver.repetition import is_regular
from solver.search.compiled import compile_problem
from solver.search.portfolio import search
from solver.search.slots import SlotSearch, SteadyTrips, TripSchedule, track_of
from solver.search.stretching import Runner, orders_of
from tests.solver.search.search_cases import CASES, REAL, UNIT, Case, case, faults

LOOPS = [False, pytest.param(True, marks=pytest.mark.skipif(find_spec("numba") is None, reason="needs numba"))]


@pytest.fixture(params=LOOPS)
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(jit, "jitted", lambda _module, *, may_compile: None)
    return bool(request.param)


def after(moves: int) -> Callable[[], bool]:
    """Return a stop condition that holds after a number of moves."""
    left = [moves]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


def searched(
    tried: Case, moves: int = 60, tasks: int | None = None, seed: int = 1
) -> tuple[SlotSearch, list[TripSchedule]]:
    slots = SlotSearch(
        Runner(compile_problem(tried.problem)), tasks or tried.pipeline.microbatches, seed, stop=after(moves)
    )
    return slots, [*slots.run()]


def drawn_case(rng: random.Random, microbatches: int | None = None) -> Case:
    """Draw a row of devices with memory for few microbatches."""
    devices = rng.randint(2, 6)
    limit = rng.randint(1, devices - 1)
    part = rng.choice((1, 1, 0.5, 0.25, 0))

    def times(low: int, high: int) -> Any:
        return rng.randint(low, high) if rng.random() < 0.5 else [rng.randint(low, high) for _ in range(devices)]

    return case(
        "linear",
        devices,
        microbatches or rng.randint(2, 14),
        rng.choice((limit, limit + part)),
        {"forward": times(1, 20), "backward_input": times(1, 20), "backward_weight": times(1, 20)},
        latency=rng.choice((0, 0, 3)),
        split=rng.random() < 0.85,
        **({"held_for_weight": part} if part != 1 else {}),
    )


def occurrences(steady: SteadyTrips, chain: int, periods: int) -> list[int]:
    return [time + turn * steady.period for turn in range(-periods, periods + 1) for time in steady.times[chain]]


def check_rules(slots: SlotSearch, steady: SteadyTrips) -> None:
    """Check a steady state over several periods, by the problem's own precedences and memory."""
    compiled, modes = slots.compiled, slots.compiled.modes
    assert slots.track is not None
    for chain, tasks in enumerate(compiled.chains):
        for before, lag in compiled.predecessors[tasks[0]]:
            other = compiled.chain[before]
            ends = compiled.modes[other].duration + lag
            pairs = zip(steady.times[other], steady.times[chain], strict=True)
            assert all(first + ends <= second for first, second in pairs)
    if steady.missing:
        return  # some late tasks overlap others
    for device, local in enumerate(compiled.local_chains):
        runs = sorted(
            (start % steady.period, compiled.modes[chain].duration) for chain in local for start in steady.times[chain]
        )
        runs.append((runs[0][0] + steady.period, 0))
        assert all(start + duration <= then for (start, duration), (then, _) in pairwise(runs)), device
        events = [
            (time + modes[chain].duration * (amount < 0), amount)
            for chain in local
            for amount in (modes[chain].take, -modes[chain].give)
            for time in occurrences(steady, chain, 12)
        ]
        for moment in steady.times[slots.track.out[device]]:
            level = sum(amount for time, amount in events if time <= moment)
            assert level <= compiled.capacities[device], (device, moment)


@pytest.mark.parametrize("name", CASES)
def test_only_rows_are_read(name: str) -> None:
    track = track_of(compile_problem(CASES[name].problem))
    assert (track is not None) == (name.startswith("linear") or name == "uneven")
    if track is not None:
        compiled = compile_problem(CASES[name].problem)
        assert [compiled.modes[chain].device for chain in track.out] == [0, 1, 2, 3]
        kinds = [
            [str(compiled.keys[compiled.chains[chain][0]])[1] for chain in each] for each in (track.out, track.back)
        ]
        assert kinds == [["F"] * 4, ["I"] * 4]


def test_a_row_is_read_whatever_way_it_runs() -> None:
    """It is read with its devices reversed, but not if a chain is waited for twice."""
    tried = case("linear", 4, 8, 2)
    turned = {key: task._replace(device=3 - task.device) for key, task in tried.problem.tasks.items()}
    object.__setattr__(tried.problem, "tasks", turned)
    compiled = compile_problem(tried.problem)
    track = track_of(compiled)
    assert track is not None
    assert [compiled.modes[chain].device for chain in track.out] == [3, 2, 1, 0]
    first, last = tried.problem.chains[0][0], tried.problem.chains[-1][0]
    object.__setattr__(tried.problem, "precedences", [*tried.problem.precedences, (first, last, 0)])
    assert track_of(compile_problem(tried.problem)) is None


def test_memory_that_is_enough_needs_no_slots() -> None:
    for limit, expected in ((4, False), (3, True), (8, False)):
        slots, found = searched(case("linear", 4, 12, limit, UNIT))
        assert (slots.track is not None, bool(found)) == (expected, expected)
    assert searched(case("linear", 4, 3, 3, UNIT))[0].track is None


def test_nearly_all_late_tasks_find_a_gap() -> None:
    rng = random.Random(5)
    missing = [turned.steady.missing for _ in range(40) for turned in searched(drawn_case(rng), 5)[1]]
    assert missing.count(0) > 0.8 * len(missing) > 20


@pytest.mark.exhaustive(8)
@pytest.mark.parametrize("number", range(20))
def test_a_steady_state_keeps_all_rules(number: int, loops: bool) -> None:
    rng = random.Random(number)
    tried = drawn_case(rng)
    assert is_regular(tried.problem)
    slots, found = searched(tried, 15)
    for turned in found:
        check_rules(slots, turned.steady)
        assert turned.steady.period >= slots.needed * slots.jobs
        assert turned.steady.period >= slots.load * slots.jobs


def test_compiled_or_not_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = case("linear", 6, 30, 4, REAL, latency=20)
    one, first = searched(tried, 40)
    monkeypatch.setattr(jit, "jitted", lambda _module, *, may_compile: None)
    other, second = searched(tried, 40)
    assert not other.is_jitted
    assert one.is_jitted == (find_spec("numba") is not None)
    assert first == second


@pytest.mark.exhaustive(4)
@pytest.mark.parametrize("number", range(8))
def test_the_least_period_is_that_of_the_longest_circle(number: int, loops: bool) -> None:
    """With this period no cycle is longer than its periods; with one tick less, some cycle is (checked by networkx)."""
    rng = random.Random(100 + number)
    slots, found = searched(drawn_case(rng), 0)
    if not found:
        return
    line, state, jobs, places = slots.line, slots.state, slots.jobs, found[0].places
    period = slots._least_period(places, 1 << 59)
    arcs = []
    for chain in range(len(line.duration)):
        for job in range(jobs):
            node = chain * jobs + job
            arcs.append((node, int(state.follow[node]), int(line.duration[chain]), int(state.step[node])))
            if int(state.due[node]) != node:
                arcs.append((node, int(state.due[node]), int(line.with_late[chain]), int(state.due_step[node])))
            for index in range(int(line.wait_start[chain]), int(line.wait_start[chain + 1])):
                other, lag = int(line.wait_chain[index]), int(line.wait_lag[index])
                arcs.append((node, other * jobs + job, int(line.duration[chain]) + lag, 0))

    def has_longer(tried: int) -> bool:
        graph = nx.DiGraph()
        for node, other, weight, height in arcs:
            least = min(height * tried - weight, graph.get_edge_data(node, other, {"weight": 1 << 60})["weight"])
            graph.add_edge(node, other, weight=least)
        return bool(nx.negative_edge_cycle(graph))

    assert not has_longer(period)
    assert period == slots.load * jobs or has_longer(period - 1)


@pytest.mark.parametrize(
    ("devices", "limit", "period"),
    [(4, 3, 1783), (5, 4, 2242), (6, 4, 2648), (8, 5, 3513), (8, 6, 3566), (8, 7, 3574), (10, 8, 4386)],
)
def test_the_period_is_the_least_that_is_known(devices: int, limit: int, period: int) -> None:
    """CP-SAT has proven the period of c jobs to be the least for these numbers p of devices and c of slots.

    It is R + min((c − 1)(W − 2l), F + I − W), with R = p(F + I + 2l) − 2l + W.
    """
    least = devices * (185 + 181 + 40) - 40 + 93 + min((limit - 1) * 53, 185 + 181 - 93)
    assert least == period
    _, found = searched(case("linear", devices, 4 * limit, limit, REAL, latency=20), 300)
    assert min(turned.steady.period for turned in found) == period


@pytest.mark.exhaustive(10)
@pytest.mark.parametrize("number", range(25))
def test_schedules_are_whole_and_keep_all_rules(number: int, loops: bool) -> None:
    rng = random.Random(number)
    tried = drawn_case(rng)
    slots, found = searched(tried, 10)
    for turned in found:
        tokens = slots.unrolled(turned.steady, turned.first)
        assert tokens is not None
        assert slots.runner.fits(tokens)
        assert faults(tried, turned.length, orders_of(tried.problem.chains, slots.compiled, tokens)) == []


@pytest.mark.parametrize("jobs", [5, 6, 7])
def test_few_jobs_are_enough(jobs: int) -> None:
    """With fewer jobs than two periods have, the schedule uses only part of them."""
    tried = case("linear", 5, jobs, 4, REAL, latency=20)
    slots, found = searched(tried, 20)
    tokens = slots.unrolled(found[-1].steady, found[-1].first)
    assert tokens is not None
    assert faults(tried, found[-1].length, orders_of(tried.problem.chains, slots.compiled, tokens)) == []


@pytest.mark.parametrize("kind", [{"limit": 3}, {"limit": 4.5, "activation": 1.5, "held_for_weight": 0.5}])
def test_a_long_schedule_is_one_period_again_and_again(kind: dict[str, Any], loops: bool) -> None:
    """A schedule of 100,000 microbatches, all run, has at most the stated length and fits the memory."""
    tried = case("linear", 4, 12, times=REAL, latency=20, **kind)
    slots, found = searched(tried, 20, tasks=100_000 if loops else 2_000)
    made = slots.periodic(found[-1])
    assert made is not None
    periodic, copies = made
    whole = slots.runner.whole(periodic, copies)
    assert whole is not None
    assert slots.runner.sizes(periodic.unrolled(0))[0] + copies * periodic.tasks == slots.tasks
    assert all(peak <= most for peak, most in zip(whole.peaks, slots.compiled.capacities, strict=True))
    least = Fraction(found[-1].steady.period, slots.jobs)
    assert found[-1].length - slots.tasks * least < 10 * found[-1].steady.period
    assert whole.makespan <= found[-1].length


@pytest.mark.parametrize("workers", [1, 2])
def test_the_search_finds_them(workers: int) -> None:
    """It finds them with one worker, too, and with too few microbatches for a middle to repeat."""
    tried = case("linear", 8, 40, 6, REAL, latency=20)
    found = search(tried.problem, seconds=2.0, workers=workers)
    assert found.best is not None
    assert faults(tried, found.best, [list(order) for order in found.orders]) == []
    assert found.best <= searched(tried, 0)[1][0].length
