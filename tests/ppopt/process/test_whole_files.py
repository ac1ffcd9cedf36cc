"""Outputs never overwrite inputs, and standard output is not truncated."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ppopt.process.whole_files import check_outputs
from solver.errors import InputError
from tests.running import call_ppopt

ORDER = "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "costs.yaml").write_text("{devices: 2, microbatches: 2}")
    (tmp_path / "order.csv").write_text(ORDER)
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "rank0.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "1f1b", "-c", "costs.yaml", "--export", "costs.yaml"],
        ["evaluate", "1f1b", "-c", "costs.yaml", "--save", "./costs.yaml"],
        ["evaluate", "order.csv", "--save", "order.csv"],
        ["optimize", "-c", "costs.yaml", "--export", "costs.yaml"],
        ["compare", "-c", "costs.yaml", "--report", "costs.yaml"],
        ["profile", "traces", "-o", "traces/rank0.json"],
    ],
)
def test_an_output_that_is_an_input_is_refused(arguments: list[str], folder: Path) -> None:
    before = {file: file.read_text() for file in folder.rglob("*.*")}
    result = call_ppopt(*arguments, cwd=folder)
    assert result.returncode == 2
    assert "would overwrite the input" in result.stderr
    assert {file: file.read_text() for file in folder.rglob("*.*")} == before


def test_standard_output_goes_on_where_it_is(folder: Path) -> None:
    log = folder / "log.txt"
    log.write_text("precious\n")
    command = f"{sys.executable} -m ppopt evaluate order.csv --export /dev/stdout >> log.txt"
    subprocess.run(["bash", "-c", command], cwd=folder, check=True, capture_output=True)
    text = log.read_text()
    assert text.startswith("precious\n")
    assert "makespan" in text
    assert ORDER in text
    assert "\0" not in text


def test_a_model_is_cut_anew_for_a_file_where_that_is_wished(folder: Path) -> None:
    four = ["evaluate", "interleaved:stages=4", "--devices", "2", "--stages", "2", "--microbatches", "4"]
    made = call_ppopt(*four, "--export", "four.csv", cwd=folder)
    assert made.returncode == 0, made.stderr
    again = ["evaluate", "four.csv", "--devices", "2", "--stages", "2"]
    refused = call_ppopt(*again, cwd=folder)
    assert refused.returncode == 2
    assert "--recut re-partitions the model" in refused.stderr
    same = call_ppopt(*again, "--recut", cwd=folder)
    assert same.returncode == 0, same.stderr
    assert "re-partitioned from 2 into 4 stages" in same.stderr
    assert made.stdout.splitlines()[-2].split()[-4:] == same.stdout.splitlines()[-1].split()[-4:]
    checked = call_ppopt("check", "four.csv", "-c", "two.yaml", cwd=folder)
    assert checked.returncode == 2


def test_recut_needs_a_file_or_a_number(folder: Path) -> None:
    result = call_ppopt("evaluate", "1f1b", "--recut", cwd=folder)
    assert result.returncode == 2
    assert "error: --recut: cuts the model into --stages N, or for a schedule file; neither is given" in result.stderr


@pytest.mark.parametrize("option", ["--report", "--chart", "--chart (2)"])
def test_without_what_draws_a_page_is_refused_before_any_work(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_outputs({option: str(tmp_path / "file")})
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    check_outputs({option: None, "--trace": str(tmp_path / "trace.json")})
    cure = r"needs vl-convert-python, which is missing: `pip install vl-convert-python`$"
    with pytest.raises(InputError, match=f"^{re.escape(option)}: {cure}"):
        check_outputs({option: str(tmp_path / "file")})
