"""Compile all inner loops: ``python -m solver.search.compile_all``. A search starts this if nothing is compiled yet."""

from __future__ import annotations

from solver.problem import Hold, Key, Precedence, Problem, Task
from solver.search.compiled import compile_problem
from solver.search.greedy import greedy_tokens
from solver.search.local_search import LocalSearch
from solver.search.slots import SlotSearch
from solver.search.steady import SteadySearch
from solver.search.stretching import Runner


def compile_all() -> None:
    """Run every compiled function once, on a problem with a few tasks."""
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
    runner.repaired([[(place, mode) for place, mode in enumerate(string)] for string in tokens])
    SteadySearch(runner, 0, may_compile=True).alone(2)
    next(SlotSearch(runner, 4, 0, may_compile=True).run())


if __name__ == "__main__":
    compile_all()
