"""Rows that follow from a limit because numbers of items are whole: mixed-integer roundings.

Let Σ a_k x_k ≤ b for whole x_k ≥ 0, and divide by d: a_k = q_k d + r_k and b = Q d + r with 0 ≤ r_k, r < d. Then

    Σ ((d − r) q_k + max(0, r_k − r)) x_k  ≤  (d − r) Q.

Proof: let S be the k with r_k > r. Since Σ a_k x_k = d z − Σ_S (d − r_k) x_k + Σ_others r_k x_k for the whole number
z = Σ q_k x_k + Σ_S x_k, and r_k ≥ 0, we have d z − s ≤ b = d Q + r for s = Σ_S (d − r_k) x_k ≥ 0. If z ≤ Q, then
(d − r)(z − Q) ≤ 0 ≤ s. If z ≥ Q + 1, then s ≥ d (z − Q) − r ≥ (d − r)(z − Q), since z − Q ≥ 1. So in both cases
(d − r) z − s ≤ (d − r) Q, and the factor of x_k on the left is (d − r) q_k, plus (d − r) − (d − r_k) = r_k − r in S.

A column x with a greatest value u may be replaced by u − x, which is whole and at least 0, too. All numbers are whole,
so the rows are exact.

What it is worth: row `roundings` of docs/development/ablation.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.partitioning.problem import Numbers

MOST_DIVISORS = 8
"""The most divisors tried for a limit."""

LEAST_SHARE = 8
"""Differences of two factors count as divisors if they are at least the largest factor divided by this."""

DEEP = 1e-3
"""Rows that are violated by less than this, as a distance, are not worth adding."""


class Roundings:
    """Finds violated roundings of limits.

    Parameters
    ----------
    rows : array of int
        The factors of the limits.
    most : array of int
        Their greatest values.
    """

    def __init__(self, rows: Numbers, most: Numbers) -> None:
        each = [(number, divisor) for number, row in enumerate(rows) for divisor in _divisors(row)]
        numbers, self.divisors = np.array(each, dtype=np.int64).reshape(-1, 2).T
        self.rows, self.most = rows[numbers], most[numbers]
        self.floats = self.rows.astype(float)

    def violated(self, point: npt.NDArray[np.float64], high: Numbers, count: int) -> list[tuple[Numbers, int]]:
        """Return the roundings that a point violates most, as factors and least values.

        Parameters
        ----------
        point : array of float
            By columns.
        high : array of int
            The greatest value of each column.
        count : int
            The most roundings to return.
        """
        near = np.flatnonzero(self.floats @ point > self.most - self.divisors)
        if not near.size:
            return []
        signs = np.where(point > high / 2, -1, 1)
        turned = np.where(signs < 0, high, 0)
        here = np.where(signs < 0, high - point, point)
        rows, divisors = self.rows[near] * signs, self.divisors[near, None]
        whole, rest = np.divmod(self.most[near, None] - (self.rows[near] @ turned)[:, None], divisors)
        parts, rests = np.divmod(rows, divisors)
        factors = (divisors - rest) * parts + np.maximum(0, rests - rest)
        sides = ((divisors - rest) * whole)[:, 0]
        sizes = np.sqrt(np.maximum(1.0, (factors.astype(float) ** 2).sum(axis=1)))
        over = (factors @ here - sides) / sizes
        found = []
        for place in np.argsort(-over, kind="stable")[:count].tolist():
            if over[place] <= DEEP:
                break
            least = int(factors[place] @ turned) - int(sides[place])
            row = -factors[place] * signs
            common = max(1, int(np.gcd.reduce(row)))
            found.append((row // common, -(-least // common)))
        return found


def _divisors(row: Numbers) -> list[int]:
    """Return the largest factors of a row, and their differences: the roundings that use them keep most of it."""
    largest = np.unique(row[row > 0])[::-1][: MOST_DIVISORS // 2].tolist()
    found = dict.fromkeys(largest)
    for place, first in enumerate(largest):
        found |= dict.fromkeys(
            first - other for other in largest[place + 1 :] if LEAST_SHARE * (first - other) >= first
        )
    return [divisor for divisor in found if divisor > 1][:MOST_DIVISORS]
