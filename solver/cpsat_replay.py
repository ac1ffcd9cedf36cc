"""The CP-SAT engine: models a fixed order as precedences, minimises the makespan, then shifts all actions left."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from ortools.sat.python import cp_model

from solver.order_graph import between_actions, check_complete, deadlock, order_graph
from solver.problem import Action, Orders, Precedence, Problem
from solver.resolution import time_step


def replay_with_cpsat(problem: Problem, orders: Orders) -> dict[Action, int]:
    """Find the earliest start of every action of a fixed order with CP-SAT.

    Durations that are too fine for 64 bits are rounded for the solver only: its starts give an order in which every
    action comes after those that it waits for, and the shift to the left along that order is exact.

    Returns
    -------
    dict of Action to int
        The starts in ticks; the first is 0.

    Raises
    ------
    DeadlockError
        If actions wait for each other in a cycle.
    InputError
        If the durations span too many orders of magnitude for CP-SAT.
    """
    check_complete(problem, orders)
    actions = [action for order in orders for action in order]
    durations = {action: problem.duration(action) for action in actions}
    edges = needed_edges(problem, orders)
    step = time_step(durations.values(), (lag for _, _, lag in edges))
    solved = solve(actions, durations, edges, step)
    if solved is None:
        raise deadlock(order_graph(problem, orders))
    rough_starts, makespan = solved
    sequence = in_waiting_order(actions, edges, rough_starts)
    if sequence is None:
        raise deadlock(order_graph(problem, orders))
    starts = shift_left(sequence, durations, edges)
    if step == 1:
        end = max(starts[action] + durations[action] for action in actions)
        if end != makespan:
            raise AssertionError(f"CP-SAT's makespan {makespan} differs from {end} after the shift to the left")
    return starts


def needed_edges(problem: Problem, orders: Orders) -> list[Precedence]:
    """Collect the precedences between actions and along each device, without those that the device's order implies."""
    position = {action: (device, place) for device, order in enumerate(orders) for place, action in enumerate(order)}
    edges: list[Precedence] = []
    for before, after, lag in between_actions(problem, orders):
        tail, head = position[before], position[after]
        if lag or tail[0] != head[0] or tail[1] >= head[1]:
            edges.append((before, after, lag))
    edges += [(before, after, 0) for order in orders for before, after in pairwise(order)]
    return edges


def solve(
    actions: Sequence[Action], durations: dict[Action, int], edges: Sequence[Precedence], step: int
) -> tuple[dict[Action, int], int] | None:
    """Minimise the makespan; None if the edges form a cycle that takes time."""
    rounded = {
        action: max(1, round(duration / step)) if step > 1 else duration for action, duration in durations.items()
    }
    horizon = sum(rounded.values()) + sum(-(-lag // step) for _, _, lag in edges)
    model = cp_model.CpModel()
    starts = {action: model.new_int_var(0, horizon, "") for action in actions}
    for before, after, lag in edges:
        model.add(starts[after] >= starts[before] + (rounded[before] + -(-lag // step)))
    makespan = model.new_int_var(0, horizon, "")
    followed = {before for before, _, _ in edges}
    for action in actions:
        if action not in followed:
            model.add(makespan >= starts[action] + rounded[action])
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    set_parameters(solver)
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    if status != cp_model.OPTIMAL:
        raise AssertionError(f"CP-SAT ended a replay with {solver.status_name(status)}")
    return {action: solver.value(start) for action, start in starts.items()}, solver.value(makespan)


def set_parameters(solver: cp_model.CpSolver) -> None:
    """Switch off features that only cost time, since propagation alone solves this model."""
    solver.parameters.cp_model_presolve = False
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.symmetry_level = 0
    solver.parameters.linearization_level = 0
    solver.parameters.num_workers = 1
    solver.parameters.catch_sigint_signal = False  # otherwise Ctrl-C would end the solve, not the program
    solver.parameters.new_linear_propagation = False  # the older one follows chains of precedences in linear time
    if hasattr(solver.parameters, "transitive_precedences_work_limit"):  # not every version may
        solver.parameters.transitive_precedences_work_limit = 0  # it takes nearly all of the time, for nothing


def in_waiting_order(
    actions: Sequence[Action], edges: Sequence[Precedence], rough_starts: dict[Action, int]
) -> list[Action] | None:
    """List the actions, each after those that it waits for; None if actions of no duration wait in a cycle.

    An action that takes time starts before the actions that wait for it. An action that takes none may start at the
    same moment; such actions are sorted among themselves.
    """
    at_once: dict[Action, list[Action]] = {}
    for before, after, _ in edges:
        if rough_starts[before] == rough_starts[after]:
            at_once.setdefault(after, []).append(before)
    try:
        places = {action: place for place, action in enumerate(TopologicalSorter(at_once).static_order())}
    except CycleError:
        return None
    return sorted(actions, key=lambda action: (rough_starts[action], places.get(action, -1)))


def shift_left(
    sequence: Sequence[Action], durations: dict[Action, int], edges: Sequence[Precedence]
) -> dict[Action, int]:
    """Start every action as early as its dependencies allow, in exact ticks.

    Parameters
    ----------
    sequence : sequence of Action
        All actions, each after those that it waits for.
    durations : mapping of Action to int
        In ticks.
    edges : sequence of Precedence
        The dependencies.
    """
    waits_for: dict[Action, list[tuple[Action, int]]] = {action: [] for action in sequence}
    for before, after, lag in edges:
        waits_for[after].append((before, lag + durations[before]))
    starts: dict[Action, int] = {}
    for action in sequence:
        starts[action] = max((starts[before] + delay for before, delay in waits_for[action]), default=0)
    return starts
