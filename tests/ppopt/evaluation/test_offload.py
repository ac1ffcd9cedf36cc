"""Activations that are copied to the host: PipeOffload's figure 1 and its authors' peaks, as `evaluate` finds them."""

from __future__ import annotations

import json

import pytest

from ppopt import InputError, Pipeline, Schedule, evaluate, plan, profile
from ppopt.commands.measuring import compare_with_measured
from ppopt.sweeps.keys import check_key, with_value
from tests.conftest import DATA
from tests.running import call_ppopt

GOLDEN = json.loads((DATA / "offload.json").read_text())
FIGURE = GOLDEN["replay"]["rows"][1:]
ONE_STAGE_EACH = {"devices": 8, "microbatches": 32, "times": {"forward": 1, "backward": 2}}


@pytest.fixture(scope="module")
def plain() -> Schedule:
    return evaluate(Pipeline.from_mapping(ONE_STAGE_EACH), "1f1b")


@pytest.mark.parametrize(("k", "loss", "peaks"), FIGURE, ids=lambda value: str(value)[:5])
def test_1f1b_loses_as_much_and_holds_as_much_as_in_figure_1(plain, k, loss, peaks) -> None:
    copied = evaluate(Pipeline.from_mapping({**ONE_STAGE_EACH, "offload": {"time": round(1.5 * k, 6)}}), "1f1b")
    assert list(plain.peak_memory) == GOLDEN["replay"]["without offload"]
    assert list(copied.peak_memory) == peaks
    assert round(100 * (1 - plain.makespan / copied.makespan), 1) == loss


def sail_row(row) -> Pipeline:
    devices, chunks, offloaded = row["devices"], row["chunks"], row["offloaded_chunks"]
    mapping = {
        "devices": devices,
        "stages": devices * chunks,
        "microbatches": row["microbatches"],
        "times": {"forward": 1, "backward_input": 1, "backward_weight": 1},
    }
    if offloaded:
        share = [1] * (offloaded * devices) + [0] * ((chunks - offloaded) * devices)
        mapping["offload"] = {"time": round(1.5 * row["k"], 2), "streams": "two", "share": share}
    return Pipeline.from_mapping(mapping)


def is_large(row) -> bool:
    return row["devices"] * row["chunks"] * row["microbatches"] > 500


SAIL = [
    pytest.param(row, marks=[pytest.mark.slow] if is_large(row) else [], id="-".join(map(str, row.values()))[:20])
    for row in GOLDEN["golden_sail_scheduler"]["rows"]
]


@pytest.mark.exhaustive(3)
@pytest.mark.parametrize("row", SAIL)
def test_pipeoffload_holds_as_much_as_its_authors_count(row) -> None:
    made = evaluate(sail_row(row), f"pipeoffload:stages={row['devices'] * row['chunks']}")
    assert list(made.peak_memory) == row["peak_after"]


