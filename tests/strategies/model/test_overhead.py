"""Overhead belongs to the operation, a slow device takes longer for all that it computes, and both are exact."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import DeadlockError, InputError, Pipeline
from ppopt.optimization.ladders import measure_ladders
from strategies.language.registry import all_strategies
from tests.evaluated import evaluated_if_complete

KINDS = ("forward", "backward", "backward_input", "backward_weight")
NAMES = sorted(all_strategies())

tenths = st.integers(1, 60).map(lambda n: Fraction(n, 10))
raw = st.floats(0.1, 9, allow_nan=False).map(lambda x: Fraction(repr(x)))


@st.composite
def models(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Fraction]]:
    """Draw times per stage, with times of blocks, and an overhead for which the longer times are a pipeline, too."""
    devices, number = draw(st.sampled_from([2, 4])), draw(st.sampled_from([tenths, tenths, raw]))
    stages = devices * draw(st.sampled_from([1, 1, 2]))
    times = {key: [draw(number) for _ in range(stages)] for key in ("forward", "backward_input", "backward_weight")}
    times["backward"] = [sum(halves) for halves in zip(times["backward_input"], times["backward_weight"], strict=True)]
    times["overlapped_forward_backward"] = [
        forward + backward / 2 for forward, backward in zip(times["forward"], times["backward"], strict=True)
    ]
    overhead = {
        key: draw(st.sampled_from([Fraction(0), Fraction(1, 4), Fraction(13, 10), draw(number)])) for key in KINDS
    }
    overhead["backward"] = overhead["backward_input"] + overhead["backward_weight"]
    mapping = {
        "devices": devices,
        "microbatches": draw(st.sampled_from([1, devices, 2 * devices, 2 * devices + 2])),
        "stages": stages,
        "times": times,
        "p2p_latency": draw(st.sampled_from([0, Fraction(1, 3)])),
        "memory": {"activation": 1, "limit": draw(st.sampled_from([2 * devices, 4 * devices]))},
    }
    return mapping, overhead


def with_longer_times(pipeline: Pipeline, overhead: dict[str, Fraction]) -> Pipeline:
    """Add an overhead to the times of each operation, and a forward's to each block."""
    times = {key: [getattr(cost, key) + overhead[key] for cost in pipeline.work] for key in KINDS} | {
        "overlapped_forward_backward": [(cost.overlapped or 0) + overhead["forward"] for cost in pipeline.work]
    }
    return pipeline.model_copy(update={"times": times, "overhead": None})


@settings(max_examples=60, deadline=None)
@given(models(), st.sampled_from(NAMES), st.sampled_from(["graph", "cpsat"]))
def test_an_overhead_makes_every_makespan_that_of_longer_times(
    drawn: tuple[dict[str, Any], dict[str, Fraction]], name: str, engine: str
) -> None:
    mapping, overhead = drawn
    plain = Pipeline.from_mapping(mapping)
    stages = all_strategies()[name].requirements.default_stages(plain.devices)
    if all_strategies()[name].requirements.unmet(name, plain):
        return
    cut = plain.recut(stages)  # then the overhead: it belongs to the operations of the new cut
    try:
        made = evaluated_if_complete(f"{name}:stages={stages}", plain.model_copy(update={"overhead": overhead}), engine)
    except DeadlockError:  # whatever the times
        assume(False)
    longer = evaluated_if_complete(name, with_longer_times(cut, overhead), engine)
    assert [list(order) for order in made.orders] == [list(order) for order in longer.orders]
    assert made.exact_makespan == longer.exact_makespan
    assert made.span == longer.span
    assert made.ideal == float(plain.ideal)


def test_a_cut_into_twice_as_many_stages_halves_times_and_not_the_overhead() -> None:
    given = Pipeline.from_mapping({"devices": 8, "stages": 8, "microbatches": 16, "overhead": 0.9})
    cut = given.recut(16)
    assert [cost.forward for cost in cut.costs] == [Fraction(14, 10)] * 16
    assert [cost.forward for cost in given.recut(4).costs] == [Fraction(29, 10)] * 4
    assert cut.recut(8).costs == given.costs
    halves = given.costs[0].backward_input + given.costs[0].backward_weight
    assert halves == given.costs[0].backward + Fraction(9, 10)


def test_the_stages_of_layers_have_an_overhead_each_whatever_they_hold() -> None:
    layers = [{"name": "t", "count": 3, "forward": 1, "backward": 2}]
    given = Pipeline.from_mapping({"devices": 2, "microbatches": 2, "layers": layers, "overhead": 0.5})
    cut = given.with_cut([3, 0])
    assert [cost.forward for cost in cut.costs] == [3.5, 0.5]
    assert cut.as_stages().costs == cut.costs
    assert given.recut(4).overhead == given.overhead


