"""The best cut for a fixed order: against all cuts of small models, and against known answers of real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline
from ppopt.cutting.best_cut import FixedPlan, plan_fixed_order
from ppopt.cutting.fixed_order import read_order
from ppopt.cutting.quick import quick_cut
from ppopt.cutting.work_bound import work_bound
from ppopt.schedules.replaying import replay_orders
from solver.errors import InputError
from strategies.language.registry import all_strategies
from tests.every_cut import Instance, best_of_all, glued_instance, random_instance
from tests.planned_models import instances, pipeline, pipeline_of

INSTANCES = {name: each for name, each in instances().items() if each["strategy"] != "free"}
QUICK = (
    "alternating48-1f1b-p8v1m32",
    "dense32-dualpipe-v-p4v2m16-lim700-rc",
    "llama70b-h2-interleaved-p4v2m16-L32",
    "dense32-interleaved-p4v2m16-lim290-rc",
    "dense32-zb-h1-p8v1m32-lim297-rc",
    "dense32-zb-h2-p8v1m32-lim409-rc",
    "dsv3-1f1b-p8v1m32-lim404-rc",
    "glm52-1f1b-p13v1m52",
    "kimi-1f1b-p8v1m64",
    "llama70b-h2-1f1b-p8v1m64-lat20",
    "llama70b-h2-dualpipe-p8v1m32",
    "llama70b-h2-dualpipe-v-p8v2m64",
    "llama70b-h2-looped-bfs-p8v2m32",
    "llama70b-h2-zb1p-p8v1m64",
    "llama70b-h3-gpipe-p8v1m32",
    *(name for name in INSTANCES if name.startswith("small-")),
)
"""Instances that are proven in a moment; `benchmarks/plan.py` runs all of them."""


def first_of_each_schedule() -> Iterator[Any]:
    """Yield the quick instances; `make test` runs the first of each schedule."""
    seen = set()
    for name in QUICK:
        strategy = INSTANCES[name]["strategy"]
        yield pytest.param(name, marks=pytest.mark.slow) if strategy in seen else name
        seen.add(strategy)


def planned(instance: dict[str, Any], seconds: float) -> FixedPlan:
    return plan_fixed_order(
        pipeline_of(instance),
        instance["strategy"],
        stages=instance["devices"] * instance["stages_per_device"],
        recompute="per-stage" if instance["recompute_allowed"] else "none",
        time_limit=seconds,
    )


def check_is_true(plan: FixedPlan) -> None:
    """Check that the plan's cut, evaluated like any other, has the plan's makespan and fits."""
    assert plan.cut is not None
    assert plan.placement is not None
    assert plan.makespan is not None
    schedule = replay_orders("", plan.cut, plan.placement, plan.orders, "graph")
    makespan = Fraction(max(row.end for row in schedule.rows), schedule.problem.ticks_per_unit)
    assert makespan == plan.makespan
    assert not schedule.over_limit
    assert plan.bound <= plan.makespan


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("drawn", "first"),
    [*((random_instance, first) for first in range(1000, 1045, 5)), *((glued_instance, first) for first in (0, 5, 10))],
)
def test_a_plan_is_the_best_of_all_cuts(drawn: Callable[[int], Instance], first: int) -> None:
    for seed in range(first, first + 5):
        instance = drawn(seed)
        best = best_of_all(instance)
        try:
            plan = plan_fixed_order(
                instance.pipeline,
                instance.strategy,
                recompute=instance.recompute,  # type: ignore[arg-type]
                empty=instance.empty,
                time_limit=120,
            )
        except InputError:  # pins allow no cut
            assert best is None, seed
            continue
        assert plan.makespan == best, seed
        assert plan.status == ("infeasible" if best is None else "optimal"), seed
        if best is not None:
            assert plan.bound == best, seed
            check_is_true(plan)


@pytest.mark.parametrize(
    ("recompute", "makespan", "recomputed"), [("per-stage", 66, ((1,), (0,))), ("uniform-k", 70, ((1,), (1,)))]
)
def test_single_layers_of_those_that_stay_together_are_recomputed(
    recompute: Any, makespan: int, recomputed: tuple[tuple[int, ...], ...]
) -> None:
    layer = {"name": "block", "count": 4, "glue": 2, "forward": 2, "backward": 4, "activation": 4}
    model = pipeline([{**layer, "recompute": {"activation": 1}}], 2, 4, limit=14)
    plan = plan_fixed_order(model, "1f1b", recompute=recompute, time_limit=60)
    assert (plan.status, plan.makespan, plan.layers_per_stage) == ("optimal", makespan, (2, 2))
    assert plan.recomputed_per_stage == recomputed
    check_is_true(plan)


TIGHT = [
    {"name": "embedding", "forward": 1, "backward": 2, "activation": 1, "static": 2, "latest_stage": 0},
    {"name": "block", "count": 6, "forward": 15, "backward": 30, "activation": 10, "recompute": {"activation": 1}},
    {"name": "head", "forward": 8, "backward": 16, "activation": 2, "static": 2, "earliest_stage": -1},
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("limit", [None, 75])
@pytest.mark.parametrize("recompute", ["per-stage", "uniform-k"])
def test_a_plan_is_never_longer_than_the_cut_that_evaluate_finds_in_a_moment(recompute: Any, limit: int | None) -> None:
    model = pipeline(TIGHT, 3, 6, latency=0.5, limit=limit)
    for name, strategy in all_strategies().items():
        try:
            quick = ppopt.evaluate(model, name, engine="graph")
        except InputError:
            assert strategy.requirements.stages_per_device is not None or strategy.requirements.unmet(name, model)
            continue
        plan = plan_fixed_order(model, name, recompute=recompute, time_limit=0)
        if quick.fits:
            assert plan.makespan is not None, name
            assert float(plan.makespan) <= quick.makespan, name
        if plan.makespan is not None:
            check_is_true(plan)


def test_at_first_as_little_is_recomputed_as_the_memory_asks_for() -> None:
    """With an even cut, 1F1B holds 4, 3, 2 and 1 microbatches of 3 layers each; device 0 has room for 3 of its 4."""
    model = pipeline([{**TIGHT[1], "count": 12}], 4, 16, limit=102)
    plan = plan_fixed_order(model, "1f1b", recompute="per-stage", time_limit=0)
    assert plan.layers_per_stage == (3, 3, 3, 3)
    assert plan.recomputed_per_stage == ((1,), (0,), (0,), (0,))


@pytest.mark.exhaustive(3)
@pytest.mark.no_cover
@pytest.mark.parametrize("name", list(first_of_each_schedule()))
def test_known_answers(name: str) -> None:
    instance = INSTANCES[name]
    plan = planned(instance, 120)
    if instance["value"] is None:
        assert plan.status == "infeasible"
        return
    check_is_true(plan)
    assert plan.makespan == instance["value"]
    assert plan.status == "optimal"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama70b-h2-interleaved-p8v5m64", "dense32-interleaved-p4v4m16-lim260-rc"])
def test_known_answers_of_many_stages(name: str) -> None:
    """The proof takes some seconds; on any machine, no bound is above the known value."""
    instance = INSTANCES[name]
    plan = planned(instance, 25)
    check_is_true(plan)
    assert plan.makespan is not None
    assert plan.bound <= instance["value"]
    assert plan.makespan <= instance["value"] * Fraction(1005, 1000)


def test_a_quick_cut_is_good_and_the_same_each_time() -> None:
    for name in ("llama70b-h2-interleaved-p8v2m64-lat10", "dsv3-interleaved-p4v4m32", "kimi-1f1b-p8v1m64"):
        instance = INSTANCES[name]
        pipeline, stages = pipeline_of(instance), instance["devices"] * instance["stages_per_device"]
        cut = quick_cut(pipeline, instance["strategy"], stages=stages)
        assert cut == quick_cut(pipeline, instance["strategy"], stages=stages)
        schedule = ppopt.evaluate(pipeline.with_cut(cut), instance["strategy"], engine="graph")
        assert schedule.makespan <= 1.02 * instance["value"]


SMALL = {
    "devices": 2,
    "microbatches": 4,
    "layers": [
        {"name": "layer", "count": 7, "forward": 1, "backward": 2, "recompute": {"activation": 0}},
        {"name": "head", "forward": 2, "backward": 4, "earliest_stage": -1},
    ],
}


def test_an_order_that_follows_from_costs_is_planned_without_a_proof() -> None:
    pipeline = Pipeline.from_mapping(SMALL)
    plan = plan_fixed_order(pipeline, "zb-auto", time_limit=5)
    assert not plan.is_fixed
    assert plan.status == "feasible"
    assert "without a proof" in plan.notes[0]
    assert plan.bound == work_bound(pipeline.layers, pipeline)  # type: ignore[arg-type]
    check_is_true(plan)
    assert plan.layers_per_stage is not None
    again = ppopt.evaluate(pipeline.with_cut(plan.layers_per_stage), "zb-auto")
    assert again.makespan == plan.makespan


@pytest.mark.parametrize("cut", [[3, 2, 3], [2, 3, 3], [4, 2, 2], [2, 2, 4]])
def test_an_order_that_is_the_same_on_a_few_costs_is_not_taken_for_fixed(cut: list[int]) -> None:
    """With two microbatches, zb-auto had the same order on the three pipelines tried, but another one on this model."""
    layer = {"name": "t", "count": 8, "forward": 10, "backward_input": 11, "backward_weight": 9}
    pipeline = Pipeline.from_mapping(
        {"devices": 3, "microbatches": 2, "communication": {"transfer": 3}, "layers": [layer]}
    )
    plan = plan_fixed_order(pipeline, "zb-auto", time_limit=1, starts=((tuple(cut), None),))
    assert not plan.is_fixed
    assert plan.makespan is not None
    assert plan.cut is not None
    assert float(plan.makespan) == ppopt.evaluate(plan.cut, "zb-auto").makespan
    assert plan.makespan <= ppopt.evaluate(pipeline.with_cut(cut), "zb-auto").makespan


def test_which_schedules_follow_from_costs() -> None:
    pipeline = Pipeline.from_mapping({**SMALL, "microbatches": 8})
    changing = {name for name in all_strategies() if not read_order(pipeline, name).is_fixed}
    assert changing >= {"zb-auto", "zb-v-auto"}
    assert not changing & {"1f1b", "interleaved", "gpipe", "zb-h1", "zb-h2", "dualpipe", "dualpipe-v", "zb-v", "v-half"}


def test_a_schedule_file_is_a_fixed_order(tmp_path: Path) -> None:
    pipeline = Pipeline.from_mapping(SMALL)
    file = tmp_path / "mine.csv"
    ppopt.evaluate(pipeline, "1f1b").export(file)
    plan, same = plan_fixed_order(pipeline, file), plan_fixed_order(pipeline, "1f1b")
    assert plan.status == same.status == "optimal"
    assert plan.makespan == same.makespan


def test_numbers_with_many_digits_are_planned_with_bounds_that_hold() -> None:
    """Ticks of 10⁻³⁰ do not fit 64 bits: the solved problem is rounded, the reported figures are not."""
    fine = {
        **SMALL,
        "layers": [
            {"name": "layer", "count": 7, "forward": "1.000000000000000000000000000001", "backward": 2},
            {"name": "head", "forward": 2, "backward": 4, "earliest_stage": -1},
        ],
    }
    for layer in fine["layers"]:
        layer["forward"] = Fraction(layer["forward"])
    plan, plain = (
        plan_fixed_order(Pipeline.from_mapping(fine), "1f1b"),
        plan_fixed_order(Pipeline.from_mapping(SMALL), "1f1b"),
    )
    check_is_true(plan)
    assert plan.makespan is not None
    assert plain.makespan is not None
    assert plain.makespan < plan.makespan < plain.makespan + Fraction(1, 10**20)
    assert plain.bound * Fraction(999, 1000) < plan.bound <= plan.makespan


def test_somebody_may_end_it_at_once() -> None:
    instance = INSTANCES["llama70b-h2-interleaved-p8v5m64"]
    plan = plan_fixed_order(pipeline_of(instance), "interleaved:stages=40", time_limit=30, stop=lambda: True)
    assert plan.status in ("feasible", "unknown")
    assert plan.bound <= instance["value"]


def test_bounds_rise_and_makespans_fall() -> None:
    made: list[Fraction] = []
    bounds: list[Fraction] = []
    instance = INSTANCES["dsv3-1f1b-p8v1m32-lim404-rc"]
    plan = plan_fixed_order(
        pipeline_of(instance),
        instance["strategy"],
        recompute="per-stage",
        on_solution=lambda makespan, _: made.append(makespan),
        on_bound=bounds.append,
    )
    assert made == sorted(made, reverse=True)
    assert bounds == sorted(bounds)
    assert made[-1] == plan.makespan
    assert bounds[-1] == plan.bound


def test_known_cuts_are_starts() -> None:
    pipeline = Pipeline.from_mapping(SMALL)
    plan = plan_fixed_order(pipeline, "1f1b", time_limit=0, starts=(((4, 4), None),))
    assert plan.makespan is not None
    assert plan.makespan <= ppopt.evaluate(pipeline.with_cut([4, 4]), "1f1b").makespan


def test_what_is_wrong_is_said() -> None:
    pipeline = Pipeline.from_mapping(SMALL)
    with pytest.raises(InputError, match="recompute: 'all' is not known; allowed are none, per-stage, uniform-k"):
        plan_fixed_order(pipeline, "1f1b", recompute="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="layers: are needed"):
        plan_fixed_order(Pipeline.from_mapping({"devices": 2, "microbatches": 4}), "1f1b")
    layer = {"name": "layer", "forward": 1, "backward": 2}
    pinned = {**SMALL, "layers": [{**layer, "earliest_stage": 1}, {**layer, "name": "head", "latest_stage": 0}]}
    with pytest.raises(InputError, match="layer has no stage"):
        plan_fixed_order(Pipeline.from_mapping(pinned), "1f1b")
