"""Exact bounds from multipliers that a linear program found in floating point.

For any weights Y ≥ 0 of paths and any multipliers M of rows, and every split x in a box that keeps the rows,

    ΣY · T  ≥  Σ Y (A x + c) + Σ M (side − G x)
            ≥  Σ Y c + Σ M side + Σ_k min over the box of d_k x_k,     d = Σ Y A − Σ M G,

where the side of a row is its lower one for M > 0 and its upper one for M < 0, so that M (side − G x) ≤ 0. So the proof
holds for any rounding of the multipliers, which only weakens the bound a little; everything is computed in whole
numbers. With Y = 0, a positive right-hand side proves that the box contains no split at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.partitioning.problem import Numbers
from solver.partitioning.rows import NO_SIDE

BITS = 32
"""Multipliers are counted in units of 2 to the minus this."""


@dataclass(frozen=True)
class Certificate:
    """Whole multipliers and the bound that they prove.

    Attributes
    ----------
    weight : int
        ΣY.
    value : int
        The right-hand side: the weight times a lower bound.
    reduced : array of int
        d, by columns.
    multipliers : array of int
        M, by rows.
    """

    weight: int
    value: int
    reduced: Numbers
    multipliers: Numbers

    @property
    def is_contradiction(self) -> bool:
        """Whether the box contains no split."""
        return self.weight == 0 and self.value > 0

    def bound(self, step: int) -> int:
        """Return the lower bound if lengths are multiples of a step; no length is negative."""
        if self.weight == 0:
            return 0
        return max(0, -(-self.value // (self.weight * step)) * step)


def certificate(
    weights: npt.NDArray[np.float64],
    paths: Numbers,
    constants: Numbers,
    multipliers: npt.NDArray[np.float64],
    rows: Numbers,
    sides: tuple[Numbers, Numbers],
    box: tuple[Numbers, Numbers],
) -> Certificate:
    """Round multipliers and compute exactly what they prove.

    Parameters
    ----------
    weights : array of float
        The weights of the paths; they sum to about 1, or are all 0.
    paths, constants : array of int
        The factors and constants of the paths.
    multipliers : array of float
        The multipliers of the rows.
    rows : array of int
        The factors of the rows.
    sides : pair of array of int
        The lower and upper sides of the rows; beyond ``NO_SIDE`` there is none.
    box : pair of array of int
        The least and the greatest value of each column.
    """
    low_side, high_side = sides
    scale = float(1 << BITS)
    chosen = np.flatnonzero(weights > 0)
    whole = [int(weight * scale) for weight in weights[chosen]]
    used = [
        place
        for place in np.flatnonzero(multipliers)
        if (low_side[place] > -NO_SIDE if multipliers[place] > 0 else high_side[place] < NO_SIDE)
    ]
    signed = [int(value * scale) for value in multipliers[used]]
    total = sum(whole)
    reach = total * _widest(paths[chosen]) + sum(map(abs, signed)) * _widest(rows[used])
    reach = reach * int(np.abs(box[1]).sum() + 1) + total * _widest(constants[chosen])
    side = np.array([low_side[at] if value > 0 else high_side[at] for at, value in zip(used, signed, strict=True)])
    reach += sum(map(abs, signed)) * _widest(side)
    # if all sums fit 64 bits, NumPy adds them up; otherwise Python's integers do, also exactly
    kind = np.int64 if reach < (1 << 62) else object
    y, m = np.array(whole, dtype=kind), np.array(signed, dtype=kind)
    reduced = y @ paths[chosen].astype(kind) - m @ rows[used].astype(kind)
    if not len(whole) + len(signed):
        reduced = np.zeros(paths.shape[1], dtype=kind)
    value = int(y @ constants[chosen].astype(kind)) + int(m @ side.astype(kind))
    value += int(np.where(reduced > 0, reduced * box[0], reduced * box[1]).sum())
    full = np.zeros(len(rows), dtype=kind)
    full[used] = m
    return Certificate(total, value, reduced, full)


def _widest(*arrays: Numbers) -> int:
    return max((int(np.abs(each).max(initial=0)) for each in arrays), default=0)
