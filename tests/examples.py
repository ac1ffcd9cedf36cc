"""How many examples a property is tried on."""

from __future__ import annotations

import os

ALL = bool(os.environ.get("PPOPT_ALL_EXAMPLES"))
"""Whether all are tried, as in `make test-slow`; `make test` tries a fifth."""


def examples(number: int) -> int:
    """Return how many of the examples of a property are tried."""
    return number if ALL else max(3, number // 5)