def test_a_slow_device_takes_longer_for_its_work_and_not_for_its_overhead() -> None:
    given = Pipeline.from_mapping({"devices": 2, "stages": 2, "microbatches": 2, "overhead": 1, "slowdown": {1: 1.5}})
    assert [cost.forward for cost in given.costs_at([0, 1])] == [2, 2.5]
    assert given.block_duration(0, 1, 1) == 1 + Fraction(3, 2) * 3
    listed = Pipeline.from_mapping({**given.to_mapping(), "slowdown": [1, 1.5]})
    assert listed == given == Pipeline.from_mapping(given.to_mapping())


def test_each_copy_of_a_stage_runs_in_the_pace_of_its_own_device() -> None:
    base = {"devices": 2, "stages": 2, "microbatches": 2, "times": {"forward": [2, 4], "backward": [3, 6]}}
    made = ppopt.evaluate(Pipeline.from_mapping(base | {"slowdown": {1: 2}}), "chimera")
    lasts = {(row.device, row.task[:2]): row.end - row.start for row in made.rows}  # type: ignore[index]
    scale = made.problem.ticks_per_unit
    assert {key: value / scale for key, value in lasts.items()} == {
        (device, (stage, kind)): times[stage] * (1 + device)
        for device in range(2)
        for kind, times in (("F", [2, 4]), ("B", [3, 6]))
        for stage in range(2)
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"overhead": -1}, "overhead: must be at least 0; found -1; or give a mapping of forward, backward"),
        ({"overhead": {"forward": 1}}, "overhead.backward: is missing; give it"),
        ({"overhead": {"forward": 1, "backwards": 1, "backward": 1}}, "did you mean backward"),
        ({"overhead": {"forward": "1", "backward": 1}}, "overhead.forward: must be a number; found '1'"),
        ({"slowdown": {7: 1.1}}, "slowdown: must be a list with one entry for each of the 4 devices, or a mapping"),
        ({"slowdown": [1, 1.1]}, "found 2 entries"),
        ({"slowdown": {3: 0.9}}, "slowdown: device 3: must be at least 1; give times as the fastest device takes them"),
        ({"slowdown": 1.1}, "slowdown: must be a mapping from device to factor, such as {3: 1.08}"),
        ({"slowdown": {"x": 1.1}}, "slowdown: must name each device by a whole number from 0; found 'x'"),
        ({"slowdown": {3: 1.1, "3": 1.2}}, "slowdown: must name each device once; device 3 appears twice"),
    ],
)
def test_wrong_values_are_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        Pipeline.from_mapping({"devices": 4, "microbatches": 8, **wrong})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_overhead_of_whole_backwards_also_stands_for_their_halves() -> None:
    made = Pipeline.from_mapping({"devices": 2, "microbatches": 2, "overhead": {"forward": 1, "backward": 2}})
    assert made.to_mapping()["overhead"] == {
        "forward": 1, "backward": 2, "backward_input": 2, "backward_weight": 2,
    }  # fmt: skip
    same = Pipeline.from_mapping({"devices": 2, "microbatches": 2, "overhead": {"forward": 1, "backward_input": 1}})
    assert same.to_mapping()["overhead"] == 1


def test_a_pipeline_shows_what_a_step_costs_beside_its_stages() -> None:
    base = {"devices": 8, "stages": 8, "microbatches": 8, "unit": "ms"}
    assert repr(Pipeline.from_mapping(base)).endswith("activation 1, no limit>")
    more = {"overhead": {"forward": 1, "backward": 0.5}, "slowdown": {3: 1.08}, "step": {"after": 2.5}}
    shown = repr(Pipeline.from_mapping(base | more))
    assert shown.endswith("no limit; overhead 0.5 to 1 ms; slowdown 3: 1.08; 2.5 ms after the last operation>")
    many = Pipeline.from_mapping(base | {"slowdown": [1, *[1.5] * 6, 2]})
    assert repr(many).endswith("no limit; slowdown 7 devices, up to 2>")


