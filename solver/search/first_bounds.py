"""Bounds that need no search: the work of a device, and all arguments in turn."""

from __future__ import annotations

from time import perf_counter

from solver.bounds.bound import Bound, best
from solver.bounds.loads import least_loads
from solver.bounds.makespan import WITH_SECOND, bounds_of_long, load_bound, makespan_bound
from solver.bounds.refutation import refuted_bounds
from solver.budget import BOUND, REFUTATION, Phase
from solver.problem import Problem
from solver.search.state import Search
from solver.states import Objective


def plain_bound(problem: Problem, objective: Objective) -> Bound:
    """Find a bound that no clock cuts short: the work of a device, for the makespan with what lies around it."""
    if objective == "makespan":
        return load_bound(problem)
    return busiest_device(problem)


def busiest_device(problem: Problem) -> Bound:
    """Bound the span by the work of a device: between its first start and its last end it does all of it."""
    loads = least_loads(problem)
    device = max(range(problem.devices), key=loads.__getitem__)
    return Bound(loads[device], "work", device)


def quick_bound(search: Search, phase: Phase = BOUND, known: Bound | None = None) -> float:
    """Raise the bound on the makespan by all arguments that need no search; return how many seconds they take.

    What the first tasks of long chains show may be known already. Once the schedule is proven to be the best, no more
    of them is looked at.
    """
    began = perf_counter()
    if search.objective == "span":
        return 0.0
    with search.budget.running(phase) as deadline:
        for number, bound in enumerate(() if known else bounds_of_long(search.problem, deadline=deadline)):
            search.proven(bound)
            if search.closed and not number:
                return (perf_counter() - began) * WITH_SECOND
            known = best(bound, known)
        search.proven(makespan_bound(search.problem, known=known, deadline=deadline))
    return perf_counter() - began


def refute_deadlines(search: Search) -> None:
    """Raise the bound on the makespan by deadlines that no schedule meets, as long as that brings something."""
    if search.objective == "span" or search.done():
        return
    with search.budget.running(REFUTATION) as deadline:
        for bound in refuted_bounds(search.problem, search.bound, deadline=deadline):
            search.proven(bound)
            if search.done():
                return
