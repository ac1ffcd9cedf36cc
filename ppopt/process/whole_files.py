"""Output files: checked before any work is done for them, and never half written."""

from __future__ import annotations

import importlib.util
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from reports.atomic_write import atomic_write
from solver.errors import InputError
from strategies.model.numbers import in_one_line

_DRAWN = ("--report", "--chart")
"""The beginnings of the options whose files Vega draws."""


def check_outputs(paths: Mapping[str, str | None], inputs: Iterable[object] = ()) -> None:
    """Refuse outputs that cannot be written, or that would overwrite each other or an input.

    Parameters
    ----------
    paths : mapping of str to str or None
        The options with their files; None if not given.
    inputs : iterable
        The inputs: paths, and names that may be paths.

    Raises
    ------
    InputError
        If an output cannot be written or is an input, two outputs are the same file, or what draws them is missing.
    """
    taken: dict[str, str] = {}
    read = {os.path.realpath(name): name for name in inputs if isinstance(name, str) and "\0" not in name and name}
    for option, path in paths.items():
        if path is None:
            continue
        if not path:
            raise InputError(f"{option}: {path!r} names no file")
        try:
            check_writable(path)
        except InputError as error:
            raise InputError(f"{option}: {error}") from None
        if _read_from(path, read) is not None and not _is_special(Path(path)):
            raise InputError(f"{option}: would overwrite the input {_name(path)}; name another file")
        other = taken.setdefault(os.path.realpath(path), option)
        if other != option and not _is_special(Path(path)):
            raise InputError(f"{option}: {_name(path)} is also the file of {other}; name another")
        if option.startswith(_DRAWN) and importlib.util.find_spec("vl_convert") is None:
            raise InputError(f"{option}: needs vl-convert-python, which is missing: `pip install vl-convert-python`")


def _read_from(path: str, read: Mapping[str, object]) -> object | None:
    """Find the input that an output would overwrite: the same file, or an existing file in a folder of inputs."""
    target = os.path.realpath(path)
    if target in read:
        return read[target]
    return read.get(str(Path(target).parent)) if Path(target).exists() else None


def check_writable(path: str | Path) -> None:
    """Refuse, before any work is done, an output that cannot be written.

    Raises
    ------
    InputError
        If the path is a folder, or its folder does not exist or is not writable.
    """
    name, target = _name(path), _target(Path(path))
    if target.is_dir():
        raise InputError(f"{name}: is a folder; name a file")
    if not target.parent.is_dir():
        raise InputError(f"{name}: the folder {_name(target.parent)} does not exist")
    if not os.access(target if _is_special(target) else target.parent, os.W_OK):
        raise InputError(f"{name}: the folder {_name(target.parent)} cannot be written to")


def _target(path: Path) -> Path:
    """Follow links, so that their target is replaced; refuse names that the system refuses."""
    try:
        _mode(path)
        return path if _is_special(path) or not path.is_symlink() else Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{_name(path)}: cannot be written: {reason}") from None


def _name(path: str | Path) -> str:
    return in_one_line(path)


def _mode(path: Path) -> int | None:
    """Return a file's kind and permissions; None if there is no file."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_special(target: Path) -> bool:
    """Return whether the target is a device, a pipe or a link such as /dev/stdout, which no file may replace."""
    mode = _mode(target)
    by_link = target.is_symlink() and target.absolute().is_relative_to("/dev")
    return mode is not None and (by_link or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)))


@contextmanager
def written_whole(path: str | Path) -> Iterator[IO[str]]:
    """Open a text file that appears under its name only when it is complete.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    with bytes_written_whole(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
        yield file
        file.flush()


@contextmanager
def bytes_written_whole(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a binary file that appears under its name only when it is complete.

    Raises
    ------
    InputError
        If the file cannot be written; nothing is left behind.
    """
    check_writable(path)
    target = _target(Path(path))
    try:
        if _is_special(target):
            with _opened_special(target) as file:
                yield file
            return
        with atomic_write(target) as file:
            yield file
    except OSError as error:
        raise InputError(f"{_name(path)}: cannot be written: {error.strerror or error}") from None


def _opened_special(target: Path) -> IO[bytes]:
    """Open a device or a pipe; standard output keeps its position, which reopening would reset to the beginning."""
    with suppress(OSError, ValueError, AttributeError):
        if os.path.samestat(target.stat(), os.fstat(sys.stdout.fileno())):
            sys.stdout.flush()
            return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    return target.open("wb")
