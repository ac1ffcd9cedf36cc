"""Copies in order files: written, read back with equal times, checked, and refused where they cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline, evaluate
from ppopt.evaluation.check import check_schedule_file

COSTS: dict[str, Any] = {"devices": 4, "microbatches": 8, "times": {"forward": 1, "backward": 2}}
OFFLOAD = {"time": 0.9}
SHARDING = {"all_gather": 1, "weights": 2, "gradients": 1, "resident": 1}


def of(**more: Any) -> Pipeline:
    return Pipeline.from_mapping({**COSTS, "offload": OFFLOAD, **more})


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [
        (of(), "1f1b"),
        (of(), "gpipe"),
        (of(devices=1), "gpipe"),
        (of(stages=8), "pipeoffload"),
        (of(stages=8, offload={"time": 1.5, "streams": "two", "share": [1] * 4 + [0] * 4}), "pipeoffload"),
        (of(stages=8, offload={"time": 0.3, "pairs": True}), "zb-v"),
        (of(stages=8, sharding=SHARDING), "interleaved"),
        (of(data_parallel={"all_reduce": 3}), "zb-h1"),
        (of(microbatches=[{"count": 4}, {"count": 4, "size": 2}]), "1f1b"),
        (of(p2p="links", communication={"transfer": 0.2}), "1f1b"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_written_is_read_back_with_equal_times(tmp_path: Path, pipeline: Pipeline, name: str) -> None:
    made = evaluate(pipeline, name)
    assert made.sides is not None
    path = tmp_path / "order.csv"
    notes = ppopt.export(made, path, lowered=True)
    assert any("PyTorch cannot load the file" in note for note in notes)
    assert check_schedule_file(str(path)).faults == ()
    again = evaluate(made.pipeline, str(path))
    assert again.sides is not None
    assert again.exact_makespan == made.exact_makespan
    assert again.peak_memory == made.peak_memory
    if not any("renumbered" in note for note in notes):
        assert rows_of(again) == rows_of(made)


def rows_of(schedule: ppopt.Schedule) -> list[tuple[str, int, int, int]]:
    assert schedule.sides is not None
    return sorted((str(row.task), *row[1:4]) for row in (*schedule.rows, *schedule.sides.beside.rows))


def test_a_plain_file_says_that_it_has_no_copies(tmp_path: Path) -> None:
    path = tmp_path / "order.csv"
    notes = ppopt.export(evaluate(of(), "1f1b"), path)
    assert "1f1b: its copies to the host are not in the file; --lowered writes them" in notes
    assert "LOAD" not in path.read_text()
    plain = ppopt.export(evaluate(of(offload=None), "1f1b"), path, lowered=True)
    assert not any("copies" in note or "OFFLOAD" in note for note in plain)


def test_copies_and_gathers_stand_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "order.csv"
    made = evaluate(of(stages=8, sharding=SHARDING), "interleaved")
    ppopt.export(made, path, lowered=True, unshard=True)
    text = path.read_text()
    assert [text.count(f"{stage}UNSHARD") for stage in range(8)] == made.gathers
    assert "RELOAD" in text
    assert check_schedule_file(str(path)).faults == ()
    assert evaluate(made.pipeline, str(path)).exact_makespan == made.exact_makespan


def test_the_lead_counts_computations_alone() -> None:
    plain = evaluate(of(stages=8), "interleaved")
    shared = evaluate(of(stages=8, sharding=SHARDING), "interleaved")
    assert plain.sides is not None
    assert shared.sides is not None
    copies = [[token for token in row if "SHARD" not in str(token) and "GRAD" not in str(token)]
              for row in shared.sides.order.rows]  # fmt: skip
    assert copies == plain.sides.order.rows


FAULTY = "0F0,0OFFLOAD0,0F1,0F2,0B0,0RELOAD0,0B1,0B2\n"


def test_faulty_copies_are_refused_only_where_they_count(tmp_path: Path) -> None:
    path = tmp_path / "order.csv"
    path.write_text(FAULTY)
    sizes = {"devices": 1, "microbatches": 3}
    found = [str(fault) for fault in check_schedule_file(str(path)).faults]
    assert len(found) == 1
    assert "0RELOAD0 comes after 0B0" in found[0]
    with pytest.raises(InputError, match="0RELOAD0 comes after 0B0") as refused:
        evaluate(of(**sizes), str(path))
    assert "\n" not in str(refused.value)
    plain = evaluate(of(**sizes, offload=None), str(path))
    assert any("were set aside unless the configuration counts them (offload)" in note for note in plain.notes)


def test_copies_of_a_file_without_communication_count(tmp_path: Path) -> None:
    """One device: the file copies what no rule would, and the replay follows it."""
    path = tmp_path / "order.csv"
    path.write_text("0F0,0OFFLOAD0,0F1,0RELEASE0,0B1,0RELOAD0,0B0\n")
    made = evaluate(of(devices=1, microbatches=2, offload={"time": 5}), str(path))
    assert made.makespan == 1 + 5 + 2 + 5 + 2
    assert made.sides is not None
    assert [str(row.task) for row in made.sides.beside.rows] == ["0OFFLOAD0", "0RELEASE0", "0RELOAD0"]


def test_check_counts_memory_with_copies(tmp_path: Path) -> None:
    path = tmp_path / "order.csv"
    made = evaluate(of(offload={"time": 0.3}, microbatches=16), "gpipe")
    ppopt.export(made, path, lowered=True)
    limit = max(made.peak_memory)
    assert limit < 16
    assert check_schedule_file(str(path), lambda _given: made.pipeline.with_limit(made.figures.peaks[0])).faults == ()
    tight = made.pipeline.with_limit(made.figures.peaks[0] - 1)
    found = check_schedule_file(str(path), lambda _given: tight).faults
    assert "row 1 (device 0): holds up to" in str(found[0])


def test_a_rehearsal_refuses_copies_by_name(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "order.csv"
    made = evaluate(of(), "1f1b")
    ppopt.export(made, path, lowered=True)
    with pytest.raises(InputError, match="OFFLOAD0 is ppopt's own, and PyTorch's runtime copies no activations"):
        ppopt.rehearse(of(offload=None), str(path))
    with pytest.raises(InputError, match="rehearse takes nothing beside computing; found offload"):
        ppopt.rehearse(of(), "1f1b")
