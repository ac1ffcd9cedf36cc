"""The folder of a sweep: every finished job is a line of a file there, on disk before it is reported.

Each sweep that runs in a folder appends to its own file, and reads all files there. So several sweeps can share a
folder, and a killed sweep continues where it stopped: at worst, the last line of a file is incomplete and is ignored.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ppopt.process.checksums import is_as_written, with_checksum
from ppopt.process.whole_files import written_whole
from ppopt.sweeps.job import FIGURES, Figures
from reports.atomic_write import is_left_behind
from solver.errors import InputError
from strategies.model.numbers import in_one_line

MARK = "ppopt-sweep.json"
"""The file that marks a folder as a sweep's."""

FORMAT = 1


class Journal:
    """The finished jobs, stored in a folder if there is one.

    Parameters
    ----------
    folder : str, path or None
        The folder; it is created if it does not exist.

    Attributes
    ----------
    done : dict of str to dict
        The figures of each finished job, by its key.
    damaged : list of str
        File and line of each damaged line. Their contents are ignored.

    Raises
    ------
    InputError
        If the folder is not a sweep's, or is not writable.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.done: dict[str, Figures] = {}
        self.damaged: list[str] = []
        self._file: IO[bytes] | None = None
        if self.folder is not None:
            try:
                _open_folder(self.folder)
            except OSError as error:
                raise self._refused(error) from None
            for path in sorted(self.folder.glob("jobs-*.jsonl")):
                self._take(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _take(self, path: Path) -> None:
        try:
            done, damaged = _read(path)
        except OSError as error:
            raise InputError(f"{in_one_line(path)}: cannot be read: {error.strerror or error}") from None
        self.done.update(done)
        self.damaged += damaged

    def record(self, key: str, figures: Figures) -> None:
        """Record a finished job; when this returns, the job is on disk.

        Raises
        ------
        InputError
            If the disk is full, or the folder is no longer writable. Earlier records stay readable.
        """
        if self.folder is not None:
            try:
                self._write(json.dumps(with_checksum({"key": key, **figures}), allow_nan=False).encode() + b"\n")
            except OSError as error:
                refused = self._refused(error)
                self.done[key] = figures  # it can still be shown
                raise refused from None
        self.done[key] = figures

    def _write(self, line: bytes) -> None:
        assert self.folder is not None
        if self._file is None:
            name = f"jobs-{time.time_ns()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            self._file = (self.folder / name).open("xb", buffering=0)
        while line:
            line = line[self._file.write(line) or 0 :]
        os.fdatasync(self._file.fileno())

    def _refused(self, error: OSError) -> InputError:
        kept = (
            f"; {len(self.done):,} finished jobs stay there, and the same sweep goes on from them" if self.done else ""
        )
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        return InputError(f"{in_one_line(self.folder)}: cannot be written: {reason}{kept}")


def _open_folder(folder: Path) -> None:
    mark = folder / MARK
    if mark.is_file():
        _check_mark(folder, mark)
        return
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{in_one_line(folder)}: is a file; name a folder for the results")
    if folder.is_dir() and not all(is_left_behind(path, mark) for path in folder.iterdir()):
        raise InputError(
            f"{in_one_line(folder)}: is not the folder of a sweep ({MARK} is missing) and not empty; name another"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(mark) as file:
        json.dump({"format": FORMAT, "what": "results of ppopt sweep: a line of JSON for each finished job"}, file)


def _check_mark(folder: Path, mark: Path) -> None:
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        raise InputError(f"{in_one_line(folder)}: {MARK} is not of this version of ppopt; name another folder")


def _read(path: Path) -> tuple[dict[str, Figures], list[str]]:
    """Read the finished jobs of a file, and name its damaged lines."""
    done: dict[str, Figures] = {}
    damaged: list[str] = []
    *lines, unfinished = path.read_bytes().split(b"\n")  # an incomplete line may follow the last line break
    for number, line in enumerate(lines, 1):
        row = _row(line)
        if row is None:
            damaged.append(f"{in_one_line(path)}, line {number}")
        else:
            done[row["key"]] = {name: row[name] for name in FIGURES}
    if (row := _row(unfinished)) is not None:
        done[row["key"]] = {name: row[name] for name in FIGURES}
    return done, damaged


def _row(line: bytes) -> Mapping[str, Any] | None:
    """Read a line; None if it is damaged."""
    try:
        row = json.loads(line)
        return row if isinstance(row, Mapping) and is_as_written(row) and row.keys() >= {"key", *FIGURES} else None
    except (ValueError, RecursionError):
        return None
