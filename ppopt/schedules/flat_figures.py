"""Figures without nesting, as rows of a table have them."""

from __future__ import annotations

from typing import Any


def flat(figures: dict[str, Any]) -> dict[str, Any]:
    """Write the entries of the ladder, and of the noise, as figures of their own."""
    plain = {key: value for key, value in figures.items() if not isinstance(value, dict)}
    nested = ((key, value) for key, value in figures.items() if isinstance(value, dict))
    return plain | {f"{key}_{part}": inner for key, value in nested for part, inner in value.items()}