def test_copies_and_memory_by_hand() -> None:
    """Five forwards, then five backwards; each copy takes 1, each reload is issued one computation ahead."""
    mapping = {
        "devices": 1,
        "microbatches": 5,
        "times": {"forward": 1, "backward": 1},
        "offload": {"time": 1, "share": 0.75, "lead": 1},
        "memory": {"activation": 8},
    }
    made = evaluate(Pipeline.from_mapping(mapping), "gpipe")
    ticks = made.problem.ticks_per_unit
    ran = {str(row.task): (row.start // ticks, row.end // ticks) for row in made.sides.beside.rows}
    assert ran == {
        "0OFFLOAD0": (1, 2), "0OFFLOAD1": (2, 3), "0OFFLOAD2": (3, 4), "0OFFLOAD3": (4, 5), "0OFFLOAD4": (6, 7),
        "0RELOAD0": (5, 6), "0RELOAD1": (7, 8), "0RELOAD2": (8, 9), "0RELOAD3": (9, 10), "0RELOAD4": (10, 11),
    }  # fmt: skip
    assert [row.start // ticks for row in made.rows if row.task.kind == "B"] == [6, 8, 9, 10, 11]
    assert made.makespan == 12
    assert made.peak_memory == (8 + (8 - 0) + (8 - 6) + (8 - 6) + (8 - 6),)


def test_nothing_is_offloaded_where_less_than_three_are_in_flight() -> None:
    made = evaluate(Pipeline.from_mapping({**ONE_STAGE_EACH, "offload": {"time": 1}}), "1f1b")
    assert {row.device for row in made.sides.beside.rows} == set(range(6))


def test_a_result_leaves_before_its_device_waits_for_an_offload(tmp_path) -> None:
    (tmp_path / "order.csv").write_text("0F0,0OFFLOAD0,0RELEASE0,0F1,0RELOAD0,0B0,0B1\n1F0,1B0,1F1,1B1\n")
    mapping = {"devices": 2, "microbatches": 2, "times": {"forward": 1, "backward": 2}, "offload": {"time": 5}}
    made = evaluate(Pipeline.from_mapping(mapping), tmp_path / "order.csv")
    starts = {str(row.task): row.start / made.problem.ticks_per_unit for row in made.rows}
    assert (starts["1F0"], starts["0F1"]) == (1, 6)


@pytest.mark.parametrize("time", [0, 1e-9])
def test_pipeoffload_takes_copies_of_no_time(time) -> None:
    mapping = {"devices": 2, "stages": 4, "microbatches": 8, "times": {"forward": 1, "backward": 2}}
    made = evaluate(Pipeline.from_mapping({**mapping, "offload": {"time": time}}), "pipeoffload")
    plain = evaluate(Pipeline.from_mapping(mapping), "pipeoffload")
    assert made.makespan == pytest.approx(plain.makespan, abs=1e-6)
    assert max(made.peak_memory) < max(plain.peak_memory)


def test_a_trace_is_read_back_exactly_beside_its_copies(tmp_path) -> None:
    mapping = {**ONE_STAGE_EACH, "offload": {"time": 1.6}, "step": {"after": 2}}
    (tmp_path / "c.yaml").write_text(json.dumps(mapping))
    call_ppopt("evaluate", "1f1b", "-c", "c.yaml", "--trace", "t.json", cwd=tmp_path)
    assert '"beside device 0"' in (tmp_path / "t.json").read_text()
    read = profile(tmp_path / "t.json")
    assert read.pipeline.offload == Pipeline.from_mapping(mapping).offload
    ran = compare_with_measured(evaluate(Pipeline.from_mapping(mapping), "1f1b"), [str(tmp_path / "t.json")], None)
    predicted, measured = ran.predicted, ran.measured
    assert measured.makespan == pytest.approx(predicted.makespan)
    assert list(predicted.peak_memory) == list(evaluate(Pipeline.from_mapping(mapping), "1f1b").peak_memory)
    assert measured.peak_memory == (8, 7, 6, 5, 4, 3, 2, 1)
    assert any("memory is that of whole activations" in text for text in ran.differences)
    assert len(measured.timeline) == 2 * 8 * 32


def test_a_sweep_varies_copies() -> None:
    assert check_key("offload.time", "axes") == "offload.time"
    changed = with_value({**ONE_STAGE_EACH, "offload": {"time": 1}}, "offload.streams", "two")
    assert Pipeline.from_mapping(changed).offload.streams == "two"


def test_plan_refuses_copies_by_name() -> None:
    layers = [{"name": "a", "count": 4, "forward": 1, "backward": 2, "activation": 1}]
    pipeline = Pipeline.from_mapping({"devices": 2, "microbatches": 4, "layers": layers, "offload": {"time": {"a": 1}}})
    with pytest.raises(InputError, match=r"^offload: plan counts whole activations"):
        plan(pipeline)
