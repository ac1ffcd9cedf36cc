"""The commands of the tutorial run, and print what is written below them; `…` stands for any text."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from tests.ppopt.estimation.models import needs_libraries
from tests.running import call_ppopt
from tests.test_rooms import ROOT

PAGE = ROOT / "docs" / "from-config.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)


@needs_libraries
def test_every_command_of_the_tutorial_prints_what_is_written(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    commands = 0
    for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        _, *parts = COMMAND.split(block)
        for command, written in zip(parts[::2], parts[1::2], strict=True):
            printed = run(command.replace("\\\n", ""), tmp_path)
            wanted = re.escape(" ".join(written.split())).replace("…", ".*")
            assert re.fullmatch(wanted, " ".join(printed.split())), f"{command}\n{printed}"
            commands += 1
    assert commands == 4


def run(line: str, folder: Path) -> str:
    program, *arguments = shlex.split(line)
    if program == "cat":
        return (folder / arguments[0]).read_text(encoding="utf-8")
    assert program == "ppopt"
    result = call_ppopt(*arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout
