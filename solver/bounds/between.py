"""Whether any schedule can have a length between a bound and the best one known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.problem import Problem

MOST_AMOUNTS = 7
"""Of more different durations and lags there are too many sums for two of them to be far apart."""

MOST_PASSES = 2000


def none_between(counts: Mapping[Fraction, int], bound: Fraction, best: Fraction) -> bool:
    """Return whether it is shown that no schedule is shorter than the best one known.

    The makespan of a schedule is a sum of durations and lags along a path, each counted a whole number of times. So the
    best known makespan less the least one is Σ d·c over the different amounts c, with whole d, |d| ≤ N: the number of
    tasks and lags of that amount, and no more than fit the makespan. Of those sums, all that are not 0 may be larger
    than what is open, which is best − bound; then nothing is.

    That is a question about short vectors: with d, (d₁ ÷ N₁, d₂ ÷ N₂, …, Σ d·c ÷ open) is a vector of a lattice, and
    of those asked for no entry is above 1, so that the square of its length is at most their number. Any vector that is
    not made of some first vectors of a basis alone is at least as long as the least of what the others are at right
    angles to all before them (Gram and Schmidt). So it suffices to find a basis whose first vectors have Σ d·c = 0, and
    whose others are long in this sense. A reduced one (Lenstra, Lenstra and Lovász 1982) is found in floating point,
    and looked at exactly.

    Parameters
    ----------
    counts : mapping of number to int
        The different durations and lags, none of them 0, and how often a path may count each.
    bound, best : number
        A bound on the makespan, and a makespan.
    """
    open_ = best - bound
    if open_ <= 0 or not 0 < len(counts) <= MOST_AMOUNTS:
        return open_ <= 0
    most = {amount: min(count, int(best / amount)) for amount, count in counts.items() if amount <= best}
    rows = [
        [*(Fraction(place == other, most[amount]) for other in range(len(most))), amount / open_]
        for place, amount in enumerate(most)
    ]
    return _are_long(_reduced(rows), len(most) + 1)


def amounts_on_paths(problem: Problem) -> Counter[Fraction]:
    """Count the different durations and lags that a path may add up."""
    return Counter(Fraction(amount) for amount in _amounts(problem) if amount)


def _amounts(problem: Problem) -> Iterator[int]:
    """List how much each part of a path may add: as often as it can."""
    yield from (task.duration for task in problem.tasks.values())
    yield from problem.merged_durations.values()
    for first in problem.fusing.firsts:
        yield from {each for (one, _), each in problem.fusing.durations.items() if one == problem.fusing.firsts[first]}
    for before, after, lag in problem.precedences:
        moving = problem.moves.get((before, after), 0)
        yield lag - moving
        yield moving


def _reduced(rows: Sequence[Sequence[Fraction]]) -> list[list[Fraction]]:
    """Make a basis of the same lattice with shorter vectors."""
    basis = [list(row) for row in rows]
    place = 1
    for _ in range(MOST_PASSES):
        if place >= len(basis):
            break
        triangle: NDArray[Any] = np.array(np.linalg.qr(np.array(basis, dtype=float).T, mode="r"))
        for other in reversed(range(place)):
            factor = round(float(triangle[other, place] / triangle[other, other]))
            if factor:
                triangle[:, place] -= factor * triangle[:, other]
                basis[place] = [a - factor * b for a, b in zip(basis[place], basis[other], strict=True)]
        ahead, here, beside = triangle[place - 1, place - 1], triangle[place, place], triangle[place - 1, place]
        if here**2 + beside**2 < 0.99 * ahead**2:
            basis[place - 1], basis[place] = basis[place], basis[place - 1]
            place = max(1, place - 1)
        else:
            place += 1
    return basis


def _are_long(basis: Sequence[Sequence[Fraction]], square: int) -> bool:
    """Return whether all vectors of a lattice whose last entry is not 0 are longer than the root of a square."""
    upright: list[list[Fraction]] = []
    counts = False
    for row in basis:
        counts = counts or row[-1] != 0
        left = list(row)
        for other in upright:
            factor = _product(row, other) / _product(other, other)
            left = [a - factor * b for a, b in zip(left, other, strict=True)]
        if counts and _product(left, left) <= square:
            return False
        upright.append(left)
    return True


def _product(one: Sequence[Fraction], other: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(one, other, strict=True)), Fraction(0))
