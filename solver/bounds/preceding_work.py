"""Heads and tails from the work that a device must have done before a task, or has yet to do after it.

What it is worth: row `preceding-work` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.bounds.network import Reach
from solver.deadline import check_time

Times = NDArray[np.int64]

BLOCK_ENTRIES = 2**17
"""A processor's cache holds the numbers for so many entries of a matrix: ten times as fast as all at once."""


def raised_heads(heads: Times, work: Times, before: Reach, *, deadline: float | None = None) -> Times:
    """Raise the heads of one device's tasks by the work of their predecessors on it.

    A task x waits for all its predecessors there. Those with a head of at least r do all their work after r, one at a
    time, so x starts no earlier than r + their work, for every r. (The one-machine head of Carlier and Pinson 1989.)

    Parameters
    ----------
    heads, work : arrays
        The heads and the durations, by place.
    before : matrix
        ``before[x, z]``: z strictly precedes x.
    deadline : float or None
        On the clock of `time.perf_counter`.

    Raises
    ------
    OutOfTimeError
        If the deadline passes first.
    """
    if not len(heads):
        return heads
    exact: Any = np.int32 if int(heads.max()) + int(work.sum()) < 2**31 else work.dtype
    latest_first = np.argsort(-heads, kind="stable")
    works, starts = work[latest_first].astype(exact), heads[latest_first].astype(exact)
    raised = heads.copy()
    for rows in _blocks(before):
        check_time(deadline)
        done = np.cumsum(before[rows][:, latest_first] * works, axis=1, dtype=exact)
        arrivals = (done + starts) * (done > 0)
        raised[rows] = np.maximum(heads[rows], arrivals.max(axis=1))
    return raised


def total_before(work: Times, before: Reach) -> Times:
    """Sum the work of each task's predecessors on the device."""
    sums = [(before[rows] * work).sum(axis=1) for rows in _blocks(before)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *sums])


def _blocks(matrix: Reach) -> Iterator[slice]:
    """Split the rows of a matrix into blocks."""
    height, width = matrix.shape
    rows = max(1, BLOCK_ENTRIES // max(1, width))
    yield from (slice(start, start + rows) for start in range(0, height, rows))
