"""Finds and opens the given files, plain or gzipped."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from solver.errors import InputError
from strategies.model.numbers import in_one_line, shown

_ENDINGS = (".json", ".json.gz", ".gz", ".trace")
DEEPEST = 1000
"""The most unclosed brackets within one read."""

READ_ERRORS = (OSError, EOFError)
"""The errors raised by reading a damaged file."""


def find_files(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the named files, and those in the named folders.

    Raises
    ------
    InputError
        If there are none, one does not exist, or one is named twice.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(_each(paths))
    if not given:
        raise InputError("trace: none is named; name the files of all ranks, or their folder")
    found = [file for path in given for file in _expand(path)]
    seen: dict[str, Path] = {}
    for file in found:
        other = seen.setdefault(os.path.realpath(file), file)
        if other is not file:
            raise InputError(f"{in_one_line(file)}: is named twice, also as {in_one_line(other)}; name each file once")
    return found


def _each(paths: object) -> Iterable[Any]:
    if not isinstance(paths, Iterable):
        raise InputError(f"trace: must be the path of a file or folder, or a list of them; found {shown(paths)}")
    return paths


def _expand(path: object) -> list[Path]:
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise InputError(f"trace: must be the path of a file or folder; found {shown(path)}")
    name = in_one_line(path)
    try:
        given = Path(path)
        given.stat()
        if not given.is_dir():
            return [given]
        inside = sorted(given.iterdir(), key=lambda file: _by_number(file.name))
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{name}: cannot be read: {reason}") from None
    files = [file for file in inside if file.name.lower().endswith(_ENDINGS) and file.is_file()]
    if not files:
        raise InputError(f"{name}: has no trace in it; traces end in {', '.join(_ENDINGS)}")
    return files


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts ``rank10`` after ``rank9``."""
    digits = "".join(letter if letter.isdecimal() else " " for letter in name).split()
    return [(int(part[:18]), part) for part in digits] + [(0, name)]


@contextmanager
def opened(path: Path) -> Iterator[_Shallow]:
    """Open a file for reading, unpacked if gzipped, without a byte-order mark.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """
    try:
        raw = path.open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{in_one_line(path)}: cannot be read: {reason}") from None
    with raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        yield _Shallow(_Unpacked(raw) if packed else raw)


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Unpacked:
    """A gzipped file that ends where unpacking fails, so that a truncated file is read as far as possible."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self._left = b""
        self._is_begun = False
        self._unpack = zlib.decompressobj(wbits=31)

    def read(self, size: int = -1) -> bytes:
        """Read on, about as much as requested.

        Raises
        ------
        ValueError
            If not even the beginning can be unpacked.
        """
        while size:
            if self._unpack.eof:  # another gzip member may follow
                self._left, self._unpack = self._unpack.unused_data, zlib.decompressobj(wbits=31)
            packed = self._left or self._file.read(1 << 14)
            if not packed:
                return b""
            try:
                part = self._unpack.decompress(packed, max(size, 1 << 14))
            except zlib.error:
                return self._stop()
            self._left = self._unpack.unconsumed_tail
            if part:
                self._is_begun = True
                return part
        return b""

    def _stop(self) -> bytes:
        self._left = b""
        if not self._is_begun:
            raise ValueError("it looks gzipped and cannot be unpacked")
        return b""


class _Shallow:
    """A file that refuses very deep nesting, since a parser's memory grows with the square of the depth."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self._is_begun = False

    def read(self, size: int = -1) -> bytes:
        """Read on; a byte-order mark is skipped.

        Raises
        ------
        ValueError
            If far more brackets open in this part than close.
        """
        part = self._file.read(size)
        if not self._is_begun and size:
            part, self._is_begun = part.removeprefix(b"\xef\xbb\xbf") or part, True
        if part.count(b"[") + part.count(b"{") - part.count(b"]") - part.count(b"}") > DEEPEST:
            raise ValueError("it is nested too deeply")
        return part


def number_in(path: str) -> int | None:
    """Read the rank from a file's name: the number after ``rank``, or else the last number."""
    name = Path(path).name.lower()
    digits = "".join(letter if letter.isascii() and letter.isdecimal() else " " for letter in name)
    _, found, _ = name.partition("rank")
    if found:
        after = digits[name.index("rank") + 4 :].lstrip().split()
        if after:
            return int(after[0][:9])
    parts = digits.split()
    return int(parts[-1][:9]) if parts else None
