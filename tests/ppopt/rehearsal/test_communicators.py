"""Rehearsals of lowered orders, and of queues in place of gloo's own transfers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt.rehearsal.rehearsing import Options, Plan
from strategies.lowering.as_pytorch import lower_as_pytorch
from strategies.order_files.schedule_file import schedule_as_text

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: pip install 'ppopt[torch]'"
)
COSTS = {"devices": 2, "stages": 4, "microbatches": 4, "unit": "ms", "times": {"forward": 8, "backward": 16}}


def pipeline(**more: Any) -> ppopt.Pipeline:
    return ppopt.Pipeline.from_mapping({**COSTS, **more})


def deferred(path: Path) -> Path:
    """An interleaved order as PyTorch lowers it with ``defer_pp_recv``."""
    made = ppopt.evaluate(pipeline(), "interleaved")
    path.write_text(schedule_as_text(lower_as_pytorch(made.actions, made.layout, deferred=True)))
    return path


@pytest.mark.slow
@needs_torch
def test_lowered_files_run_with_right_gradients_under_every_communicator(tmp_path: Path) -> None:
    costs = pipeline(communication={"transfer": 2, "latency": 3})
    files: list[Any] = []
    for name in ("interleaved", "dualpipe-v"):
        ppopt.export(ppopt.evaluate(costs, name), tmp_path / f"{name}.csv", lowered=True)
        files.append(tmp_path / f"{name}.csv")
    for communicators in ("rank", "async"):
        for each in ppopt.rehearse_all(costs, files, steps=2, communicators=communicators):
            assert each.gradient_difference < 1e-12
            assert abs(each.errors["calibrated"]) < 0.25  # a busy machine
            assert each.calibrated.communication is not None


@pytest.mark.slow
@needs_torch
def test_an_order_that_hangs_does_so_and_the_cycle_is_told(tmp_path: Path) -> None:
    file = deferred(tmp_path / "d.csv")
    with pytest.raises(ppopt.RehearsalError) as caught:
        ppopt.rehearse(pipeline(), file, communicators="pair", timeout=12)
    first, second, *_ = str(caught.value).split("\n")
    assert first.startswith(f"{file}: hangs with communicators: pair")
    assert "3RECV_F1 (device 1, column 13) stands behind 3SEND_B0" in first
    assert second == "not finished after 12 s (see --timeout)"


def options(communicators: str) -> Options:
    return Options(steps=1, unit="ms", timeout=None, trace_dir=None, communicators=communicators)


def test_predictions_wait_as_the_processes_do() -> None:
    four = ppopt.Pipeline.from_mapping({**COSTS, "devices": 4, "stages": 8, "times": {"forward": 20, "backward": 40}})
    expected = {"async": 660, "edge": 660, "pair": 660, "rank": 920}
    for communicators, makespan in expected.items():
        plan = Plan(four, "interleaved", options(communicators))
        assert plan.predicted.makespan == makespan
        assert plan.cycle == ""


def test_faults_and_crossings_are_refused_before_anything_runs(tmp_path: Path) -> None:
    made = ppopt.evaluate(pipeline(), "zb-interleaved")
    crossed = tmp_path / "crossed.csv"
    crossed.write_text(schedule_as_text(lower_as_pytorch(made.actions, made.layout, deferred=True)))
    with pytest.raises(ppopt.InputError, match="is crossed"):
        Plan(pipeline(), crossed, options("async"))
    crossed.write_text(crossed.read_text().replace(",0REDUCE_GRAD", ""))
    with pytest.raises(ppopt.InputError, match="0REDUCE_GRAD is missing"):
        Plan(pipeline(), crossed, options("async"))


def test_unknown_communicators_are_refused() -> None:
    with pytest.raises(
        ppopt.InputError, match="communicators: 'way' is not known; allowed are async, edge, pair, rank"
    ):
        ppopt.rehearse(pipeline(), "1f1b", communicators="way")
