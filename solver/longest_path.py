"""The graph engine: earliest starts as longest paths over the graph of a fixed order.

The graph is that of `solver.order_graph`, which names the circle of a deadlock; here it is lists of numbers, for a
networkx graph of 200,000 actions takes five times as long to build and to walk.
"""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TypeAlias

from solver.order_graph import between_actions, check_complete, deadlock, order_graph
from solver.problem import Action, Block, Orders, Problem, tasks_of


def replay_on_graph(problem: Problem, orders: Orders) -> dict[Action, int]:
    """Find the earliest start of every action of a fixed order.

    Returns
    -------
    dict of Action to int
        The starts in ticks; the first is 0.

    Raises
    ------
    DeadlockError
        If actions wait for each other in a circle.
    InputError
        If the orders do not name every task exactly once.
    """
    check_complete(problem, orders)
    actions = list(chain.from_iterable(orders))
    durations = [problem.duration(action) for action in actions]
    if problem.moves:
        starts = _longest_paths_with_links(durations, *_successors_and_departures(problem, orders, actions))
    else:
        starts = _longest_paths(durations, _successors(problem, orders, actions))
    if starts is None:
        raise deadlock(order_graph(problem, orders))
    return dict(zip(actions, starts, strict=True))


def _successors(problem: Problem, orders: Orders, actions: list[Action]) -> list[list[tuple[int, int]]]:
    """List for each action, by its number, what waits for it, and for how long behind its end."""
    number = {action: place for place, action in enumerate(actions)}
    successors: list[list[tuple[int, int]]] = [[] for _ in actions]
    for before, after, lag in between_actions(problem, orders):
        successors[number[before]].append((number[after], lag))
    first = 0
    for order in orders:
        for before, after in pairwise(range(first, first + len(order))):
            successors[before].append((after, 0))
        first += len(order)
    return successors


def _inputs(successors: list[list[tuple[int, int]]]) -> list[int]:
    """Count for each action what it waits for."""
    missing = [0] * len(successors)
    for behind in successors:
        for after, _ in behind:
            missing[after] += 1
    return missing


def _longest_paths(durations: list[int], successors: list[list[tuple[int, int]]]) -> list[int] | None:
    """Go through the actions, each behind all that it waits for; None where there is a circle."""
    missing = _inputs(successors)
    starts = [0] * len(durations)
    free = [action for action, count in enumerate(missing) if not count]
    for action in free:
        end = starts[action] + durations[action]
        for after, lag in successors[action]:
            if end + lag > starts[after]:
                starts[after] = end + lag
            missing[after] -= 1
            if not missing[after]:
                free.append(after)
    return starts if len(free) == len(durations) else None


_Departure: TypeAlias = tuple[int, int, int, int]
"""A result that leaves an action: the link, how long it moves, how much later it arrives, and what waits for it."""


def _successors_and_departures(
    problem: Problem, orders: Orders, actions: list[Action]
) -> tuple[list[list[tuple[int, int]]], list[list[_Departure]]]:
    """List for each action, by its number, what waits for it on its device, and the results that leave it, in turn."""
    number = {task: place for place, action in enumerate(actions) for task in tasks_of(action)}
    device_of = [device for device, order in enumerate(orders) for _ in order]
    successors: list[list[tuple[int, int]]] = [[] for _ in actions]
    departures: list[list[_Departure]] = [[] for _ in actions]
    blocks = {action.second: place for place, action in enumerate(actions) if isinstance(action, Block)}
    last: list[tuple[int, _Departure]] = []
    moves, devices = problem.moves, problem.devices
    for before, after, lag in problem.precedences:
        here, there = number[before], number[after]
        moving = moves.get((before, after))
        if moving is None:
            successors[here].append((there, lag))
            continue
        departure = (device_of[here] * devices + device_of[there], moving, lag - moving, there)
        if before in blocks:
            last.append((here, departure))
        else:
            departures[here].append(departure)
    for place, departure in last:
        departures[place].append(departure)
    for before, after in pairwise(range(len(actions))):
        if device_of[before] == device_of[after]:
            successors[before].append((after, 0))
    return successors, departures


def _longest_paths_with_links(
    durations: list[int], successors: list[list[tuple[int, int]]], departures: list[list[_Departure]]
) -> list[int] | None:
    """Go through the actions as `_longest_paths` does, and let each result wait for those before it on its link.

    An action comes behind all that its device runs before it, so each link is asked for in its order.
    """
    missing = _inputs(successors)
    for departure in chain.from_iterable(departures):
        missing[departure[3]] += 1
    starts = [0] * len(durations)
    link_is_free: dict[int, int] = {}
    free = [action for action, count in enumerate(missing) if not count]
    for action in free:
        end = starts[action] + durations[action]
        for link, moving, latency, after in departures[action]:
            over = max(end, link_is_free.get(link, 0)) + moving
            link_is_free[link] = over
            if over + latency > starts[after]:
                starts[after] = over + latency
            missing[after] -= 1
            if not missing[after]:
                free.append(after)
        for after, lag in successors[action]:
            if end + lag > starts[after]:
                starts[after] = end + lag
            missing[after] -= 1
            if not missing[after]:
                free.append(after)
    return starts if len(free) == len(durations) else None
