"""Reads the text of an input file, whatever it contains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from solver.errors import InputError
from strategies.model.numbers import in_one_line


def read_text_file(path: str | Path, kind: str, largest: int, cure: Callable[[Path], str] = lambda _path: "") -> str:
    """Read a text file, unless it is far too large to be the intended one.

    Parameters
    ----------
    path : str or Path
        The file.
    kind : str
        What the message calls it: ``"a configuration"``.
    largest : int
        Its largest allowed size in bytes.
    cure : callable
        ``cure(path)`` is added to the message if the file cannot be read.

    Raises
    ------
    InputError
        If it cannot be read, is too large, or is not UTF-8 (with or without a byte order mark).
    """
    name = in_one_line(path)
    try:
        with Path(path).open("rb") as file:
            content = file.read(largest + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{name}: cannot be read: {reason}{cure(Path(path))}") from None
    if len(content) > largest:
        raise InputError(f"{name}: is larger than {kind} can be ({largest:,} bytes)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name}: is not text (UTF-8)") from None
