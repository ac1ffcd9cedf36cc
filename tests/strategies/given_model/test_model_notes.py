"""Notes on how a model was taken: split stages, unusual numbers of stages, assumed halves."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import ppopt
from ppopt import Pipeline
from ppopt.commands.cli import cli
from strategies.given_model.model_notes import HALVES, split_stage_notes

LAYERS = [1.0] * 79 + [8.0]  # 80 layers, the last with an LM head of seven layers' work


def model(forward: list[float], devices: int = 8, **more: Any) -> Pipeline:
    times = {"forward": forward, "backward_input": forward, "backward_weight": forward}
    return Pipeline.from_mapping({"devices": devices, "microbatches": 16, "times": times, **more})


def in_eight(layers: list[float]) -> list[float]:
    return [sum(layers[10 * stage : 10 * stage + 10]) for stage in range(8)]


def about_stages(schedule: ppopt.Schedule) -> list[str]:
    return [note for note in schedule.notes if note.startswith("stage ")]


def test_a_head_that_a_cut_halves_is_named_and_one_that_stays_whole_is_not() -> None:
    halved = ppopt.evaluate(model(in_eight(LAYERS)), "interleaved:stages=16")
    whole = ppopt.evaluate(model(LAYERS), "interleaved:stages=16")
    assert halved.makespan < whole.makespan
    (note,) = about_stages(halved)
    assert note == (
        "stage 7 of 8 is 1.7 times the others; cut into 16, half of its extra time was moved to another device: "
        "enter layers, or stages so fine that it stays whole"
    )
    assert about_stages(whole) == []
    assert "re-partitioned from 80 stages" in whole.notes[0]


def test_a_search_says_what_its_cut_assumes() -> None:
    made = ppopt.optimize(model(in_eight(LAYERS)), placement="v", time_limit=0)
    assert made.notes[0].startswith("optimized-v runs 16 stages: the same model, re-partitioned from 8 stages")
    assert len(about_stages(made)) == 1


@given(
    st.integers(1, 4), st.integers(1, 6), st.integers(1, 12), st.data(), st.sampled_from(["interleaved", "v", "linear"])
)
def test_what_was_moved_is_counted_piece_by_piece(
    devices: int, old: int, new: int, data: st.DataObject, rule: str
) -> None:
    homes = {
        "interleaved": [stage % devices for stage in range(new)],
        "v": [min(stage % (2 * devices), 2 * devices - 1 - stage % (2 * devices)) for stage in range(new)],
        "linear": [stage * devices // new for stage in range(new)],
    }[rule]
    heavy = data.draw(st.integers(0, old - 1))
    forward = [3 if stage == heavy else 1 for stage in range(old)]
    pipeline = Pipeline.from_mapping(
        {"devices": 1, "microbatches": 1, "times": {"forward": forward, "backward": forward}}
    )
    pieces = [homes[piece * new // (old * new)] for piece in range(heavy * new, (heavy + 1) * new)]
    most = max(pieces.count(device) for device in homes)
    notes = list(split_stage_notes(pipeline, homes))
    assert len(notes) == (old > 1 and most < new)
    if notes:
        moved = 1 - Fraction(most, new)
        part = "half" if moved == Fraction(1, 2) else f"{float(moved):.0%}"
        assert notes[0].startswith(
            f"stage {heavy} of {old} is 3 times the others; cut into {new}, {part} of its extra time"
        )


def test_a_tenth_more_than_the_others_is_noise() -> None:
    for heaviest, named in ((1.1, False), (1.101, True)):
        pipeline = model([1, 1, 1, heaviest], devices=4)
        assert bool(list(split_stage_notes(pipeline, [0, 1, 2, 3] * 2))) == named


@pytest.mark.parametrize(
    ("options", "stages", "said"),
    [
        (
            "",
            80,
            "interleaved runs all 80 stages as they were given, 10 per device; interleaved:stages=16 runs 2 per device",
        ),
        (":stages=16", 16, None),
        (":stages=80", 80, None),
    ],
)
def test_ten_chunks_a_device_are_not_silent(options: str, stages: int, said: str | None) -> None:
    made = ppopt.evaluate(model(LAYERS), f"interleaved{options}")
    assert made.pipeline.stages == stages
    assert [note for note in made.notes if "per device" in note] == ([said] if said else [])


def test_open_stages_and_two_a_device_are_as_usual() -> None:
    plain = Pipeline.from_mapping({"devices": 4, "microbatches": 8})
    for pipeline in (plain, plain.with_stages(8)):
        made = ppopt.evaluate(pipeline, "interleaved")
        assert (made.pipeline.stages, made.notes) == (8, ())


def test_a_search_of_ten_chunks_a_device_says_how_to_get_two(tmp_path: Path) -> None:
    file = tmp_path / "layers.yaml"
    file.write_text(f"devices: 8\nmicrobatches: 8\ntimes: {{forward: {LAYERS}, backward: {LAYERS}}}\n")
    asked = ["optimize", "-c", str(file), "--placement", "interleaved", "--time-limit", "0"]
    long = CliRunner().invoke(cli, asked, catch_exceptions=False)
    cure = "optimized-interleaved runs all 80 stages as they were given, 10 per device; --recut --stages 16 cuts"
    assert cure in long.stderr
    short = CliRunner().invoke(cli, [*asked, "--recut", "--stages", "16"], catch_exceptions=False)
    assert "note: the model was re-partitioned from 80 into 16 stages" in short.stderr
    assert "(8 devices, 16 stages, 8" in short.stdout
    assert "per device;" not in short.stderr
    assert short.stderr.count(HALVES) == 1


def test_cutting_by_the_option_names_what_it_splits(tmp_path: Path) -> None:
    file = tmp_path / "stages.yaml"
    file.write_text("devices: 2\nmicrobatches: 4\ntimes: {forward: [1, 3], backward: [2, 6]}\n")
    asked = ["evaluate", "interleaved", "-c", str(file), "--recut", "--stages", "4"]
    result = CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert "stage 1 of 2 is 3 times the others; cut into 4, half of its extra time was moved" in result.stderr


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ({"forward": 1, "backward": 2}, True),
        ({"forward": [1, 1, 1, 1], "backward": [2, 2, 2, 3]}, True),
        ({"forward": 1, "backward": 2, "backward_input": 1}, False),
        ({"forward": 1, "backward": 2, "backward_weight": 0.5}, False),
        ({"forward": 1, "backward_input": 1, "backward_weight": 1}, False),
        (None, False),
    ],
)
def test_halves_that_were_not_given_are_said_where_they_are_used(times: dict[str, Any] | None, said: bool) -> None:
    pipeline = Pipeline.from_mapping({"devices": 4, "microbatches": 4, **({"times": times} if times else {})})
    for placement in ("linear", "v"):
        assert (HALVES in ppopt.optimize(pipeline, placement=placement, time_limit=0).notes) == said
        assert HALVES not in ppopt.optimize(pipeline, placement=placement, split_backward=False, time_limit=0).notes
    assert (HALVES in ppopt.evaluate(pipeline, "zb-h1").notes) == said
    assert HALVES not in ppopt.evaluate(pipeline, "1f1b").notes
    compared = ppopt.compare(pipeline, ["1f1b"], placement="linear", time_limit=0).schedules
    assert [HALVES in schedule.notes for schedule in compared if schedule.is_searched] == [said]
    assert ppopt.optimize(pipeline.with_stages(4).recut(8), placement="v", time_limit=0).notes.count(HALVES) == said


def test_two_copies_of_the_weights_are_said_in_the_terminal() -> None:
    asked = ["compare", "--strategies", "1f1b", "--time-limit", "0", "--placement"]
    told = "note: optimized-bidirectional keeps two copies of the weights, which the peak memory does not include"
    for placement, said in (("bidirectional", True), ("linear", False)):
        result = CliRunner().invoke(cli, [*asked, placement], catch_exceptions=False)
        assert (told in result.stderr) == said
