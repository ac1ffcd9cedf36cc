"""The graph engine: earliest starts as longest paths over the graph of a fixed order.

The graph is that of `solver.order_graph`, which names the circle of a deadlock; here it is lists of numbers, for a
networkx graph of 200,000 actions takes five times as long to build and to walk.
"""

from __future__ import annotations

from itertools import chain, pairwise

from solver.order_graph import between_actions, check_complete, deadlock, order_graph
from solver.problem import Action, Orders, Problem


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
    starts = _longest_paths([problem.duration(action) for action in actions], _successors(problem, orders, actions))
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


def _longest_paths(durations: list[int], successors: list[list[tuple[int, int]]]) -> list[int] | None:
    """Go through the actions, each behind all that it waits for; None where there is a circle."""
    missing = [0] * len(durations)
    for behind in successors:
        for after, _ in behind:
            missing[after] += 1
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
