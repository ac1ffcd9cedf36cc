"""The random numbers of all inner loops, as plain Python, and as the source that numba compiles with them."""

from __future__ import annotations

from typing import Any

LARGEST = 2147483646
"""A state is a whole number from 1 to this."""


def state_of(seed: int) -> int:
    """Make the state that a seed begins with: a few draws on, since the first ones of small seeds are small."""
    slots = [seed % LARGEST + 1]
    for _ in range(8):
        draw(slots, 2)
    return slots[0]


def draw(slots: Any, below: int) -> int:
    """Draw a whole number below a bound (Lehmer's generator: it fits 64 bits and is the same everywhere).

    Parameters
    ----------
    slots : list or array of int
        The state of the random numbers, in the first place.
    below : int
        At most 2^28.
    """
    number: int = slots[0] * 48271 % 2147483647
    slots[0] = number
    return (number >> 3) % below
