"""Published schedules with the same order share one row with all their names; JSON, CSV and Python list each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import ppopt
from ppopt import Pipeline
from ppopt.commands.cli import cli
from ppopt.schedules.twins import as_one, each_order_once, twins

COSTS = Pipeline.from_mapping({"devices": 4, "microbatches": 8})
NAMES = ("zb1p", "1f1b", "zb-h1", "zb-h2")


def run(*arguments: str) -> Result:
    sizes = ("--devices", "4", "--microbatches", "8")
    return CliRunner().invoke(cli, [*arguments, *sizes], catch_exceptions=False)


def names_in(table: str) -> list[str]:
    """Return the names of a table's rows, which end at two blanks."""
    lines = table.splitlines()
    first = next(place for place, line in enumerate(lines) if "makespan" in line and "bubble" in line)
    rows = [line[2:].split("  ")[0] for line in lines[first + 1 :]]
    return [name for name in rows if any(each in name for each in NAMES)]


def test_only_what_runs_the_same_is_one() -> None:
    made = ppopt.evaluate_all(COSTS, [*NAMES, "gpipe"])
    assert [[each.strategy for each in group] for group in twins(made)] == [
        ["zb1p", "zb-h1"],
        ["1f1b"],
        ["zb-h2"],
        ["gpipe"],
    ]
    first, second = made[0], made[2]
    assert first.rows == second.rows
    assert as_one([first, second]).rows == first.rows
    uneven = Pipeline.from_mapping({"devices": 4, "microbatches": 2, "p2p_latency": 1})
    assert len(each_order_once(ppopt.evaluate_all(uneven, ["gpipe", "1f1b", "zb-h2"]))) == 3


def test_what_is_searched_or_comes_from_a_file_keeps_its_row(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    zb_h1 = ppopt.evaluate(COSTS, "zb-h1")
    zb_h1.export(file)
    assert len(each_order_once(ppopt.evaluate_all(COSTS, ["zb-h1", str(file)]))) == 2
    found = ppopt.optimize(COSTS, placement="linear", time_limit=0)
    assert len(each_order_once([found, zb_h1])) == 2


def test_tables_join_them_and_data_does_not() -> None:
    assert names_in(run("evaluate", *NAMES).stdout) == ["zb1p = zb-h1", "1f1b", "zb-h2"]
    for arguments in (("evaluate", *NAMES), ("compare", "--no-optimize", "--strategies", ",".join(NAMES))):
        whole = json.loads(run(*arguments, "--format", "json").stdout)
        assert sorted(each["strategy"] for each in whole["schedules"]) == sorted(NAMES)
        assert len(run(*arguments, "--format", "csv").stdout.splitlines()) == 1 + len(NAMES)


@pytest.mark.parametrize("baseline", ["zb1p", "zb-h1"])
def test_a_ranking_joins_them_with_the_baseline_and_the_draws(baseline: str) -> None:
    told = ("compare", "--no-optimize", "--strategies", "zb1p,zb-h1,1f1b", "--baseline", baseline, "--noise", "0.05")
    result = run(*told, "--samples", "50")
    assert result.stdout.count("zb-h1 = zb1p") >= 4
    assert "vs base: against zb-h1 = zb1p" in result.stdout
    lines = result.stdout.splitlines()[1:]  # the first is the verdict
    row = next(line for line in lines if line.startswith("zb-h1 = zb1p ") and "%" in line)
    assert row.endswith("100.00%")  # together: each of them wins half of the draws


def test_a_page_shows_one_of_them() -> None:
    made = ppopt.compare(COSTS, ["zb1p", "zb-h1", "1f1b"], optimize=False, baseline="none")
    assert [each.strategy for each in made.schedules] == ["zb-h1", "zb1p", "1f1b"]
    section = made.section(replayable=True)
    assert [each.summary.name for each in section.schedules] == ["zb-h1 = zb1p", "1f1b"]
    assert made.verdict.startswith("zb-h1 = zb1p is the fastest")
    alone = ppopt.compare(COSTS, ["zb-h2", "1f1b"], optimize=False)
    assert alone.shown is alone


def test_a_frontier_lists_them_as_one() -> None:
    costs = Pipeline.from_mapping({"devices": 4, "microbatches": 8, "memory": {"activation": 1}})
    made = ppopt.frontier(costs, placement="linear", time_limit=6, points=2)
    assert {"zb-h1", "zb1p"} <= {each.strategy for each in made.published}
    names = [each.name for each in made.shown.published]
    assert "zb-h1 = zb1p" in names
    assert not {"zb-h1", "zb1p"} & set(names)
