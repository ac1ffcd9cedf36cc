"""The graph engine: earliest starts as longest paths over the graph of a fixed order.

The graph is that of `solver.order_graph`, which names the cycle of a deadlock; here the devices walk along their
orders, each as far as it comes, and what a device waits for wakes it.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np

from solver.numbered import Numbered, NumberedOrders, number_orders
from solver.order_graph import deadlock, order_graph
from solver.problem import Orders, Problem

_Wait: TypeAlias = tuple[int, int]
"""An action, and how long after its end the next may start."""

_Departure: TypeAlias = tuple[int, int, int, int]
"""A result that leaves an action: the link, how long it moves, how much later it arrives, and what waits for it."""


class _Edges(NamedTuple):
    """What the actions of a fixed order wait for, beside the action before on their device.

    Attributes
    ----------
    waits : list of list of (int, int)
        For each action, what it waits for and for how long behind that; what comes over a link has no lag here.
    departures : dict of int to list
        By action, the results that it sends over links, in their turn.
    """

    waits: list[list[_Wait]]
    departures: dict[int, list[_Departure]]


def earliest_starts(problem: Problem, orders: Orders) -> tuple[NumberedOrders, list[int]]:
    """Find the earliest start of every action of a fixed order.

    Returns
    -------
    orders : NumberedOrders
        The orders by the numbers of tasks.
    starts : list of int
        For each action, in ticks; the first is 0.

    Raises
    ------
    DeadlockError
        If actions wait for each other in a cycle.
    InputError
        If the orders do not name every task exactly once.
    """
    numbered = Numbered(problem)
    written = number_orders(numbered, orders)
    starts = _walk(written, _edges(numbered, written))
    if starts is None:
        raise deadlock(order_graph(problem, orders))
    return written, starts


def _edges(numbered: Numbered, orders: NumberedOrders) -> _Edges:
    precedences = numbered.precedences
    action_of = np.empty(len(orders.tasks), dtype=np.int64)
    action_of[orders.tasks] = orders.action
    before, after = action_of[precedences.before], action_of[precedences.after]
    here, there = numbered.device[precedences.before], numbered.device[precedences.after]
    lag = precedences.lag
    departures: dict[int, list[_Departure]] = defaultdict(list)
    if numbered.problem.moves:
        moving = numbered.moving
        moved = np.flatnonzero(moving >= 0)
        place = np.argsort(orders.tasks)  # of a block the first half's results leave first
        moved = moved[np.argsort(place[precedences.before[moved]], kind="stable")]
        link = here * numbered.problem.devices + there
        columns = (link[moved], moving[moved], (lag - moving)[moved], after[moved])
        for source, *departure in zip(before[moved].tolist(), *(column.tolist() for column in columns), strict=True):
            departures[source].append(tuple(departure))
        lag = np.where(moving >= 0, 0, lag)
    # an order alone makes an action wait for an earlier one of its device
    needed = np.flatnonzero((here != there) | (before >= after) | (lag != 0))
    needed = needed[np.argsort(after[needed], kind="stable")]
    waits = list(zip(before[needed].tolist(), lag[needed].tolist(), strict=True))
    bounds = np.searchsorted(after[needed], np.arange(len(orders.duration) + 1)).tolist()
    return _Edges([waits[first:last] for first, last in pairwise(bounds)], departures)


def _walk(orders: NumberedOrders, edges: _Edges) -> list[int] | None:
    """Let each device run its actions as long as what they wait for has run; None where there is a cycle.

    An action comes behind all that its device runs before it, so each link is asked for in its order.
    """
    duration, (waits, departures) = orders.duration, edges
    starts = [0] * len(duration)
    ends = [-1] * len(duration)
    sleeping: dict[int, list[int]] = defaultdict(list)
    link_is_free: dict[int, int] = {}
    places, lasts = orders.bounds[:-1], orders.bounds[1:]
    now = [0] * len(places)
    awake = list(reversed(range(len(places))))
    while awake:
        device = awake.pop()
        end = now[device]
        for action in range(places[device], lasts[device]):
            start = starts[action]
            if end > start:
                start = end
            for before, lag in waits[action]:
                ready = ends[before]
                if ready < 0:
                    sleeping[before].append(device)
                    break
                if ready + lag > start:
                    start = ready + lag
            else:
                starts[action] = start
                ends[action] = end = start + duration[action]
                if action in sleeping:
                    awake += sleeping.pop(action)
                if action in departures:
                    for link, moving, latency, after in departures[action]:
                        link_is_free[link] = over = max(end, link_is_free.get(link, 0)) + moving
                        starts[after] = max(starts[after], over + latency)
                continue
            places[device], now[device] = action, end
            break
        else:
            places[device] = lasts[device]
    return None if sleeping else starts
