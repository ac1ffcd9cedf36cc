"""Plans: their figures are those of a replay, and their reasons are true."""

from __future__ import annotations

import os
import signal
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

import ppopt
from ppopt.comparison.plan_section import plan_section
from ppopt.planning.reasons import Alternatives, reasons
from strategies.layouts.reading import read_layout
from strategies.model.placements import make_placement
from tests.planned_models import everything, instances, nvidias_model, pipeline_of, uneven


def planned(model: ppopt.Pipeline, *names: str, **options: object) -> ppopt.Planning:
    return ppopt.plan(model, names or ("1f1b",), time_limit=8, **options)  # type: ignore[arg-type]


@cache
def planned_within(limit: float | None) -> ppopt.Planning:
    return planned(uneven(limit=limit))


def test_the_makespan_of_a_plan_is_that_of_its_cut_to_the_tick() -> None:
    found = planned(uneven(), "1f1b", "interleaved", "zb-h1", "dualpipe-v", stages_per_device=[1, 2])
    assert [plan.name for plan in found] == [plan.name for plan in sorted(found, key=lambda each: each.makespan)]
    assert {plan.label for plan in found} == {"1f1b, v = 1", "zb-h1, v = 1", "interleaved, v = 2", "dualpipe-v, v = 2"}
    for plan in found:
        cut = uneven().with_cut(plan.layers_per_stage)
        replayed = ppopt.evaluate(cut, plan.name)
        assert replayed.makespan == plan.makespan == float(plan.exact_makespan)
        assert replayed.peak_memory == plan.peak_memory
        assert plan.bound <= plan.exact_makespan
        assert (plan.status == "optimal") == (plan.gap == 0)


@pytest.mark.parametrize("name", ["sarvam19-1f1b-p4m16", "llama70b-h2-1f1b-p4v1m32", "kimi-interleaved-p4v2m32"])
def test_a_known_plan_is_found_and_proven(name: str) -> None:
    known = instances()[name]
    found = ppopt.plan(
        pipeline_of(known), [known["strategy"]], stages_per_device=known["stages_per_device"], time_limit=120
    )
    assert found.best is not None
    assert found.best.exact_makespan == Fraction(known["value"])
    assert found.best.status == "optimal"


def test_a_limit_makes_a_plan_recompute_and_says_what_that_costs_and_buys() -> None:
    free = planned_within(None)
    tight = planned_within(105)
    assert free.best is not None
    assert tight.best is not None
    assert any(tight.best.recomputed_per_stage)
    assert tight.best.makespan > free.best.makespan
    assert max(tight.best.peak_memory) <= 105
    text = " ".join(tight.best.reasons)
    assert "layers are recomputed, on stage" in text
    assert "Without the memory limit, a cut is known that takes" in text
    assert "Without recomputation" in text
    assert not any("recomputed" in reason for reason in free.best.reasons)


def test_reasons_name_what_is_heavy_and_what_a_layer_costs() -> None:
    best = planned_within(None).best
    assert best is not None
    text = " ".join(best.reasons)
    held = [count - (stage == 0) - (stage == 3) for stage, count in enumerate(best.layers_per_stage)]
    assert f"Device 3 holds the head: {max(held) - held[3]} fewer decoder layers ({held[3]})." in text
    cost = 8 * 30
    assert f"One more decoder layer adds m · (F + B) = {cost} of work to its device, {cost / best.makespan:.2%}" in text
    assert f"{best.makespan:,g} is proven: no cut is shorter." in text


