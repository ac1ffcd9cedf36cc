"""Comparisons of plans: both figures of a pair come from replays under the same rules of communication."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest

import ppopt
from ppopt.optimization.ladders import measure_ladders
from ppopt.planning import planning
from ppopt.planning.plans import Plan
from ppopt.planning.reasons import Alternatives, reasons
from solver.errors import InputError
from tests.every_cut import every_cut
from tests.planned_models import uneven

LAYERS = [
    {"name": "embedding", "forward": 1, "backward": 2, "activation": 1, "latest_stage": 0},
    {"name": "decoder", "count": 5, "forward": 10, "backward": 20, "activation": 4, "recompute": {"activation": 1}},
    {"name": "head", "forward": 15, "backward": 30, "activation": 2, "earliest_stage": -1},
]
WAITING: list[dict[str, Any]] = [
    {"p2p": "batched", "p2p_latency": 3},
    {"p2p": "links", "communication": {"transfer": 4}},
    {"p2p": "batched", "communication": {"transfer": 3}},
    {"p2p": "rendezvous", "lowering": "pytorch", "communicators": "rank", "communication": {"transfer": 3}},
    {"p2p": "rendezvous", "communication": {"transfer": 6}},
]


def model(waiting: dict[str, Any], devices: int, limit: float | None = None) -> ppopt.Pipeline:
    mapping = {"devices": devices, "microbatches": 6, "layers": LAYERS, **waiting}
    return ppopt.Pipeline.from_mapping(mapping | ({} if limit is None else {"memory": {"limit": limit}}))


def as_run(pipeline: ppopt.Pipeline, cut: tuple[int, ...], name: str) -> ppopt.Schedule | None:
    try:
        return ppopt.evaluate(pipeline.with_cut(cut), name, "graph")
    except InputError:  # it hangs
        return None


def told(plan: Plan, begin: str) -> float | None:
    found = next((text for text in plan.reasons if text.startswith(begin)), None)
    if found is None:
        return None
    number = re.search(r"takes ([\d.,]+)", found)
    assert number is not None, found
    return float(number[1].replace(",", ""))


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("waiting", WAITING, ids=str)
@pytest.mark.parametrize(("name", "limit", "empty"), [("1f1b", 22, True), ("interleaved", 40, False)])
def test_what_a_plan_is_compared_with_is_a_cut_as_it_runs(
    waiting: dict[str, Any], name: str, limit: float, empty: bool
) -> None:
    devices, stages = 3, 6 if name == "interleaved" else 3
    pipeline = model(waiting, devices, limit)
    layers = pipeline.layers
    assert layers is not None
    runs = [run for cut in every_cut(layers, stages, empty) if (run := as_run(pipeline, cut, name))]
    if not runs:
        return
    try:
        best = ppopt.plan(pipeline, [name], stages_per_device=stages // devices, empty_stages=empty, time_limit=1).best
    except ppopt.InfeasibleError:
        assert not any(run.fits for run in runs)
        return
    assert best is not None
    known = {float(f"{run.makespan:.7g}") for run in runs}
    for begin in ("Without the memory limit, a cut is known", "The even cut", "Without recomputation, the best"):
        value = told(best, begin)
        assert value is None or value in known, (begin, value)
        assert value is None or (value < best.makespan) == begin.startswith("Without the memory")
    even = as_run(pipeline, pipeline.with_even_cut(stages).layers_per_stage or (), name)
    assert even is None or not even.fits or best.makespan <= even.makespan
    if best.status == "optimal" and not any(best.recomputed_per_stage):
        assert best.makespan == min(run.makespan for run in runs if run.fits)


@pytest.mark.exhaustive
@pytest.mark.parametrize("waiting", [{}, *WAITING], ids=str)
def test_what_another_cut_saves_is_the_difference_of_two_replays(waiting: dict[str, Any]) -> None:
    pipeline = model(waiting, 3)
    layers = pipeline.layers
    assert layers is not None
    runs = [run for cut in every_cut(layers, 3, empty=False) if (run := as_run(pipeline, cut, "1f1b")) is not None]
    shortest = min(run.makespan for run in runs)
    for ladder, run in zip(measure_ladders(runs).ladders, runs, strict=True):
        assert float(ladder.makespan) == run.makespan
        assert 0 <= ladder.cut <= Fraction(run.makespan) - Fraction(shortest)
        assert ladder.order >= 0 <= ladder.communication


@pytest.mark.exhaustive
@pytest.mark.parametrize("waiting", WAITING, ids=str)
def test_a_plan_is_never_longer_than_a_layout_that_is_compared_with_it(waiting: dict[str, Any]) -> None:
    pipeline = model(waiting, 3)
    layouts = ["Et*2|t*2|tL", "Et*2|t|t*2L", "Et*3|t*2|L", "E|t*4|tL"]
    found = ppopt.plan(pipeline, ["1f1b", "zb-h1"], layouts=layouts, time_limit=4)
    assert found.layouts
    for compared in found.layouts:
        assert compared.longer_by is not None
        assert compared.longer_by >= 0


def test_a_layout_that_no_order_can_run_is_named() -> None:
    pipeline = model({}, 3)
    found = ppopt.plan(pipeline, ["1f1b", "zb-v"], layouts=["Et|t|t|t|t|L"], time_limit=1.5)
    assert not found.layouts
    ((layout, reason),) = found.layouts_left_out
    assert layout == "Et|t|t|t|t|L"
    assert reason.startswith("it has 6 stages, and no schedule of this plan has as many")
    assert reason.endswith("those in a loop have 3")
    assert found.to_dict()["layouts_left_out"] == [{"layout": layout, "reason": reason}]
    assert not ppopt.plan(pipeline, ["interleaved"], layouts=["Et|t|t|t|t|L"], time_limit=1.5).layouts_left_out


def test_a_layout_on_which_an_order_does_not_run_takes_no_plan_along() -> None:
    """Megatron's interleaved schedule needs more than 2 devices if transfers are batched."""
    pipeline = model({"p2p": "batched", "communication": {"transfer": 3}}, 2)
    found = ppopt.plan(pipeline, ["interleaved", "1f1b"], layouts=["Et*2|t|t|tL"], time_limit=3)
    assert [plan.name for plan in found] == ["1f1b"]
    ((_, reason),) = found.layouts_left_out
    assert "takes more than 2 devices" in reason


