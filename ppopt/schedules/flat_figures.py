"""Flattens figures into the columns of a table."""

from __future__ import annotations

from typing import Any


def flat(figures: dict[str, Any]) -> dict[str, Any]:
    """Write each entry of the ladder and of the noise as a separate figure."""
    plain = {key: value for key, value in figures.items() if not isinstance(value, dict)}
    nested = ((key, value) for key, value in figures.items() if isinstance(value, dict))
    return plain | {f"{key}_{part}": inner for key, value in nested for part, inner in value.items()}
