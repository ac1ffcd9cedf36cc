"""The graph engine: earliest starts as longest paths over the networkx graph of a fixed order."""

from __future__ import annotations

import networkx as nx

from solver.order_graph import deadlock, order_graph
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
    """
    graph = order_graph(problem, orders)
    try:
        return earliest_starts(graph)
    except nx.NetworkXUnfeasible:
        raise deadlock(graph) from None


def earliest_starts(graph: nx.DiGraph[Action]) -> dict[Action, int]:
    """Walk the graph once in topological order."""
    starts: dict[Action, int] = {}
    ends: dict[Action, int] = {}
    nodes, predecessors = graph.nodes, graph.pred
    for action in nx.topological_sort(graph):
        start = max((ends[before] + edge["lag"] for before, edge in predecessors[action].items()), default=0)
        starts[action] = start
        ends[action] = start + nodes[action]["duration"]
    return starts
