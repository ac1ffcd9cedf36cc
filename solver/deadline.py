"""Deadlines, on the clock of `time.perf_counter`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

ITEMS_BETWEEN_LOOKS = 1024
"""The number of items between two checks."""


class OutOfTimeError(Exception):
    """A deadline has passed; results found before it are valid."""


def is_over(deadline: float | None) -> bool:
    """Return whether a deadline has passed; None never passes."""
    return deadline is not None and time.perf_counter() >= deadline


def check_time(deadline: float | None) -> None:
    """Stop after a deadline.

    Raises
    ------
    OutOfTimeError
        If the deadline has passed.
    """
    if is_over(deadline):
        raise OutOfTimeError


def until(over: Callable[[], bool], items: Iterable[Item]) -> Iterator[Item]:
    """Yield many items, and check regularly whether to stop.

    Raises
    ------
    OutOfTimeError
        If ``over()`` returns True.
    """
    for count, item in enumerate(items):
        if not count % ITEMS_BETWEEN_LOOKS and over():
            raise OutOfTimeError
        yield item
