"""The search for the best schedule of a problem: in which order its tools run, and how they share its time.

`search` does all of it. Whoever has to look at the clock in between takes the same steps one by one: a `Search`, what
it starts from (`Search.offer`), a first bound (`first_bound`), `quick_bound`, `run_tools`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter, sleep
from typing import Literal, TypeAlias

from solver import jit
from solver.bounds.bound import Bound, best
from solver.bounds.heads_tails import heads_and_tails
from solver.bounds.loads import least_loads
from solver.bounds.makespan import WITH_SECOND, bounds_of_long, load_bound, makespan_bound
from solver.bounds.memory_edges import memory_edges
from solver.bounds.relaxation import relaxed_bound
from solver.deadline import OutOfTimeError
from solver.errors import InputError
from solver.order_graph import check_complete
from solver.problem import Orders, Problem
from solver.repetition import LONG
from solver.resolution import Resolution
from solver.search import annealing
from solver.search.beside import running_beside
from solver.search.compiled import CompiledProblem, compile_problem
from solver.search.cpsat_search import search as search_with_cpsat
from solver.search.cpsat_steps import topological_ranks
from solver.search.greedy import greedy_schedules
from solver.search.local_search import NoStartError, improve
from solver.search.long_search import SHORTEST, LongSearch, Starts, UnwrittenSearch, Write, repeats
from solver.search.state import Progress, Search
from solver.states import Objective

BOUND_SHARE = 0.35
"""The part of the time that the quick bound may take at most before the search proper."""

GREEDY_SHARE = 0.15
"""The part of the time that list schedules may take at most before the search proper."""

GREEDY_SECONDS, GREEDY_SECONDS_PER_TASK = 1.0, 0.0005
"""What they need to try every rule once."""

FIRST_ROUND = 1.0
"""Seconds that each tool has in the first round."""

LOCAL_TURN = 5.0
"""After so many seconds, local search looks what others have found."""

LARGEST_FOR_LISTS = 60_000
"""With more tasks than this, list schedules of the whole are not made where there are shorter problems to search."""

POLL_SECONDS = 0.05
"""How often a thread that has nothing to do looks whether the others are done."""

BRIEF_BOUND_SHARE = 0.1
"""The part of a short search that its bound may take: it says at once where small problems have no schedule."""

SMALL = 150
"""Up to so many tasks CP-SAT has its turn first: it tries everything."""

LARGEST_FOR_CPSAT = 20_000
"""With more tasks than this CP-SAT has no turn: its model takes longer to build than it ever gave."""

ToolName: TypeAlias = Literal["local search", "cp-sat", "relaxation", "short problems"]
"""What works on a search: three that look for schedules (CP-SAT for bounds, too), and one for bounds alone."""


@dataclass
class Tool:
    """What works on a search in turns.

    Attributes
    ----------
    run : callable
        ``run(deadline)`` works until then, or a little longer.
    needs : float
        How many seconds a turn takes at least, however early its deadline is: what the last ones have shown.
    seconds : float
        How long its next turn is.
    """

    run: Callable[[float], None]
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
    tools : sequence of {"local search", "cp-sat", "relaxation"}, optional
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
    return Bound(loads[device], "work", device)


def usual_tools(problem: Problem, objective: Objective) -> tuple[ToolName, ...]:
    """Order the tools: CP-SAT closes spans, local search nearly everything else, the relaxation raises the bound."""
    if len(problem.tasks) > LARGEST_FOR_CPSAT:
        return ("local search",)
    if objective == "span" or len(problem.tasks) <= SMALL:
        return ("cp-sat", "local search")
    return ("local search", "relaxation", "local search", "cp-sat")


def quick_bound(search: Search, share: float = BOUND_SHARE, known: Bound | None = None) -> float:
    """Raise the bound on the makespan by all arguments that need no search; return how many seconds they take.

    What the first tasks of long chains show may be known already. Once the schedule is proven to be the best, no more
    of them is looked at.
    """
    began = perf_counter()
    if search.objective == "makespan":
        deadline = search.until(share * search.seconds_left)
        for number, bound in enumerate(() if known else bounds_of_long(search.problem, deadline=deadline)):
            search.proven(bound)
            if search.closed and not number:
                return (perf_counter() - began) * WITH_SECOND
            known = best(bound, known)
        search.proven(makespan_bound(search.problem, known=known, deadline=deadline))
    return perf_counter() - began


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
            partial(_search_locally, search, seed + 1 + number, (number, lanes), long) for number in range(annealing)
        ]
        with running_beside(search, beside) as is_busy:
            _run_in_turns(search, others if annealing else tools, max(1, workers - annealing), seed, long, annealing)
            while is_busy() and not search.done():
                sleep(POLL_SECONDS)


def begin_unwritten(search: UnwrittenSearch, seed: int, starts: Starts, write: Write) -> LongSearch | None:
    """Prepare the search of a problem of which only the first tasks are written down, and stretch what it starts from.

    None if its precedences do not join equal places of its chains, or the chains have several lengths or are short.
    """
    lengths = {len(chain) + more for chain, more in zip(search.problem.chains, search.repetition.more, strict=True)}
    length = min(lengths)
    if len(lengths) > 1 or length < LONG * search.problem.devices or not repeats(search.problem):
        return None
    made = LongSearch(search, seed, starts, write, length=length)
    made.begin()
    return made


def run_unwritten(search: UnwrittenSearch, first: LongSearch, workers: int) -> None:
    """Go on with the search of a problem of which only the first tasks are written down, on some cores.

    Parameters
    ----------
    search : UnwrittenSearch
        Where all report.
    first : LongSearch
        What `begin_unwritten` has made of it.
    workers : int
        How many cores are used.
    """
    lanes = workers if are_compiled() else 1

    def search_beside(number: int) -> None:
        with suppress(OutOfTimeError):
            first.beside(number, lanes).run()

    first.lane = 0, lanes
    with running_beside(search, [partial(search_beside, number) for number in range(1, lanes)]):
        with suppress(OutOfTimeError):
            first.run()
        while not search.done():
            sleep(POLL_SECONDS)


def _run_in_turns(
    search: Search, tools: Sequence[ToolName], workers: int, seed: int, long: LongSearch | None, beside: int
) -> None:
    """Make list schedules, and let tools take turns."""
    made: dict[ToolName, Tool] = {
        "cp-sat": Tool(partial(_run_cpsat, search, workers, _counted(seed))),
        "relaxation": Tool(partial(_run_relaxation, search, workers, seed)),
    }
    names = list(tools)
    if long is not None and long.stretches:
        made["short problems"] = Tool(long.run_until)
        long.lane = beside, beside + 1
        names = ["short problems", *names]
    elif long is not None and not beside:
        long.look_for_turns()
    if "local search" in names or not names or len(search.problem.tasks) <= LARGEST_FOR_LISTS:
        compiled = compile_problem(search.rounded, deadline=search.deadline)
        _list_schedules(search, compiled, seed)
        made["local search"] = Tool(partial(_run_local_search, search, compiled, _counted(seed)))
    _take_turns(search, [made[name] for name in names])


def are_compiled() -> bool:
    """Return whether the inner loops let others work beside them."""
    return jit.jitted(annealing, may_compile=False) is not None


def long_search_of(
    search: Search, seed: int, starts: Starts = lambda _: (), write: Write | None = None
) -> LongSearch | None:
    """Prepare a search of shorter problems; None where the problem does not repeat, or its span is minimised."""
    lengths = {len(chain) for chain in search.problem.chains}
    if search.objective != "makespan" or len(lengths) != 1 or min(lengths) < SHORTEST:
        return None
    if not repeats(search.problem if write is None else write(SHORTEST)):
        return None
    return LongSearch(search, seed, starts, write)


def _search_locally(search: Search, seed: int, lane: tuple[int, int], long: LongSearch | None) -> None:
    """Search locally until the search is done: by way of shorter problems where there are any."""
    with suppress(OutOfTimeError, NoStartError):
        if long is not None:
            LongSearch(search, seed, long.starts, long.write, lane).run()
            return
        compiled = compile_problem(search.rounded, deadline=search.deadline)
        while not search.done():
            known = search.best_so_far()
            improve(
                compiled,
                [] if known is None else [known[1]],
                target=search.target,
                deadline=search.until(LOCAL_TURN),
                stop=search.done,
                seed=seed,
                on_solution=search.keep,
                objective=search.objective,
            )
            seed += 1


def _take_turns(search: Search, tools: list[Tool]) -> None:
    while not search.done():
        able = [tool for tool in tools if tool.needs < search.seconds_left]
        if not able:
            return
        brought: list[Tool] = []
        for tool in able:
            if not search.done() and tool.needs < search.seconds_left:
                before = search.brought
                tool.take_turn(search.until(tool.seconds))
                if search.brought > before:
                    brought.append(tool)
        for tool in {id(tool): tool for tool in brought or able}.values():
            tool.seconds *= 2


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
            compiled = compile_problem(search.rounded, deadline=search.deadline)
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
    edges = memory_edges(search.rounded, deadline=deadline)
    heads, tails = heads_and_tails(search.rounded, edges, deadline=deadline)
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


def _run_local_search(
    search: Search, compiled: CompiledProblem, seeds: Iterator[int], deadline: float, start: Orders | None = None
) -> None:
    known = search.best_so_far()
    starts = [] if known is None else [known[1]]
    with suppress(NoStartError):
        improve(
            compiled,
            starts if start is None else [*starts, start],
            target=search.target,
            deadline=deadline,
            stop=search.done,
            seed=next(seeds),
            on_solution=search.keep,
            objective=search.objective,
        )


def _run_relaxation(search: Search, workers: int, seed: int, deadline: float) -> None:
    held = search.held_by
    assert held is not None
    resolution = Resolution.for_cpsat(search.problem)
    bound = relaxed_bound(
        resolution.rounded(search.problem),
        replace(held, value=held.value // resolution.time),
        deadline=deadline,
        upper=None if search.best is None else search.best // resolution.time,
        workers=workers,
        seed=seed,
        stop=search.done,
    )
    search.proven(replace(bound, value=resolution.ticks(bound.value, search.objective)))
