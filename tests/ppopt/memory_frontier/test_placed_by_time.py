"""What a frontier begins with, and what it finds, is placed by time, whatever a framework would do with its orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline

MODEL: dict[str, Any] = {
    "devices": 2,
    "microbatches": 2,
    "stages": 2,
    "times": {"forward": 1, "backward": 2},
    "communication": {"transfer": 1},
}


@pytest.mark.parametrize("waiting", [{"p2p": "rendezvous", "lowering": "pytorch"}, {"p2p": "batched"}])
def test_a_frontier_has_the_placements_that_a_search_has(waiting: dict[str, str]) -> None:
    found = ppopt.frontier(Pipeline.from_mapping(MODEL | waiting), placement="all", time_limit=0)
    assert set(found.searched) == {"linear", "interleaved", "v", "bidirectional"}
    assert any("placed by time" in note for note in found.notes)


@pytest.mark.parametrize("waiting", [{"p2p": "rendezvous", "lowering": "pytorch"}, {"p2p": "batched"}])
def test_it_begins_as_where_all_is_placed_by_time(waiting: dict[str, str]) -> None:
    timed = Pipeline.from_mapping(MODEL | {"p2p": "rendezvous", "lowering": "timed"})
    first, other = (
        ppopt.frontier(pipeline, placement="bidirectional", time_limit=0).points[0]
        for pipeline in (Pipeline.from_mapping(MODEL | waiting), timed)
    )
    assert first.makespan == other.makespan


@pytest.mark.parametrize("waiting", [{"p2p": "rendezvous", "lowering": "pytorch"}, {"p2p": "batched"}])
def test_it_goes_on_from_a_file_with_the_same_lengths(waiting: dict[str, str], tmp_path: Path) -> None:
    pipeline, kept = Pipeline.from_mapping(MODEL | waiting), tmp_path / "kept.json"
    found = ppopt.frontier(pipeline, placement="bidirectional", time_limit=1, workers=1, save_to=kept)
    again = ppopt.frontier(pipeline, placement="bidirectional", time_limit=0, save_to=kept)
    assert [point.makespan for point in again.points] == [point.makespan for point in found.points]
