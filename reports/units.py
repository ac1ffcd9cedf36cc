"""The units of a configuration, and figures in the unit that a person reads: 1.168 s for 1,168,000 us."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reports.numbers import grouped, with_unit

TIME_TITLES = ("makespan", "span", "bound")
MEMORY_TITLES = ("memory", "limit")
"""The titles of columns that hold times, and of those that hold memory."""

_TIMES = (("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9))
_DECIMAL = tuple((unit, 1e3**power) for power, unit in enumerate(("B", "kB", "MB", "GB", "TB", "PB")))
_BINARY = tuple((unit, 1024.0**power) for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB")))
_SPELLINGS = {"µs": "us", "μs": "us", "sec": "s", "seconds": "s", "KB": "kB", "bytes": "B"}
READABLE = 4
"""Significant digits of a figure at first sight; tables hold all of them."""


class Units(NamedTuple):
    """The names of the units of time and of memory; empty where they have none."""

    time: str = ""
    memory: str = ""

    def of(self, title: str) -> str:
        """Return the unit of a column."""
        return self.time if title in TIME_TITLES else self.memory if title in MEMORY_TITLES else ""

    def below(self, titles: Sequence[str]) -> list[Sequence[str]]:
        """Make the line of units below the titles of a table; none if no column has a unit."""
        units = [self.of(title) for title in titles]
        return [units] if any(units) else []


_ROUNDED_UP = 0.99995
"""From this share of a unit on, four digits round to 1 of it."""


NO_UNITS = Units()


def in_best_unit(value: float, unit: str) -> str:
    """Write a figure with four digits; beyond 1,000 or below 0.1, in the largest unit in which it is at least 1.

    Parameters
    ----------
    value : float
        The figure.
    unit : str
        The unit that it is counted in; a name that is no known unit of time or memory is kept.
    """
    named = _SPELLINGS.get(unit, unit)
    ladder = next((each for each in (_TIMES, _DECIMAL, _BINARY) if named in dict(each)), ())
    if not ladder or not value or 0.1 <= abs(value) < 1000 * _ROUNDED_UP:
        return with_unit(grouped(value, READABLE), unit)
    base = value * dict(ladder)[named]
    scaled, size = [each for each in ladder if abs(base) >= each[1] * _ROUNDED_UP or each is ladder[0]][-1]
    return f"{grouped(base / size, READABLE)} {scaled}"
