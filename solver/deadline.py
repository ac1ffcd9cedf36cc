"""Deadlines, on the clock of `time.perf_counter`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

ITEMS_BETWEEN_LOOKS = 1024
"""So many items are gone through between two looks at the clock."""


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


def until(over: Callable[[], bool], items: Iterable[Item]) -> Iterator[Item]:
    """Go through many items, and ask again and again whether that is over.

    Raises
    ------
    OutOfTimeError
        If it is.
    """
    for count, item in enumerate(items):
        if not count % ITEMS_BETWEEN_LOOKS and over():
            raise OutOfTimeError
        yield item
