from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt.process import versions
from tests.running import call_ppopt, run_ppopt

ROOT = Path(__file__).parents[3]


def shown(found: dict[str, Any]) -> dict[str, str]:
    """Read the printed lines by their names."""
    return {line.split("  ")[0]: line.partition("  ")[2].strip() for line in versions.lines_of(found)}


def test_command_and_python_print_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    ppopt.show_versions()
    assert call_ppopt("doctor").stdout == capsys.readouterr().out


def test_it_says_what_a_bug_report_needs() -> None:
    found = json.loads(call_ppopt("doctor", "--format", "json").stdout)
    assert found["ppopt"]["version"] == ppopt.__version__
    assert found["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert 1 <= found["cores"]["usable"] <= found["cores"]["all"]
    assert found["libraries"]["ortools"] == metadata.version("ortools")
    assert set(found["extras"]["cluster"]) == {"dask", "distributed"}
    lines = shown(found)
    assert lines["ortools"] == metadata.version("ortools")
    assert {"ppopt", "Python", "platform", "cores", "compiled loops", "cache", "[torch]"} <= lines.keys()


def test_a_missing_extra_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in ("distributed", "numba"):
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    lines = shown(versions.find_versions())
    assert lines["[cluster]"] == "not installed: `pip install 'ppopt[cluster]'` brings distributed"
    assert lines["[torch]"] == "torch 1.0"
    assert lines["numba"] == "MISSING: reinstall with `pip install ppopt`"


def test_a_folder_that_was_never_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    lines = shown(versions.find_versions())
    assert lines["libraries"] == "unknown: ppopt was not installed with pip, but runs from its folder"


def test_folders_in_which_nothing_can_be_written_are_named(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    environment = {**os.environ, "XDG_CACHE_HOME": str(taken), "PPOPT_COMPILED": str(taken / "compiled")}
    environment.pop("NUMBA_CACHE_DIR", None)
    found = json.loads(run_ppopt("doctor", "--format", "json", env=environment).stdout)
    assert found["cache"] == {"path": f"{taken}/ppopt", "writable": False, "problem": f"{taken}: Not a directory"}
    assert found["environment"]["PPOPT_COMPILED"] == str(taken / "compiled")
    lines = shown(found)
    assert lines["cache"] == f"{taken}/ppopt, NOT writable: {taken}: Not a directory"
    assert lines["compiled loops"].startswith(f"NO, searches are slower: nothing can be kept in {taken}/compiled/")


def test_an_empty_folder_is_compiled_into_by_the_next_search(tmp_path: Path) -> None:
    environment = {**os.environ, "PPOPT_COMPILED": str(tmp_path / "new")}
    run = run_ppopt("doctor", env=environment)
    assert "not yet for search and partitioning: the next search compiles them" in run.stdout
    assert not list((tmp_path / "new").rglob("*.nb?"))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [({"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT is set"), ({}, "ModuleNotFoundError: import of numba halted")],
)
def test_it_says_why_loops_are_not_compiled(setting: dict[str, str], reason: str) -> None:
    hide = "" if setting else "import sys; sys.modules['numba'] = None\n"
    program = f"{hide}import ppopt; ppopt.show_versions()"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **setting},
    )
    (line,) = (line for line in run.stdout.splitlines() if line.startswith("compiled loops"))
    assert "NO, searches are slower: " in line
    assert reason in line


def test_nothing_heavy_is_loaded_to_show_versions() -> None:
    heavy = ("ortools", "pandas", "altair", "pydantic", "torch", "vl_convert", "networkx")
    program = (
        "import sys, ppopt; ppopt.show_versions()\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stderr.splitlines()[-1] == "[]"
