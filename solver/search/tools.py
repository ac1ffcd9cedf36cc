"""The tools of a search, each of which works until a deadline, and their usual order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Literal, TypeAlias

from solver import jit
from solver.bounds.heads_tails import heads_and_tails
from solver.bounds.memory_edges import memory_edges
from solver.budget import LISTS, Phase
from solver.deadline import OutOfTimeError
from solver.problem import Key, Orders, Precedence, Problem
from solver.search import annealing
from solver.search.compiled import CompiledProblem, compile_problem
from solver.search.cpsat_search import search as search_with_cpsat
from solver.search.greedy import greedy_schedules
from solver.search.local_search import LocalSearch, NoStartError
from solver.search.long_search import LongSearch
from solver.search.state import Search
from solver.states import Objective

GREEDY_SECONDS, GREEDY_SECONDS_PER_TASK = 1.0, 0.0005
"""What they need to try every rule once."""

LOCAL_TURN = 5.0
"""Seconds after which local search continues from what others have found."""

SMALL = 150
"""Up to this many tasks, CP-SAT has its turn first: it tries everything."""

LARGEST_FOR_CPSAT = 2_000
"""Above this many tasks, CP-SAT has no turn: what it gained is within noise."""

ToolName: TypeAlias = Literal["local search", "cp-sat", "short problems"]
"""What works on a search: all look for schedules, CP-SAT for bounds, too."""


def usual_tools(problem: Problem, objective: Objective) -> tuple[ToolName, ...]:
    """Order the tools: CP-SAT closes spans and small problems, local search nearly everything else."""
    if len(problem.tasks) > LARGEST_FOR_CPSAT:
        return ("local search",)
    if objective == "span" or len(problem.tasks) <= SMALL:
        return ("cp-sat", "local search")
    return ("local search", "cp-sat")


def are_compiled() -> bool:
    """Return whether the inner loops let others work beside them."""
    return jit.jitted(annealing, may_compile=False) is not None


def list_schedules(search: Search, compiled: CompiledProblem, seed: int, phase: Phase = LISTS) -> Orders | None:
    """Offer a schedule of each rule, as far as there is time; return the best of them."""
    best: Orders | None = None
    enough = GREEDY_SECONDS + GREEDY_SECONDS_PER_TASK * len(search.problem.tasks)
    with search.budget.running(phase, min(enough, phase.within(search.seconds_left))) as deadline:
        for _, orders in greedy_schedules(compiled, deadline=deadline, seed=seed, stop=search.done):
            search.offer(orders)
            best = orders
            if search.done():
                break
    return best


def search_locally(search: Search, seed: int, lane: tuple[int, int], long: LongSearch | None) -> None:
    """Search locally until the search is done: by way of shorter problems where there are any."""
    with suppress(OutOfTimeError, NoStartError):
        if long is not None:
            LongSearch(search, seed, long.starts, long.write, lane).run()
            return
        turns = Annealing(search, compile_problem(search.rounded, deadline=search.deadline), seed)
        while not search.done():
            turns.run(search.until(LOCAL_TURN))


def run_cpsat(search: Search, workers: int, seeds: Iterator[int], deadline: float) -> None:
    """Look for better schedules and bounds with CP-SAT, and for a proof that no schedule fits the memory."""
    edges, heads, tails = search.once("windows", partial(_windows, search.rounded), deadline)
    status = search_with_cpsat(
        search.rounded,
        edges=edges,
        heads=heads,
        tails=tails,
        bound=search.target,
        incumbent=search.best_so_far(),
        objective=search.objective,
        deadline=deadline,
        stop=search.done,
        workers=workers,
        seed=next(seeds),
        on_solution=search.keep,
        on_bound=search.raise_bound,
    )
    search.infeasible |= status == "infeasible" and search.best is None


def _windows(problem: Problem, deadline: float) -> tuple[list[Precedence], Mapping[Key, int], Mapping[Key, int]]:
    """Find the precedences that memory implies, and when each task can run with them."""
    edges = memory_edges(problem, deadline=deadline)
    return edges, *heads_and_tails(problem, edges, deadline=deadline)


class Annealing:
    """Local search in turns: each goes on where the one before it was cut short.

    Parameters
    ----------
    search : Search
        Where it reports, and from whose best schedule each turn starts, too.
    compiled : CompiledProblem
        The problem in steps.
    seed : int
        Seed of all random numbers.
    start : Orders, optional
        What else to start from; what does not fit the memory is put off.
    """

    def __init__(self, search: Search, compiled: CompiledProblem, seed: int, start: Orders | None = None) -> None:
        self.search, self.seed, self.start = search, seed, start
        self.local = LocalSearch(compiled, seed, search.objective == "span")

    def run(self, deadline: float) -> None:
        """Work until a deadline."""
        search = self.search
        self.local = self.local.renewed(self.seed)
        known = search.best_so_far()
        starts = [orders for orders in (None if known is None else known[1], self.start) if orders is not None]
        self.start = None
        with suppress(NoStartError):
            self.local.improve(
                starts,
                target=search.target,
                deadline=deadline,
                ends=search.deadline,
                stop=search.done,
                seed=self.seed,
                on_solution=search.keep,
            )


def counted(seed: int) -> Iterator[int]:
    """Give each turn of a tool another seed, the same in every run."""
    while True:
        yield seed
        seed += 1
