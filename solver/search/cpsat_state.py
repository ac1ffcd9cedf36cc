"""The state of a CP-SAT search, shared by its threads."""

from __future__ import annotations

import queue
import threading
from time import perf_counter

from solver.problem import Action, Orders, Problem
from solver.search.state import OnBound, OnSolution
from solver.search.sweep import Sweeper
from solver.states import Answer, Objective


class State:
    """The best schedule and the best bound, in ticks.

    Parameters
    ----------
    problem : Problem
        The problem.
    objective : {"makespan", "span"}
        The objective.
    bound : int
        A known lower bound of the objective.
    deadline : float
        When to stop, on the clock of `time.perf_counter`.

    Attributes
    ----------
    enough : int
        The search in these steps ends when the best schedule is at most this far from the bound.
    """

    def __init__(self, problem: Problem, objective: Objective, bound: int, deadline: float) -> None:
        self.objective = objective
        self.bound = bound
        self.deadline = deadline
        self.best: int | None = None
        self.orders: Orders | None = None
        self.infeasible = False
        self.cancelled = threading.Event()
        self.enough = 0
        self._sweeper = Sweeper(problem)
        self._lock = threading.Lock()
        self._news: queue.SimpleQueue[int | tuple[int, list[list[Action]]]] = queue.SimpleQueue()

    def over(self) -> bool:
        """Return whether nothing is left to do, or time is up."""
        return self.infeasible or self.is_close() or self.cancelled.is_set() or perf_counter() >= self.deadline

    @property
    def gap(self) -> int:
        """How much shorter than the best schedule another one might be."""
        return self.bound if self.best is None else max(0, self.best - self.bound)

    def is_close(self) -> bool:
        """Return whether the bound is as close to the best schedule as these steps show."""
        return self.best is not None and self.best - self.bound <= self.enough

    def proven(self) -> bool:
        """Return whether the best schedule meets the bound."""
        return self.best is not None and self.best <= self.bound

    def status(self) -> Answer:
        """Return the status of the search."""
        if self.infeasible:
            return "infeasible"
        if self.best is None:
            return "unknown"
        return "optimal" if self.proven() else "feasible"

    def raise_bound(self, bound: int) -> None:
        """Record a bound."""
        with self._lock:
            if bound > self.bound and (self.best is None or bound <= self.best):
                self.bound = bound
                self._news.put(bound)

    def consider(self, orders: list[list[Action]]) -> None:
        """Replay orders exactly, and record them if they are the best."""
        value = self._sweeper.objective(orders, self.objective)
        if value is None or not self._sweeper.fits_memory(orders):
            return  # rounded durations can mislead
        with self._lock:
            if self.best is None or value < self.best:
                self.best, self.orders = value, orders
                self._news.put((value, orders))

    def tell(self, on_solution: OnSolution, on_bound: OnBound, patience: float) -> None:
        """Report news; wait for news at most ``patience`` seconds."""
        try:
            news = self._news.get(timeout=patience) if patience else self._news.get_nowait()
            while True:
                if isinstance(news, int):
                    on_bound(news)
                else:
                    on_solution(*news)
                news = self._news.get_nowait()
        except queue.Empty:
            return
