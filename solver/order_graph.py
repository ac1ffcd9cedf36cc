"""The graph of a fixed order: precedences between actions, with each device's order as additional edges."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import networkx as nx

from solver.errors import DeadlockError, InputError
from solver.problem import Action, Block, Key, Orders, Precedence, Problem, tasks_of


def order_graph(problem: Problem, orders: Orders) -> nx.DiGraph[Action]:
    """Build the graph whose longest path is the makespan of a fixed order.

    Parameters
    ----------
    problem : Problem
        The scheduled problem.
    orders : Orders
        The actions of each device; together they name every task once.

    Returns
    -------
    networkx.DiGraph
        Nodes are the actions, with ``device`` and ``duration`` (ticks). An edge's ``lag`` (ticks) is the least time
        from the end of its tail to the start of its head. Edges for a device's order have lag 0.

    Raises
    ------
    InputError
        If the orders do not name every task exactly once.
    """
    check_complete(problem, orders)
    graph: nx.DiGraph[Action] = nx.DiGraph()
    for device, order in enumerate(orders):
        graph.add_nodes_from((action, {"device": device, "duration": problem.duration(action)}) for action in order)
    graph.add_edges_from((before, after, {"lag": lag}) for before, after, lag in between_actions(problem, orders))
    for order in orders:
        graph.add_edges_from(
            (before, after, {"lag": 0}) for before, after in pairwise(order) if after not in graph[before]
        )
    return graph


def check_complete(problem: Problem, orders: Orders) -> None:
    """Refuse orders that miss or repeat a task, or name one that does not exist or is on another device."""
    seen: set[Key] = set()
    for device, order in enumerate(orders):
        for action in order:
            for task in tasks_of(action):
                if task not in problem.tasks:
                    raise InputError(f"device {device}: {task} is not an action of this schedule")
                if problem.tasks[task].device != device:
                    raise InputError(f"device {device}: {task} belongs to device {problem.tasks[task].device}")
                if task in seen:
                    raise InputError(f"device {device}: {task} appears twice")
                seen.add(task)
    if len(seen) != len(problem.tasks):
        missing = next(task for task in problem.tasks if task not in seen)
        device = problem.tasks[missing].device
        raise InputError(f"device {device}: {missing} is missing ({len(problem.tasks) - len(seen)} in all)")


def between_actions(problem: Problem, orders: Orders) -> Iterator[Precedence]:
    """Yield the precedences with each fused task replaced by its block; the longest lag comes last."""
    block_of = {task: action for order in orders for action in order if isinstance(action, Block) for task in action}
    if not block_of:
        yield from problem.precedences
        return
    lags: dict[tuple[Action, Action], int] = {}
    for before, after, lag in problem.precedences:
        pair = block_of.get(before, before), block_of.get(after, after)
        lags[pair] = max(lag, lags.get(pair, 0))
    for (before, after), lag in lags.items():
        yield before, after, lag


def deadlock(graph: nx.DiGraph[Action]) -> DeadlockError:
    """Describe why a graph with a cycle cannot run, with a short cycle of it."""
    knot = next(part for part in nx.strongly_connected_components(graph) if is_knot(graph, part))
    inside = graph.subgraph(knot)
    start = min(knot, key=lambda action: (graph.nodes[action]["device"], str(action)))
    last = min(
        (path for path in nx.single_source_shortest_path(inside, start).items() if start in inside[path[0]]),
        key=lambda path: len(path[1]),
    )
    return DeadlockError(list(last[1]))


def is_knot(graph: nx.DiGraph[Action], part: set[Action]) -> bool:
    """Return whether a strongly connected component contains a cycle."""
    action = next(iter(part))
    return len(part) > 1 or action in graph[action]
