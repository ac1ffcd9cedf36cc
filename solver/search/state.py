"""The state of one search: the best schedule and the best bound so far."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from time import perf_counter
from typing import Any, TypeAlias, TypeVar, cast

from solver.bounds.between import amounts_on_paths, none_between
from solver.bounds.bound import Bound
from solver.budget import Budget
from solver.deadline import is_over
from solver.problem import Action, Orders, Problem
from solver.repetition import Repetition
from solver.resolution import Resolution
from solver.search.sweep import Sweeper
from solver.states import Answer, Objective

T = TypeVar("T")


@dataclass(frozen=True)
class Standing:
    """The progress of a search.

    Attributes
    ----------
    seconds : float
        The time since it began.
    best : float or None
        The least objective found, in the user's unit of time.
    bound : float
        The greatest proven lower bound.
    memory : float or None
        The largest peak of a device in the best schedule, in the user's unit of memory; set once its length is proven
        least and the search continues for less memory.
    """

    seconds: float
    best: float | None
    bound: float
    memory: float | None = None

    @property
    def gap(self) -> float | None:
        """(best − bound) ÷ best."""
        return None if self.best is None else (self.best - self.bound) / self.best


NEGLIGIBLE = 10**12
"""A search ends when at most 1 part in this many could be gained; it is ``optimal`` only if it meets its bound."""

WORTH_A_LOOK = 10**5
"""When less than 1 part in this many is open, the search checks whether any sum of durations lies in the gap."""

OnSolution: TypeAlias = Callable[[int, list[list[Action]]], None]
"""Called with the objective (in steps, see `Search`) and the orders of a better schedule."""

OnBound: TypeAlias = Callable[[int], None]
"""Called with a better bound (in steps), proven for all schedules."""

Progress = Callable[[Standing], None]
"""Called whenever the best schedule or the bound has changed."""


class Search:
    """The state of one search; every tool reports to it, and asks it when to stop.

    The search counts in the exact ticks of its problem. Its tools may count in steps of several ticks
    (`solver.resolution`): they work on ``rounded``, read `target` and `best_so_far` in steps, and report in steps. An
    order that they report is replayed and checked in ticks.

    Tools may report from other threads. ``progress`` is called in the thread that made the search: at once for reports
    from that thread, and for others when the thread next checks whether the search is done.

    Parameters
    ----------
    problem : Problem
        The problem.
    objective : {"makespan", "span"}
        What is minimised.
    seconds : float or Budget
        The time there is, or who hands it out.
    progress : callable, optional
        Called whenever the best schedule or the bound changes.
    whole : Repetition, optional
        The repetition whose written part is the problem.

    Attributes
    ----------
    budget : Budget
        Hands out the time.
    resolution : Resolution
        The ticks per step of the tools.
    rounded : Problem
        The problem in steps.
    best : int or None
        The least objective found, in ticks.
    orders : Orders
        The orders of the best schedule; empty while there is none.
    bound : int
        The greatest proven lower bound, in ticks.
    held_by : Bound or None
        The argument that proves it.
    infeasible : bool
        Whether it is proven that no schedule exists.
    rival : int or None
        The search is useful only if the objective gets below this, in ticks. Once the bound is above it and a schedule
        exists, the search is done.
    brought : int
        The number of improvements reported in the search's own thread.
    closing : bool
        Whether the tools in other threads should end.
    on_offer : callable or None
        ``on_offer(value, orders)`` is called with every offered schedule that fits the memory, best or not.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        seconds: float | Budget,
        progress: Progress | None = None,
        whole: Repetition | None = None,
    ) -> None:
        self.problem = problem
        self.resolution = Resolution.for_loops(problem if whole is None else whole)
        self.rounded = self.resolution.rounded(problem)
        self.objective = objective
        self.started = perf_counter()
        self.budget = seconds if isinstance(seconds, Budget) else Budget(seconds)
        self.progress = progress
        self.sweeper = Sweeper(problem)
        self.best: int | None = None
        self.orders: Orders = ()
        self._memory: tuple[int, int] | None = None  # computed on first use
        self.bound = 0
        self.held_by: Bound | None = None
        self.interrupted = False
        self.infeasible = False
        self._looks_for_memory = False
        self._lock = threading.RLock()
        self._home = threading.current_thread()
        self._has_news = False
        self.closing = False
        self.brought = 0
        self.rival: int | None = None
        self.on_offer: Callable[[int, Orders], None] | None = None
        self._kept: dict[str, Any] = {}

    def once(self, what: str, find: Callable[[float], T], deadline: float) -> T:
        """Find something of the problem once for all turns of a tool; again where the clock cut it short.

        Parameters
        ----------
        what : str
            What is found.
        find : callable
            ``find(deadline)``.
        deadline : float
            On the clock of `time.perf_counter`.
        """
        if what in self._kept:
            return cast("T", self._kept[what])
        found = find(deadline)
        if not is_over(deadline):
            self._kept[what] = found
        return found

    def interrupt(self) -> None:
        """End the search."""
        self.interrupted = True

    def offer(self, orders: Orders) -> bool:
        """Take orders if they fit the memory, run, and are better than the best; return False for a deadlock.

        Orders that do not fit the memory are not examined further.
        """
        if not self.sweeper.fits_memory(orders):
            return True
        value = self.sweeper.objective(orders, self.objective)
        if value is not None:
            self._keep(value, orders)
        return value is not None

    def keep(self, value: int, orders: Orders) -> None:
        """Keep a tool's result if it is better than the best.

        If steps are rounded, or if results must not pass each other on links (tools allow that), the sweep computes the
        order's true value.
        """
        if self.problem.moves or self.resolution != Resolution():
            self.offer(orders)
        else:
            self._keep(value, orders)

    def _keep(self, value: int, orders: Orders) -> None:
        """Keep a schedule if it is better than the best: shorter, or as short and with less memory."""
        with self._lock:
            if self.on_offer is not None:
                self.on_offer(value, orders)
            if self.best is None or value < self.best:
                self.best, self.orders, self._memory = value, orders, None
                self._tell()
            elif value == self.best:
                memory = self.sweeper.memory(orders)
                if memory < self.memory:
                    self.orders, self._memory = orders, memory
                    self._tell()

    @property
    def memory(self) -> tuple[int, int]:
        """The memory of the best schedule, in ticks: the largest peak of a device, and the sum of all peaks."""
        if self._memory is None:
            self._memory = self.sweeper.memory(self.orders)
        return self._memory

    def proven(self, bound: Bound) -> None:
        """Keep a bound, with the argument that proves it, if it is better than the best."""
        with self._lock:
            if bound.value > self.bound:
                self.bound, self.held_by = bound.value, bound
                self._tell()

    def raise_bound(self, value: int) -> None:
        """Keep a bound proven by CP-SAT, in steps."""
        self.proven(self.in_ticks(Bound(value, "search")))
        self._look_between()

    @cached_property
    def _amounts(self) -> Counter[Fraction]:
        return amounts_on_paths(self.problem)

    def _look_between(self) -> None:
        """Check whether the open gap is too small to contain any schedule."""
        with self._lock:
            best, bound = self.best, self.bound
        open_ = None if best is None or self.objective == "span" else best - bound
        if (
            best is not None
            and open_
            and open_ * WORTH_A_LOOK < best
            and none_between(self._amounts, Fraction(bound), Fraction(best))
        ):
            self.proven(Bound(best, "lengths"))

    def in_ticks(self, bound: Bound) -> Bound:
        """Convert a bound from steps to ticks."""
        return replace(bound, value=self.resolution.ticks(bound.value, self.objective))

    @property
    def target(self) -> int:
        """The bound in steps: a tool that reaches it is done."""
        return self.bound // self.resolution.time

    @property
    def best_in_steps(self) -> int | None:
        """The least objective found, in steps."""
        return None if self.best is None else self.best // self.resolution.time

    def look_for_memory(self) -> None:
        """Report the memory of the best schedule from now on: its length is final."""
        self._looks_for_memory = True
        self._tell()

    def show_progress(self) -> None:
        """Call ``progress``, although nothing has changed here: the caller knows more."""
        self._show()

    def done(self) -> bool:
        """Return whether nothing is left to do, or time is up."""
        if self._has_news and threading.current_thread() is self._home:
            self._has_news = False
            self._show()
        ended = self.interrupted or self.closing or self.infeasible or self.cannot_win
        return ended or self.nothing_to_gain or perf_counter() >= self.deadline

    @property
    def nothing_to_gain(self) -> bool:
        """Whether the best schedule is so close to the bound that the tools cannot tell the difference."""
        return self.best is not None and (self.best - self.bound) * NEGLIGIBLE <= self.best

    @property
    def cannot_win(self) -> bool:
        """Whether no schedule can be as short as the rival."""
        return self.rival is not None and self.best is not None and self.bound > self.rival

    @property
    def closed(self) -> bool:
        """Whether the best schedule meets the bound."""
        return self.best is not None and self.best <= self.bound

    @property
    def status(self) -> Answer:
        """``optimal``, ``feasible``, ``infeasible``, or ``unknown`` while nothing has been found."""
        if self.best is None:
            return "infeasible" if self.infeasible else "unknown"
        return "optimal" if self.closed else "feasible"

    @property
    def deadline(self) -> float:
        """When to be done, on the clock of `time.perf_counter`."""
        return self.budget.deadline

    @property
    def seconds_left(self) -> float:
        """The time left."""
        return max(0.0, self.deadline - perf_counter())

    def until(self, seconds: float) -> float:
        """Return the deadline of a tool that may take the given seconds."""
        return min(self.deadline, perf_counter() + seconds)

    def best_so_far(self) -> tuple[int, Orders] | None:
        """Return the least objective found, in steps, together with its orders."""
        with self._lock:
            best = self.best_in_steps
            return None if best is None else (best, self.orders)

    def _tell(self) -> None:
        self.brought += threading.current_thread() is self._home
        if threading.current_thread() is self._home:
            self._show()
        else:
            self._has_news = True

    def _show(self) -> None:
        if self.progress:
            scale = self.problem.ticks_per_unit
            best = None if self.best is None else self.best / scale
            memory = self.memory[0] / self.problem.amounts_per_unit if self._looks_for_memory else None
            self.progress(Standing(perf_counter() - self.started, best, self.bound / scale, memory))
