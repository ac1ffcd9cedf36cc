from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ppopt.commands.cli import cli

SIZES = ("--devices", "4", "--microbatches", "8")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_evaluate_shows_a_table_below_its_own() -> None:
    result = run("evaluate", "1f1b", "zb-h1", *SIZES, "--noise", "0.1", "--noise-device", "3=0.2", "--samples", "50")
    lines = result.stdout.splitlines()
    assert "under noise (each operation 10.00%, device 3 20.00%; 50 draws, the same for all):" in lines
    assert lines[-3].split() == ["strategy", "mean", "vs", "exact", "5%", "95%", "best"]
    assert {lines[-2].split()[0], lines[-1].split()[0]} == {"1f1b", "zb-h1"}
    assert "Under this noise zb-h1 has the least mean, as without noise." in result.stdout


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_json_and_csv_have_the_figures(command: str) -> None:
    named = ["1f1b", "zb-h1"] if command == "evaluate" else ["--strategies", "1f1b,zb-h1", "--no-optimize"]
    arguments = [command, *named, *SIZES, "--noise", "0.1", "--samples", "40", "--seed", "5"]
    found = json.loads(run(*arguments, "--format", "json").stdout)
    assert found["noise"] == {"operation": 0.1, "spread": None, "device": 0.0, "seed": 5}
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv").stdout)))
    for schedule, row in zip(found["schedules"], rows, strict=True):
        assert schedule["noise"].keys() == {"mean", "standard_error", "p5", "p95", "best", "samples"}
        assert float(row["noise_mean"]) == schedule["noise"]["mean"] > schedule["makespan"]
    without = json.loads(run(*arguments[:-6], "--format", "json").stdout)
    assert "noise" not in without
    assert "noise" not in without["schedules"][0]


def test_the_page_draws_intervals(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run("compare", "--strategies", "1f1b,zb-h1,gpipe", "--no-optimize", *SIZES, "--noise", "0.1", "--report", str(page))
    text = page.read_text()
    assert 'data-chart="noise-0"' in text
    assert "replayed with the same 1,000 draws of times (each operation 10.00%)" in text
    run("evaluate", "1f1b", *SIZES, "--report", str(page))
    assert 'data-chart="noise-0"' not in page.read_text()


def test_optimize_takes_the_robust_one_and_keeps_its_time() -> None:
    result = run("optimize", *SIZES, "--noise", "0.2", "--robust", "--time-limit", "2", "--format", "json")
    found = json.loads(result.stdout)
    assert any(note.startswith("robust: of the ") for note in found["schedules"][0]["notes"])
    assert all("noise" in schedule for schedule in found["schedules"])


def test_a_variation_that_looks_like_a_factor_is_questioned() -> None:
    result = run("evaluate", "1f1b", *SIZES, "--noise-device", "3=1.08", "--samples", "9")
    assert result.exit_code == 0
    assert "note: --noise-device 3=1.08: 108 % jitter: did you mean --slowdown 3=1.08?" in result.stderr
    assert "slowdown" not in run("evaluate", "1f1b", *SIZES, "--noise-device", "3=0.2", "--samples", "9").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--samples", "9"), "--samples: sets how often times are drawn; give --noise, --spread or --noise-device"),
        (("--noise", "0.1", "--spread", "no.csv"), "--spread: says how each operation varies, and so does --noise"),
        (("--noise-device", "x"), "--noise-device: must be a number such as 0.1, or one of a device, 3=0.1; found 'x'"),
        (("--noise-device", "1=0.1", "--noise-device", "1=0.2"), "--noise-device: device 1 is given twice"),
        (("--noise-device", "0.1", "--noise-device", "1=0.2"), "--noise-device: is given for all devices and for one"),
        (("--noise-device", "7=0.1"), "noise_device: there is no device 7; the devices are 0 to 3"),
        (("--spread", "no.csv"), "no.csv: cannot be read: No such file or directory"),
        (("--noise", "11"), "noise: must be a coefficient of variation from 0 to 10, such as 0.05; found 11.0"),
    ],
)
def test_wrong_options_are_refused_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = run("evaluate", "1f1b", *SIZES, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_robust_needs_noise() -> None:
    result = run("optimize", *SIZES, "--robust")
    assert result.exit_code == 2
    assert "--robust: needs to know how times vary; give --noise" in result.stderr
