"""Numbers as users write them: read exactly, refused with a reason."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from numbers import Rational
from typing import TypeAlias

from solver.exact import exact

SMALLEST, LARGEST = Fraction(1, 10**30), Fraction(10**30)
"""A duration outside is a slip of the pen; inside, every figure still fits a float."""

PerStage: TypeAlias = Fraction | tuple[Fraction, ...]
"""One number for all, or one each."""


def shown(value: object) -> str:
    """Write a value that was found, shortened, for a message."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        return "an integer of thousands of digits"


def refusal(expected: str, value: object) -> ValueError:
    """Make the error that says what was expected and what was found."""
    return ValueError(f"{expected}; found {shown(value)}")


def read_count(value: object) -> int:
    """Read a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise refusal("must be a whole number of at least 1", value)
    return value


def read_number(value: object) -> Fraction:
    """Read a finite number exactly."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Rational)):
        raise refusal("must be a number", value)
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise refusal("must be a finite number", value)
    number = exact(value)
    if number and not SMALLEST <= abs(number) <= LARGEST:
        raise refusal("must lie between 1e-30 and 1e30", value)
    return number


def read_duration(value: object) -> Fraction:
    """Read a number greater than 0."""
    number = read_number(value)
    if number <= 0:
        raise refusal("must be greater than 0", value)
    return number


def read_amount(value: object) -> Fraction:
    """Read a number of at least 0."""
    number = read_number(value)
    if number < 0:
        raise refusal("must be at least 0", value)
    return number


def read_each(read: Callable[[object], Fraction], what: str = "stage") -> Callable[[object], PerStage]:
    """Make a reader of one number for all, a list, or a mapping from stage (or device) to number.

    Parameters
    ----------
    read : callable
        Reads one number.
    what : str
        What the entries belong to: ``stage`` or ``device``.
    """

    def read_them(value: object) -> PerStage:
        entries = _entries(value, what)
        if entries is None:
            return read(value)
        return tuple(_read_entry(read, f"{what} {place}", entry) for place, entry in enumerate(entries))

    return read_them


def _read_entry(read: Callable[[object], Fraction], where: str, value: object) -> Fraction:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _entries(value: object, what: str) -> list[object] | None:
    """List the entries of a list or mapping; None for a single value."""
    if isinstance(value, Mapping):
        return _in_order({_place(key, what): entry for key, entry in value.items()}, what)
    if not isinstance(value, (list, tuple)):
        return None
    if not value:
        raise ValueError(f"must be a number, or one for each {what}; found an empty list")
    return list(value)


def _place(key: object, what: str) -> int:
    if isinstance(key, str) and key.isdecimal() and len(key) < 10:
        return int(key)
    if isinstance(key, bool) or not isinstance(key, int) or key < 0:
        raise ValueError(f"must name each {what} by a whole number from 0; found {shown(key)}")
    return key


def _in_order(entries: dict[int, object], what: str) -> list[object]:
    missing = [place for place in range(len(entries)) if place not in entries]
    if missing or not entries:
        raise ValueError(f"must name every {what} from 0; {what} {missing[0] if missing else 0} is missing")
    return [entries[place] for place in range(len(entries))]
