"""The frontier of a model of layers: cuts are searched at every limit, and proofs hold for the cuts that it names."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import ppopt
from ppopt import Frontier, InputError, Pipeline
from ppopt.commands.cli import cli
from ppopt.cutting.least_memory import least_memory
from ppopt.memory_frontier.explore import _keep
from ppopt.memory_frontier.find import _laid
from ppopt.memory_frontier.job import OverCuts
from ppopt.memory_frontier.searched_cuts import searched_cuts_of
from ppopt.optimization.options import SearchOptions
from strategies.model.placements import PLACEMENTS, make_placement
from tests.brute_force import optimum
from tests.every_cut import every_cut

HEAD: dict[str, Any] = {"name": "head", "forward": 3, "backward": 6, "activation": 2, "earliest_stage": -1}


def layered(**more: Any) -> Pipeline:
    block = {"name": "block", "count": 3, "forward": 1, "backward_input": 1, "backward_weight": 1, "activation": 1}
    return Pipeline.from_mapping({"devices": 2, "microbatches": 2, "layers": [block, HEAD], **more})


def searched(model: Pipeline, placement: str, limits: list[Any], seconds: float = 20, **more: Any) -> Frontier:
    return ppopt.frontier(model, placement=placement, limits=limits, time_limit=seconds, workers=1, **more)


def cuts_of(model: Pipeline, placement: str) -> list[Pipeline]:
    assert model.layers is not None
    stages = (PLACEMENTS[placement].stages_per_device or 2) * model.devices
    return [model.with_cut(cut) for cut in every_cut(model.layers, stages, empty=True)]


def least_of_all_cuts(model: Pipeline, placement: str, limit: Fraction) -> Fraction | None:
    each = (optimum(cut.with_limit(limit), placement, split=True, overlap=False) for cut in cuts_of(model, placement))
    return min((value for value in each if value is not None), default=None)


@pytest.mark.exhaustive
@pytest.mark.parametrize("more", [{}, {"p2p_latency": 0.5, "memory": {"limit": 6}}], ids=str)
def test_no_cut_is_shorter_than_what_is_proven(more: dict[str, Any]) -> None:
    model = layered(**more)
    limits = [Fraction(4), Fraction(8)]
    found = searched(model, "linear", limits)
    assert found.sentence.endswith("hold for every cut of the layers on linear, with nothing recomputed.")
    for point, limit in zip(found.points, limits, strict=True):
        exact = least_of_all_cuts(model, "linear", limit)
        assert exact is not None
        assert point.proven <= exact <= point.schedule.exact_makespan
        assert (point.status == "optimal") == (point.proven == point.schedule.exact_makespan)


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("placement", ["linear", "interleaved", "v", "bidirectional"])
def test_the_least_limit_is_that_of_the_cut_that_needs_least(placement: str) -> None:
    draw = random.Random(placement)
    for _ in range(10):
        kinds = [
            {
                "name": f"{place}",
                "count": 2 * draw.randint(1, 2),
                "glue": draw.choice([1, 2]),
                "forward": 1,
                "backward": 1,
            }
            | {"activation": draw.randint(1, 4), "static": draw.choice([0, 2.5])}
            for place in range(2)
        ]
        model = Pipeline.from_mapping({"devices": 2, "microbatches": 2, "layers": kinds})
        layout = make_placement(placement, 2, (PLACEMENTS[placement].stages_per_device or 2) * 2, 2)
        every = [max(memory for memory, _ in least_memory(cut, layout)) for cut in cuts_of(model, placement)]
        first, *_ = searched_cuts_of(model, placement, SearchOptions(), [None], ())
        assert max(memory for memory, _ in least_memory(first.pipeline, layout)) == min(every)
        assert first.is_open == (placement != "bidirectional")


def test_what_a_cut_has_proven_is_not_taken_for_another() -> None:
    """Results for a different cut are not merged: the search is at fault, and the known results stay."""
    model = layered()
    first, second = searched_cuts_of(model, "bidirectional", SearchOptions(), [None], [(1, 3)])[:2]
    assert first.pipeline.layers_per_stage != second.pipeline.layers_per_stage
    record, other = (_laid(cut, SearchOptions().allowed) for cut in (first, second))
    with pytest.raises(ppopt.InternalError, match="is on another cut, for which these bounds do not hold"):
        _keep(record, None, other.found[0].schedule)
    assert len(record.found) == 1
    record.prove_for_cuts(Fraction(1), None)
    record.over_cuts = True
    with pytest.raises(ppopt.InternalError, match=r"one microbatch at a time: .* is below the bound"):
        _keep(record, None, OverCuts(None, Fraction(1000)))
    assert record.bound_at(None) < 1000


@pytest.mark.slow
def test_a_later_run_keeps_each_cut_apart(tmp_path: Path) -> None:
    model, file = layered(), tmp_path / "found.json"
    for placement in ("linear", "bidirectional"):
        found = searched(model, placement, [6, 10], seconds=5, save_to=file)
        again = searched(model, placement, [6, 10], seconds=0, save_to=file)
        assert [point.to_dict() for point in again.points] == [point.to_dict() for point in found.points]
    assert "on bidirectional for the layers cut as " in found.sentence
    with pytest.raises(InputError, match="belongs to another pipeline"):
        searched(layered(layers_per_stage=[2, 2]), "linear", [6], seconds=0, save_to=file)


def test_published_schedules_have_cuts_and_chunks_of_their_own() -> None:
    found = searched(layered(), "linear", [8], seconds=0.5)
    compared = {"1f1b": 2, "interleaved": 4, "zb-v": 4}
    for each in found.published:
        if each.strategy in compared:
            assert each.pipeline.stages == compared[each.strategy]
    stages = ppopt.frontier(Pipeline.from_mapping({"devices": 2, "microbatches": 4}), time_limit=2, workers=1)
    assert {each.pipeline.stages for each in stages.published if each.strategy.startswith("interleaved")} == {4}


def test_nothing_known_is_shorter_than_the_best_known() -> None:
    found = searched(layered(microbatches=8), "linear", [4, 10], seconds=2)
    assert len(found.published) > 1
    for each in found.shown.published:
        assert each.best is not None
        assert each.best <= each.makespan
    assert {place for place, each in enumerate(found.published) if each.placement == "linear"} >= found.comparable
    section = found.section()
    best = section.winner
    assert best is not None
    assert best.placement == "linear"


@pytest.mark.exhaustive(3)
@pytest.mark.parametrize(
    "more",
    [
        {"p2p_latency": 0.5, "communication": {"transfer": 0.5}, "p2p": "links"},
        {"communication": {"transfer": 0.5}, "p2p": "rendezvous"},
        {"communication": {"transfer": 0.5}, "p2p": "batched"},
        {"overlap": 0.5},
        {"layers_per_stage": [2, 2]},
    ],
    ids=str,
)
@pytest.mark.parametrize("overlap", [False, True])
def test_every_pair_gives_a_sound_frontier(more: dict[str, Any], overlap: bool) -> None:
    more.pop("p2p_latency", None)
    found = searched(layered(**more), "linear", [4, 8], seconds=2, overlap=overlap)
    assert found.internal_errors == ()
    for point in found.points:
        assert point.proven <= point.schedule.exact_makespan
        assert max(point.schedule.peak_memory) <= point.limit
        assert sum(point.to_dict()["layers_per_stage"]) == 4
    given = "layers_per_stage" in more
    assert ("for every cut" in found.sentence) == (not given and not (overlap and "overlap" in more))


def test_the_command_says_for_which_cuts_it_holds(tmp_path: Path) -> None:
    config = tmp_path / "layers.yaml"
    config.write_text(
        "devices: 2\nmicrobatches: 4\n"
        "layers: [{name: block, count: 5, forward: 1, backward: 2, recompute: {activation: 0.1}}]\n"
    )
    command = ["frontier", "-c", str(config), "--placement", "linear", "--limits", "5,9", "--time-limit", "1"]
    for form in ("table", "json", "csv"):
        result = CliRunner().invoke(cli, [*command, "--format", form], catch_exceptions=False)
        assert result.exit_code == 0
        assert "no layer is recomputed here" in result.stderr
        assert ("for every cut" in result.stdout) == (form != "csv")
        assert ("layers_per_stage" in result.stdout) == (form != "table")
        assert ("layers per stage at " in result.stdout) == (form == "table")
