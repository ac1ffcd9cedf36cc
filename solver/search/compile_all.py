"""Compile all inner loops: ``python -m solver.search.compile_all``. A search starts this if nothing is compiled yet."""

from __future__ import annotations

import numpy as np

from solver import jit
from solver.partitioning import loops
from solver.partitioning.longest_path import Replay
from solver.partitioning.problem import Limit, PartitionProblem, Run, Split, Term
from solver.problem import Hold, Key, Precedence, Problem, Task
from solver.search.compiled import compile_problem
from solver.search.feeding import Feeding
from solver.search.feeding_loops import Fed
from solver.search.greedy import greedy_tokens
from solver.search.local_search import LocalSearch
from solver.search.string_runner import Runner


def compile_all() -> None:
    """Compile the loops of the search, then those of partitioning and of feeding."""
    compile_search()
    compile_partitioning()
    compile_feeding()


def compile_search() -> None:
    """Run everything that a search has compiled once, on a problem of a few tasks."""
    tasks: dict[Key, Task] = {(chain, place): Task(0, 1) for chain in range(2) for place in range(4)}
    waits: list[Precedence] = [((0, place), (1, place), 1) for place in range(4)]
    waits += [((chain, place), (chain, place + 1), 0) for chain in range(2) for place in range(3)]
    holds = [Hold((0, place), 1, (((1, place), 1),)) for place in range(4)]
    chains = [[(chain, place) for place in range(4)] for chain in range(2)]
    compiled = compile_problem(Problem(1, tasks, waits, holds, [1], chains=chains))
    _, tokens = next(greedy_tokens(compiled, deadline=float("inf")))
    local = LocalSearch(compiled, 0, span=False, jitted=True)
    local.add([tokens])
    local.compile_moves()
    runner = Runner(compiled, may_compile=True)
    runner.makespan(tokens)


def compile_partitioning() -> None:
    """Replay a split of a few items once."""
    forms = tuple(((Term(place, 0, 1),),) for place in range(3))
    limits = tuple(Limit((Term(place, 1, 1),), 3) for place in range(3))
    waits = [(), ((0, 1),), ((1, 1),)]
    problem = PartitionProblem(3, (Run(6, 0, 2, ((1, 1), (2, 0))),), forms, range(3), waits, limits)
    replay = Replay(problem, jit.jitted(loops, may_compile=True))
    amounts = problem.amounts_of(Split(((2,), (2,), (2,)), ((0,), (0,), (0,))))
    replay.longest(amounts)


def compile_feeding() -> None:
    """Search for the order of two items on one device once."""
    numbers, lengths = np.array([0, 0]), np.array([1.0, 2.0])
    fed = Fed(
        row=numbers,
        slot=np.array([0, 1]),
        second_row=numbers - 1,
        second_slot=numbers,
        wait_start=np.array([0, 0, 1]),
        wait_action=np.array([0]),
        wait_row=np.array([-1]),
        wait_slot=np.array([0]),
        change_start=np.array([0, 2]),
        change_row=numbers,
        change_slot=np.array([0, 1]),
        touched=np.array([0, 1]),
        tail=np.zeros(2),
        length=lengths,
        work=lengths,
        lag=lengths,
        amount=lengths,
        room=np.array([np.inf]),
        saved=0.0,
    )
    Feeding(fed, 2, [0, 1]).search([[0, 1]], deadline=None, steps=2, seed=0)


if __name__ == "__main__":
    compile_all()
