"""The folder of a sweep: every finished job is a line of a file there, on disk before anybody is told.

Each sweep that runs in a folder appends to a file of its own, and all that are there are read. So several may share a
folder, and one that was killed goes on where it was: at worst the last line of a file is half written, and is left out.
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

from ppopt.sweeps.job import FIGURES, Figures
from ppopt.whole_files import written_whole
from solver.errors import InputError
from strategies.numbers import in_one_line

MARK = "ppopt-sweep.json"
"""What says that a folder is a sweep's."""

FORMAT = 1


class Journal:
    """What is done, in a folder or, without one, nowhere.

    Parameters
    ----------
    folder : str, path or None
        The folder; it is made where it does not exist.

    Attributes
    ----------
    done : dict of str to dict
        The figures of each finished job, by its key.

    Raises
    ------
    InputError
        If it is something else than a sweep's folder, or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.done: dict[str, Figures] = {}
        self._file: IO[bytes] | None = None
        if self.folder is not None:
            try:
                _open_folder(self.folder)
                for path in sorted(self.folder.glob("jobs-*.jsonl")):
                    self.done.update(_read(path))
            except OSError as error:
                raise self._refused(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def record(self, key: str, figures: Figures) -> None:
        """Take a finished job; when this returns, it is on disk.

        Raises
        ------
        InputError
            If the disk is full, or the folder cannot be written any more. What is there stays readable.
        """
        if self.folder is not None:
            try:
                self._write(json.dumps({"key": key, **figures}, allow_nan=False).encode() + b"\n")
            except OSError as error:
                refused = self._refused(error)
                self.done[key] = figures  # it can be shown all the same
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
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            f"{in_one_line(folder)}: is not the folder of a sweep ({MARK} is missing) and not empty; name another"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(mark) as file:
        json.dump({"format": FORMAT, "what": "results of ppopt sweep: a line of JSON for each finished job"}, file)


def _check_mark(folder: Path, mark: Path) -> None:
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        raise InputError(f"{in_one_line(folder)}: {MARK} is not of this version of ppopt; name another folder")


def _read(path: Path) -> dict[str, Figures]:
    done: dict[str, Figures] = {}
    for line in path.read_bytes().split(b"\n"):
        row = _row(line)
        if row is not None:
            done[str(row["key"])] = {name: row[name] for name in FIGURES}
    return done


def _row(line: bytes) -> Mapping[str, Any] | None:
    """Read a line; None where it is not whole."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    is_whole = isinstance(row, Mapping) and "key" in row and all(name in row for name in FIGURES)
    return row if is_whole else None
