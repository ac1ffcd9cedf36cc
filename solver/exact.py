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


def written_bound(bound: Fraction, value: Fraction) -> float:
    """Write a lower bound as a float, below that of a value unless both are exactly equal.

    Two numbers closer than a float can tell would read as equal, and so as a proof.

    Parameters
    ----------
    bound : Fraction
        The bound.
    value : Fraction
        The value that it bounds.

    Returns
    -------
    float
        The nearest float, or the one below that of the value.
    """
    written, below = float(bound), float(value)
    return math.nextafter(below, -math.inf) if bound < value and written >= below else written
