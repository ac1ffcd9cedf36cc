"""How long a device must be idle at the start and at the end of any schedule.

What it is worth: row `idle-curves` of docs/development/ablation.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.bounds.network import Reach
from solver.numbered import integers
from solver.problem import Hold, Key

Numbers = NDArray[np.int64]

MOST_POINTS = 192
LARGEST_PRODUCT = 2**61


class Curve(NamedTuple):
    """A staircase: at least ``idle[i]`` of the time within ``points[i]`` of one end of the schedule is idle."""

    points: Numbers
    idle: Numbers


@dataclass(frozen=True)
class Pool:
    """The memory of one device as its idle curves see it; places are those of the device's members.

    Attributes
    ----------
    capacity : int
        What the device has, in the largest unit that divides all parts.
    takes : array
        One entry a hold.
    returns, parts : matrices
        One row a hold: its returns in the order that the precedences impose, and what each returns; rows are filled up
        at the end with the place −1 and the part 0.
    """

    capacity: int
    takes: Numbers
    returns: Numbers
    parts: Numbers

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Return where a row of ``returns`` holds a task."""
        return self.returns >= 0

    @cached_property
    def suffix_weights(self) -> Numbers:
        """Sum the parts from each return of a row to its last."""
        sums: Numbers = np.cumsum(self.parts[:, ::-1], axis=1)[:, ::-1]
        return sums


def make_pool(capacity: int, holds: Sequence[Hold], place: dict[Key, int], reach: Reach) -> Pool | None:
    """Collect the holds of a device whose returns are all there and follow one another after the take.

    Others are left out, and so is a hold that shares a task with one before it; memory that is not counted limits
    nothing. None where nothing is left.
    """
    rows: list[tuple[int, list[int], list[int]]] = []
    used: set[int] = set()
    for hold in holds:
        row = _row(hold, place, reach)
        if row is None or used & {row[0], *row[1]}:
            continue
        used |= {row[0], *row[1]}
        rows.append(row)
    if not rows or sum(sum(parts) for _, _, parts in rows) <= capacity:
        return None
    unit = math.gcd(*(part for _, _, parts in rows for part in parts))
    width = max(len(returns) for _, returns, _ in rows)
    return Pool(
        capacity=capacity // unit,
        takes=np.array([take for take, _, _ in rows], dtype=np.int64),
        returns=np.array([row + [-1] * (width - len(row)) for _, row, _ in rows], dtype=np.int64),
        parts=integers(part // unit for _, _, row in rows for part in (*row, *repeat(0, width - len(row)))).reshape(
            len(rows), width
        ),
    )


def _row(hold: Hold, place: dict[Key, int], reach: Reach) -> tuple[int, list[int], list[int]] | None:
    if any(task not in place for task, _ in hold.returns):
        return None
    take = place[hold.take]
    parts = {place[task]: part for task, part in hold.returns}
    returns = sorted(parts, key=lambda task: int(reach[task].sum()))
    chain = [take, *returns]
    if len(parts) < len(hold.returns) or take in parts:
        return None
    if not all(reach[after, before] for before, after in zip(chain, returns, strict=False)):
        return None
    return take, returns, [parts[task] for task in returns]


def front_curve(heads: Numbers, work: Numbers, least_action: Numbers, pool: Pool | None) -> Curve:
    """Bound the idle time of a device from the start.

    Within [0, t] a task does at most min(work, t − head). The holds whose takes have begun by t, as far as they cannot
    have been returned by t (since the return's head + duration ≥ t), are all live just before t; so what they take fits
    the capacity, and which of them contribute is a knapsack. Its value w(t) bounds the work; idle(t) is at least the
    highest t' − w(t') for t' ≤ t.

    Parameters
    ----------
    heads, work, least_action : arrays
        By place: earliest start, time that the device is kept, least duration of the action.
    pool : Pool or None
        The memory, where it is limited.
    """
    points = _points(heads, heads + work)
    done = np.clip(points[:, None] - heads, 0, work)
    if pool is None:
        return _staircase(points, done.sum(axis=1))
    free, values = _split(done, pool)
    ends = np.append(heads + least_action, 0)[pool.returns]
    locked = (ends >= points[:, None, None]) & pool.present
    weights = np.where(locked, pool.parts, 0).sum(axis=2)
    totals = values.sum(axis=2)
    return _staircase(points, free + _knapsack(totals[:, :, None], weights[:, :, None], pool.capacity))


def back_curve(tails: Numbers, work: Numbers, least_action: Numbers, pool: Pool | None) -> Curve:
    """Bound the idle time of a device before the end: the mirror image.

    Within the last u a task does at most min(work, u − tail). A hold takes part with its last returns only, or with
    more of them, or as a whole. Those whose take began before the window are live at its start with all that is
    returned within it. A hold is free of memory only if its take fits into the window: tail + duration ≤ u.
    """
    points = _points(tails, tails + work)
    done = np.clip(points[:, None] - tails, 0, work)
    if pool is None:
        return _staircase(points, done.sum(axis=1))
    free, values = _split(done, pool)
    options = np.cumsum(values[:, :, ::-1], axis=2)
    inside = points[:, None] >= (tails + least_action)[pool.takes]
    weights = np.concatenate([pool.suffix_weights[:, ::-1], pool.suffix_weights[:, :1]], axis=1)
    weights = np.where(inside[:, :, None], 0, weights[None])
    return _staircase(points, free + _knapsack(options, weights, pool.capacity))


