"""Searches with CP-SAT, by asking repeatedly whether a schedule exists within a limit.

CP-SAT is far better at deciding whether a schedule exists within the known bound than at finding the best one: it finds
the schedule, or proves that none exists and so raises the bound. So each kind of schedules (`Variant`) is tried with
limits between the bound and the best known schedule, for longer and longer; minimising comes last.

What it is worth: row `cp-sat` of docs/development/ablation.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter

from solver.cpsat_run import POLL_SECONDS
from solver.problem import Key, Orders, Precedence, Problem
from solver.resolution import LARGEST_HORIZON
from solver.search.cpsat_lane import Lane, Shared
from solver.search.cpsat_state import State
from solver.search.cpsat_steps import Steps, Windows, in_steps, topological_ranks
from solver.search.cpsat_variants import variants
from solver.search.state import OnBound, OnSolution
from solver.states import Answer, Objective

MANY_STEPS, FEW_STEPS = 2**36, 2**26
"""Above the first number of steps, CP-SAT starts with the second, coarser one: about five digits of each duration."""

FINER = 64
"""When refining, the number of steps grows by this factor times (what rounding can hide ÷ the open gap)."""


def search(
    problem: Problem,
    *,
    edges: list[Precedence],
    heads: Mapping[Key, int],
    tails: Mapping[Key, int],
    bound: int,
    incumbent: tuple[int, Orders] | None,
    objective: Objective,
    deadline: float,
    stop: Callable[[], bool],
    workers: int,
    seed: int,
    on_solution: OnSolution,
    on_bound: OnBound,
) -> Answer:
    """Search for better schedules and better bounds until they meet, or time is up.

    Parameters
    ----------
    problem : Problem
        The problem.
    edges : list of Precedence
        Precedences besides the problem's own that every schedule keeps, e.g. for memory.
    heads, tails : mapping of Key to int
        The least time before each task's start and after its end, in ticks.
    bound : int
        A known lower bound of the objective, in ticks.
    incumbent : (int, Orders) or None
        The best schedule known: its objective in ticks, and its orders.
    objective : {"makespan", "span"}
        The objective, always at the earliest starts that the orders allow.
    deadline : float
        When to stop, on the clock of `time.perf_counter`.
    stop : callable
        Called often; the search stops when it returns True.
    workers, seed : int
        The number of parallel solves, with one thread each; and CP-SAT's seed.
    on_solution : callable
        Called with the objective (ticks) and the orders of every better schedule.
    on_bound : callable
        Called with every better bound (ticks), proven for all schedules.

    Returns
    -------
    str
        ``optimal``, ``infeasible``, ``feasible`` or ``unknown``.

    Raises
    ------
    OutOfTimeError
        If time is up before the first question is asked.
    """
    state = State(problem, objective, bound, deadline)
    if incumbent is not None:
        state.best, state.orders = incumbent
    ranks = topological_ranks(problem, edges)
    if ranks is None:
        return "infeasible"
    told = (stop, on_solution, on_bound)
    for steps, scaled_edges in _finer_and_finer(problem, edges, state):
        windows = Windows(
            steps.problem,
            {key: head // steps.size for key, head in heads.items()},
            {key: tail // steps.size for key, tail in tails.items()},
        )
        kinds = variants(steps.problem, scaled_edges, objective, lambda: stop() or state.over())
        shared = Shared(state, steps, scaled_edges, windows, ranks)
        lanes = [
            Lane(shared, kinds[number % len(kinds) :] + kinds[: number % len(kinds)], seed + number)
            for number in range(max(1, workers))
        ]
        _run_side_by_side(lanes, state, *told)
        seed += len(lanes)
    return state.status()


def _finer_and_finer(
    problem: Problem, edges: list[Precedence], state: State
) -> Iterator[tuple[Steps, list[Precedence]]]:
    """Yield the steps for CP-SAT: with all digits if these are few, otherwise with few digits at first.

    Rounding hides at most one step for each task and each lag on a path. Finer steps follow only when the bound is this
    close to the best schedule, and they are as fine as the open gap requires.
    """
    found = in_steps(problem, edges, MANY_STEPS)
    enough = FEW_STEPS
    while not found[0].exact:
        found = in_steps(problem, edges, enough)
        hidden = 2 * len(problem.tasks) * found[0].size
        state.enough = hidden if enough < LARGEST_HORIZON else 0
        if not state.is_close():
            yield found
        if not state.is_close() or not state.enough:
            return
        state.cancelled.clear()
        enough = min(LARGEST_HORIZON, FINER * enough * hidden // max(1, state.gap))
    state.enough = 0
    yield found


def _run_side_by_side(
    lanes: list[Lane],
    state: State,
    stop: Callable[[], bool],
    on_solution: OnSolution,
    on_bound: OnBound,
) -> None:
    """Run the lanes in threads; check ``stop`` and report news in the calling thread."""
    threads = [threading.Thread(target=lane.search, name="cp-sat lane", daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) and not stop() and perf_counter() < state.deadline:
            state.tell(on_solution, on_bound, POLL_SECONDS)
    finally:
        state.cancelled.set()
        for thread in threads:
            thread.join()
    state.tell(on_solution, on_bound, 0.0)
    for lane in lanes:
        if lane.failure is not None:
            raise lane.failure
