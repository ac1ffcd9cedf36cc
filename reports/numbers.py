"""Numbers for people: enough digits to tell schedules apart, no exponents for ordinary sizes."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

MEASURED = 4
"""So many digits of what was measured mean something."""

LEAST_MEASURED = 1e-6
"""What was measured in milliseconds and is less than that, a nanosecond, is what adding up floats leaves of 0."""


def number(value: float, digits: int = 7) -> str:
    """Write a number with about so many significant digits, never losing whole ones of up to a dozen.

    Halves are rounded away from zero, as browsers do: a value reads the same in a sentence and in a chart.
    """
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -5 <= size < 12:
        return f"{value:.{digits - 1}g}"
    text = str(Decimal(float(value)).quantize(Decimal(1).scaleb(-max(0, digits - 1 - size)), ROUND_HALF_UP))
    return text.rstrip("0").rstrip(".") if "." in text else text


def milliseconds(value: float) -> str:
    """Write a measured time with the digits that mean something."""
    return "0" if abs(value) < LEAST_MEASURED else number(value, MEASURED)


def digits_of(status: str) -> int:
    """Return how many digits a figure is written with: less of what was measured than of what was computed."""
    return MEASURED if status == "measured" else 7


def grouped(value: float, digits: int = 7) -> str:
    """Write a number as `number` does, its thousands set apart by commas."""
    whole, point, rest = number(value, digits).partition(".")
    if "e" in whole:
        return whole + point + rest
    return f"{int(whole):,}{point}{rest}" if abs(int(whole)) >= 1000 else whole + point + rest


def with_unit(text: str, unit: str | None) -> str:
    """Write a unit behind a number; nothing where it has none."""
    return f"{text} {unit}" if unit else text


def titled(title: str, unit: str | None) -> str:
    """Write a unit into the title of a column or an axis; nothing where it has none."""
    return f"{title}, {unit}" if unit else title


def percent(ratio: float) -> str:
    """Write a ratio in percent, with two decimals; with an exponent where that takes too much room."""
    if abs(ratio) >= 1e4:
        return f"{100 * ratio:.2e}%"
    text = f"{100 * ratio:.2f}%"
    return "0.00%" if text == "-0.00%" else text


def signed_percent(ratio: float) -> str:
    """Write by how much something is more or less, in percent with its sign and one decimal: −18.0%."""
    if abs(ratio) >= 1e4:
        return f"{100 * ratio:+.2e}%".replace("-", "−", 1)
    text = f"{100 * abs(ratio):.1f}%"
    return text if text == "0.0%" else ("−" if ratio < 0 else "+") + text
