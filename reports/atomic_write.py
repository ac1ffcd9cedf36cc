"""Writes a file completely or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_SUFFIX = ".part"


@contextmanager
def atomic_write(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces the target once it is complete, with the target's permissions.

    Parameters
    ----------
    target : Path
        The path of the file, not a link; its folder must exist.

    Raises
    ------
    OSError
        If it cannot be written. No temporary file is left behind, nor is one after any other exception in the body.
    """
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=_prefix(target), suffix=_SUFFIX)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        before = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        os.chmod(temporary, before)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def is_left_behind(path: Path, target: Path) -> bool:
    """Return whether a file is a temporary file of the target, left by a killed writer or still being written."""
    return path.name.startswith(_prefix(target)) and path.name.endswith(_SUFFIX)


def _prefix(target: Path) -> str:
    return f".{target.name[:50]}."


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
