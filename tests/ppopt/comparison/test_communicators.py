"""The notes of ``compare`` on communicators."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import pytest

import ppopt
from ppopt.comparison.communicators import CommunicatorTrials
from tests.lowered_orders import TIMES, golden
from tests.ppopt.schedules.test_communication import HANGS

COSTS = {"devices": 4, "stages": 8, "microbatches": 8, "times": TIMES, "communication": {"transfer": 0.05}}


def pipeline(**more: object) -> ppopt.Pipeline:
    return ppopt.Pipeline.from_mapping({**COSTS, **more})


@pytest.mark.parametrize("more", [{}, {"p2p": "rendezvous", "communicators": "rank"}, {"p2p": "links"}])
def test_what_pytorchs_placement_loses_is_told_where_it_is_much(more: dict[str, str]) -> None:
    made = ppopt.compare(pipeline(**more), ["interleaved", "1f1b", "dualpipe"], optimize=False)
    figures = {each["strategy"]: each for each in made.figures()}
    (row,) = [
        row
        for row in golden()["replay_transfer_0.05"]
        if (row["schedule"], row["p"], row["m"]) == ("interleaved", 4, 8)
    ]
    lost = figures["interleaved"]["lost_as_pytorch_places"]
    for name in ("edge", "pair", "way", "rank"):
        assert lost[name] == pytest.approx(row[f"torch_{name}"] / row[f"timed_{name}"] - 1)
    assert figures["interleaved"]["communicators"] == dict.fromkeys(("edge", "pair", "way", "rank"), "runs")
    assert figures["dualpipe"]["lost_as_pytorch_places"] == {}
    warnings = [note for note in made.notes if "PyTorch's placement" in note]
    (warning,) = warnings
    assert warning.startswith("interleaved: PyTorch's placement of sends and receives loses 23% with way")
    assert "25% with rank (one for all of a rank); place them as --lowered exports them" in warning
    assert any(note.startswith("all run with any communicators") for note in made.notes)


def test_a_file_that_hangs_with_some_says_so(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text(HANGS)
    costs = pipeline(devices=2, stages=4, microbatches=2, p2p="rendezvous", lowering="given", communicators="edge")
    made = ppopt.compare(costs, [tmp_path / "h.csv"], optimize=False)
    (figures,) = made.figures()
    assert figures["communicators"] == {"edge": "runs", "pair": "hangs", "way": "hangs", "rank": "hangs"}
    assert any(note.endswith("h.csv hangs with pair, way, rank") for note in made.notes)


def test_nothing_is_tried_where_transfers_take_no_time() -> None:
    made = ppopt.compare(pipeline(communication={"latency": 1}), ["interleaved"], optimize=False)
    assert made.communicators == {}
    assert "communicators" not in made.figures()[0]
    assert not any("communicators" in note for note in made.notes)


def test_what_there_is_no_time_for_is_named() -> None:
    trials = CommunicatorTrials()
    made = ppopt.evaluate(pipeline(), "interleaved")
    trials.run([made], perf_counter())
    assert trials.found == {}
    assert list(trials.notes([made])) == ["their communicators were not tried, for lack of time: interleaved"]
