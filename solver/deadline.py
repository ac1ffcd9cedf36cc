"""Deadlines, on the clock of `time.perf_counter`."""

from __future__ import annotations

import time


class OutOfTimeError(Exception):
    """A deadline has passed; what was found before it holds."""


def is_over(deadline: float | None) -> bool:
    """Return whether a deadline has passed; none never does."""
    return deadline is not None and time.perf_counter() >= deadline


def check_time(deadline: float | None) -> None:
    """Refuse to go on behind a deadline.

    Raises
    ------
    OutOfTimeError
        If it has passed.
    """
    if is_over(deadline):
        raise OutOfTimeError
