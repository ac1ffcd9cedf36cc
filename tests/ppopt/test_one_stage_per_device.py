"""On a pipeline with one stage per device, interleaved schedules run two, in every command, and a note says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import ppopt
from ppopt import Pipeline
from ppopt.commands.cli import cli

COSTS = {
    "devices": 4,
    "stages": 4,
    "microbatches": 4,
    "times": {"forward": [1, 1, 1, 1], "backward": 2},
    "memory": {"activation": 1},
}
MAKESPAN = 16.5  # m (F + B), plus (p − 1)(F + B)/2 for filling and draining; 21 with one chunk
KEPT = "interleaved:stages=4 keeps the one stage per device that is given"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("costs.yaml").write_text(yaml.safe_dump(COSTS))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "interleaved"),
        ("evaluate", "1f1b", "interleaved"),
        ("compare", "--strategies", "interleaved,1f1b", "--no-optimize"),
        ("compare", "--no-optimize"),
    ],
)
def test_every_command_runs_two_and_says_so(command: tuple[str, ...]) -> None:
    result = run(*command, "-c", "costs.yaml", "--format", "json")
    made = {each["strategy"]: each for each in json.loads(result.stdout)["schedules"]}
    found = made["interleaved:stages=8"]
    assert (found["stages"], found["makespan"]) == (8, MAKESPAN)
    assert KEPT in found["notes"]
    assert "interleaved runs 8 stages: the same model, re-partitioned from 4 stages" in " ".join(found["notes"])


def test_a_sweep_runs_two_and_has_notes() -> None:
    grid = {"base": COSTS, "axes": {"microbatches": [4]}, "run": ["interleaved", "interleaved:stages=4", "looped-bfs"]}
    Path("grid.yaml").write_text(yaml.safe_dump(grid))
    rows = json.loads(run("sweep", "grid.yaml", "--jobs", "1", "--format", "json").stdout)["rows"]
    assert [(row["strategy"], row["stages"]) for row in rows] == [
        ("interleaved", 8),
        ("interleaved:stages=4", 4),
        ("looped-bfs", 8),
    ]
    assert rows[0]["makespan"] == MAKESPAN
    assert KEPT in rows[0]["notes"]
    assert "interleaved has only one stage per device here; interleaved:stages=8 cuts each in two" in rows[1]["notes"]
    table = run("sweep", "grid.yaml", "--jobs", "1", "--report", "page.html")
    assert KEPT in table.stderr
    assert KEPT in Path("page.html").read_text()
    assert "notes" in run("sweep", "grid.yaml", "--jobs", "1", "--format", "csv").stdout.splitlines()[0]


def test_a_frontier_shows_two() -> None:
    made = ppopt.frontier(Pipeline.from_mapping(COSTS), placement="linear", time_limit=2, points=2)
    stages = {each.strategy: each.pipeline.stages for each in made.published}
    assert stages["interleaved:stages=8"] == 8


def test_one_is_had_for_the_asking() -> None:
    costs = Pipeline.from_mapping(COSTS)
    for made in (ppopt.evaluate(costs, "interleaved:stages=4"), ppopt.evaluate(costs, "interleaved", stages=4)):
        assert (made.strategy, made.pipeline.stages) == ("interleaved:stages=4", 4)
        assert made.rows == [*ppopt.evaluate(costs, "interleaved:stages=4").rows]


def test_a_plan_with_one_stage_per_device_is_saved_so_that_it_is_run() -> None:
    layers = {key: value for key, value in COSTS.items() if key not in ("stages", "times", "memory")}
    layers["layers"] = [{"name": "decoder", "count": 9, "forward": 1, "backward": 2}]
    Path("layers.yaml").write_text(yaml.safe_dump(layers))
    told = ["plan", "interleaved", "-c", "layers.yaml", "--stages-per-device", "1", "--time-limit", "2"]
    planned = run(*told, "--save", "plan.yaml", "--format", "json")
    (plan,) = json.loads(planned.stdout)["plans"]
    again = json.loads(run("evaluate", "-c", "plan.yaml", "--format", "json").stdout)["schedules"][0]
    assert (again["strategy"], again["makespan"]) == ("interleaved:stages=4", plan["makespan"])