def test_a_layer_costs_more_on_slow_devices_and_an_empty_stage_costs_overhead() -> None:
    layers = [{"name": "t", "count": 3, "forward": 1, "backward": 2, "activation": 1}]
    layers[0]["recompute"] = {"activation": 0}
    base = {"devices": 4, "microbatches": 2, "layers": layers, "memory": {"limit": 1}}
    slow = ppopt.Pipeline.from_mapping(base | {"slowdown": [3, 3, 1.5, 2]})
    best = planned(slow).best
    assert best is not None
    text = " ".join(best.reasons)
    assert "adds m · (F + B) = 6 of work to its device, " in text
    assert (
        " of the makespan; 1.5 times that on device 2, 2 times that on device 3 and 3 times that on devices 0" in text
    )
    assert "empty: only the transfers cost time." in text
    again = [count * pace for count, pace in zip(best.recomputed_per_stage, (3, 3, 1.5, 2), strict=True)]
    assert max(again) > max(best.recomputed_per_stage) > 0
    assert f"that adds {2 * max(again):g} of work" in text
    costly = planned(slow.model_copy(update={"overhead": 0.25, "slowdown": None})).best
    assert costly is not None
    text = " ".join(costly.reasons)
    assert "empty: only the transfers and the overhead of operations cost time." in text
    assert "times that" not in text


def test_both_copies_of_a_bidirectional_stage_hold_a_layer() -> None:
    best = planned(uneven(), "dualpipe").best
    assert best is not None
    assert "adds m ÷ 2 · (F + B) = 120" in " ".join(best.reasons)
    overlapping = planned(uneven().model_copy(update={"overlap": 0.5}), "dualpipe").best
    assert overlapping is not None
    assert "adds up to m ÷ 2 · (F + B) = 120" in " ".join(overlapping.reasons)


def test_reasons_compare_with_what_is_known_alone() -> None:
    best = planned_within(None).best
    assert best is not None
    even = Fraction(best.exact_makespan * 2)
    assert f"The even cut takes {float(even):,g}, 100.00% longer." in reasons(best, Alternatives(even=even))
    assert not any("even cut" in text for text in reasons(best, Alternatives(even=best.exact_makespan)))


def test_no_recomputation_and_no_empty_stages_where_they_are_forbidden() -> None:
    plain = planned(uneven(limit=150), recompute="none").best
    assert plain is not None
    assert not any(plain.recomputed_per_stage)
    full = planned(uneven(4), "interleaved", stages_per_device=1, empty_stages=False).best
    assert full is not None
    assert 0 not in full.layers_per_stage


def test_one_number_of_recomputed_layers_for_all_stages_is_what_megatron_runs() -> None:
    best = planned(uneven(8, limit=80), recompute="uniform-k").best
    assert best is not None
    assert best.uniform_k is not None
    held = [count - (stage == 0) - (stage == 3) for stage, count in enumerate(best.layers_per_stage)]
    assert list(best.recomputed_per_stage) == [min(best.uniform_k, count) for count in held]
    options = best.exports["Megatron-Core"]
    assert "--recompute-method block" in options.lines
    assert f"--recompute-num-layers {best.uniform_k}" in options.lines
    assert options.cannot == ()


def test_a_plan_is_written_for_frameworks_and_read_again() -> None:
    found = planned(uneven(), "interleaved", "dualpipe-v", "1f1b", stages_per_device=[1, 2])
    by_name = {plan.name: plan for plan in found}
    interleaved, v, plain = (by_name[name] for name in ("interleaved", "dualpipe-v", "1f1b"))
    for plan in (interleaved, plain):
        assert read_layout(plan.megatron_layout, plan.layers, 4) == plan.layers_per_stage
    parts = interleaved.exports["torchtitan"]
    if 0 not in interleaved.layers_per_stage:
        assert read_layout(parts.value, interleaved.layers, 4) == interleaved.layers_per_stage
        assert 'pipeline_parallel_schedule = "Interleaved1F1B"' in parts.lines
    assert read_layout(plain.exports["DeepSpeed"].value, plain.layers, 4) == plain.layers_per_stage
    assert v.megatron_layout is None
    assert "lays stage k on rank k mod 4" in v.exports["Megatron-Core"].cannot[0]
    assert "one stage per rank" in interleaved.exports["DeepSpeed"].cannot[0]


