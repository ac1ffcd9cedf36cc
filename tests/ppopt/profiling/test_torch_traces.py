"""Traces written by torch itself, if it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import ppopt
from ppopt import Pipeline
from ppopt.profiling.read import read_measurement
from tests.evaluated import evaluated
from tests.running import run_ppopt

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed: no trace can be recorded")

PROGRAM = """
import sys, time, torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule
torch.ones(8) + 1  # the first time takes longer, and a step that stands out is left out
ORDER = ["0F0", "0F1", "(0F2;0B0)OVERLAP_F_B", "0I1", "0W1", "0B2"]
with profile(
    activities=[ProfilerActivity.CPU],
    schedule=schedule(wait=0, warmup=0, active=3, repeat=1),
    on_trace_ready=lambda done: done.export_chrome_trace(sys.argv[1]),
) as profiler:
    for _ in range(3):
        for name in ORDER:
            with record_function(f"PP:{name}"):
                torch.ones(8) + 1
                time.sleep(0.008)
        profiler.step()
"""


@pytest.mark.parametrize("name", ["rank0.json", "rank0.json.gz"])
@pytest.mark.slow
def test_a_profilers_file_has_the_shape_that_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    subprocess.run([sys.executable, "-c", PROGRAM, str(path)], check=True, capture_output=True, timeout=120)
    profile = ppopt.profile(path, skip=0)
    assert profile.orders == [["0F0", "0F1", "(0F2;0B0)OVERLAP_F_B", "0I1", "0W1", "0B2"]]
    assert profile.steps == [0, 1, 2]
    assert 4 <= float(profile.pipeline.costs[0].forward) < 20
    if not name.endswith(".gz"):
        assert json.loads(path.read_text())["baseTimeNanoseconds"] > 0


@pytest.mark.slow
def test_a_rehearsals_traces(tmp_path: Path) -> None:
    """Two processes communicate, and waits are told apart from work."""
    config = tmp_path / "costs.yaml"
    config.write_text("devices: 2\nmicrobatches: 4\ntimes: {forward: 20, backward_input: 22, backward_weight: 18}\n")
    schedule = evaluated("zb-h1", Pipeline.from_file(config))
    result = run_ppopt("rehearse", "zb-h1", "-c", str(config), "--trace-dir", str(tmp_path / "traces"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    measurement = read_measurement(tmp_path / "traces")
    profile = ppopt.profile(tmp_path / "traces")
    assert profile.orders == schedule.orders
    assert (measurement.devices, profile.placement, measurement.offsets) == (2, "linear", (0, 0))
    forward = [each.median for each in profile.spreads["forward"].values()]
    assert forward == pytest.approx([20, 20], rel=0.2)  # with its wait for the other, stage 1 would take far longer
    assert profile.spreads["backward_weight"][0].median == pytest.approx(40, rel=0.2)  # the whole backward
