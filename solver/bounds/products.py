"""Products of large matrices that keep a deadline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.deadline import check_time

MOST_MULTIPLICATIONS = 2**30
"""So many are done between two looks at the clock."""


def product(left: NDArray[Any], right: NDArray[Any], *, deadline: float | None = None) -> NDArray[Any]:
    """Multiply two matrices of one type, some rows at a time.

    Raises
    ------
    OutOfTimeError
        If the deadline (of `time.perf_counter`) passes first.
    """
    found = np.empty((left.shape[0], right.shape[1]), dtype=left.dtype)
    rows = max(1, MOST_MULTIPLICATIONS // max(1, right.size))
    for start in range(0, len(left), rows):
        check_time(deadline)
        np.matmul(left[start : start + rows], right, out=found[start : start + rows])
    return found