def test_what_a_framework_does_not_run_is_said() -> None:
    tight = planned(uneven(limit=105), "zb-h1").best
    assert tight is not None
    cannot = {name: " ".join(export.cannot) for name, export in tight.exports.items()}
    assert "runs 1F1B, plain or interleaved, and not zb-h1" in cannot["Megatron-Core"]
    assert "PyTorch has no class for zb-h1" in cannot["torchtitan"]
    assert "DeepSpeed runs 1F1B" in cannot["DeepSpeed"]
    if any(tight.recomputed_per_stage):
        assert "one k, or all" in cannot["Megatron-Core"] or "--recompute-num-layers" in str(tight.exports)


def test_an_order_from_a_file_is_cut_for_too(tmp_path: Path) -> None:
    order = tmp_path / "mine.csv"
    ppopt.evaluate(uneven(), "zb-h1").export(order)
    own, published = ppopt.plan(uneven(), [str(order), "zb-h1"], time_limit=8)
    assert own.exact_makespan == published.exact_makespan
    assert {own.name, published.name} == {str(order), "zb-h1"}


def test_a_schedule_that_looks_at_costs_is_planned_without_a_proof_and_replays_as_it_says() -> None:
    best = planned(uneven(limit=150), "zb-auto", recompute="none").best
    assert best is not None
    assert any("makes its order from the costs of the stages" in note for note in best.notes)
    replayed = ppopt.evaluate(uneven(limit=150).with_cut(best.layers_per_stage), "zb-auto")
    assert replayed.makespan == best.makespan


@pytest.mark.parametrize("devices", [2, 3])
def test_a_schedule_that_looks_at_costs_is_not_said_to_be_unproven_where_it_meets_the_bound(devices: int) -> None:
    layer = {"name": "t", "count": 6, "forward": 1, "backward_input": 1, "backward_weight": 1}
    model = ppopt.Pipeline.from_mapping({"devices": devices, "microbatches": 4, "layers": [layer]})
    best = planned(model, "zb-auto").best
    assert best is not None
    assert best.status == "optimal"
    assert "is proven: no cut is shorter" in best.reasons[0]
    assert not any("without a proof" in note for note in best.notes)


def test_somebodys_layout_is_compared_with_the_plan_for_as_many_stages() -> None:
    layout = "Et*3|t*3|t*3|t*3L"
    found = planned(uneven(), "1f1b", "dualpipe-v", layouts=[layout])
    (compared,) = found.layouts
    assert compared.plan is not None
    assert compared.plan.name == compared.schedule.strategy == "1f1b"
    assert compared.schedule.makespan == ppopt.evaluate(uneven().with_cut([4, 3, 3, 4]), "1f1b").makespan
    assert compared.longer_by == compared.schedule.makespan / compared.plan.makespan - 1 > 0


def test_nothing_fits_names_the_device_what_is_missing_and_what_would_help() -> None:
    with pytest.raises(ppopt.InfeasibleError) as caught:
        planned(uneven(limit=60), recompute="none")
    text = str(caught.value)
    assert "infeasible: 1f1b, v = 1: every cut exceeds the memory limit of some device, by at least" in text
    assert "its limit is 60; with recomputation one fits" in text
    assert caught.value.needed > caught.value.capacity == 60
    with pytest.raises(ppopt.InfeasibleError, match=r"recomputation is counted in"):
        planned(uneven(limit=24))
    with pytest.raises(ppopt.InfeasibleError, match=r"stages per device"):
        planned(uneven(limit=60), "gpipe", "interleaved", recompute="none", stages_per_device=[2])


