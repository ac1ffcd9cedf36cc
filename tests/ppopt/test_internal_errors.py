"""An internal error in one schedule is named, the other schedules are shown, and the exit status is 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import ppopt
from ppopt.commands.cli import cli
from ppopt.planning import race
from ppopt.schedules import replaying

LAYERS = {
    "devices": 2,
    "microbatches": 4,
    "layers": [{"name": "decoder", "count": 4, "forward": 1, "backward": 2, "activation": 1}],
}
TOLD = "error: internal error: gpipe"


@pytest.fixture(autouse=True)
def _gpipe_is_found_at_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check = replaying._check

    def broken(label: str, *others: Any) -> None:
        if label.startswith("gpipe"):
            raise ppopt.InternalError(f"{label}: the checker found 1 faults")
        check(label, *others)

    monkeypatch.setattr(replaying, "_check", broken)
    Path("layers.yaml").write_text(yaml.safe_dump(LAYERS))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


@pytest.mark.exhaustive(4)
@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "gpipe", "1f1b"),
        ("evaluate", "1f1b", "gpipe"),
        ("compare", "--strategies", "gpipe,1f1b", "--no-optimize"),
        ("compare", "--strategies", "gpipe,1f1b", "--placement", "linear", "--time-limit", "2"),
        ("plan", "gpipe", "1f1b", "--time-limit", "2"),
    ],
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_the_other_schedules_are_shown(command: tuple[str, ...], form: str) -> None:
    result = run(*command, "-c", "layers.yaml", "--format", form)
    assert result.exit_code == 1
    assert "1f1b" in result.stdout
    assert [line for line in result.stderr.splitlines() if line.startswith("error:")] == [
        next(line for line in result.stderr.splitlines() if line.startswith(TOLD))
    ]
    assert "the checker found 1 faults" in result.stderr
    if form == "json":
        json.loads(result.stdout)


def test_one_alone_is_a_line_and_no_traceback() -> None:
    for arguments in (["evaluate", "gpipe"], ["compare", "--strategies", "gpipe", "--no-optimize"]):
        result = run(*arguments, "-c", "layers.yaml")
        assert result.exit_code == 1
        assert result.stderr.splitlines() == [f"{TOLD}: the checker found 1 faults"]


def test_a_frontier_keeps_the_others() -> None:
    result = run("frontier", "-c", "layers.yaml", "--placement", "linear", "--points", "2", "--time-limit", "3")
    assert result.exit_code == 1
    assert "1f1b" in result.stdout
    assert result.stderr.splitlines()[-1].startswith(TOLD)


def test_a_sweep_keeps_the_others() -> None:
    grid = {"base": LAYERS | {"layers_per_stage": [2, 2]}, "axes": {"microbatches": [4, 6]}, "run": ["gpipe", "1f1b"]}
    frame = ppopt.sweep(grid, jobs=1)
    assert list(frame.status) == ["failed", "replayed"] * 2
    assert set(frame.reason[frame.strategy == "gpipe"]) == {"internal error: the checker found 1 faults"}


def test_whatever_goes_wrong_in_a_search_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AssertionError("a search\nin two lines")

    monkeypatch.setattr("ppopt.comparison.compare.optimize_each", broken)
    pipeline = ppopt.Pipeline.from_mapping(LAYERS)
    made = ppopt.compare(pipeline, ["1f1b"], placement="linear", time_limit=2)
    assert [each.strategy for each in made.schedules] == ["1f1b"]
    assert made.internal_errors == ("optimized-linear: AssertionError: a search; in two lines",)
    assert made.searched == ()


def test_an_order_at_fault_is_out_of_the_race(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned = race.plan_fixed_order

    def broken(*arguments: Any, **more: Any) -> Any:
        if more["order"].strategy.name == "1f1b":
            raise OverflowError("int too big to convert")
        return planned(*arguments, **more)

    monkeypatch.setattr(race, "plan_fixed_order", broken)
    made = ppopt.plan(ppopt.Pipeline.from_mapping(LAYERS), ["1f1b", "zb-h1"], time_limit=2)
    assert [plan.name for plan in made] == ["zb-h1"]
    assert made.internal_errors == ("1f1b, v = 1: OverflowError: int too big to convert",)
    with pytest.raises(ppopt.InternalError, match="gpipe: the checker"):
        ppopt.evaluate_all(ppopt.Pipeline.from_mapping(LAYERS), ["1f1b", "gpipe"])
