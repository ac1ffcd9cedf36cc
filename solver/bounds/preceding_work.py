"""Heads and tails from the work that a device must have done before a task, or has yet to do after it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.bounds.network import Reach

Times = NDArray[np.int64]


def raised_heads(heads: Times, work: Times, before: Reach) -> Times:
    """Raise the heads of one device's tasks by the work of their predecessors on it.

    A task x waits for all its predecessors there. Those with a head of at least r do all their work after r, one at a
    time, so x starts no earlier than r + their work, for every r. (The one-machine head of Carlier and Pinson 1989.)

    Parameters
    ----------
    heads, work : arrays
        The heads and the durations, by place.
    before : matrix
        ``before[x, z]``: z strictly precedes x.
    """
    if not len(heads):
        return heads
    exact: Any = np.int32 if int(heads.max()) + int(work.sum()) < 2**31 else np.int64
    latest_first = np.argsort(-heads, kind="stable")
    done = np.cumsum(before[:, latest_first] * work[latest_first].astype(exact), axis=1, dtype=exact)
    arrivals = (done + heads[latest_first].astype(exact)) * (done > 0)
    raised: Times = np.maximum(heads, arrivals.max(axis=1))
    return raised


def total_before(work: Times, before: Reach) -> Times:
    """Sum the work of each task's predecessors on the device."""
    total: Times = (before * work).sum(axis=1)
    return total
