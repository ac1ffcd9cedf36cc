"""Ladders: no step is negative, the steps add up exactly, and every bound is true."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import InputError, Pipeline, Schedule
from ppopt.optimization import ladders
from ppopt.optimization.ladders import (
    Bounds,
    Freedom,
    device_loads,
    freedom_of,
    make_ladder,
    measure_ladders,
)
from ppopt.process.garbage import collection_paused
from reports.ladder import STEPS, Ladder
from solver.bounds.bound import Bound
from solver.bounds.makespan import load_bound
from strategies.language.registry import all_strategies
from strategies.model.placements import make_placement
from strategies.problem.search_problem import Allowed
from tests.brute_force import optimum
from tests.conftest import DATA
from tests.examples import examples

ROWS = json.loads((DATA / "pp_emulation_makespans.json").read_text())
SIZES = ("devices", "stages", "microbatches")


def find_bounds(freedom: Freedom) -> Bounds:
    return ladders._quick_bounds(freedom, ladders._Clock(ladders._bounds_needed(freedom)))


@cache
def bounds_of(freedom: Freedom) -> Bounds:
    return find_bounds(freedom)


def busy_of(schedule: Schedule) -> list[Fraction]:
    busy = [0] * schedule.pipeline.devices
    blocks = set()
    for row in schedule.rows:
        if row.block is None or (row.device, row.block) not in blocks:
            busy[row.device] += row.end - row.start
        if row.block is not None:
            blocks.add((row.device, row.block))
    return [Fraction(each, schedule.problem.ticks_per_unit) for each in busy]


def check_ladder(schedule: Schedule, ladder: Ladder) -> None:
    ticks = max(row.end for row in schedule.rows) - min(row.start for row in schedule.rows)
    assert ladder.makespan == Fraction(ticks, schedule.problem.ticks_per_unit)
    assert all(getattr(ladder, step) >= 0 for step in (*STEPS, "ideal", "saved")), (schedule, ladder)
    assert ladder.bound <= ladder.makespan


def checked(schedule: Schedule) -> Ladder:
    freedom = freedom_of(schedule)
    ladder = make_ladder(schedule, bounds_of(freedom))
    check_ladder(schedule, ladder)
    assert all(least <= busy for least, busy in zip(device_loads(freedom), busy_of(schedule), strict=True))
    return ladder


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_all_golden_rows(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladders, "MOST_BOUNDED_OPS", 700)  # a third of the rows are larger and take long
    rows = sorted(ROWS, key=lambda row: [str(value) for value in list(row.values())[1:-1]])  # similar rows share bounds
    quarter = -(-len(rows) // 4)
    with collection_paused():
        for row in rows[part * quarter : (part + 1) * quarter]:
            checked(ppopt.evaluate(golden_costs(row), row["strategy"], "graph"))


def golden_costs(row: dict[str, Any]) -> Pipeline:
    times = {key: value for key, value in row.items() if key not in (*SIZES, "strategy", "makespan")}
    return Pipeline.from_mapping({**{size: row[size] for size in SIZES}, "times": times})


def random_costs(chance: random.Random, p: int, stages: int, m: int) -> Pipeline:
    def each(low: int, high: int) -> list[Any]:
        return [chance.randint(low, high) for _ in range(stages)]

    times: dict[str, Any] = {"forward": each(10, 50), "backward_input": each(10, 50), "backward_weight": each(10, 50)}
    halves = [i + w for i, w in zip(times["backward_input"], times["backward_weight"], strict=True)]
    if chance.random() < 0.6:
        times["backward"] = [max(51, half + chance.randint(-half // 11, half // 11)) for half in halves]
        times["backward_input"] = [min(50, each) for each in times["backward_input"]]
        times = times if closely(times, halves) else {**times, "backward": halves}
    if chance.random() < 0.6:
        times["overlapped_forward_backward"] = each(40, 150)
    memory: dict[str, Any] = {"activation": each(1, 4)}
    if chance.random() < 0.6:
        memory["limit"] = [chance.randint(6, 24) for _ in range(p)]
    latency = chance.choice([0, 0, 7, 30.5])
    sizes = {"devices": p, "stages": stages, "microbatches": m}
    return Pipeline.from_mapping({**sizes, "times": times, "memory": memory, "p2p_latency": latency})


def closely(times: dict[str, Any], halves: list[int]) -> bool:
    return all(abs(whole - half) * 10 <= whole for whole, half in zip(times["backward"], halves, strict=True))


def every_schedule(costs: Pipeline) -> Iterator[Schedule]:
    for name in all_strategies():
        try:
            yield ppopt.evaluate(costs, name, "graph")
        except InputError:
            continue


@st.composite
def costs(draw: st.DrawFn) -> Pipeline:
    p = draw(st.integers(1, 5))
    stages = p * draw(st.integers(1, 2))
    return random_costs(random.Random(draw(st.integers(0, 10**6))), p, stages, draw(st.integers(1, 12)))


@pytest.mark.no_cover
@pytest.mark.parametrize("most", [0, ladders.MOST_BOUNDED_OPS])
@settings(max_examples=examples(20), deadline=None)
@given(pipeline=costs())
def test_any_costs(most: int, pipeline: Pipeline) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladders, "MOST_BOUNDED_OPS", most)
        schedules = list(every_schedule(pipeline))
        measured = measure_ladders(schedules)
        for schedule, ladder in zip(schedules, measured.ladders, strict=True):
            check_ladder(schedule, ladder)
            fits = not schedule.to_dict()["over_memory_limit"]
            limited = pipeline.memory.limit is not None
            assert ladder.limited == (limited and fits)
            assert ladder.limited or not ladder.memory
            is_bounded = schedule.may_win or (fits and not any(each.may_win for each in schedules))
            assert not is_bounded or (measured.bound is not None and measured.bound <= ladder.makespan)


@pytest.mark.no_cover
@settings(max_examples=examples(30), deadline=None)
@given(pipeline=costs())
def test_what_size_or_clock_leaves_of_a_bound_is_the_same_for_ladder_and_search(pipeline: Pipeline) -> None:
    for schedule in every_schedule(pipeline):
        freedom = freedom_of(schedule)
        quick = ladders._simple_bound(freedom, device_loads(freedom), latency=True)
        problem = freedom.problem(pipeline.microbatches)
        bound = load_bound(problem)
        assert quick <= Fraction(bound.value, problem.ticks_per_unit)
        assert quick == Fraction(bound.value, problem.ticks_per_unit) or bound.piece == "path"


def without(costs: Pipeline, *, limit: bool = False, latency: bool = False) -> Pipeline:
    mapping = costs.to_mapping()
    if limit:
        mapping["memory"].pop("limit", None)
    return Pipeline.from_mapping({**mapping, "p2p_latency": 0 if latency else mapping["p2p_latency"]})


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["linear", "v", "bidirectional", "interleaved"])
@pytest.mark.parametrize(("split", "overlap"), [(True, False), (False, False), (True, True), (False, True)])
@pytest.mark.parametrize("most", [0, ladders.MOST_BOUNDED_OPS])
def test_no_bound_is_above_the_true_optimum(
    placement: str, split: bool, overlap: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladders, "MOST_BOUNDED_OPS", most)
    chance = random.Random(f"{placement} {split} {overlap}")
    chunks = 2 if placement in ("v", "interleaved") else 1
    for m in (1,) if chunks == 2 else (1, 2):
        costs = random_costs(chance, 2, 2 * chunks, m)
        layout = make_placement(placement, costs.devices, costs.stages, costs.microbatches)
        bounds = find_bounds(Freedom(costs, layout, split, overlap))
        free, still = without(costs, limit=True), without(costs, limit=True, latency=True)
        best, delayed, plain = (optimum(each, placement, split=split, overlap=overlap) for each in (costs, free, still))
        assert plain is not None
        assert delayed is not None
        assert max(bounds.loads) <= bounds.plain <= plain
        assert bounds.plain <= bounds.delayed <= delayed
        assert (bounds.limited is None) == (best is None)
        if best is not None and bounds.limited is not None:
            assert bounds.delayed <= bounds.limited <= best


def pipeline(p: int = 4, m: int = 8, latency: float = 0, overlapped: float = 3, **memory: Any) -> Pipeline:
    times = {"forward": 1, "backward_input": 1, "backward_weight": 1, "overlapped_forward_backward": overlapped}
    sizes = {"devices": p, "microbatches": m}
    return Pipeline.from_mapping({**sizes, "times": times, "p2p_latency": latency, "memory": memory})


def test_a_ladder_worked_out_by_hand() -> None:
    schedule = ppopt.evaluate(pipeline(2, 4, latency=1, overlapped=2), "1f1b")
    ladder = measure_ladders([schedule]).ladders[0]
    # every device works 4·3; the second starts after the first's forward and a transfer, and can end with its own work
    assert (ladder.ideal, ladder.saved, ladder.imbalance) == (12, 0, 0)
    assert ladder.filling_and_draining == 1
    assert ladder.latency == 1
    assert ladder.memory == 0
    assert ladder.order == Fraction(schedule.makespan) - 14
    assert ladder.makespan == Fraction(schedule.makespan)


def test_blocks_save_what_they_save_at_most() -> None:
    schedule = ppopt.evaluate(pipeline(overlapped=2), "1f1b-overlap")
    ladder = measure_ladders([schedule]).ladders[0]
    assert ladder.saved == 8  # 1 of 3 per microbatch, eight times on every device


def test_blocks_that_save_nothing_are_no_freedom() -> None:
    assert freedom_of(ppopt.evaluate(pipeline(overlapped=2.9), "dualpipe")).overlap
    assert not freedom_of(ppopt.evaluate(pipeline(overlapped=3), "dualpipe")).overlap
    assert not freedom_of(ppopt.evaluate(pipeline(overlapped=2.9), "1f1b")).overlap
    found = searched(ppopt.evaluate(pipeline(overlapped=3), "1f1b"), 0, allowed=Allowed(overlap=True))
    assert not freedom_of(found).overlap


def searched(schedule: Schedule, value: float, **changes: Any) -> Schedule:
    """Make a schedule look like the result of a search that has proven a bound."""
    held = Bound(int(value * schedule.problem.ticks_per_unit), "search")
    return replace(schedule, strategy="made", status="feasible", bound_held_by=held, **changes)


def bound_beside(made: Schedule, other: Schedule, **allowed: bool) -> Fraction:
    return measure_ladders([replace(each, allowed=Allowed(**allowed)) for each in (made, other)]).ladders[1].bound


def test_what_a_search_has_proven_holds_for_those_that_are_no_freer() -> None:
    costs = pipeline(overlapped=2.5, limit=8)
    plain, fused = ppopt.evaluate(costs, "1f1b"), ppopt.evaluate(costs, "1f1b-overlap")
    proven = searched(plain, 28)
    quick = measure_ladders([fused]).ladders[0].bound
    assert bound_beside(proven, plain) == bound_beside(proven, plain, overlap=True) == 28
    assert bound_beside(proven, fused) == quick < 28
    assert bound_beside(proven, fused, overlap=True) == 28
    assert bound_beside(replace(proven, objective="span"), plain) == 27
    halves = ppopt.evaluate(costs, "zb-h1")
    assert bound_beside(proven, halves, split_backward=False) == 27


def test_what_a_search_has_proven_raises_the_first_bound_that_it_holds_for() -> None:
    raised = []
    for latency, limit in ((0, None), (1, None), (0, 8), (1, 8)):
        costs = pipeline(latency=latency, **({} if limit is None else {"limit": limit}))
        plain = ppopt.evaluate(costs, "gpipe")
        before = measure_ladders([plain]).ladders[0]
        after = measure_ladders([searched(plain, 32), plain]).ladders[1]
        check_ladder(plain, after)
        steps = [step for step in STEPS if getattr(before, step) < getattr(after, step)]
        raised.append(steps)
    assert raised == [["filling_and_draining"], ["latency"], ["memory"], ["memory"]]


def test_over_the_limit_the_limit_does_not_count() -> None:
    costs = pipeline(limit=4)
    over, within = ppopt.evaluate(costs, "gpipe"), ppopt.evaluate(costs, "1f1b")
    measured = measure_ladders([over, within, searched(within, 30)])
    assert [ladder.limited for ladder in measured.ladders] == [False, True, True]
    assert measured.ladders[0].memory == 0
    assert measured.ladders[0].bound == 27
    assert measured.ladders[1].bound == measured.bound == 30


def test_where_nothing_fits_there_is_no_bound_with_the_limit() -> None:
    measured = measure_ladders([ppopt.evaluate(pipeline(limit=0.5), "1f1b")])
    assert measured.bound is None
    assert not measured.ladders[0].limited


def test_an_excess_that_floats_hide_does_not_make_a_step_negative() -> None:
    mapping = {"devices": 2, "stages": 2, "microbatches": 8, "times": {"forward": 3, "backward": 6}}
    memory = {"activation": 1 / 3, "limit": 2 / 3}
    costs = Pipeline.from_mapping({**mapping, "memory": memory}).recut(4)
    for name in ("dualpipe-v", "interleaved", "looped-bfs"):
        checked(ppopt.evaluate(costs, name))


@pytest.mark.slow
@pytest.mark.parametrize(("p", "m", "strategy"), [(64, 300, "zb1p"), (8, 400, "zb-h1")])
def test_large_pipelines_are_bounded(p: int, m: int, strategy: str) -> None:
    schedule = ppopt.evaluate(pipeline(p, m, latency=0.5, limit=2 * p), strategy, "graph")
    measured = measure_ladders([schedule])
    check_ladder(schedule, measured.ladders[0])
    assert measured.ladders[0].order / measured.ladders[0].makespan < 0.1


@pytest.mark.parametrize("placement", ["linear", "v", "bidirectional"])
def test_of_a_long_pipeline_the_first_microbatches_show_the_ladder(
    placement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = pipeline(4, 80, latency=0.25, limit=6)
    stages = 8 if placement == "v" else 4
    costs = costs.with_stages(4).recut(stages)
    freedom = Freedom(costs, make_placement(placement, 4, stages, 80), True, placement == "bidirectional")
    whole = find_bounds(freedom)
    monkeypatch.setattr(ladders, "MOST_BOUNDED_OPS", 1000)  # fewer than there are, more than are examined
    quick = ladders.QuickBounds()
    quick.find([freedom])
    assert not quick.cut_short
    assert quick.found[freedom] == whole
