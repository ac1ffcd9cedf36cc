"""One search: the best schedule and the best bound so far, and the tools that move them towards each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from solver.bounds.bound import Bound
from solver.problem import Orders, Problem
from solver.search.sweep import Sweeper


@dataclass(frozen=True)
class Standing:
    """How far a search has come.

    Attributes
    ----------
    seconds : float
        Since it began.
    best : float or None
        The least objective found, in the user's unit of time.
    bound : float
        The greatest lower bound proven.
    """

    seconds: float
    best: float | None
    bound: float

    @property
    def gap(self) -> float | None:
        """(best − bound) ÷ best."""
        return None if self.best is None else (self.best - self.bound) / self.best


NEGLIGIBLE = 10**12
"""A search goes on as long as more than this part could be gained; ``optimal`` is said only of what meets its bound."""

Progress = Callable[[Standing], None]
"""Called whenever the best schedule or the bound has moved."""


class Search:
    """The state of one search; every tool reports to it, and asks it when to stop.

    Parameters
    ----------
    problem : Problem
        What is searched.
    objective : {"makespan", "span"}
        What is minimised.
    seconds : float
        The time there is.
    progress : callable, optional
        Told whenever the best schedule or the bound moves.
    """

    def __init__(self, problem: Problem, objective: str, seconds: float, progress: Progress | None = None) -> None:
        self.problem = problem
        self.objective = objective
        self.started = perf_counter()
        self.deadline = self.started + seconds
        self.progress = progress
        self.sweeper = Sweeper(problem)
        self.best: int | None = None
        self.orders: Orders = ()
        self.bound = 0
        self.held_by: Bound | None = None
        self.interrupted = False

    def interrupt(self) -> None:
        """End the search."""
        self.interrupted = True

    def offer(self, orders: Orders) -> None:
        """Take orders if they fit the memory, run, and are better than the best."""
        if not self.sweeper.fits_memory(orders):
            return
        value = self.sweeper.objective(orders, self.objective)
        if value is not None:
            self.found(value, orders)

    def found(self, value: int, orders: Orders) -> None:
        """Keep a schedule if it is better than the best."""
        if self.best is None or value < self.best:
            self.best, self.orders = value, orders
            self._tell()

    def proven(self, bound: Bound) -> None:
        """Keep a bound if it is better than the best, with the argument that holds it."""
        if bound.value > self.bound:
            self.bound, self.held_by = bound.value, bound
            self._tell()

    def raised(self, value: int) -> None:
        """Keep a bound that CP-SAT has proven."""
        self.proven(Bound(value, "search"))

    def done(self) -> bool:
        """Tell whether nothing is left to do, or no time."""
        return self.interrupted or self._nothing_to_gain() or perf_counter() >= self.deadline

    def _nothing_to_gain(self) -> bool:
        return self.best is not None and (self.best - self.bound) * NEGLIGIBLE <= self.best

    @property
    def closed(self) -> bool:
        """Whether the best schedule meets the bound."""
        return self.best is not None and self.best <= self.bound

    @property
    def seconds_left(self) -> float:
        """What is left of the time."""
        return max(0.0, self.deadline - perf_counter())

    def until(self, seconds: float) -> float:
        """Compute the deadline of a tool that may take so many seconds."""
        return min(self.deadline, perf_counter() + seconds)

    def _tell(self) -> None:
        if self.progress:
            scale = self.problem.ticks_per_unit
            best = None if self.best is None else self.best / scale
            self.progress(Standing(perf_counter() - self.started, best, self.bound / scale))