def _points(starts: Numbers, ends: Numbers) -> Numbers:
    """Choose where a curve is looked at: all breakpoints, or the first and an even choice of the others."""
    points = np.unique(np.concatenate([starts, ends]))
    if len(points) <= MOST_POINTS:
        return points
    half = MOST_POINTS // 2
    chosen = np.linspace(half, len(points) - 1, half).astype(np.int64)
    return np.concatenate([points[:half], points[np.unique(chosen)]])


def _staircase(points: Numbers, most_work: Numbers) -> Curve:
    return Curve(points, np.maximum.accumulate(np.maximum(points - most_work, 0)))


def _split(done: Numbers, pool: Pool) -> tuple[Numbers, Numbers]:
    """Part the work at each point into that of tasks without a hold, and of each hold: take first, then returns."""
    padded = np.concatenate([done, np.zeros((len(done), 1), dtype=done.dtype)], axis=1)
    values = np.concatenate([padded[:, pool.takes][:, :, None], padded[:, pool.returns]], axis=2)
    return done.sum(axis=1) - values.sum(axis=(1, 2)), values


def _knapsack(values: Numbers, weights: Numbers, capacity: int) -> Numbers:
    """Bound the most that can be had at each point (axis 0) with at most one option (axis 2) for each hold (axis 1).

    For every λ ≥ 0 it is at most λ·capacity + Σ max(0, value − λ·weight). λ is the rate at which a greedy choice would
    run out of capacity; any other would be as true.
    """
    free: Numbers = values.max(axis=2, initial=0).sum(axis=1)
    largest = int(values.max(initial=0)) * int(max(weights.max(initial=0), 1)) * values.shape[1]
    if values.dtype != object and largest + int(values.max(initial=0)) * capacity >= LARGEST_PRODUCT:
        values, weights = values.astype(object), weights.astype(object)
    gain, cost = _rates(values, weights, capacity)
    rests = values * cost[:, None, None] - weights * gain[:, None, None]
    bound: Numbers = np.minimum(free, (capacity * gain + rests.max(axis=2, initial=0).sum(axis=1)) // cost)
    return bound


def _rates(values: Numbers, weights: Numbers, capacity: int) -> tuple[Numbers, Numbers]:
    """Choose λ = gain ÷ cost for each point: the last step that a greedy choice by rate would take."""
    gains, costs = _steps(values, weights)
    rates = np.where(costs > 0, gains / np.maximum(costs, 1), 0.0)
    order = np.argsort(-rates.astype(np.float32), axis=1)
    used = np.cumsum(np.take_along_axis(costs, order, axis=1), axis=1)
    over = used > capacity
    first = np.where(over.any(axis=1), over.argmax(axis=1), 0)
    item = order[np.arange(len(order)), first]
    at = (np.arange(len(order)), item)
    binding = over.any(axis=1)
    return np.where(binding, gains[at], 0), np.where(binding, costs[at], 1)


def _steps(values: Numbers, weights: Numbers) -> tuple[Numbers, Numbers]:
    """List the steps from each hold's option to its next with the gain and the cost of each, falling rates joined."""
    zero = np.zeros_like(values[:, :, :1])
    gains = np.diff(np.concatenate([zero, values], axis=2), axis=2)
    costs = np.diff(np.concatenate([zero, weights], axis=2), axis=2)
    for step in range(gains.shape[2] - 1, 0, -1):
        rising = gains[:, :, step] * costs[:, :, step - 1] >= gains[:, :, step - 1] * costs[:, :, step]
        for table in (gains, costs):
            table[:, :, step - 1] += np.where(rising, table[:, :, step], 0)
            table[:, :, step] = np.where(rising, 0, table[:, :, step])
    flat = (len(values), -1)
    return gains.reshape(flat), costs.reshape(flat)


def raised_by_curve(heads: Numbers, before: Numbers, curve: Curve) -> Numbers:
    """Raise heads to the least τ at which τ − idle(τ) covers the work that must be done before.

    Parameters
    ----------
    heads, before : arrays
        By place: the heads, and the work of the predecessors on the device.
    curve : Curve
        The device's idle time from the start.
    """
    starts = np.concatenate([[0], curve.points])
    idle = np.concatenate([[0], curve.idle])
    arrivals = np.maximum(starts[None, :], before[:, None] + idle[None, :])
    first = np.append(arrivals[:, :-1] < starts[1:], np.ones((len(before), 1), dtype=bool), axis=1).argmax(axis=1)
    raised: Numbers = np.maximum(heads, arrivals[np.arange(len(heads)), first])
    return raised


def joined(load: int, front: Curve, back: Curve) -> tuple[int, int, int]:
    """Add the idle time at both ends to a device's load: T ≥ load + front(t) + back(u) − max(0, t + u − T).

    Where t + u < load + front + back, this says T ≥ load + front + back: were T < t + u, it would read
    T ≥ T + load + front + back − t − u. Elsewhere it says nothing.

    Returns
    -------
    tuple of (int, int, int)
        The bound, and the idle time at both ends that gives it.
    """
    idle = np.concatenate([[0], front.idle])[:, None] + np.concatenate([[0], back.idle])[None, :]
    windows = np.concatenate([[0], front.points])[:, None] + np.concatenate([[0], back.points])[None, :]
    usable = np.where(windows < load + idle, idle, -1)
    at = np.unravel_index(int(usable.argmax()), usable.shape)
    front_idle = int(front.idle[at[0] - 1]) if at[0] else 0
    back_idle = int(back.idle[at[1] - 1]) if at[1] else 0
    return load + max(0, int(usable[at])), front_idle, back_idle
