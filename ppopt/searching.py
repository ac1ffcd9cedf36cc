"""In which order the tools of a search run, and how they share its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from ppopt.search import Search
from ppopt.span import first_span_bound
from solver.bounds.bound import Bound
from solver.bounds.heads_tails import heads_and_tails
from solver.bounds.makespan import makespan_bound
from solver.bounds.memory_edges import memory_edges
from solver.bounds.relaxation import relaxed_bound
from solver.problem import Orders
from solver.search.cpsat_search import search as search_with_cpsat
from solver.search.greedy import greedy_schedules
from solver.search.local_search import improve
from strategies.pipeline import Pipeline
from strategies.placements import Placement

GREEDY_SHARE = 0.15
"""The part of the time that list schedules may take at most before the search proper."""

GREEDY_SECONDS, GREEDY_SECONDS_PER_TASK = 1.0, 0.0005
"""What they need to try every rule once."""

FIRST_ROUND = 1.0
"""Seconds that each tool has in the first round; every round doubles them."""

BOUND_SHARE = 0.1
"""The part of a short search that its bound may take: it says at once where small problems have no schedule."""

SMALL = 150
"""Up to so many tasks CP-SAT has its turn first: it tries everything."""

WORTH_COMPILING = 40.0
"""With more seconds left than this, local search may take a dozen of them to compile itself, where numba is there."""

Tool = Callable[[float], None]
"""``tool(deadline)`` works on a search until then."""


def run_tools(search: Search, pipeline: Pipeline, placement: Placement, workers: int, seed: int) -> None:
    """Bound, build, then let the tools take turns until the schedule meets the bound or time is up.

    Parameters
    ----------
    search : Search
        Where they report.
    pipeline : Pipeline
        What is searched, for the bounds that know it.
    placement : Placement
        Likewise.
    workers, seed : int
        For CP-SAT, and for all that is random.
    """
    search.proven(_first_bound(search, pipeline, placement, search.deadline))
    if search.done():
        return
    _list_schedules(search, seed)
    seconds = FIRST_ROUND
    tools = _tools(search, placement, workers, seed)
    while not search.done():
        for tool in tools:
            if not search.done():
                tool(search.until(seconds))
        seconds *= 2


def run_briefly(
    search: Search, pipeline: Pipeline, placement: Placement, start: Orders, workers: int, seed: int
) -> None:
    """Give each tool one turn in the little time that a search has.

    Parameters
    ----------
    search, pipeline, placement, workers, seed
        As for `run_tools`; the search has a schedule already.
    start : Orders
        What local search starts from, too; what does not fit the memory is put off.
    """
    left = search.seconds_left
    search.proven(_first_bound(search, pipeline, placement, search.until(BOUND_SHARE * left)))
    greedy = greedy_schedules(search.problem, deadline=search.until(0.5 * left), seed=seed, stop=search.done)
    for _, orders in greedy if not search.done() else ():
        search.offer(orders)
    tools: list[Tool] = [partial(_run_local_search, search, _counted(seed), start=start)]
    if len(search.problem.tasks) <= SMALL:
        tools.insert(0, partial(_run_cpsat, search, workers, _counted(seed)))
    for place, tool in enumerate(tools):
        if not search.done():
            tool(search.until(search.seconds_left / (len(tools) - place)))


def _first_bound(search: Search, pipeline: Pipeline, placement: Placement, deadline: float) -> Bound:
    if search.objective == "span":
        return first_span_bound(pipeline, placement, search.problem)
    return makespan_bound(search.problem, deadline=deadline)


def _list_schedules(search: Search, seed: int) -> None:
    enough = GREEDY_SECONDS + GREEDY_SECONDS_PER_TASK * len(search.problem.tasks)
    deadline = search.until(min(enough, GREEDY_SHARE * search.seconds_left))
    for _, orders in greedy_schedules(search.problem, deadline=deadline, seed=seed, stop=search.done):
        search.offer(orders)
        if search.done():
            return


def _tools(search: Search, placement: Placement, workers: int, seed: int) -> list[Tool]:
    """Order the tools: CP-SAT closes spans, local search nearly everything else, the relaxation raises the bound."""
    cpsat = partial(_run_cpsat, search, workers, _counted(seed))
    local = partial(_run_local_search, search, _counted(seed))
    if search.objective == "span":
        return [cpsat, local]
    relaxed = partial(_run_relaxation, search, workers, seed)
    if len(search.problem.tasks) <= SMALL:
        return [cpsat, local]
    return [local, cpsat, relaxed] if placement.name == "linear" else [local, relaxed, local, cpsat]


def _counted(seed: int) -> Iterator[int]:
    """Give each turn of a tool another seed, the same in every run."""
    while True:
        yield seed
        seed += 1


def _run_cpsat(search: Search, workers: int, seeds: Iterator[int], deadline: float) -> None:
    edges = memory_edges(search.problem, deadline=deadline)
    heads, tails = heads_and_tails(search.problem, edges, deadline=deadline)
    search_with_cpsat(
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
        found=search.found,
        raised=search.raised,
    )


def _run_local_search(search: Search, seeds: Iterator[int], deadline: float, start: Orders | None = None) -> None:
    improve(
        search.problem,
        [search.orders] if start is None else [search.orders, start],
        target=search.bound,
        deadline=deadline,
        stop=search.done,
        seed=next(seeds),
        found=search.found,
        objective="span" if search.objective == "span" else "makespan",
        compiled=True if search.seconds_left > WORTH_COMPILING else None,
    )


def _run_relaxation(search: Search, workers: int, seed: int, deadline: float) -> None:
    held = search.held_by
    assert held is not None
    bound = relaxed_bound(
        search.problem, held, deadline=deadline, upper=search.best, workers=workers, seed=seed, stop=search.done
    )
    search.proven(bound)
