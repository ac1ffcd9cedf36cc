"""Cuts for orders with blocks of layers with parts, or that save more than their shorter half: against all cuts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

import ppopt
from ppopt import Pipeline
from ppopt.cutting.best_cut import plan_fixed_order
from ppopt.cutting.work_bound import work_bound
from ppopt.optimization.cuts import planned
from strategies.given_model.stages import GivenModel
from strategies.model.placements import make_placement
from strategies.problem.search_problem import Allowed
from tests.pairs.costs import every_cut, every_recomputation
from tests.pairs.drawn_models import draw_model


def model(number: int) -> tuple[dict[str, Any], int]:
    """Draw a small model of layers, with no limit of memory, so that every cut counts."""
    drawn = draw_model("parts", "async", "round", number)
    mapping = {key: value for key, value in drawn.mapping.items() if key not in ("memory", "layers_per_stage")}
    return mapping | {"microbatches": 4}, drawn.stages


def lengths(mapping: dict[str, Any], stages: int, name: str, how: str) -> list[Fraction]:
    """Replay an order on all cuts."""
    rows, found = mapping["layers"], []
    for cut in every_cut(rows, stages):
        for again in every_recomputation(rows, cut, how):
            given = mapping | {"layers_per_stage": list(cut)}
            if any(map(any, again)):
                given["recomputed_per_stage"] = [list(counts) for counts in again]
            found.append(ppopt.evaluate(Pipeline.from_mapping(given), name, "graph").exact_makespan)
    return found


@pytest.mark.exhaustive(4)
@pytest.mark.parametrize("number", range(16))
def test_no_cut_is_shorter_than_what_is_proven(number: int) -> None:
    mapping, stages = model(number)
    pipeline = Pipeline.from_mapping(mapping)
    how = "per-stage" if any("recompute" in row for row in mapping["layers"]) else "none"
    assert pipeline.layers is not None
    for name in ("1f1b-overlap", "dualpipe") if stages == 2 else ("dualpipe-v", "interleaved-overlap"):
        plan = plan_fixed_order(pipeline, name, stages=stages, recompute=how, time_limit=2)  # type: ignore[arg-type]
        shortest = min(lengths(mapping, stages, name, how))
        assert work_bound(pipeline.layers, pipeline.model_copy(update={"stages": stages})) <= shortest
        assert plan.bound <= shortest, name
        assert plan.makespan is not None
        assert plan.makespan >= shortest
        if plan.status == "optimal":
            assert plan.makespan == shortest, name


def test_a_longer_backward_can_make_a_block_shorter() -> None:
    """With σ > 1, what recomputation adds to the shorter half comes off the block."""
    row = {"name": "a", "count": 2, "forward": 10, "backward": 6, "recompute": {"activation": 0.5, "time": 4}}
    pipeline = Pipeline.from_mapping({"devices": 2, "microbatches": 60, "layers": [row], "overlap": 1.5})
    cut = pipeline.with_cut([1, 1], [1, 1])
    assert cut.block_duration(0, 0) == 5 < pipeline.with_cut([1, 1]).block_duration(0, 0) == 7
    made = ppopt.evaluate(cut, "1f1b-overlap")
    assert pipeline.layers is not None
    assert work_bound(pipeline.layers, pipeline.with_stages(2)) <= made.exact_makespan < 60 * 7


OVERLAPPED = {
    "linear": "1f1b-overlap",
    "v": "dualpipe-v",
    "interleaved": "interleaved-overlap",
    "bidirectional": "dualpipe",
}


@pytest.mark.parametrize("placement", OVERLAPPED)
def test_a_search_with_blocks_cuts_so_that_it_starts_no_longer_than_a_published_schedule(placement: str) -> None:
    """The bound that chooses a cut without blocks chose one with which DualPipe-V was 45 % longer than on its own."""
    mapping = yaml.safe_load(Path("examples/deepseek-moe-parts.yaml").read_text("utf-8"))
    pipeline = Pipeline.from_mapping(mapping | {"microbatches": 16})
    best = ppopt.evaluate(pipeline, OVERLAPPED[placement])
    given = GivenModel(pipeline).for_placement(placement).pipeline
    layout = make_placement(placement, given.devices, given.stages or 0, given.microbatches)
    cut = planned(given, layout, 2.0, Allowed(overlap=True))
    found = ppopt.optimize(cut, placement=placement, overlap=True, time_limit=2, workers=1)
    assert found.fits
    assert found.exact_makespan <= best.exact_makespan


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("number", range(12))
def test_no_published_schedule_on_a_cut_of_its_own_is_shorter_than_a_search_with_blocks(number: int) -> None:
    mapping, _ = model(number)
    pipeline = Pipeline.from_mapping(mapping)
    for placement, names in (("linear", ("1f1b", "1f1b-overlap")), ("v", ("dualpipe-v", "zb-v"))):
        found = ppopt.optimize(pipeline, placement=placement, overlap=True, time_limit=1, workers=1)
        for name in names:
            made = ppopt.evaluate(pipeline, name)
            assert found.exact_makespan <= made.exact_makespan, (name, mapping)
