"""All known paths: each is a lower bound of the longest path, linear in the contents of the bins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.partitioning.longest_path import Path
from solver.partitioning.problem import Numbers


class Pool:
    """Paths, without duplicates.

    Parameters
    ----------
    columns : int
        The problem's number of columns.

    Attributes
    ----------
    count : int
        The number of paths.
    """

    def __init__(self, columns: int) -> None:
        self.count = 0
        self._factors = np.zeros((64, columns), dtype=np.int64)
        self._constants = np.zeros(64, dtype=np.int64)
        self._floats = np.zeros((64, columns))
        self._known: dict[tuple[bytes, int], int] = {}

    @property
    def factors(self) -> Numbers:
        """The factors of all paths, one row each."""
        return self._factors[: self.count]

    @property
    def constants(self) -> Numbers:
        """The sum of the lags on each path."""
        return self._constants[: self.count]

    def add(self, path: Path) -> int:
        """Add a path; return its position, even if it was known already."""
        key = (path.factors.tobytes(), path.constant)
        place = self._known.get(key)
        if place is not None:
            return place
        if self.count == len(self._factors):
            self._factors = np.concatenate([self._factors, np.zeros_like(self._factors)])
            self._constants = np.concatenate([self._constants, np.zeros_like(self._constants)])
            self._floats = np.concatenate([self._floats, np.zeros_like(self._floats)])
        self._factors[self.count] = path.factors
        self._floats[self.count] = path.factors
        self._constants[self.count] = path.constant
        self._known[key] = self.count
        self.count += 1
        return self.count - 1

    def lengths(self, amounts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Estimate the length of each path; amounts may be fractions, or several splits as columns."""
        found = self._floats[: self.count] @ amounts
        constants = self._constants[: self.count]
        return found + (constants if found.ndim == 1 else constants[:, None])