def test_free_orders_are_never_worse_than_the_plans_they_start_from() -> None:
    found = planned(uneven(), "1f1b", "zb-h1", free=True, placement="linear")
    free = next(plan for plan in found if plan.is_free)
    assert free.exact_makespan <= min(plan.exact_makespan for plan in found if not plan.is_free)
    assert free.bound <= free.exact_makespan
    assert ppopt.Planning.best is not None


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("placement", "split_backward"),
    [("linear", False), ("v", True), ("wave", False), ("interleaved", True), (None, False)],
)
def test_where_and_how_orders_are_searched_holds_for_published_ones_too(
    placement: str | None, split_backward: bool
) -> None:
    model = uneven(6, devices=2, microbatches=4)
    found = ppopt.plan(model, free=True, placement=placement, split_backward=split_backward, time_limit=3)
    assert any(plan.is_free for plan in found)
    published = [plan for plan in found if not plan.is_free]
    assert published
    for plan in found:
        kinds = {key.kind for key in plan.schedule.problem.tasks}  # type: ignore[attr-defined]
        assert split_backward or "I" not in kinds, plan
        if placement is not None:
            stages = plan.pipeline.stages or 0
            asked = make_placement(placement, 2, stages, 4)
            assert plan.schedule.layout.homes == asked.homes, plan


def test_a_named_schedule_that_does_otherwise_is_left_out_with_the_reason(tmp_path: Path) -> None:
    model, order = uneven(6, devices=2, microbatches=4), tmp_path / "split.csv"
    ppopt.evaluate(model, "zb-h1").export(order)
    names = ["1f1b", "zb-h1", "zb-v", "dualpipe", str(order)]
    found = ppopt.plan(model, names, free=True, placement="linear", split_backward=False, time_limit=2)
    assert {plan.name for plan in found} == {"1f1b", "optimized-linear"}
    left_out = dict(found.left_out)
    assert left_out["zb-h1, v = 1"] == "splits backwards into I and W, but whole backwards are required"
    assert "zb-v, v = 2" in left_out
    assert str(order) in left_out
    elsewhere = ppopt.plan(model, ["zb-v", "1f1b"], free=True, placement="linear", time_limit=3)
    assert dict(elsewhere.left_out)["zb-v, v = 2"] == "its placement is v, but linear is required"
    alone = ppopt.plan(model, ["zb-v"], free=True, placement="linear", time_limit=3)
    assert [plan.name for plan in alone] == ["optimized-linear"]


def test_nothing_fits_where_only_searched_orders_are_asked_for() -> None:
    with pytest.raises(ppopt.InfeasibleError, match="no cut and no order fits"):
        ppopt.plan(uneven(limit=24), ["zb-v"], free=True, placement="linear", recompute="none", time_limit=2)


def test_a_plan_is_shown_on_a_page_with_its_cut() -> None:
    found = planned(uneven(limit=105), "1f1b", "dualpipe")
    section = plan_section(found, "model")
    assert section.reasons == found.best.reasons  # type: ignore[union-attr]
    first = section.schedules[0]
    assert sum(held.count for held in first.cut) == 14 * (2 if "dualpipe" in first.summary.name else 1)
    assert any(held.recomputed for each in section.schedules for held in each.cut)


def test_the_same_seed_gives_the_same_plan() -> None:
    one, two = (planned(uneven(20), "interleaved", seed=3, stages_per_device=2).best for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.layers_per_stage == two.layers_per_stage


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("phase", ["interleaved, v = 3", "replaying", "searching optimized-linear"])
def test_ctrl_c_ends_with_the_best_so_far(phase: str) -> None:
    pressed: list[str] = []

    def on_phase(text: str) -> None:
        if text.startswith(phase) and not pressed:
            pressed.append(text)
            os.kill(os.getpid(), signal.SIGINT)

    found = ppopt.plan(uneven(30), ["1f1b", "interleaved"], free=True, time_limit=6, on_phase=on_phase)
    assert pressed
    assert found.interrupted
    assert found.best is not None
    assert found.best.exact_makespan >= found.best.bound


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["dsv3-1f1b-p4v1m32", "kimi-1f1b-p4v1m32", "kimi-1f1b-p8v1m64", "sarvam19-1f1b-p4m16"])
def test_nvidias_layouts_are_beaten_or_proven(name: str) -> None:
    """The other layouts take longer; `python -m benchmarks.plan_layouts` runs them."""
    entry = next(each for each in everything()["nvidia_layouts"] if each["instance"] == name)
    model = nvidias_model(entry)
    found = ppopt.plan(model, ["1f1b"], layouts=[entry["layout"]], time_limit=10)
    (compared,) = found.layouts
    assert compared.schedule.makespan == entry["their_makespan"]
    assert found.best is not None
    assert found.best.status == "optimal"
    assert found.best.makespan == entry["our_makespan"] <= entry["their_makespan"]