def test_without_a_limit_nothing_is_said_of_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARE_OF_WRITING", 1000.0)  # nothing else has time
    found = ppopt.plan(model({}, 3), ["1f1b", "zb-h1", "zb-h2"], time_limit=0.01)
    assert found.unplanned
    assert all(each.reason.startswith("no cut was found: the time limit of 0.01 s") for each in found.unplanned)
    assert found.best is not None
    limited = ppopt.plan(model({}, 3, 40), ["1f1b", "zb-h1", "zb-h2"], time_limit=0.01)
    assert limited.unplanned
    assert all(each.reason.startswith("no cut that fits was found") for each in limited.unplanned)


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("waiting", WAITING, ids=str)
@pytest.mark.parametrize("name", ["1f1b", "zb-h1"])
def test_costs_of_sixteen_digits_are_planned_where_transfers_wait(waiting: dict[str, Any], name: str) -> None:
    """Cuts are then replayed with all digits, without the waiting, which planning ignores."""
    mapping = model(waiting, 3).to_mapping()
    mapping["layers"][1] |= {"forward": 10.123456789012345, "backward": 20.000000000000004}
    mapping["layers"][2] |= {"forward": 0.012345678901234567, "backward": 30.123456789012345}
    pipeline = ppopt.Pipeline.from_mapping(mapping)
    best = ppopt.plan(pipeline, [name], time_limit=2).best
    assert best is not None
    assert best.bound <= best.exact_makespan
    assert ppopt.evaluate(best.pipeline, name).makespan == best.makespan


def test_waiting_is_told_apart_from_the_cut() -> None:
    best = ppopt.plan(model(WAITING[0], 3), ["1f1b"], time_limit=2).best
    assert best is not None
    without = best.schedule.unhindered_makespan
    assert without is not None
    assert best.exact_makespan > without
    waiting = float(best.exact_makespan - without)
    share = f"{waiting / best.makespan:.2%}"
    assert f"Waiting transfers (p2p: batched) cost {waiting:g}, {share} of the makespan" in " ".join(best.reasons)


def test_an_even_cut_that_does_not_fit_is_told_as_such() -> None:
    best = ppopt.plan(uneven(limit=150), ["1f1b"], time_limit=3).best
    assert best is not None
    longer = best.exact_makespan * 2
    assert any("longer, and exceeds the memory limit." in text for text in reasons(best, Alternatives(longer, False)))
    assert any(text.endswith("% longer.") for text in reasons(best, Alternatives(longer)))


def test_that_a_limit_costs_nothing_is_said_where_it_is_proven() -> None:
    best = ppopt.plan(uneven(limit=500), ["1f1b"], time_limit=5).best
    assert best is not None
    assert "it is proven that no cut is shorter without it" in " ".join(best.reasons)
    text = " ".join(reasons(best, Alternatives(unlimited=best.exact_makespan)))
    assert "No shorter cut is known without the memory limit." in text
    assert "costs nothing" not in text


def test_what_recomputation_saves_in_both_directions_is_a_mean() -> None:
    """Each microbatch passes through one of the two copies that a device holds."""
    pipeline = uneven(limit=105, devices=4)
    best = ppopt.plan(pipeline, ["dualpipe"], time_limit=3).best
    assert best is not None
    again = best.pipeline.recomputed_per_stage
    assert again is not None
    totals = [sum(counts) for counts in again]
    found = re.search(
        r"On device (\d+) that adds .* saves ([\d.]+) of memory per microbatch, on average", " ".join(best.reasons)
    )
    assert found is not None
    stages = [stage for stage, _ in best.schedule.layout.local_stages[int(found[1])]]
    assert float(found[2]) == pytest.approx(sum(totals[stage] for stage in stages) * (10 - 1) / 2)
