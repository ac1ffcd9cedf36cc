"""A user's own files may have the names of ppopt's other packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("solver", "strategies", "reports")
FORMS = {"module": "{}.py", "package": "{}/__init__.py", "namespace": "{}/mine.py"}


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(program)
    return subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, cwd=folder)


def make(folder: Path, name: str, form: str) -> Path:
    file = folder / FORMS[form].format(name)
    file.parent.mkdir(exist_ok=True)
    file.write_text("print('the user’s own')\n")
    return file


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["module", "package"])
@pytest.mark.parametrize("first", [False, True], ids=["not imported", "imported before"])
def test_a_clash_is_one_error_that_names_both(name: str, form: str, first: bool, tmp_path: Path) -> None:
    file = make(tmp_path, name, form)
    program = (f"import {name}\n" if first else "") + "import ppopt\n"
    result = run(tmp_path, program)
    found = file if form == "module" else file.parent
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: ppopt needs its own package {name!r}")
    assert str(found) in last
    assert str(Path(__file__).parents[2] / name) in last
    assert "rename or move" in last
    assert ("own" in result.stdout) == first, "the user's file is run by the user's own import alone"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_an_init_hides_nothing(name: str, tmp_path: Path) -> None:
    make(tmp_path, name, "namespace")
    result = run(tmp_path, "import ppopt\nprint(ppopt.evaluate(ppopt.Pipeline(devices=2, microbatches=2), '1f1b'))\n")
    assert "makespan 9" in result.stdout, result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_namespace_that_was_imported_before_is_a_clash(name: str, tmp_path: Path) -> None:
    make(tmp_path, name, "namespace")
    program = (
        "import sys\nbefore, sys.path[:] = sys.path[:], [sys.path[0]]\n"
        f"import {name}\nsys.path[:] = before\nimport ppopt\n"
    )
    result = run(tmp_path, program)
    assert f"needs its own package {name!r}" in result.stderr
    assert str(tmp_path / name) in result.stderr


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_what_comes_later_hides_nothing(name: str, form: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    make(elsewhere, name, form)
    program = (
        f"import sys, ppopt\nsys.path.insert(0, {str(elsewhere)!r})\nimport {name}\n"
        "print(ppopt.evaluate(ppopt.Pipeline(devices=2, microbatches=2), '1f1b'))\n"
    )
    result = run(tmp_path, program)
    assert "makespan 9" in result.stdout, result.stderr


def test_the_command_does_not_look_in_the_current_folder(tmp_path: Path) -> None:
    make(tmp_path, "strategies", "module")
    command = Path(sys.executable).with_name("ppopt")
    if not command.exists():
        pytest.skip("the ppopt command is not installed beside Python")
    result = subprocess.run([command, "evaluate", "1f1b"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    module = subprocess.run(
        [sys.executable, "-m", "ppopt", "strategies"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "needs its own package 'strategies'" in module.stderr
