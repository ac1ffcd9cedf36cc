"""How coarse time must be for CP-SAT, whose integers are limited."""

from __future__ import annotations

from collections.abc import Iterable

from solver.errors import InputError

LARGEST_HORIZON = 2**50
"""A whole schedule may take this many steps: CP-SAT's answers pass through floats, which are whole up to 2**53."""

FINEST_PER_SHORTEST = 100_000
"""Where durations must be rounded, the shortest still counts this many steps."""


def time_step(durations: Iterable[int], lags: Iterable[int]) -> int:
    """Choose how many ticks make one step of CP-SAT's time: 1 wherever the whole horizon fits.

    Parameters
    ----------
    durations, lags : iterable of int
        All that may follow one another, in ticks. Durations of 0 are not lost in any rounding.

    Raises
    ------
    InputError
        If the shortest duration would be lost in rounding.
    """
    lengths = list(durations)
    horizon = sum(lengths) + sum(lags)
    step = max(1, -(-horizon // LARGEST_HORIZON))
    shortest = min((length for length in lengths if length), default=1)
    if step > 1 and step * FINEST_PER_SHORTEST > shortest:
        raise InputError(
            "engine: cpsat cannot tell the shortest duration from rounding beside the longest "
            f"(all together are {horizon // shortest:.1e} times the shortest); use --engine graph, which is exact"
        )
    return step
