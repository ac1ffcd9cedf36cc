"""Exact numbers: durations and amounts of memory become integers without rounding."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from numbers import Rational


def exact(value: float | Decimal | Rational) -> Fraction:
    """Read a number as the decimal that was written.

    Parameters
    ----------
    value : number
        A finite number. A float stands for its shortest decimal form: 0.1 is one tenth, not the nearest binary number.

    Returns
    -------
    Fraction
        The exact value.

    Raises
    ------
    ValueError
        For NaN and infinities.
    """
    if isinstance(value, Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, float):
        return Fraction(repr(float(value)))
    return Fraction(value)


def common_scale(values: Iterable[Fraction]) -> int:
    """Find the smallest factor that makes every value whole (the least common denominator)."""
    return math.lcm(*(value.denominator for value in values))


def in_ticks(value: Fraction, scale: int) -> int:
    """Convert a value to ticks of ``1 / scale``.

    Raises
    ------
    ValueError
        If the value is not a whole number of ticks: nothing is ever rounded here.
    """
    ticks, rest = divmod(value.numerator * scale, value.denominator)
    if rest:
        raise ValueError(f"{value} is not a whole number of ticks of 1/{scale}")
    return ticks
