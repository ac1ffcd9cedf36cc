"""The order in which items are fed to a fixed order of actions: the permutation that makes it short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from solver import jit
from solver.random_numbers import state_of
from solver.search import feeding_loops
from solver.search.feeding_loops import NEVER, Fed

HOT, COLD = 0.005, 0.0002
"""The temperatures between which the search falls, as shares of the makespan."""

ROUND = 4_000_000
"""About so many actions are replayed between two looks at the clock."""

STEPS_OF_A_RUN = 400_000
"""The most steps of one fall of the temperature; the next begins from the best."""


@dataclass
class Feeding:
    """A search for a feeding order.

    Attributes
    ----------
    fed : Fed
        The order of actions.
    kinds : int
        The number of different items.
    kind : sequence of int
        The kind of each item; if items come in parts, of each part.
    each : int
        How many parts an item has; they fill so many slots that follow one another.
    """

    fed: Fed
    kinds: int
    kind: Sequence[int]
    each: int = 1

    def __post_init__(self) -> None:
        names = jit.jitted(feeding_loops, may_compile=True)
        self._loops: dict[str, Any] = names or jit.interpreted(feeding_loops)
        self._limited = bool(np.isfinite(self.fed.room).any())
        fed = [np.asarray(each) if isinstance(each, (list, np.ndarray)) else each for each in self.fed]
        self._fed = Fed(*cast("Any", fed)) if names else self.fed
        self._kind = np.asarray(self.kind, dtype=np.int64)
        self._held = np.zeros(len(self._kind), dtype=np.int64)
        self._ends = np.zeros(len(self.fed.row))
        self._speed = 0.0

    @property
    def actions(self) -> int:
        """The number of actions of the order."""
        return len(self._ends)

    @property
    def items(self) -> int:
        """The number of items."""
        return len(self._kind) // self.each

    def cost(self, order: Sequence[int]) -> float:
        """Return the makespan of an order in ticks; more than twice it if it does not fit the memory."""
        numbers = np.asarray(order, dtype=np.int64)
        self._loops["permute"](self._kind, numbers, self._held, self.each)
        return float(self._loops["cost_of"](self._fed, self.kinds, self._held, self._ends, self._limited, 0, NEVER))

    def makespan(self, order: Sequence[int]) -> float:
        """Return the makespan of an order, whether or not it fits the memory."""
        self._loops["permute"](self._kind, np.asarray(order, dtype=np.int64), self._held, self.each)
        return float(self._loops["makespan"](self._fed, self.kinds, self._held, self._ends, 0, NEVER))

    def fits(self, order: Sequence[int]) -> bool:
        """Return whether an order keeps the memory of every device."""
        self._loops["permute"](self._kind, np.asarray(order, dtype=np.int64), self._held, self.each)
        return not self._loops["excess"](self._fed, self.kinds, self._held)

    def search(
        self, starts: Iterable[Sequence[int]], *, deadline: float | None, steps: int, seed: int
    ) -> list[tuple[float, list[int]]]:
        """Improve the best of some orders.

        Parameters
        ----------
        starts : iterable of sequence of int
            Orders to begin with.
        deadline : float or None
            On the clock of `time.perf_counter`; None for as many steps as are given.
        steps : int
            The most steps in all.
        seed : int
            The seed of all choices.

        Returns
        -------
        list of (float, list of int)
            Those begun with and the one found, each with its cost, the least first.
        """
        found = sorted((self.cost(start), list(start)) for start in starts)
        if self.items < 2:
            return found
        random = np.array([state_of(seed)], dtype=np.int64)
        best = np.array(found[0][1], dtype=np.int64)
        least, left = found[0][0], steps
        while left > 0 and (deadline is None or perf_counter() < deadline):
            run = min(left, STEPS_OF_A_RUN, self._affordable(deadline))
            if run <= 0:
                break
            order = best.copy()
            began = perf_counter()
            cost = self._run(order, best, random, run)
            self._speed = run / max(perf_counter() - began, 1e-9)
            least, left = min(least, cost), left - run
        return sorted([*found, (least, best.tolist())])

    def _affordable(self, deadline: float | None) -> int:
        """Return how many steps there is time for; at first as few as show how fast they are."""
        first = max(1, ROUND // max(1, len(self._ends)))
        if deadline is None:
            return STEPS_OF_A_RUN
        return int((deadline - perf_counter()) * self._speed) if self._speed else first

    def _run(self, order: NDArray[np.int64], best: NDArray[np.int64], random: NDArray[np.int64], steps: int) -> float:
        """Let the temperature fall once, from an order that `best` holds; keep the better of both."""
        before, known = best.copy(), self.cost(best.tolist())
        found = np.empty_like(best)
        trial = np.empty_like(best)
        anneal = self._loops["anneal"]
        cost = float(
            anneal(
                self._fed,
                self.kinds,
                self._kind,
                self.each,
                order,
                found,
                trial,
                self._held,
                self._ends,
                np.empty_like(self._ends),
                random,
                steps,
                HOT,
                COLD,
                self._limited,
            )
        )
        best[:] = found if cost < known else before
        return min(cost, known)
