"""``ppopt profile`` as a user runs it, and the uses of its result."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ppopt
from ppopt import Pipeline
from ppopt.profiling.timeline import orders_of, representative_step
from tests.evaluated import evaluated
from tests.ppopt.profiling.made_traces import COSTS, Machine, write_traces
from tests.running import call_ppopt, run_ppopt


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    folder = tmp_path / "traces"
    folder.mkdir()
    mapping = {"devices": 4, "stages": 4, "microbatches": 8, "times": COSTS, "p2p_latency": 0.5}
    write_traces(folder, evaluated("zb-h1", Pipeline.from_mapping(mapping)), Machine(noise=0.01, on_gpu=True))
    return folder


def test_the_configuration_goes_to_standard_output_and_the_report_beside_it(traces: Path) -> None:
    result = run_ppopt("profile", str(traces))
    assert result.returncode == 0, result.stderr
    config = yaml.safe_load(result.stdout)
    assert (config["devices"], config["stages"], config["microbatches"]) == (4, 4, 8)
    assert config["times"]["forward"] == pytest.approx([5] * 4, rel=0.02)
    assert "# Placement: linear." in result.stdout
    assert "# stage 3: p10 " in result.stdout
    assert "# Step 0 does not count: warm-up" in result.stdout
    assert "4 devices, 4 stages (linear), 8 microbatches" in result.stderr
    assert "steps: 3 of 4 count" in result.stderr


def test_what_is_written_is_taken_by_the_other_commands(traces: Path, tmp_path: Path) -> None:
    names = ("costs.yaml", "spread.csv", "order.csv")
    options = [
        part for option, name in zip(("-o", "--spread", "--order"), names, strict=True) for part in (option, name)
    ]
    result = call_ppopt("profile", str(traces), *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "costs: costs.yaml" in result.stdout

    rows = list(csv.DictReader((tmp_path / "spread.csv").read_text().splitlines()))
    assert {row["key"] for row in rows} == {"forward", "backward_input", "backward_weight", "p2p_latency"}
    assert all(float(row["p10"]) <= float(row["median"]) <= float(row["p90"]) for row in rows)
    order = list(csv.reader((tmp_path / "order.csv").read_text().splitlines()))
    assert order[0][:2] == ["0F0", "0F1"]
    assert len(order) == 4

    pipeline = Pipeline.from_file(tmp_path / "costs.yaml")
    assert pipeline == ppopt.profile(traces).pipeline
    for command in (
        ["evaluate", "zb-h1", "1f1b"],
        ["optimize", "--time-limit", "2", "--workers", "1"],
        ["compare", "--time-limit", "2", "--workers", "1"],
    ):
        done = call_ppopt(*command, "-c", "costs.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_json_and_a_spread_in_yaml(traces: Path, tmp_path: Path) -> None:
    result = call_ppopt("profile", str(traces), "-o", "costs.json", "--spread", "spread.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert Pipeline.from_file(tmp_path / "costs.json") == ppopt.profile(traces).pipeline
    assert yaml.safe_load((tmp_path / "spread.yaml").read_text())[0]["key"] == "forward"
    assert json.loads(call_ppopt("profile", str(traces), "--format", "json").stdout)["devices"] == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "json", "-o", "costs.yaml"], "--format: json does not go with 'costs.yaml'"),
        (["--spread", "spread.txt"], "--spread: 'spread.txt' must end in .csv or .yaml"),
        (["-o", "a.yaml", "--order", "a.yaml"], "--order: a.yaml is also the file of --output"),
        (["--skip", "-1"], "-1 is not in the range"),
    ],
)
def test_options_that_do_not_fit(options: list[str], told: str, traces: Path, tmp_path: Path) -> None:
    result = call_ppopt("profile", str(traces), *options, cwd=tmp_path)
    assert result.returncode == 2
    assert told in result.stderr
    assert result.stdout == ""


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.json").touch()
    result = call_ppopt("profile", "empty.json", "-o", "costs.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: empty.json: is empty; allowed are traces of torch.profiler")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "costs.yaml").exists()


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom ppopt.commands.cli import cli\n"
        "try: cli.main(['profile', '--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('ijson', 'numpy', 'networkx', 'pydantic', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_step_that_stands_for_all(traces: Path) -> None:
    measurement = ppopt.profile(traces).measurement
    step = representative_step(measurement)
    assert len(step) == len(measurement.actions) // 4
    assert len({action.step for action in step}) == 1
    assert [str(action) for action in orders_of(step, 4)[3]] == ppopt.profile(traces).orders[3]


def test_a_profile_shows_what_it_is(traces: Path) -> None:
    assert repr(ppopt.profile(traces)) == "<Profile: 4 devices, 4 stages, 8 microbatches, linear, 3 steps>"
