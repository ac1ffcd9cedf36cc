"""The search for the best schedule of a problem, in one loop: starts, bounds, then rounds in which tools take turns.

`search` does all of it for a problem; `work` is the loop itself, for whoever makes the `Search` and takes steps
of its own before the tools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter, sleep

from solver.bounds.bound import Bound
from solver.budget import Phase
from solver.deadline import OutOfTimeError
from solver.errors import InputError
from solver.order_graph import check_complete
from solver.problem import Orders, Problem
from solver.search.compiled import compile_problem
from solver.search.cpsat_steps import topological_ranks
from solver.search.first_bounds import plain_bound, quick_bound, refute_deadlines
from solver.search.long_search import LongSearch
from solver.search.shorter_problems import long_search_of
from solver.search.state import Progress, Search
from solver.search.tool_threads import POLL_SECONDS, running_in_threads
from solver.search.tools import (
    Annealing,
    ToolName,
    are_compiled,
    counted,
    list_schedules,
    run_cpsat,
    search_locally,
    usual_tools,
)
from solver.states import Objective

FIRST_ROUND = 1.0
"""Seconds that each tool has in the first round."""

LARGEST_FOR_LISTS = 60_000
"""With more tasks than this, list schedules of the whole are not made where there are shorter problems to search."""


@dataclass
class Tool:
    """What works on a search in turns.

    Attributes
    ----------
    run : callable
        ``run(deadline)`` works until then, or a little longer.
    name : str
        What its turns are called.
    needs : float
        How many seconds a turn takes at least, however early its deadline is: what the last ones have shown.
    seconds : float
        How long its next turn is.
    """

    run: Callable[[float], None]
    name: str = "tool"
    needs: float = 0.0
    seconds: float = FIRST_ROUND

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
    tools : sequence of {"local search", "cp-sat"}, optional
        In which order they take turns, round after round, each round twice as long as the one before; by default as
        `usual_tools` has it.
    seconds : float
        How long it may take. What is linear in the number of tasks is done in any case.
    workers, seed : int
        How many cores are used in all; and what decides all that is random.
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
        If the precedences have a cycle, or a start misses, repeats or misplaces a task.
    """
    if topological_ranks(problem, ()) is None:
        raise InputError("the precedences have a cycle")
    state = Search(problem, objective, seconds, progress)

    def start() -> None:
        for orders in starts:
            check_complete(problem, orders)
            state.offer(orders)
        state.proven(plain_bound(problem, objective) if first_bound is None else first_bound)

    names = usual_tools(problem, objective) if tools is None else tools
    work(state, [start, partial(quick_bound, state)], names, workers, seed)
    if state.best is not None and state.best != state.sweeper.objective(state.orders, objective):
        raise AssertionError(f"the search found {state.best}, the replay does not")
    return state


def work(
    search: Search,
    steps: Iterable[Callable[[], object]],
    tools: Sequence[ToolName],
    workers: int,
    seed: int,
    long: LongSearch | None = None,
) -> None:
    """Take steps, each once, and then let tools take turns.

    Parameters
    ----------
    search, tools, workers, seed, long
        As for `run_tools`.
    steps : iterable of callable
        They offer schedules to start from, and raise the bound.
    """
    for step in steps:
        step()
    run_tools(search, tools, workers, seed, long)


def run_tools(
    search: Search, tools: Sequence[ToolName], workers: int, seed: int, long: LongSearch | None = None
) -> None:
    """Let the tools work until the schedule meets the bound or time is up.

    With several workers, and compiled loops, local search works in threads of its own from the beginning, on half of
    the cores; on all of them where nothing else is of use. The other tools take turns in the thread that called. How
    long is decided by what they bring: those that have brought something in a round have twice as long in the next, all
    of them if none has.

    Parameters
    ----------
    search : Search
        Where they report.
    tools : sequence of ToolName
        Which ones, in the order of their turns; one that is named twice has two turns a round.
    workers, seed : int
        How many cores they use in all; and what decides all that is random.
    long : LongSearch, optional
        A search of shorter problems that has begun; by default one is made where the problem repeats.
    """
    if search.done():
        return
    with suppress(OutOfTimeError):
        long = long or long_search_of(search, seed)
        if "local search" not in tools:
            long = None
        others = [name for name in tools if name != "local search"]
        annealing, in_turns = 0, long is not None and long.stretches
        if workers > 1 and "local search" in tools and are_compiled():
            annealing = workers // 2 if others else workers - in_turns
        lanes = annealing + in_turns
        beside = [
            partial(search_locally, search, seed + 1 + number, (number, lanes), long) for number in range(annealing)
        ]
        with running_in_threads(search, beside) as is_busy:
            _run_in_turns(search, others if annealing else tools, max(1, workers - annealing), seed, long, annealing)
            while is_busy() and not search.done():
                sleep(POLL_SECONDS)


def _run_in_turns(
    search: Search, names: Sequence[ToolName], workers: int, seed: int, long: LongSearch | None, beside: int
) -> None:
    """Make list schedules, and let tools take turns."""
    tools = {
        "cp-sat": Tool(partial(run_cpsat, search, workers, counted(seed)), "cp-sat"),
    }
    if long is not None and long.stretches:
        tools["short problems"] = Tool(long.run_until, "short problems")
        long.lane = beside, beside + 1
        names = ["short problems", *names]
    if "local search" in names or not names or len(search.problem.tasks) <= LARGEST_FOR_LISTS:
        compiled = compile_problem(search.rounded, deadline=search.deadline)
        listed = list_schedules(search, compiled, seed)
        tools["local search"] = Tool(Annealing(search, compiled, seed, listed).run, "local search")
    refute_deadlines(search)
    _take_turns(search, [tools[name] for name in names])


def _take_turns(search: Search, tools: Sequence[Tool]) -> None:
    """Let tools take turns, round after round, until the search is done or no tool can end in time."""
    while not search.done():
        able = [tool for tool in tools if tool.needs < search.seconds_left]
        if not able:
            return
        brought: list[Tool] = []
        for tool in able:
            if not search.done() and tool.needs < search.seconds_left:
                before = search.brought
                with search.budget.running(Phase(tool.name), tool.seconds) as deadline:
                    tool.take_turn(deadline)
                if search.brought > before:
                    brought.append(tool)
        for tool in {id(tool): tool for tool in brought or able}.values():
            tool.seconds *= 2
