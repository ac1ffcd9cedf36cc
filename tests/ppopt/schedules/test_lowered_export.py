"""Exports with communication: `check` finds no fault in them, under any communicators."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import ppopt
from ppopt.commands.cli import cli
from ppopt.evaluation.check import check_schedule_file
from strategies.language.registry import all_strategies
from tests.evaluated import pipeline
from tests.lowered_orders import ends_of
from tests.ppopt.schedules.test_export import last_forwards
from tests.strategies.lowering.test_lowering import assert_is_safe


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


@pytest.mark.parametrize("name", list(all_strategies()))
def test_every_schedule_is_exported_such_that_it_runs_with_any_communicators(name: str) -> None:
    costs = pipeline(4, 8, p2p_latency=0.05)
    made = ppopt.evaluate(costs, name, engine="graph")
    if len(made.layout.homes) > 1:
        with pytest.raises(ppopt.InputError, match="is bidirectional"):
            ppopt.export(made, "x.csv", lowered=True)
        return
    notes = ppopt.export(made, "x.csv", lowered=True, unshard=name == "zb-v")
    assert all(note.startswith(name) for note in notes)
    found = check_schedule_file("x.csv")
    assert found.faults == ()
    assert found.communicators == dict.fromkeys(("edge", "pair", "way", "rank"), "runs")
    assert Path("x.csv").read_text().count("UNSHARD") == Path("x.csv").read_text().count("RESHARD")
    again = ppopt.evaluate(made.pipeline, "x.csv", engine="graph")
    assert again.makespan == made.makespan
    assert last_forwards(again) == sorted(last_forwards(again))


def test_searched_orders_run_with_any_communicators_and_any_times() -> None:
    draws = random.Random(3)
    for placement in ("linear", "v"):
        costs = pipeline(3, 5, p2p_latency=0.5, memory={"limit": 6})
        made = ppopt.optimize(costs, placement=placement, time_limit=0.5, workers=1)
        assert_is_safe(made.actions, made.layout, ends_of(made), draws, times=5)


def test_the_command_line_writes_them() -> None:
    assert run("evaluate", "interleaved", "--export", "x.csv", "--lowered", "--unshard").exit_code == 0
    text = Path("x.csv").read_text()
    assert text.startswith("0UNSHARD,")
    assert text.count("REDUCE_GRAD") == 8
    assert run("check", "x.csv").exit_code == 0
    result = run("compare", "--no-optimize", "--strategies", "1f1b,zb-v,dualpipe", "--export-dir", "d", "--lowered")
    assert result.exit_code == 0
    assert sorted(path.name for path in Path("d").iterdir()) == ["1f1b.csv", "zb-v.csv"]
    assert "not written: dualpipe: is bidirectional" in result.stderr
    assert all(check_schedule_file(str(path)).communicators is not None for path in Path("d").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lowered"], "--lowered: applies to --export FILE.csv"),
        (["--unshard"], "--unshard: applies to --export FILE.csv"),
        (["--export", "x.csv", "--unshard"], "--unshard: applies to --lowered"),
        (["--export", "x.csv", "--lowered", "--force-order-only"], "--lowered: is for PyTorch's runtime"),
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments: list[str], message: str) -> None:
    result = run("evaluate", "1f1b", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not Path("x.csv").exists()
