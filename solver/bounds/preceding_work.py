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
    latest_first = np.argsort(-heads, kind="stable")
    ordered = before[:, latest_first]
    done = np.cumsum(np.where(ordered, work[latest_first], 0), axis=1)
    arrivals = np.where(ordered, done + heads[latest_first], 0)
    raised: Times = np.maximum(heads, arrivals.max(axis=1))
    return raised


def total_before(work: Times, before: Reach) -> Times:
    """Sum the work of each task's predecessors on the device."""
    total: Any = np.where(before, work, 0).sum(axis=1)
    return np.asarray(total, dtype=np.int64)
