"""The inner loops: plain Python over lists, and at the same time the source that numba compiles for arrays.

Everything is indexed by whole numbers, and nothing is allocated. The functions in `FUNCTIONS` may use earlier ones, the
named tuples and numbers, and nothing else.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Numbers: TypeAlias = Any
"""A list of whole numbers, or a NumPy array in compiled code."""


class Graph(NamedTuple):
    """The graph of the order; see `solver.partitioning.problem`."""

    tasks: Numbers  # the class of each task
    starts: Numbers  # where the waits of each task begin in the next two
    others: Numbers  # the tasks that it waits for
    lags: Numbers  # the least times after their ends


def ends_of(lengths: Numbers, graph: Graph, lags: Numbers, ends: Numbers, via: Numbers) -> int:
    """Replay: compute the end of each task, and the wait that delays it; return the task that ends last.

    ``via[t]`` becomes the position of the wait that determines the start of task t, or −1.
    """
    tasks, starts, others = graph.tasks, graph.starts, graph.others
    last = 0
    longest = -1
    place = 0
    for task in range(len(tasks)):
        begin = -1
        by = -1
        stop = starts[task + 1]
        while place < stop:
            ready = ends[others[place]] + lags[place]
            if ready > begin:
                begin = ready
                by = place
            place += 1
        via[task] = by
        end = lengths[tasks[task]]
        if by >= 0:
            end += begin
        ends[task] = end
        if end > longest:
            longest = end
            last = task
    return last


def walk_back(last: int, graph: Graph, lags: Numbers, via: Numbers, chosen: Numbers, counts: Numbers) -> int:
    """Count the forms on the path to a task; return the sum of the lags on it."""
    total = 0
    task = last
    while True:
        counts[chosen[graph.tasks[task]]] += 1
        place = via[task]
        if place < 0:
            return int(total)
        total += lags[place]
        task = graph.others[place]


FUNCTIONS = (ends_of, walk_back)
"""The functions that numba compiles, each after those that it uses."""
