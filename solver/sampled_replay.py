"""Replays one fixed order with many draws of its durations at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from solver.order_graph import check_complete, deadlock, order_graph
from solver.problem import Action, Orders, Problem, tasks_of

Numbers: TypeAlias = NDArray[np.float64]
_Indices: TypeAlias = NDArray[np.intp]


class _Level(NamedTuple):
    """Actions that do not wait for each other.

    Attributes
    ----------
    actions : array of int, one each
        Their numbers.
    inputs : array of int, inputs x actions
        The actions that each one waits for; missing inputs have the number after the last action.
    lags : array of int, inputs x actions
        The precedence of each input; the number after the last precedence stands for no lag.
    """

    actions: _Indices
    inputs: _Indices
    lags: _Indices


class SampledReplay:
    """A fixed order whose makespan is computed for many vectors of durations at once.

    The makespan is the longest path of `solver.order_graph`, computed level by level: each level is one operation on
    arrays of actions x samples. So the cost of a level hardly depends on the number of samples while they are few.

    Parameters
    ----------
    problem : Problem
        The scheduled problem.
    orders : Orders
        The actions of each device; together they name every task once.

    Attributes
    ----------
    actions : list of Action
        All actions, device by device; durations come in this order.
    durations : array of float
        The duration of each action in the problem itself, in ticks.
    lags : array of float
        The lag of each precedence of the problem, in its order, in ticks.

    Raises
    ------
    DeadlockError
        If actions wait for each other in a cycle.
    InputError
        If the orders do not name every task exactly once.

    Notes
    -----
    Times are floats. They are exact if the durations are whole and all sums stay below 2**53 ticks.
    """

    def __init__(self, problem: Problem, orders: Orders) -> None:
        check_complete(problem, orders)
        self.actions: list[Action] = list(chain.from_iterable(orders))
        self.durations: Numbers = np.array([float(problem.duration(action)) for action in self.actions])
        self.lags: Numbers = np.array([float(lag) for _, _, lag in problem.precedences])
        inputs = self._inputs(problem, orders)
        levels = _levels(inputs)
        if levels is None:
            raise deadlock(order_graph(problem, orders))
        self._levels = [self._level(actions, inputs) for actions in levels]

    def _inputs(self, problem: Problem, orders: Orders) -> list[list[tuple[int, int]]]:
        """For each action, list the actions that it waits for, and the precedences."""
        number = {task: place for place, action in enumerate(self.actions) for task in tasks_of(action)}
        inputs: list[list[tuple[int, int]]] = [[] for _ in self.actions]
        for place, (before, after, _) in enumerate(problem.precedences):
            inputs[number[after]].append((number[before], place))
        first = 0
        for order in orders:
            for before, after in pairwise(range(first, first + len(order))):
                inputs[after].append((before, len(self.lags)))
            first += len(order)
        return inputs

    def _level(self, actions: list[int], inputs: list[list[tuple[int, int]]]) -> _Level:
        most = max(len(inputs[action]) for action in actions)
        nothing = (len(self.actions), len(self.lags))
        padded = [[*inputs[action], *[nothing] * (most - len(inputs[action]))] for action in actions]
        pairs = np.array(padded, dtype=np.intp).reshape(len(actions), most, 2)
        return _Level(np.array(actions, dtype=np.intp), pairs[:, :, 0].T.copy(), pairs[:, :, 1].T.copy())

    def makespans(self, durations: Numbers, lags: Numbers | None = None) -> Numbers:
        """Compute the makespan of each sample.

        Parameters
        ----------
        durations : array of float, actions x samples
            The duration of each action, in the order of `actions`; at least 0.
        lags : array of float, precedences x samples, optional
            The lag of each precedence; by default as in the problem.

        Returns
        -------
        array of float, one per sample
            The last end; the first start is 0.
        """
        samples = durations.shape[1]
        given = self.lags[:, np.newaxis] if lags is None else lags
        delays = np.concatenate([given, np.zeros((1, given.shape[1]))])
        ends = np.zeros((len(self.actions) + 1, samples))
        for level in self._levels:
            starts = np.zeros((len(level.actions), samples))
            for before, lag in zip(level.inputs, level.lags, strict=True):
                np.maximum(starts, ends[before] + delays[lag], out=starts)
            ends[level.actions] = starts + durations[level.actions]
        makespans: Numbers = ends.max(axis=0)
        return makespans


def _levels(inputs: list[list[tuple[int, int]]]) -> list[list[int]] | None:
    """Sort actions into levels, each after all that its actions wait for; None if there is a cycle."""
    behind: list[list[int]] = [[] for _ in inputs]
    for action, before in enumerate(inputs):
        for other, _ in before:
            behind[other].append(action)
    missing = Counter({action: len(before) for action, before in enumerate(inputs)})
    level = [action for action, count in missing.items() if not count]
    levels: list[list[int]] = []
    while level:
        levels.append(level)
        level = list(_freed(level, behind, missing))
    return levels if sum(map(len, levels)) == len(inputs) else None


def _freed(level: list[int], behind: list[list[int]], missing: Counter[int]) -> Iterator[int]:
    for action in level:
        for other in behind[action]:
            missing[other] -= 1
            if not missing[other]:
                yield other
