"""Compiled loops: where they are kept, and that a search runs without them."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from solver import jit
from solver.partitioning import loops
from solver.search import annealing
from solver.search.portfolio import search
from tests.solver.search.search_cases import CASES

pytest.importorskip("numba")


@pytest.fixture
def nothing_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Pretend that nothing is compiled, and record the compilations that would start."""
    begun: list[list[str]] = []
    monkeypatch.setenv(jit.KEPT_IN, str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: begun.append(command))
    for name in ("_folder", "_compilable", "_begin_to_compile"):  # fresh: another test's process may still run
        monkeypatch.setattr(jit, name, cache(getattr(jit, name).__wrapped__))
    return begun


def test_what_is_not_compiled_is_compiled_beside_once(nothing_compiled: list[list[str]], tmp_path: Path) -> None:
    assert jit.jitted(annealing, may_compile=False) is None
    assert jit.jitted(annealing, may_compile=False) is None
    assert [command[1:] for command in nothing_compiled] == [["-m", "solver.search.compile_all"]]
    assert "compiling" in [file.name for folder in tmp_path.iterdir() for file in folder.iterdir()]


def test_the_loops_of_partitioning_are_kept_in_the_same_folder(
    nothing_compiled: list[list[str]], tmp_path: Path
) -> None:
    assert jit.compiled(loops) is None
    assert not nothing_compiled
    assert jit.jitted(loops, may_compile=False) is None
    assert len(nothing_compiled) == 1
    names = jit.jitted(loops, may_compile=True)
    assert names is not None
    assert tmp_path in Path(names["ends_of"].stats.cache_path).parents


def test_whatever_is_compiled_is_watched_for_changes() -> None:
    """A loop that draws is compiled with the source of `draw`, so that counts, too."""
    root = Path(jit.__file__).parent
    found = {file for file in root.rglob("*.py") if "\nFUNCTIONS = " in file.read_text()}
    used = {root / "random_numbers.py"}
    assert {root / f"{name}.py" for name in jit.LOOPS} == found | used


def test_without_numba_or_a_folder_the_loops_are_plain(
    nothing_compiled: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_name: str) -> Any:
        raise ImportError

    monkeypatch.setattr(jit, "import_module", refuse)
    assert jit.jitted(annealing, may_compile=True) is None
    assert not nothing_compiled
    assert jit.interpreted(annealing)["anneal"] is annealing.anneal


def test_a_search_that_cannot_win_ends() -> None:
    problem = CASES["v"].problem
    found = search(problem, seconds=1, tools=[])
    assert found.best is not None
    assert not found.cannot_win
    found.rival = found.bound
    assert not found.cannot_win  # an equally short schedule may hold less
    found.rival = found.bound - 1
    assert found.cannot_win
    assert found.done()


def test_whoever_turns_numba_off_gets_the_interpreted_loops() -> None:
    """With NUMBA_DISABLE_JIT numba returns the functions as they are, which is no compiled loop to wait for."""
    program = (
        "from solver import jit\nfrom solver.search import annealing\n"
        "asked = [jit.jitted(annealing, may_compile=each) for each in (False, True)]\n"
        "print(*asked, jit.compiled(annealing))"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert run.stdout == "None None None\n", run.stderr
