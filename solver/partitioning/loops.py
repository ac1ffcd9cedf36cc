"""The inner loops: plain Python over lists, and the source that numba compiles for arrays.

Everything is indexed by whole numbers. The functions in `FUNCTIONS` may use those before them, numbers, and nothing
else.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Numbers: TypeAlias = Any
"""A list of whole numbers here; a numpy array where numba compiles."""


def ends_of(
    lengths: Numbers, tasks: Numbers, starts: Numbers, others: Numbers, lags: Numbers, ends: Numbers, via: Numbers
) -> int:
    """Replay: find when each task ends, and by which wait it is held up; return the task that ends last.

    ``starts[t]`` is where the waits of task t begin in ``others`` and ``lags``; ``via[t]`` becomes the place of the wait
    that decides, or −1.
    """
    last = 0
    for task in range(len(tasks)):
        begin = 0
        by = -1
        for place in range(starts[task], starts[task + 1]):
            ready = ends[others[place]] + lags[place]
            if ready > begin or by < 0:
                begin = max(begin, ready)
                by = place
        via[task] = by
        end = begin + lengths[tasks[task]]
        ends[task] = end
        if end > ends[last]:
            last = task
    return last


def walk_back(
    last: int, tasks: Numbers, others: Numbers, lags: Numbers, via: Numbers, chosen: Numbers, counts: Numbers
) -> int:
    """Count the forms on the path to a task; return the lags on it together."""
    total = 0
    task = last
    while True:
        counts[chosen[tasks[task]]] += 1
        place = via[task]
        if place < 0:
            return total
        total += lags[place]
        task = others[place]


FUNCTIONS = (ends_of, walk_back)
"""What numba compiles, each behind those that it uses."""
