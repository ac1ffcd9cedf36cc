"""The duration of overlapped blocks everywhere in ppopt: replay, notes, bounds, searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import ppopt
from ppopt import Block, Pipeline, Schedule
from ppopt.commands.cli import cli
from tests.evaluated import evaluated

SIZES = {"devices": 2, "stages": 4, "microbatches": 8}
TIMES = {"forward": 1, "backward": [2, 2, 2, 20], "backward_weight": [1, 1, 1, 10]}


def uneven(**more: Any) -> Pipeline:
    times = {**TIMES, **more.pop("times", {})}
    return Pipeline.from_mapping({**SIZES, "times": times, **more})


def block_durations(schedule: Schedule) -> dict[tuple[int, int], set[float]]:
    """Collect the durations of blocks by the stages of their halves."""
    found: dict[tuple[int, int], set[float]] = {}
    starts = {row.task: row for row in schedule.rows}
    for order in schedule.actions:
        for action in order:
            if isinstance(action, Block):
                first, second = starts[action.first], starts[action.second]
                assert (first.start, first.end) == (second.start, second.end)
                lasts = (first.end - first.start) / schedule.problem.ticks_per_unit
                found.setdefault((action.first.stage, action.second.stage), set()).add(lasts)
    return found


@pytest.mark.parametrize("engine", ["graph", "cpsat"])
def test_a_block_holds_the_whole_of_both_its_halves(engine: str) -> None:
    found = block_durations(evaluated("dualpipe-v", uneven(), engine))
    assert found[0, 3] == {21}
    assert found[3, 0] == {3}
    found = block_durations(evaluated("dualpipe-v", uneven(overlap=0.25), engine))
    assert found[0, 3] == {20.75}
    assert found[3, 0] == {2.75}
    found = block_durations(evaluated("dualpipe-v", uneven(times={"overlapped_forward_backward": 3}), engine))
    assert found[0, 3] == found[3, 0] == {3}


def test_the_bound_is_no_less_than_the_work_where_blocks_save_nothing() -> None:
    made = ppopt.compare(uneven(), ["dualpipe-v", "interleaved-overlap"], placement="v", time_limit=60)
    load = 8 * (1 + 2 + 1 + 20)  # the load of the device with the last stage
    assert made.bound is not None
    assert made.bound >= load
    assert all(schedule.bound is not None and schedule.bound >= load for schedule in made.schedules)
    best = made.winner
    assert best is not None
    assert best.status == "optimal"
    assert made.bound == best.makespan


def test_overlap_that_saves_nothing_is_no_freedom_of_a_search() -> None:
    for pipeline in (uneven(), uneven(overlap=0), uneven(times={"overlapped_forward_backward": 60})):
        made = ppopt.optimize(pipeline, placement="v", overlap=True, time_limit=60)
        plain = ppopt.optimize(pipeline, placement="v", time_limit=60)
        assert (made.makespan, made.bound, made.status) == (plain.makespan, plain.bound, plain.status)
        assert block_durations(made) == {}


@pytest.mark.parametrize(("share", "noted"), [("0", True), ("0.5", False)])
def test_overlap_asked_for_that_saves_nothing_is_noted(tmp_path: Path, share: str, noted: bool) -> None:
    file = tmp_path / "costs.yaml"
    file.write_text(f"devices: 2\nmicrobatches: 2\noverlap: {share}\n")
    result = CliRunner().invoke(cli, ["optimize", "--overlap", "-c", str(file), "--time-limit", "5"])
    assert result.exit_code == 0
    assert ("note: --overlap: no block is shorter" in result.stderr) == noted


def test_what_a_share_saves_is_found() -> None:
    sizes = {"devices": 2, "stages": 2, "microbatches": 4}
    costs = Pipeline.from_mapping({**sizes, "times": {"forward": 2, "backward": 4}, "overlap": 1})
    made = ppopt.optimize(costs, placement="bidirectional", split_backward=False, overlap=True, time_limit=60)
    # at best, a device runs a forward, three blocks of 4, and a backward
    assert made.status == "optimal"
    assert made.makespan == 2 + 3 * 4 + 4 + 2
    assert block_durations(made).keys() <= {(0, 0), (0, 1), (1, 0), (1, 1)}


NOTE = "a block of 0F and 3B lasts 3, but 3B alone takes 20"


def test_a_block_shorter_than_a_half_is_named_once() -> None:
    costs = uneven(times={"overlapped_forward_backward": [3, 3, 3, 3]})
    notes = evaluated("dualpipe-v", costs).notes
    assert sum(NOTE in note for note in notes) == 1
    assert sum("the key overlap" in note for note in notes) == 1
    assert not any("overlap" in note for note in evaluated("interleaved", costs).notes)
    for rule in ({}, {"overlap": 1}, {"times": {"overlapped_forward_backward": 20}}):
        assert not any("overlap" in note for note in evaluated("dualpipe-v", uneven(**rule)).notes)


def test_a_share_above_one_says_for_what_it_is_meant() -> None:
    notes = evaluated("dualpipe-v", uneven(overlap=1.5)).notes
    (note,) = (note for note in notes if "alone takes" in note)
    assert "overlap above 1 is meant for F and B that were measured with communication that blocks hide" in note
    # parts of layers hide what a half alone waits for
    parts = {"forward": [1, {"comm": 4}], "backward": [{"comm": 2}, 3], "weight": {1: 2}}
    moe = {"name": "moe", "count": 8, "forward": 5, "backward": 12, "parts": parts}
    made = evaluated("dualpipe-v", Pipeline.from_mapping({"devices": 2, "microbatches": 6, "layers": [moe]}))
    assert min(set.union(*block_durations(made).values())) < 2 * 12
    assert not any("alone takes" in note for note in made.notes)


def test_several_schedules_with_such_blocks_are_told_once() -> None:
    options = ["--devices", "2", "--stages", "4", "--microbatches", "8", "--time", "forward=1"]
    options += ["--time", "backward=[2,2,2,20]", "--time", "overlapped_forward_backward=3"]
    result = CliRunner().invoke(cli, ["evaluate", "dualpipe-v", "interleaved-overlap", "1f1b-overlap", *options])
    assert result.exit_code == 0
    assert result.stderr.count("the key overlap") == 1
