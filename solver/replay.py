"""Replaying a fixed order: two engines, one answer."""

from __future__ import annotations

from typing import get_args

from solver.errors import InputError
from solver.problem import Action, Orders, Problem
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
    try:
        time_step((task.duration for task in problem.tasks.values()), (lag for _, _, lag in problem.precedences))
    except InputError:
        return "graph"
    return "cpsat"


def replay(problem: Problem, orders: Orders, engine: Engine = "graph") -> dict[Action, int]:
    """Find the earliest start of every action of a fixed order.

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    orders : Orders
        The actions of each device; together they name every task once.
    engine : {"cpsat", "graph"}
        CP-SAT with the order as precedences, or the longest path over the graph of
        precedences and orders. Both give the same starts.

    Returns
    -------
    dict of Action to int
        The starts in ticks; the first is 0.

    Raises
    ------
    DeadlockError
        If actions wait for each other in a circle.
    InputError
        If the orders miss or repeat a task.
    """
    if engine == "cpsat":
        if problem.moves:
            raise InputError("engine: cpsat knows no links; p2p: links takes graph")
        from solver.cpsat_replay import replay_with_cpsat

        return replay_with_cpsat(problem, orders)
    from solver.longest_path import replay_on_graph

    return replay_on_graph(problem, orders)