def test_no_partition_of_pytorchs_heuristic_is_better_than_a_plan() -> None:
    found = [each for each in everything()["pytorch_partition"] if each["name"] in instances()]
    small = [each for each in found if each["name"].startswith("small")]
    assert len(small) > 5
    for entry in small:
        known = instances()[entry["name"]]
        model = pipeline_of(known)
        theirs = ppopt.evaluate(model.with_cut(entry["search"]), known["strategy"]).makespan
        best = ppopt.plan(model, [known["strategy"]], stages_per_device=known["stages_per_device"], time_limit=120).best
        assert best is not None
        assert best.status == "optimal"
        assert best.makespan <= theirs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages_per_device": 0}, "stages_per_device: must be a whole number of at least 1; found 0"),
        ({"stages_per_device": []}, "stages_per_device: must be one whole number"),
        ({"recompute": "all"}, "recompute: 'all' is not known; allowed are none, per-stage, uniform-k"),
        ({"placement": "linear"}, "placement: restricts the search for orders; give free as well"),
        ({"free": True, "placement": "bidirectional"}, "placement: 'bidirectional' is not known here"),
        ({"time_limit": float("nan")}, "time_limit: must be a finite number"),
        ({"seed": 1.5}, "seed: must be a whole number"),
        ({"layouts": ["Et*3|x"]}, "layout: stage 1: 'x' is no layer"),
        ({"layouts": ["Et*3|t*3|t*3|t*2L"]}, "layout: must have 12 t"),
        ({"stages_per_device": 3, "strategies": ["1f1b"]}, "1f1b does not take 3 stages per device"),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(ppopt.InputError, match=r".") as caught:
        ppopt.plan(uneven(), **({"strategies": ["1f1b"], "time_limit": 1} | options))  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_model_without_layers_cannot_be_planned() -> None:
    model = ppopt.Pipeline.from_mapping({"devices": 2, "microbatches": 4})
    with pytest.raises(ppopt.InputError, match="layers: a plan needs the model as its layers"):
        ppopt.plan(model)


def test_recomputation_needs_its_costs() -> None:
    mapping = uneven().to_mapping()
    del mapping["layers"][1]["recompute"]
    with pytest.raises(ppopt.InputError, match="recompute: needs a kind of layers with recompute"):
        ppopt.plan(ppopt.Pipeline.from_mapping(mapping), ["1f1b"], recompute="per-stage")


def test_an_order_that_deadlocks_leaves_the_other_plans() -> None:
    layers = [{"name": "decoder", "count": 12, "forward": 1, "backward": 2}]
    model = ppopt.Pipeline.from_mapping({"devices": 3, "microbatches": 4, "layers": layers})
    made = ppopt.plan(model, ["1f1b", "interleaved-overlap"], stages_per_device=(1, 3), time_limit=3)
    assert [each.name for each in made.plans] == ["1f1b"]
    (unplanned,) = made.unplanned
    assert unplanned.name == "interleaved-overlap, v = 3"
    assert unplanned.reason.startswith("the order deadlocks: ")
    with pytest.raises(ppopt.DeadlockError, match=r"^interleaved-overlap, v = 3: the order deadlocks: "):
        ppopt.plan(model, ["interleaved-overlap"], stages_per_device=(3,), time_limit=3)
