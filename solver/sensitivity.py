"""The one-sided derivatives of a fixed order's makespan by the costs that make up its durations and lags.

The makespan is the greatest length of a path, and each length is linear in the costs. If a cost grows a little, the
makespan grows as much as the critical path with the most of that cost; if the cost shrinks, the makespan shrinks only
as much as the critical path with the least of it. The two differ if several paths are critical: a single cost may then
fail to shorten them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from solver.order_graph import between_actions
from solver.problem import Action, Orders, Problem
from solver.sampled_replay import Numbers

Growth = Callable[[Action], Mapping[int, float]]
"""``growth(action)``: the change of the action's duration for one unit of each cost, in ticks, by the cost's number."""


class Derivatives(NamedTuple):
    """The change of the makespan for one unit of each cost, in ticks.

    Attributes
    ----------
    shrinking : array of float, one per cost
        How much the makespan shrinks if the cost shrinks.
    growing : array of float, one per cost
        How much the makespan grows if the cost grows; at least as much.
    """

    shrinking: Numbers
    growing: Numbers


def derivatives(
    problem: Problem,
    orders: Orders,
    starts: Mapping[Action, int],
    costs: int,
    shrinking: Growth,
    growing: Growth,
    lag_cost: int | None = None,
) -> Derivatives:
    """Compute the derivatives of the makespan of a replay.

    Parameters
    ----------
    problem : Problem
        The scheduled problem.
    orders : Orders
        The actions of each device.
    starts : mapping of Action to int
        The earliest starts, in ticks: with later ones, the critical actions would be unknown.
    costs : int
        The number of costs.
    shrinking, growing : callable
        The change of each duration if costs shrink, and if they grow; they differ only for a duration with a kink at
        the current costs.
    lag_cost : int, optional
        The cost that all lags are proportional to: one unit of it changes each lag by its own length.
    """
    actions = list(chain.from_iterable(orders))
    number = {action: place for place, action in enumerate(actions)}
    begins = [starts[action] for action in actions]
    ends = [start + problem.duration(action) for start, action in zip(begins, actions, strict=True)]
    behind = _tight(problem, orders, number, begins, ends)
    last = max(ends, default=0)
    critical = _critical(behind, [place for place, end in enumerate(ends) if end == last])
    return Derivatives(
        _along(critical, behind, actions, costs, shrinking, lag_cost, np.minimum),
        _along(critical, behind, actions, costs, growing, lag_cost, np.maximum),
    )


_Edges = list[list[tuple[int, int]]]


def _tight(
    problem: Problem, orders: Orders, number: Mapping[Action, int], begins: list[int], ends: list[int]
) -> _Edges:
    """For each action, list the actions that determined its start, with the lags in between."""
    behind: _Edges = [[] for _ in begins]
    for before, after, lag in between_actions(problem, orders):
        if ends[number[before]] + lag == begins[number[after]]:
            behind[number[after]].append((number[before], lag))
    for order in orders:
        for before, after in pairwise(order):
            if ends[number[before]] == begins[number[after]]:
                behind[number[after]].append((number[before], 0))
    return behind


def _critical(behind: _Edges, last: list[int]) -> list[int]:
    """List the actions on critical paths, each after those that it waited for."""
    ordered: list[int] = []
    seen: set[int] = set()
    stack = [(place, False) for place in last]
    while stack:
        place, is_done = stack.pop()
        if is_done:
            ordered.append(place)
        elif place not in seen:
            seen.add(place)
            stack.append((place, True))
            stack += [(before, False) for before, _ in behind[place] if before not in seen]
    return ordered


def _along(
    critical: list[int],
    behind: _Edges,
    actions: list[Action],
    costs: int,
    growth: Growth,
    lag_cost: int | None,
    best: np.ufunc,
) -> Numbers:
    """Add up costs along critical paths, each cost along the path with the most or least of it."""
    nothing = np.zeros(costs)
    found: dict[int, Numbers] = {}
    awaited = set(chain.from_iterable((before for before, _ in behind[place]) for place in critical))
    result: Numbers | None = None
    for place in critical:
        total: Numbers | None = None
        for before, lag in behind[place]:
            so_far = found[before]
            if lag and lag_cost is not None:
                so_far = so_far.copy()
                so_far[lag_cost] += lag
            total = so_far if total is None else best(total, so_far)
        total = nothing.copy() if total is None else total.copy()
        for cost, amount in growth(actions[place]).items():
            total[cost] += amount
        found[place] = total
        if place not in awaited:
            result = total if result is None else best(result, total)
    return nothing if result is None else result
