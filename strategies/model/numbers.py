"""Numbers as users write them: read exactly, or refused with a reason."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import TypeAlias, TypeVar

from solver.errors import InputError
from solver.exact import exact

SMALLEST, LARGEST = Fraction(1, 10**30), Fraction(10**30)
"""Allowed durations: anything outside is surely a typo, and inside every figure fits a float."""

SEEDS = 2**31
"""The number of seeds."""

_Read = TypeVar("_Read")

PerStage: TypeAlias = Fraction | tuple[Fraction, ...]
"""One number for all, or one each."""


class _Shortened(reprlib.Repr):
    def repr_Decimal(self, value: Decimal, _level: int) -> str:  # noqa: N802  # reprlib asks for the type's name
        text = str(value)
        return text if len(text) <= 40 else f"{text[:37]}..."

    def repr_Fraction(self, value: Fraction, _level: int) -> str:  # noqa: N802
        try:
            return repr(float(value))
        except OverflowError:
            return "a number of hundreds of digits"


_SHORTENED = _Shortened()


def shown(value: object) -> str:
    """Write a found value for a message: shortened, on one line."""
    try:
        return in_one_line(_SHORTENED.repr(value))
    except ValueError:  # Python refuses to write integers of thousands of digits
        return "an integer of thousands of digits"


_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPED = {code: chr(code).encode("unicode_escape").decode() for code in _CONTROLS}


def in_one_line(text: object) -> str:
    """Write outside text, such as a file's name, for a message: on one line, without control characters."""
    return " ".join(str(text).splitlines()).translate(_ESCAPED)


def as_said(error: Exception) -> str:
    """Write the error of a parser, without Python's advice on numbers of thousands of digits."""
    if "set_int_max_str_digits" in str(error):
        return "a number has thousands of digits; numbers lie between 1e-30 and 1e30"
    return " ".join(str(error).split())[:300]


def written_number(text: str) -> Decimal:
    """Read a number with every digit as written; a float would round it, and tiny numbers to 0.

    Raises
    ------
    ValueError
        If it is not a number, or its exponent has too many digits.
    """
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]!r} is not a number between 1e-30 and 1e30") from None


def refusal(expected: str, value: object) -> ValueError:
    """Make the error that names the expected and the found value."""
    return ValueError(f"{expected}; found {shown(value)}")


def read_count(value: object) -> int:
    """Read a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise refusal("must be a whole number of at least 1", value)
    return int(value)


def check_seed(seed: object) -> None:
    """Refuse a seed that not every random generator accepts: solvers in C take 31 bits.

    Raises
    ------
    InputError
        If the seed is not allowed; the message says which seeds are.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS:
        raise InputError(f"seed: must be a whole number from 0 to {SEEDS - 1}; found {shown(seed)}")


def read_number(value: object) -> Fraction:
    """Read a finite number exactly."""
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise refusal("must be a number", value)
    if not (value.is_finite() if isinstance(value, Decimal) else isinstance(value, Rational) or math.isfinite(value)):
        raise refusal("must be a finite number", value)
    if not value:
        return Fraction(0)
    # checked before writing it out exactly, which takes as many digits as the exponent says
    far_off = isinstance(value, Decimal) and abs(value.adjusted()) > 31
    number = None if far_off else _exactly(value)
    if number is None or not SMALLEST <= abs(number) <= LARGEST:
        raise refusal("must lie between 1e-30 and 1e30", value)
    return number


def _exactly(value: Real | Decimal) -> Fraction:
    if isinstance(value, (float, Rational, Decimal)):
        return exact(value)
    return Fraction(str(value))  # e.g. NumPy's float32: its shortest decimal form, as for a float


LONGEST_UNIT = 12
"""Most characters of a unit, since it follows every figure."""


def read_unit(value: object) -> str:
    """Read the name of a unit."""
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= LONGEST_UNIT
        or value != value.strip()
        or not value.isprintable()
        or not any(map(str.isalpha, value))
    ):
        raise refusal(f"must be the short name of a unit, such as ms, with at most {LONGEST_UNIT} characters", value)
    return value


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


def read_share(value: object) -> Fraction:
    """Read a number from 0 to 1."""
    number = read_number(value)
    if not 0 <= number <= 1:
        raise refusal("must lie between 0 and 1", value)
    return number


def read_overlap(value: object) -> Fraction:
    """Read σ: blocks last F + B − σ · min(F, B), which is more than nothing below 2."""
    number = read_number(value)
    if not 0 <= number < 2:
        raise refusal("must be at least 0 and less than 2", value)
    return number


def read_each(read: Callable[[object], Fraction], what: str = "stage") -> Callable[[object], PerStage]:
    """Make a function that reads one number for all, a list, or a mapping from stage (or device) to number.

    Parameters
    ----------
    read : callable
        Reads one number.
    what : str
        Whether the entries belong to a ``stage`` or a ``device``.
    """

    def read_them(value: object) -> PerStage:
        entries = _entries(value, what)
        if entries is None:
            return read(value)
        return tuple(read_entry(read, f"{what} {place}", entry) for place, entry in enumerate(entries))

    return read_them


def read_entry(read: Callable[[object], _Read], where: str, value: object) -> _Read:
    """Read one of several values; what is wrong with it is said with its place."""
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _entries(value: object, what: str) -> list[object] | None:
    """List the entries of a list or mapping; None for a single value."""
    if isinstance(value, Mapping):
        return _in_order(_by_place(value, what), what)
    if not isinstance(value, (list, tuple)):
        return None
    if not value:
        raise ValueError(f"must be a number, or one for each {what}; found an empty list")
    return list(value)


def _by_place(value: Mapping[object, object], what: str) -> dict[int, object]:
    entries: dict[int, object] = {}
    for key, entry in value.items():
        place = _place(key, what)
        if place in entries:
            raise ValueError(f"must name each {what} once; {what} {place} appears twice")
        entries[place] = entry
    return entries


def _place(key: object, what: str) -> int:
    if isinstance(key, str) and key.isdecimal() and len(key) < 10:
        return int(key)
    if isinstance(key, bool) or not isinstance(key, Integral) or key < 0:
        raise ValueError(f"must name each {what} by a whole number from 0; found {shown(key)}")
    return int(key)


def _in_order(entries: dict[int, object], what: str) -> list[object]:
    missing = [place for place in range(len(entries)) if place not in entries]
    if missing or not entries:
        raise ValueError(f"must name every {what} from 0; {what} {missing[0] if missing else 0} is missing")
    return [entries[place] for place in range(len(entries))]
