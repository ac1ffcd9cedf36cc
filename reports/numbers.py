"""Numbers for people: enough digits to tell schedules apart, no exponents for ordinary sizes."""

from __future__ import annotations

import math


def number(value: float, digits: int = 7) -> str:
    """Write a number with about so many significant digits, never losing whole ones of up to a dozen."""
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -5 <= size < 12:
        return f"{value:.{digits - 1}g}"
    text = f"{value:.{max(0, digits - 1 - size)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


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
