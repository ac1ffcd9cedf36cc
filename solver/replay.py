"""Replaying a fixed order: two engines, one answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import get_args

from solver.errors import InputError
from solver.longest_path import earliest_starts
from solver.numbered import Numbered, place, placed
from solver.problem import Action, Orders, Placed, Problem
from solver.resolution import time_step
from solver.states import Engine, EngineChoice

ENGINES: tuple[EngineChoice, ...] = get_args(EngineChoice)
"""The names an engine may have."""

LARGEST_FOR_CPSAT = 20_000
"""Above this many tasks, ``auto`` takes the graph: CP-SAT's time grows faster than their number."""


def choose_engine(engine: EngineChoice, problem: Problem) -> Engine:
    """Turn ``auto`` into the engine it stands for on a problem."""
    if engine != "auto":
        return engine
    if problem.moves or len(problem.tasks) > LARGEST_FOR_CPSAT:
        return "graph"
    numbered = Numbered(problem)
    try:
        time_step(numbered.duration.tolist(), numbered.precedences.lag.tolist())
    except InputError:
        return "graph"
    return "cpsat"


def timeline(problem: Problem, orders: Orders, engine: Engine = "graph") -> Sequence[Placed]:
    """Replay a fixed order: list when each task runs, as early as it can, device by device.

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    orders : Orders
        The actions of each device; together they name every task once.
    engine : {"cpsat", "graph"}
        CP-SAT with the order as precedences, or the longest path over the graph of
        precedences and orders. Both give the same starts, in ticks; the first is 0.

    Raises
    ------
    DeadlockError
        If actions wait for each other in a cycle.
    InputError
        If the orders miss or repeat a task.
    """
    if engine == "graph":
        return placed(problem, *earliest_starts(problem, orders))
    return place(problem, orders, replay(problem, orders, engine))


def replay(problem: Problem, orders: Orders, engine: Engine = "graph") -> dict[Action, int]:
    """Find the earliest start of every action of a fixed order; see `timeline`."""
    if engine == "graph":
        return dict(zip(chain.from_iterable(orders), earliest_starts(problem, orders)[1], strict=True))
    if problem.moves:
        raise InputError("engine: cpsat knows no links; p2p: links takes graph")
    from solver.cpsat_replay import replay_with_cpsat

    return replay_with_cpsat(problem, orders)