@pytest.mark.parametrize("name", ["1f1b", "zb-h1", "dualpipe", "interleaved:stages=8"])
def test_overhead_is_neither_busy_nor_ideal_and_a_part_of_its_own(name: str) -> None:
    base = {"devices": 4, "stages": 4, "microbatches": 8, "slowdown": {3: 1.5}, "p2p_latency": 0.5}
    plain, made = (ppopt.evaluate(Pipeline.from_mapping(base | more), name) for more in ({}, {"overhead": 0.25}))
    assert made.busy == plain.busy
    assert made.ideal == plain.ideal
    assert made.overhead == tuple(0.25 * len(order) for order in made.orders)
    rows = {(row.device, row.task if row.block is None else row.block): row.end - row.start for row in made.rows}
    scale = made.problem.ticks_per_unit
    for device, idle in enumerate(made.waiting.devices):
        lasts = sum(each for (where, _), each in rows.items() if where == device)
        assert idle.overhead / scale == made.overhead[device] == lasts / scale - made.busy[device]
        causes = (idle.filling, idle.data, idle.latency, idle.order, idle.draining, idle.overhead)
        assert sum(causes) / scale == pytest.approx(made.makespan - made.busy[device])
    assert made.bubble_ratio == pytest.approx(1 - sum(made.busy) / (4 * made.makespan))


@pytest.mark.parametrize("name", ["1f1b", "zb-h1", "dualpipe"])
def test_the_ladder_has_a_step_for_the_overhead_and_counts_slow_devices_as_imbalance(name: str) -> None:
    base = {"devices": 4, "stages": 4, "microbatches": 8}
    (plain,) = measure_ladders([ppopt.evaluate(Pipeline.from_mapping(base), name)]).ladders
    (more,) = measure_ladders([ppopt.evaluate(Pipeline.from_mapping(base | {"overhead": 0.25}), name)]).ladders
    (slow,) = measure_ladders([ppopt.evaluate(Pipeline.from_mapping(base | {"slowdown": [2, 2, 2, 2]}), name)]).ladders
    assert (more.ideal, more.saved) == (plain.ideal, plain.saved) == (slow.ideal, slow.saved) == (24, 0)
    assert plain.overhead == slow.overhead == 0
    assert more.overhead >= 8 * Fraction(1, 4)  # a forward each, and a backward outside blocks
    assert slow.imbalance == 24
    for ladder in (plain, more, slow):
        assert min(ladder.overhead, ladder.imbalance, ladder.filling_and_draining, ladder.order) >= 0


@pytest.mark.parametrize("p2p", ["async", "rendezvous"])
def test_the_end_of_a_step_is_in_every_makespan_and_a_step_of_the_ladder(p2p: str) -> None:
    base = {"devices": 4, "stages": 4, "microbatches": 8, "communication": {"transfer": 0.25}, "p2p": p2p}
    plain, made = (Pipeline.from_mapping(base | more) for more in ({}, {"step": {"after": 10}}))
    before, after = ppopt.evaluate(plain, "1f1b"), ppopt.evaluate(made, "1f1b")
    assert after.exact_makespan == before.exact_makespan + 10
    assert after.makespan == before.makespan + 10
    assert (after.span, after.busy, after.rows) == (before.span, before.busy, before.rows)
    assert after.bubble_ratio == pytest.approx(1 - sum(after.busy) / (4 * after.makespan))
    one, other = measure_ladders([before]), measure_ladders([after])
    assert other.ladders[0].after == 10
    assert other.ladders[0].makespan == after.exact_makespan
    assert other.bound == (one.bound or 0) + 10
    assert made.to_mapping()["step"] == {"after": 10}


@pytest.mark.slow
def test_the_end_of_a_step_is_in_what_searches_and_plans_find_and_prove() -> None:
    given = {"devices": 2, "microbatches": 1, "overhead": 0.5, "memory": {"limit": 6}}  # proven at once
    layers = [{"name": "t", "count": 4, "forward": 1, "backward": 2}]
    found: list[tuple[Fraction, ...]] = []
    told: list[float] = []
    for after in (0, 7):
        stages = Pipeline.from_mapping({**given, "stages": 2, "step": {"after": after}})
        best = ppopt.optimize(
            stages, time_limit=20, workers=1, progress=lambda at: told.append(at.best or at.bound + 100)
        )
        model = Pipeline.from_mapping({**given, "layers": layers, "step": {"after": after}})
        (plan,) = ppopt.plan(model, ["1f1b"], time_limit=20, workers=1).plans
        (point, *_) = ppopt.frontier(stages, placement="linear", limits=[6], time_limit=20, workers=1).points
        assert plan.status == best.status == point.status == "optimal"
        found.append((best.exact_makespan, best.proven or Fraction(0), plan.exact_makespan, plan.bound, point.proven))
        assert min(told) >= best.makespan
        told.clear()
    assert [other - one for one, other in zip(*found, strict=True)] == [7] * 5
