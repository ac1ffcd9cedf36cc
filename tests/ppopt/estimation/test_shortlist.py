"""The ways to split GPUs: all that Megatron takes, each with a plan, and the best handed on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt.estimation.assumptions import Assumptions
from ppopt.estimation.counts import CountedModel
from ppopt.estimation.estimate import Speed, Workload, count, reached
from ppopt.estimation.shortlist import of_size
from ppopt.estimation.splits import Cluster, least_step, splits
from strategies.model.configuration import read_configuration
from tests.ppopt.estimation.models import LLAMA, MIXTRAL, Config, needs_libraries, write
from tests.running import call_ppopt

pytestmark = needs_libraries

SMALL: Config = LLAMA | {"hidden_size": 1024, "intermediate_size": 2816, "num_attention_heads": 8}
SMALL |= {"num_hidden_layers": 6, "vocab_size": 8000}


def counted(folder: Path, config: Config, **workload: Any) -> CountedModel:
    return count(write(folder, config), Workload(**{"seq": 512} | workload))


def test_a_microbatch_of_several_sequences_is_what_one_is_several_times(tmp_path: Path) -> None:
    for config in (SMALL, MIXTRAL | {"num_hidden_layers": 1}):
        one, four = (counted(tmp_path, config, microbatch_size=size) for size in (1, 4))
        for mine, theirs in zip(of_size(one, 4).rows, four.rows, strict=True):
            assert mine.cost.forward == theirs.cost.forward
            assert mine.cost.backward_weight == theirs.cost.backward_weight
            assert mine.cost.activation == pytest.approx(theirs.cost.activation, rel=1e-3)
            assert (mine.cost.parameters, mine.cost.passed) == (theirs.cost.parameters, theirs.cost.passed)


def test_splits_are_all_that_multiply_to_the_gpus(tmp_path: Path) -> None:
    found = splits(counted(tmp_path, SMALL), Cluster(gpus=16, batch=32, most_tensor=4))
    assert {(each.division.tensor, each.pipeline, each.division.data) for each in found} == {
        (t, p, 16 // (t * p)) for t in (1, 2, 4) for p in (1, 2, 4) if 16 % (t * p) == 0
    }
    assert all(each.microbatches * each.microbatch_size * each.division.data == 32 for each in found)
    assert max(each.microbatch_size for each in found) == 8
    experts = splits(counted(tmp_path, MIXTRAL | {"num_hidden_layers": 2}), Cluster(16, 32, 1))
    assert {each.division.expert for each in experts if each.division.data == 16} == {1, 2, 4, 8}


def listed(folder: Path, *options: str) -> dict[str, Any]:
    arguments = ("estimate", str(write(folder, SMALL)), "--seq", "512", "--gpus", "4", "--global-batch", "8")
    result = call_ppopt(*arguments, "--format", "json", *options)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_each_split_has_a_plan_and_the_first_ten_are_handed_on(tmp_path: Path) -> None:
    folder, page = tmp_path / "handed", tmp_path / "page.html"
    found = listed(tmp_path / "model", "--time-limit", "40", "-o", str(folder), "--report", str(page))
    rows = found["splits"]
    named = len(rows) + len(found["too_large"]) + len(found["slower"]) + len(found["unplanned"])
    assert named == found["considered"]
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert found["verdict"].startswith("On estimated costs, tp")
    assert "On estimated costs, tp" in page.read_text()
    model = counted(tmp_path / "model", SMALL)
    gpu, tflops = reached(Speed(), "bfloat16")
    for row in rows:
        assert row["bound"] <= row["step"]
        assert row["tokens_per_second"] == pytest.approx(8 * 512 / (row["step"] / 1000))
        flops = 6 * (model.parameters - 2 * 8000 * 1024) * 8 * 512  # without attention, embedding and head
        assert 1 > row["mfu"] > flops / (row["step"] / 1000 * 4 * gpu.peak["bfloat16"] * 1e12)
    files = sorted(folder.iterdir())
    assert len(files) == min(10, len(rows))
    best = rows[0]
    mapping = read_configuration(folder / f"{row_name(best)}.yaml")
    assert (mapping["devices"], mapping["microbatches"]) == (best["pipeline_parallel"], best["microbatches"])
    cut = {"layers_per_stage": best["layers_per_stage"]}
    if not any(best["recomputed_per_stage"]):
        schedule = ppopt.evaluate(ppopt.Pipeline.from_mapping(mapping | cut), best["strategy"])
        assert schedule.makespan == pytest.approx(best["step"])
        assert not math.isnan(schedule.bubble_ratio)
    assumed = Assumptions(gpu, tflops, optimizer="distributed")
    least = {
        each.name: least_step(of_size(model, each.microbatch_size), replace(assumed, division=each.division), each)
        for each in splits(model, Cluster(4, 8, 8))
    }
    assert all(least[row_name(row)] <= row["step"] for row in rows)
    assert all(least[each] >= rows[9]["step"] for each in found["slower"])


def row_name(row: dict[str, Any]) -> str:
    sizes = (row[f"{each}_parallel"] for each in ("tensor", "pipeline", "data"))
    tensor, pipeline, data = sizes
    return f"tp{tensor}-pp{pipeline}-dp{data}-mb{row['microbatch_size']}"


@pytest.mark.slow
def test_a_framework_runs_all_schedules_of_its_list(tmp_path: Path) -> None:
    rows = listed(tmp_path, "--time-limit", "12", "--for", "deepspeed", "--max-tensor-parallel", "1")["splits"]
    assert rows
    assert {row["tensor_parallel"] for row in rows} == {1}
    assert {row["strategy"] for row in rows} <= {"1f1b", "gpipe"}


def test_nothing_that_fits_is_said_with_its_exit_status(tmp_path: Path) -> None:
    folder = str(write(tmp_path, LLAMA))
    result = call_ppopt("estimate", folder, "--gpus", "8", "--global-batch", "8", "--time-limit", "2")
    assert result.returncode == 3
    assert result.stdout == "None of 30 splits fits the memory.\n"


def test_options_that_do_not_go_together_are_one_line(tmp_path: Path) -> None:
    folder = str(write(tmp_path, SMALL))
    (tmp_path / "file").touch()
    sizes = ("--gpus", "8", "--global-batch", "16")
    for options, why in {
        ("--gpus", "8"): "--global-batch: is missing",
        ("--global-batch", "8"): "--global-batch: goes with --gpus",
        ("--report", "x.html"): "--report: goes with --gpus",
        (*sizes, "--tensor-parallel", "2"): "--tensor-parallel: is what --gpus chooses",
        (*sizes, "--microbatch-size", "2"): "--microbatch-size: is what --gpus chooses",
        (*sizes, "--tflops", "300"): "--tflops: includes communication",
        ("--gpus", "7", "--global-batch", "8"): "--gpus: 7 GPUs cannot be split for a batch of 8 sequences",
        (*sizes, "-o", str(tmp_path / "file")): "is a file; with --gpus, name a folder",
    }.items():
        result = call_ppopt("estimate", folder, *options)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
        assert why in result.stderr
