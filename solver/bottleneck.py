"""Cuts a row of items into parts such that the greatest cost of a part is least, and yields all other cuts in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count, pairwise

from solver.deadline import check_time

Cost = Callable[[int, int, int], int | None]
"""``cost(part, start, stop)``: the cost of a part with the items from ``start`` up to ``stop``; None if not allowed."""


class Bottleneck:
    """The cuts of a row of items into parts, by the greatest cost of a part.

    Let V(d, b) be the least possible greatest cost if the first d parts hold the first b items. It is the minimum over
    a of max(V(d − 1, a), cost(d − 1, a, b)).

    Parameters
    ----------
    parts, items : int
        The number of each.
    cost : callable
        The cost of a part; called once for each part, start and stop.
    deadline : float, optional
        On the clock of `time.perf_counter`.

    Raises
    ------
    OutOfTimeError
        If the deadline passes before V is known.
    """

    def __init__(self, parts: int, items: int, cost: Cost, deadline: float | None = None) -> None:
        self.parts, self.items = parts, items
        self._costs: list[list[list[tuple[int, int]]]] = []  # by part and stop: (start, cost)
        self._least: list[list[int | None]] = [[0, *[None] * items]]
        for part in range(parts):
            check_time(deadline)
            before, costs, least = self._least[-1], list[list[tuple[int, int]]](), list[int | None]()
            for stop in range(items + 1):
                starts = (start for start in range(stop + 1) if before[start] is not None)
                costs.append([(start, value) for start in starts if (value := cost(part, start, stop)) is not None])
                least.append(min((max(before[start] or 0, value) for start, value in costs[-1]), default=None))
            self._costs.append(costs)
            self._least.append(least)

    @property
    def least(self) -> int | None:
        """The least possible greatest cost; None if no cut is allowed."""
        return self._least[-1][-1]

    def cuts(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield every cut with its greatest cost, in increasing order.

        Cuts are built from their end: the parts chosen so far cost at most g each, the rest at least V, and the partial
        cut with the least max(g, V) is extended first. V is exact, so no partial cut is examined that costs more than
        the next cut yielded.

        Yields
        ------
        int, tuple of int
            The greatest cost, and the number of items in each part.
        """
        if self.least is None:
            return
        number = count()
        heap: list[tuple[int, int, int, int, int, tuple[int, ...]]] = [
            (self.least, next(number), self.parts, self.items, 0, (self.items,))
        ]
        while heap:
            _, _, part, stop, greatest, ends = heapq.heappop(heap)
            if part == 0:
                yield greatest, tuple(after - before for before, after in pairwise(ends))
                continue
            for start, value in self._costs[part - 1][stop]:
                least = self._least[part - 1][start]
                if least is not None:
                    chosen = max(greatest, value)
                    heapq.heappush(heap, (max(chosen, least), -next(number), part - 1, start, chosen, (start, *ends)))
