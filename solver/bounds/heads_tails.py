"""Heads and tails of tasks: when each can start at the earliest, and how long before the end it must end."""

from __future__ import annotations

from collections.abc import Iterable

from solver.bounds.analysis import analyse
from solver.bounds.memory_edges import plain_network
from solver.problem import Key, Precedence, Problem


def heads_and_tails(
    problem: Problem, edges: Iterable[Precedence] = (), *, deadline: float | None = None
) -> tuple[dict[Key, int], dict[Key, int]]:
    """Find for each task its earliest start, and the least time from its end to the end of the schedule.

    They hold in every schedule that obeys the problem's precedences (with the order along chains) and the edges, for
    the start and the end of the action in which a task runs: a task by itself, a merged pair, or a block. What is
    found for the second of a pair counts from the first's end, and what is found before the end of the first counts the
    second; where they may run as one, the second has the head of the first, and the first no tail by its partner.

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    edges : iterable of (before, after, lag)
        Further precedences, such as those of `solver.bounds.memory_edges.memory_edges`.
    deadline : float or None
        A time of `time.perf_counter` after which what is known is returned.

    Returns
    -------
    tuple of (dict, dict)
        Heads and tails, in ticks.
    """
    network = plain_network(problem)
    network = network.with_edges(network.thinned.numbered(list(edges)))
    found = analyse(problem, network, deadline=deadline)
    thinned = network.thinned
    heads = dict(zip(thinned.keys, found.heads, strict=True))
    tails = dict(zip(thinned.keys, found.tails, strict=True))
    for task, partner in problem.partners.items():
        if problem.can_merge(task):
            heads[partner] = min(heads[partner], heads[task])
            tails[task] = max(tails[partner], tails[task] - thinned.work[thinned.number[partner]])
    return heads, tails
