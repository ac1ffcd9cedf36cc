"""The two engines give the same answer to the last digit, for any durations."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import DeadlockError, InputError, Pipeline
from solver.problem import Block, Fusing, Problem, Task
from solver.replay import choose_engine, replay
from strategies.language.registry import all_strategies
from tests.evaluated import evaluated, evaluated_if_complete
from tests.examples import examples

NUMBERS = st.one_of(
    st.floats(1e-3, 1e3, allow_nan=False),
    st.sampled_from([0.1, 1 / 3, 1e-3, 1e3, 18522.37, 0.7]),
    st.integers(1, 50),
)


@st.composite
def pipelines(draw: st.DrawFn) -> tuple[str, Pipeline]:
    strategy = draw(st.sampled_from(list(all_strategies().values())))
    needs = strategy.requirements
    devices = draw(st.integers(1, 4)) * (2 if needs.even_devices else 1)
    microbatches = max(1, 2 * devices * bool(needs.microbatches_per_device)) + 2 * draw(st.integers(0, 3))
    per_device = needs.stages_per_device or draw(st.integers(1, 3))
    if needs.stages_per_device is None:
        microbatches = devices * draw(st.integers(1, 3))
    microbatches += microbatches % 2 * needs.even_microbatches
    stages = per_device * devices
    values = st.lists(NUMBERS, min_size=stages, max_size=stages)
    times = {key: draw(values) for key in ("forward", "backward_input", "backward_weight")}
    if draw(st.booleans()):
        times["overlapped_forward_backward"] = draw(values)
    latency = draw(st.one_of(st.just(0), NUMBERS))
    sizes = {"devices": devices, "stages": stages, "microbatches": microbatches}
    return strategy.name, Pipeline.from_mapping({**sizes, "times": times, "p2p_latency": latency})


@settings(max_examples=examples(60), deadline=None)
@given(pipelines())
def test_the_engines_agree_to_the_last_digit(case: tuple[str, Pipeline]) -> None:
    strategy, costs = case
    first, second = (evaluated_if_complete(strategy, costs, engine) for engine in ("graph", "cpsat"))
    assert ppopt.violations(first.problem, first.rows, memory=False) == []
    assert first.rows == second.rows
    assert first.figures == second.figures
    assert first.orders == second.orders


@pytest.mark.parametrize("engine", ["graph", "cpsat"])
def test_real_durations_are_exact(engine: str) -> None:
    times = {"forward": [0.1, Fraction(1, 3), 1e-3, 1e3], "backward": [18522.37, 0.2, 1 / 3, 0.7]}
    made = evaluated("gpipe", Pipeline.from_mapping({"devices": 4, "microbatches": 1, "times": times}), engine)
    total = Fraction("0.1") + Fraction(1, 3) + Fraction("0.001") + 1000
    total += Fraction("18522.37") + Fraction("0.2") + Fraction(repr(1 / 3)) + Fraction("0.7")
    assert made.makespan == float(total)


def test_a_tenth_added_ten_times_is_one() -> None:
    times = {"forward": 0.1, "backward": 0.1}
    made = evaluated("gpipe", Pipeline.from_mapping({"devices": 1, "microbatches": 5, "times": times}))
    assert made.makespan == 1.0
    assert made.busy == (1.0,)
    assert made.bubble_ratio == 0.0


def test_cpsat_refuses_what_it_cannot_tell_apart_and_the_graph_does_not() -> None:
    times = {"forward": 1e-20, "backward": 1e20}
    costs = Pipeline.from_mapping({"devices": 2, "microbatches": 3, "times": times})
    with pytest.raises(InputError, match="use --engine graph"):
        ppopt.evaluate(costs, "1f1b", engine="cpsat")
    assert evaluated("1f1b", costs, "graph").makespan == 4e20
    assert ppopt.evaluate(costs, "1f1b").engine == "graph"


def test_durations_too_fine_for_64_bits_are_exact_all_the_same() -> None:
    times = {"forward": [1.0000000000000002, 3.3333333333333335], "backward": [2.7182818284590452, 3.1415926535897931]}
    costs = Pipeline.from_mapping({"devices": 2, "microbatches": 200, "times": times, "p2p_latency": 1e-14})
    assert evaluated("1f1b", costs, "cpsat").rows == evaluated("1f1b", costs, "graph").rows


def test_auto_takes_cpsat_up_to_twenty_thousand_operations() -> None:
    few, many = (Problem(1, dict.fromkeys(range(tasks), Task(0, 1)), []) for tasks in (20_000, 20_001))
    assert choose_engine("auto", few) == "cpsat"
    assert choose_engine("auto", many) == "graph"
    assert choose_engine("graph", few) == "graph"


def two_tasks() -> Problem:
    return Problem(
        1, {"a": Task(0, 2), "b": Task(0, 3)}, [("a", "b", 0)], fusing=Fusing({"a": 0}, {"b": 0}, {(0, 0): 4})
    )


@pytest.mark.parametrize("engine", ["graph", "cpsat"])
def test_an_order_that_waits_for_itself_is_a_deadlock(engine: str) -> None:
    with pytest.raises(DeadlockError) as found:
        replay(two_tasks(), [["b", "a"]], engine)
    assert sorted(found.value.cycle) == ["a", "b"]
    with pytest.raises(DeadlockError) as found:
        replay(two_tasks(), [[Block("a", "b")]], engine)
    assert found.value.cycle == [Block("a", "b")]


@pytest.mark.parametrize("engine", ["graph", "cpsat"])
@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ([["a"]], "b is missing"),
        ([["a", "b", "a"]], "a appears twice"),
        ([["a", "b", "c"]], "c is not an action"),
        ([["a"], ["b"]], "b belongs to device 0"),
    ],
)
def test_incomplete_orders_are_refused(engine: str, orders: list[list[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replay(two_tasks(), orders, engine)


@pytest.mark.parametrize("engine", ["graph", "cpsat"])
def test_the_longest_lag_between_two_blocks_counts(engine: str) -> None:
    tasks = {name: Task(device, 1) for name, device in (("a", 0), ("b", 0), ("c", 1), ("d", 1))}
    fusing = Fusing({"a": 0, "c": 0}, {"b": 0, "d": 0}, {(0, 0): 2})
    problem = Problem(2, tasks, [("a", "c", 7), ("b", "d", 2)], fusing=fusing)
    first, second = Block("a", "b"), Block("c", "d")
    assert replay(problem, [[first], [second]], engine) == {first: 0, second: 9}


@pytest.mark.exhaustive
@pytest.mark.parametrize("strategy", ["interleaved", "1f1b"])
def test_cpsat_holds_thousands_of_actions_of_sixteen_digits(strategy: str) -> None:
    times = {"forward": 18.522345678901234, "backward_input": 18.086123456789012, "backward_weight": 9.337987654321098}
    devices = 16 if strategy == "interleaved" else 32
    costs = Pipeline.from_mapping(
        {"devices": devices, "microbatches": 128, "times": times, "p2p_latency": 0.00060123456789012345}
    )
    by_cpsat = ppopt.evaluate(costs, strategy, engine="cpsat")
    assert by_cpsat.figures == ppopt.evaluate(costs, strategy, engine="graph").figures
    assert ppopt.evaluate(costs, strategy).engine == "cpsat"
