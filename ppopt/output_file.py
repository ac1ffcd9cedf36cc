"""Writing files so that there is never half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from solver.errors import InputError


def check_writable(path: str | Path) -> None:
    """Refuse an output that cannot be written, before any work is done for it.

    Raises
    ------
    InputError
        If it is a folder, or its folder does not exist or cannot be written to.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    if not target.parent.is_dir():
        raise InputError(f"{path}: the folder {target.parent} does not exist")
    if not os.access(target if _is_special(target) else target.parent, os.W_OK):
        raise InputError(f"{path}: the folder {target.parent} cannot be written to")


def _is_special(target: Path) -> bool:
    """Tell whether it is a device or a pipe, which must not be replaced by a file."""
    return target.exists() and not target.is_file()


@contextmanager
def written_whole(path: str | Path) -> Iterator[IO[str]]:
    """Open a text file that appears under its name only when all of it is written.

    Raises
    ------
    InputError
        If it cannot be written; nothing is left behind.
    """
    target = Path(path)
    check_writable(target)
    try:
        if _is_special(target):
            with target.open("w", encoding="utf-8") as file:
                yield file
            return
        with _renamed_when_done(target) as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def _renamed_when_done(target: Path) -> Iterator[IO[str]]:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
