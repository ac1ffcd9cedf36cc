"""Converts values of a model's variables to orders, and orders to hints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from solver.problem import Action, Block, Key, Merged, tasks_of
from solver.search.cpsat_model import Variables


def read_orders(variables: Variables, values: Sequence[int], ranks: Mapping[Key, int]) -> list[list[Action]]:
    """Read the orders from the values of the watched variables.

    Parameters
    ----------
    variables : Variables
        The variables of the solved model.
    values : sequence of int
        The values of `Variables.watched`.
    ranks : mapping of Key to int
        A topological order; it decides between equal starts of tasks of no duration. A task that takes time comes last.
    """
    found = iter(values)
    begins = {key: next(found) for key in variables.starts}
    halves = dict(pair for pair in variables.pairs if next(found))
    lone = {task for task in variables.merged if next(found)}
    leading = {
        task: _action(variables, task, halves, lone)
        for task in _without_absorbed(variables, halves, lone, list(begins))
    }

    def when(task: Key) -> tuple[int, bool, int]:
        return begins[task], variables.problem.duration(leading[task]) > 0, ranks[task]

    orders: list[list[Action]] = [[] for _ in range(variables.problem.devices)]
    for task in sorted(leading, key=when):
        orders[variables.problem.tasks[task].device].append(leading[task])
    return orders


def _action(variables: Variables, task: Key, halves: Mapping[Key, Key], lone: set[Key]) -> Action:
    if task in halves:
        return Block(task, _with_partner(variables, halves[task]))
    return Merged(task, variables.problem.partners[task]) if task in lone else task


def _without_absorbed(
    variables: Variables, halves: Mapping[Key, Key], lone: set[Key], tasks: Sequence[Key]
) -> list[Key]:
    partners = variables.problem.partners
    seconds = set(halves.values())
    absorbed = seconds | {partners[task] for task in seconds | lone if task in partners}
    return [task for task in tasks if task not in absorbed]


def _with_partner(variables: Variables, task: Key) -> Action:
    partner = variables.problem.partners.get(task)
    return task if partner is None else Merged(task, partner)


def add_hint(variables: Variables, starts: Mapping[Action, int]) -> None:
    """Give a known schedule as a complete hint.

    Parameters
    ----------
    variables : Variables
        The variables of the model.
    starts : mapping of Action to int
        The start of each action, in steps.
    """
    begins = {task: start for action, start in starts.items() for task in tasks_of(action)}
    chosen = {_name(action) for action in starts}
    for key, variable in variables.starts.items():
        variables.model.add_hint(variable, begins[key])
    for pair, literal in variables.pairs.items():
        variables.model.add_hint(literal, pair in chosen)
    for task, literal in variables.merged.items():
        variables.model.add_hint(literal, task in chosen)


def _name(action: Action) -> Key | tuple[Key, Key] | None:
    """Return the name of an action's literal in the model; None for a plain task."""
    if isinstance(action, Block):
        second = action.second
        return action.first, second.first if isinstance(second, Merged) else second
    return action.first if isinstance(action, Merged) else None
