"""Values of an option that run: every value named runs, and deadlocks are found without times as with them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import DeadlockError, InputError, Pipeline, strategy
from strategies.language.orders import make_orders
from strategies.language.registry import find_strategy
from strategies.language.running_options import can_run, values_that_run
from strategies.language.steps import B, F
from tests.examples import examples


def pipeline(devices: int, microbatches: int, stages: int) -> Pipeline:
    times = {"forward": 1, "backward_input": 1, "backward_weight": 1}
    return Pipeline.from_mapping({"devices": devices, "stages": stages, "microbatches": microbatches, "times": times})


def runs_when_replayed(name: str, costs: Pipeline, group_size: int) -> bool:
    try:
        ppopt.evaluate(costs, name, engine="graph", group_size=group_size)
    except DeadlockError:
        return False
    return True


@settings(max_examples=examples(60), deadline=None)
@given(
    st.sampled_from(["interleaved", "interleaved-overlap"]),
    st.integers(1, 5),
    st.integers(1, 13),
    st.integers(1, 3),
    st.integers(1, 13),
)
def test_an_order_ends_without_times_where_it_ends_with_them(name: str, p: int, m: int, v: int, group: int) -> None:
    costs = pipeline(p, m, v * p)
    _, orders = make_orders(find_strategy(name), costs, {"group_size": group})
    assert can_run(orders, v * p) == runs_when_replayed(f"{name}:stages={v * p}", costs, group)


@pytest.mark.parametrize("name", ["zb1p", "zb-h2", "dualpipe", "dualpipe-v", "looped-bfs", "gpipe"])
def test_published_orders_end(name: str) -> None:
    strategy = find_strategy(name)
    costs = pipeline(4, 8, strategy.requirements.default_stages(4))
    _, orders = make_orders(strategy, costs)
    assert can_run(orders, len(costs.costs))
    orders[0].reverse()
    assert not can_run(orders, len(costs.costs))


@pytest.mark.parametrize(("p", "m", "v"), [(4, 13, 3), (4, 5, 3), (4, 9, 4), (5, 12, 2), (8, 17, 3)])
@pytest.mark.parametrize("name", ["interleaved", "interleaved-overlap"])
def test_what_is_named_runs(name: str, p: int, m: int, v: int) -> None:
    costs = pipeline(p, m, v * p)
    assert not runs_when_replayed(name, costs, p)
    named = values_that_run(find_strategy(name), costs, {"group_size": p})["group_size"]
    assert 1 <= len(named) <= 5
    assert all(runs_when_replayed(name, costs, size) for size in named)


def test_groups_that_come_out_even_are_named_first() -> None:
    costs = pipeline(16, 120, 32)
    assert values_that_run(find_strategy("interleaved"), costs) == {"group_size": [20, 24, 30, 40, 60]}
    assert values_that_run(find_strategy("interleaved"), costs, most=2) == {"group_size": [20, 24]}
    assert values_that_run(find_strategy("1f1b"), costs) == {}


def test_what_would_take_long_to_try_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.language.running_options.MOST_TRIED_OPS", 2 * 2 * 32 * 120)
    assert values_that_run(find_strategy("interleaved"), pipeline(16, 120, 32)) == {"group_size": [20, 24]}
    monkeypatch.setattr("strategies.language.running_options.MOST_TRIED_OPS", 100)
    assert values_that_run(find_strategy("interleaved"), pipeline(16, 120, 32)) == {}


@strategy(
    "hasty",
    placement="linear",
    proposals={"depth": lambda costs: range(1, costs.microbatches + 3)},
    why_deadlocked=lambda _costs, *, depth=0: f"depth {depth} begins with a backward" if depth == 0 else "",
)
def hasty(costs, device, *, depth=None):
    """Begin with a backward unless ``depth`` is given."""
    depth = depth or 0
    yield from F * depth
    yield from (B + F) * (costs.microbatches - depth)
    yield from B * depth


def test_a_schedule_of_another_package_proposes_values_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.language.orders.find_strategy", lambda _: hasty)
    with pytest.raises(DeadlockError) as caught:
        ppopt.evaluate(pipeline(2, 3, 2), "hasty")
    assert "deadlocks: depth 0 begins with a backward; depth 1, 2, 3 run; the cycle" in str(caught.value)
    with pytest.raises(InputError, match="depth"):
        ppopt.evaluate(pipeline(2, 3, 2), "hasty", depth=0)
