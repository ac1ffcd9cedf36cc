"""A full disk loses no result: every command prints its result before it writes a file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import CliRunner

import ppopt
from ppopt.commands.cli import cli
from ppopt.sweeps.journal import Journal

SMALL = ["--devices", "2", "--microbatches", "4"]
LAYERS = "devices: 2\nmicrobatches: 4\nlayers: [{name: block, count: 4, forward: 1, backward: 2}]\n"
GRID = "base: {devices: 2}\naxes: {microbatches: [4, 6]}\nrun: [1f1b, zb-h1]\n"


@contextmanager
def full(_target: Path) -> Iterator[IO[bytes]]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    yield


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that takes no files except two that exist already."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers.yaml").write_text(LAYERS)
    (tmp_path / "grid.yaml").write_text(GRID)
    monkeypatch.setattr("ppopt.process.whole_files.atomic_write", full)
    return tmp_path


EVALUATE = ["evaluate", "1f1b", *SMALL]
OPTIMIZE = ["optimize", *SMALL, "--time-limit", "1"]
COMPARE = ["compare", *SMALL, "--time-limit", "1", "--strategies", "1f1b,zb-h1"]
PLAN = ["plan", "1f1b", "-c", "layers.yaml", "--time-limit", "2"]
FRONTIER = ["frontier", *SMALL, "--time-limit", "1", "--placement", "linear", "--limits", "1,2"]


@pytest.mark.exhaustive(6)
@pytest.mark.parametrize(
    ("command", "option", "printed"),
    [
        (EVALUATE, "--save", "1f1b"),
        (EVALUATE, "--trace", "1f1b"),
        (EVALUATE, "--report", "1f1b"),
        (EVALUATE, "--export", "1f1b"),
        (OPTIMIZE, "--save", "optimized-linear"),
        (OPTIMIZE, "--report", "optimized-linear"),
        (OPTIMIZE, "--export", "optimized-linear"),
        (COMPARE, "--report", "zb-h1"),
        (COMPARE, "--chart", "zb-h1"),
        (PLAN, "--save", "1f1b, v = 1"),
        (PLAN, "--report", "1f1b, v = 1"),
        (FRONTIER, "--save", "optimal"),
        (FRONTIER, "--report", "optimal"),
        (FRONTIER, "--chart", "optimal"),
        (["sweep", "grid.yaml", "--jobs", "1"], "--report", "zb-h1"),
    ],
)
def test_the_result_is_printed_before_a_file_is_written(
    disk: Path, command: list[str], option: str, printed: str
) -> None:
    ending = {"--trace": "json", "--report": "html", "--chart": "svg", "--export": "csv"}.get(option, "out")
    name = f"{'memory' if ending == 'svg' else 'file'}.{ending}"
    result = CliRunner().invoke(cli, [*command, option, name], catch_exceptions=False)
    assert printed in result.stdout
    assert result.exit_code == 2
    assert f"error: {name}: cannot be written: No space left on device" in result.stderr
    assert sorted(path.name for path in disk.iterdir()) == ["grid.yaml", "layers.yaml"]


def test_a_sweep_shows_what_was_done_before_its_disk_was_full(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(disk)
    plain = Journal._write

    def write(journal: Journal, line: bytes) -> None:
        if len(journal.done) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(journal, line)

    monkeypatch.setattr(Journal, "_write", write)
    command = ["sweep", "grid.yaml", "--jobs", "1", "--output", "rows", "--format", "json"]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 2
    assert "rows: cannot be written: the disk is full" in result.stderr
    assert len(json.loads(result.stdout)["rows"]) == 2 + 1  # rows that could not be written are shown, too
    with pytest.raises(ppopt.InputError, match="the disk is full"):
        ppopt.sweep("grid.yaml", "other", jobs=1)


def test_a_frontier_that_cannot_be_saved_is_not_lost(disk: Path) -> None:
    costs = ppopt.Pipeline.from_mapping({"devices": 2, "microbatches": 4})
    with pytest.raises(ppopt.InputError, match=r"found\.json: cannot be written") as refused:
        ppopt.frontier(costs, placement="linear", limits=[2], time_limit=0, save_to=disk / "found.json")
    found: Any = refused.value
    assert [point.limit for point in found.frontier.points] == [2]
