"""The search for the best schedule of a problem: in which order its tools run, and how they share its time.

`search` does all of it. Whoever has to look at the clock in between takes the same steps one by one: a `Search`, what
it starts from (`Search.offer`), a first bound (`first_bound`), `quick_bound`, `run_tools`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Literal, TypeAlias

from solver.bounds.bound import Bound
from solver.bounds.heads_tails import heads_and_tails
from solver.bounds.loads import least_loads
from solver.bounds.makespan import load_bound, makespan_bound
from solver.bounds.memory_edges import memory_edges
from solver.bounds.relaxation import relaxed_bound
from solver.deadline import OutOfTimeError
from solver.errors import InputError
from solver.order_graph import check_complete
from solver.problem import Orders, Problem
from solver.search.compiled import CompiledProblem, compile_problem
from solver.search.cpsat_search import search as search_with_cpsat
from solver.search.cpsat_steps import topological_ranks
from solver.search.greedy import greedy_schedules
from solver.search.local_search import NoStartError, improve
from solver.search.state import Progress, Search
from solver.states import Objective

BOUND_SHARE = 0.35
"""The part of the time that the quick bound may take at most before the search proper."""

GREEDY_SHARE = 0.15
"""The part of the time that list schedules may take at most before the search proper."""

GREEDY_SECONDS, GREEDY_SECONDS_PER_TASK = 1.0, 0.0005
"""What they need to try every rule once."""

FIRST_ROUND = 1.0
"""Seconds that each tool has in the first round; every round doubles them."""

BRIEF_BOUND_SHARE = 0.1
"""The part of a short search that its bound may take: it says at once where small problems have no schedule."""

SMALL = 150
"""Up to so many tasks CP-SAT has its turn first: it tries everything."""

WORTH_COMPILING = 40.0
"""With more seconds left than this, local search may take a dozen of them to compile itself, where numba is there."""

LARGEST_FOR_CPSAT = 20_000
"""With more tasks than this CP-SAT has no turn: its model takes longer to build than it ever gave."""

READING_TO_LOCAL = 0.6
"""Local search needs about this part of the time that it took to read the problem before its first move."""

ToolName: TypeAlias = Literal["local search", "cp-sat", "relaxation"]
"""What works on a search in turns: two that look for schedules (CP-SAT for bounds, too), and one for bounds alone."""


@dataclass
class Tool:
    """What works on a search in turns.

    Attributes
    ----------
    run : callable
        ``run(deadline)`` works until then, or a little longer.
    needs : float
        How many seconds a turn takes at least, however early its deadline is: what the last ones have shown. The first
        may take longer, to compile itself.
    """

    run: Callable[[float], None]
    needs: float = 0.0

    def take_turn(self, deadline: float) -> None:
        """Work until a deadline; take note if that was too short."""
        began = perf_counter()
        with suppress(OutOfTimeError):
            self.run(deadline)
        ended = perf_counter()
        took = ended - began
        self.needs = took if ended - deadline > took / 5 else min(self.needs, took)


def search(
    problem: Problem,
    *,
    objective: Objective = "makespan",
    starts: Iterable[Orders] = (),
    first_bound: Bound | None = None,
    tools: Sequence[ToolName] | None = None,
    seconds: float = 60.0,
    workers: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Search:
    """Search for the best schedule of a problem until it meets a proven bound, or time is up.

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    objective : {"makespan", "span"}
        What is minimised: the last end, or the longest time from a device's first start to its last end.
    starts : iterable of Orders
        Schedules to start from. The result is no worse than any of them that runs and fits the memory.
    first_bound : Bound, optional
        What is known of the objective, from an argument that the tools do not know; by default the work of a device
        with what must lie around it.
    tools : sequence of {"local search", "cp-sat", "relaxation"}, optional
        In which order they take turns, round after round, each round twice as long as the one before; by default as
        `usual_tools` has it.
    seconds : float
        How long it may take. What is linear in the number of tasks is done in any case.
    workers, seed : int
        Threads of CP-SAT; and what decides all that is random.
    progress : callable, optional
        ``progress(standing)`` is called whenever the best schedule or the bound moves.

    Returns
    -------
    Search
        Where it ended: the best ``orders`` and their objective (``best``, in ticks), the ``bound`` and the argument
        that holds it, and the ``status``.

    Raises
    ------
    InfeasibleError
        If an argument shows that no schedule fits the memory.
    InputError
        If the precedences have a circle, or a start misses, repeats or misplaces a task.
    """
    if topological_ranks(problem, ()) is None:
        raise InputError("the precedences have a circle")
    state = Search(problem, objective, seconds, progress)
    for orders in starts:
        check_complete(problem, orders)
        state.offer(orders)
    state.proven(plain_bound(problem, objective) if first_bound is None else first_bound)
    quick_bound(state)
    run_tools(state, usual_tools(problem, objective) if tools is None else tools, workers, seed)
    if state.best is not None and state.best != state.sweeper.objective(state.orders, objective):
        raise AssertionError(f"the search found {state.best}, the replay does not")
    return state


def plain_bound(problem: Problem, objective: Objective) -> Bound:
    """Find a bound that no clock cuts short: the work of a device, for the makespan with what lies around it."""
    if objective == "makespan":
        return load_bound(problem)
    return busiest_device(problem)


def busiest_device(problem: Problem) -> Bound:
    """Bound the span by the work of a device: between its first start and its last end it does all of it."""
    loads = least_loads(problem)
    device = max(range(problem.devices), key=loads.__getitem__)
    return Bound(loads[device], "span", device, {"load": loads[device]})


def usual_tools(problem: Problem, objective: Objective) -> tuple[ToolName, ...]:
    """Order the tools: CP-SAT closes spans, local search nearly everything else, the relaxation raises the bound."""
    if len(problem.tasks) > LARGEST_FOR_CPSAT:
        return ("local search",)
    if objective == "span" or len(problem.tasks) <= SMALL:
        return ("cp-sat", "local search")
    return ("local search", "relaxation", "local search", "cp-sat")


def quick_bound(search: Search, share: float = BOUND_SHARE) -> float:
    """Raise the bound on the makespan by all arguments that need no search; return how many seconds they took."""
    began = perf_counter()
    if search.objective == "makespan":
        search.proven(makespan_bound(search.problem, deadline=search.until(share * search.seconds_left)))
    return perf_counter() - began


def run_tools(search: Search, tools: Sequence[ToolName], workers: int, seed: int) -> None:
    """Let the tools take turns until the schedule meets the bound or time is up.

    Parameters
    ----------
    search : Search
        Where they report.
    tools : sequence of ToolName
        Which ones, in the order of their turns; one that is named twice has two turns a round.
    workers, seed : int
        For CP-SAT, and for all that is random.
    """
    if search.done():
        return
    began = perf_counter()
    with suppress(OutOfTimeError):
        compiled = compile_problem(search.problem, deadline=search.deadline)
        loading = READING_TO_LOCAL * (perf_counter() - began)
        _list_schedules(search, compiled, seed)
        by_name: dict[ToolName, Tool] = {
            "local search": Tool(partial(_run_local_search, search, compiled, _counted(seed)), loading),
            "cp-sat": Tool(partial(_run_cpsat, search, workers, _counted(seed))),
            "relaxation": Tool(partial(_run_relaxation, search, workers, seed)),
        }
        _take_turns(search, [by_name[name] for name in tools])


def _take_turns(search: Search, tools: list[Tool]) -> None:
    seconds = FIRST_ROUND
    while not search.done():
        able = [tool for tool in tools if tool.needs < search.seconds_left]
        if not able:
            return
        for tool in able:
            if not search.done() and tool.needs < search.seconds_left:
                tool.take_turn(search.until(seconds))
        seconds *= 2


def run_briefly(search: Search, start: Orders, workers: int, seed: int) -> None:
    """Give each tool one turn in the little time that a search has.

    Parameters
    ----------
    search, workers, seed
        As for `run_tools`; the search has a schedule already.
    start : Orders
        What local search starts from, too; what does not fit the memory is put off.
    """
    quick_bound(search, BRIEF_BOUND_SHARE)
    with suppress(OutOfTimeError):
        if not search.done():
            compiled = compile_problem(search.problem, deadline=search.deadline)
            _take_one_turn(search, compiled, start, workers, seed)


def _take_one_turn(search: Search, compiled: CompiledProblem, start: Orders, workers: int, seed: int) -> None:
    enough = search.until(0.5 * search.seconds_left)
    for _, orders in greedy_schedules(compiled, deadline=enough, seed=seed, stop=search.done):
        search.offer(orders)
    tools = [Tool(partial(_run_local_search, search, compiled, _counted(seed), start=start))]
    if len(search.problem.tasks) <= SMALL:
        tools.insert(0, Tool(partial(_run_cpsat, search, workers, _counted(seed))))
    for place, tool in enumerate(tools):
        if not search.done():
            tool.take_turn(search.until(search.seconds_left / (len(tools) - place)))


def _list_schedules(search: Search, compiled: CompiledProblem, seed: int) -> None:
    enough = GREEDY_SECONDS + GREEDY_SECONDS_PER_TASK * len(search.problem.tasks)
    deadline = search.until(min(enough, GREEDY_SHARE * search.seconds_left))
    for _, orders in greedy_schedules(compiled, deadline=deadline, seed=seed, stop=search.done):
        search.offer(orders)
        if search.done():
            return


def _counted(seed: int) -> Iterator[int]:
    """Give each turn of a tool another seed, the same in every run."""
    while True:
        yield seed
        seed += 1


def _run_cpsat(search: Search, workers: int, seeds: Iterator[int], deadline: float) -> None:
    edges = memory_edges(search.problem, deadline=deadline)
    heads, tails = heads_and_tails(search.problem, edges, deadline=deadline)
    status = search_with_cpsat(
        search.problem,
        edges=edges,
        heads=heads,
        tails=tails,
        bound=search.bound,
        incumbent=None if search.best is None else (search.best, search.orders),
        objective=search.objective,
        deadline=deadline,
        stop=search.done,
        workers=workers,
        seed=next(seeds),
        on_solution=search.keep,
        on_bound=search.raise_bound,
    )
    search.infeasible |= status == "infeasible" and search.best is None


def _run_local_search(
    search: Search, compiled: CompiledProblem, seeds: Iterator[int], deadline: float, start: Orders | None = None
) -> None:
    starts = [] if search.best is None else [search.orders]
    with suppress(NoStartError):
        improve(
            compiled,
            starts if start is None else [*starts, start],
            target=search.bound,
            deadline=deadline,
            stop=search.done,
            seed=next(seeds),
            on_solution=search.keep,
            objective=search.objective,
            compiled=True if search.seconds_left > WORTH_COMPILING else None,
            compiled_by=search.deadline,
        )


def _run_relaxation(search: Search, workers: int, seed: int, deadline: float) -> None:
    held = search.held_by
    assert held is not None
    bound = relaxed_bound(
        search.problem, held, deadline=deadline, upper=search.best, workers=workers, seed=seed, stop=search.done
    )
    search.proven(bound)
