"""Cutting a row of items into parts so that the greatest cost of a part is least, and all other cuts in their order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count, pairwise

from solver.deadline import check_time

Cost = Callable[[int, int, int], int | None]
"""``cost(part, start, stop)``: what a part costs that holds the items ``start`` up to ``stop``; None: it may not."""


class Bottleneck:
    """The cuts of a row of items into parts, by the greatest cost of a part.

    V(d, b), the least greatest cost with which the first d parts hold the first b items, is the least over a of
    max(V(d − 1, a), cost(d − 1, a, b)).

    Parameters
    ----------
    parts, items : int
        How many there are of each.
    cost : callable
        What a part costs; asked once for each part, start and stop.
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
        """The least greatest cost; None where no cut is allowed."""
        return self._least[-1][-1]

    def cuts(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield every cut with its greatest cost, the least first.

        A cut is found from its end: what is chosen so far costs g at most, the rest at least V, and what has the least
        max(g, V) goes on first. V is exact, so nothing is looked at that costs more than what is yielded next.

        Yields
        ------
        int, tuple of int
            The greatest cost, and how many items each part holds.
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
