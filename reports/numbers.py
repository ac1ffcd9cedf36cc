"""Formats numbers for readers: enough digits to tell schedules apart, no exponents for ordinary sizes."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

MEASURED = 4
"""Significant digits of measured times."""

LEAST_MEASURED = 1e-6
"""Measured milliseconds below this, a nanosecond, are rounding errors of float sums that should be 0."""


def number(value: float, digits: int = 7) -> str:
    """Write a number with about ``digits`` significant digits, but keep every digit of whole parts of up to twelve.

    Halves are rounded away from zero, as in browsers, so a value reads the same in a sentence and in a chart.
    """
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -5 <= size < 12:
        return f"{value:.{digits - 1}g}"
    text = str(Decimal(float(value)).quantize(Decimal(1).scaleb(-max(0, digits - 1 - size)), ROUND_HALF_UP))
    return text.rstrip("0").rstrip(".") if "." in text else text


def milliseconds(value: float) -> str:
    """Write a measured time with its significant digits."""
    return "0" if abs(value) < LEAST_MEASURED else number(value, MEASURED)


def digits_of(status: str) -> int:
    """Return the number of digits of a figure: fewer if it was measured than if it was computed."""
    return MEASURED if status == "measured" else 7


def grouped(value: float, digits: int = 7) -> str:
    """Write a number as `number` does, with commas between thousands."""
    whole, point, rest = number(value, digits).partition(".")
    if "e" in whole:
        return whole + point + rest
    return f"{int(whole):,}{point}{rest}" if abs(int(whole)) >= 1000 else whole + point + rest


def with_unit(text: str, unit: str | None) -> str:
    """Append a unit to a number, if there is one."""
    return f"{text} {unit}" if unit else text


def titled(title: str, unit: str | None) -> str:
    """Append a unit to the title of a column or an axis, if there is one."""
    return f"{title}, {unit}" if unit else title


def percent(ratio: float) -> str:
    """Write a ratio in percent with two decimals, or with an exponent if that takes too much room.

    Halves are rounded as in `number`.
    """
    if abs(ratio) >= 1e4:
        return f"{100 * ratio:.2e}%"
    text = f"{Decimal(100 * ratio).quantize(Decimal('0.01'), ROUND_HALF_UP)}%"
    return "0.00%" if text == "-0.00%" else text


def signed_percent(ratio: float, decimals: int = 1) -> str:
    """Write a difference in percent, with its sign: −18.0%."""
    if abs(ratio) >= 1e4:
        return f"{100 * ratio:+.2e}%".replace("-", "−", 1)
    text = f"{100 * abs(ratio):.{decimals}f}%"
    return text if not float(text[:-1]) else ("−" if ratio < 0 else "+") + text
