"""A problem, orders and a timeline as arrays: a task is a number, its place among the problem's tasks.

Replay, checker and figures work on these arrays. What everybody else reads (`Task`, `Precedence`, `Hold`, `Placed`,
actions) is made of them when somebody asks; where a problem comes as such objects, the arrays are made of those. Arrays
of times and amounts are exact: they hold Python's integers where 64 bits are too few (`integers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain, pairwise
from operator import add
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from solver.lazy import LazyDict, LazyList
from solver.order_graph import check_complete
from solver.problem import Action, Block, Hold, Key, Orders, Placed, Precedence, Problem, Task, tasks_of

Numbers: TypeAlias = NDArray[np.int64]
"""Numbers of tasks, devices and other things that are counted; -1 for none."""

Exact: TypeAlias = NDArray[Any]
"""Times or amounts."""

View = TypeVar("View", bound="PrecedenceList | HoldList | ClassTable | MoveTable | Timeline")


LARGEST_ARRAY = 2**56
"""Of numbers whose sum is below this, an array has 64 bits, and sums of a few such sums fit; else Python's integers."""


def integers(values: Iterable[int], total: int = 0) -> NDArray[Any]:
    """Make an array that is exact: of 64 bits where sums fit them, else of Python's integers.

    Parameters
    ----------
    values : iterable of int
        What it holds.
    total : int
        What sums of them, and of what they are added to, come to.
    """
    numbers = list(values)
    return np.array(numbers, dtype=np.int64 if max(total, sum(map(abs, numbers))) < LARGEST_ARRAY else object)


class Names(Protocol):
    """How whole numbers, *codes*, name tasks; two that are equal give one code the same key."""

    @property
    def size(self) -> int:
        """All codes are below it."""

    def keys(self, codes: Numbers) -> Sequence[Key]:
        """Make the keys of codes."""


class TaskTable(LazyDict[Key, Task]):
    """The tasks of a problem, by their numbers.

    Parameters
    ----------
    names : Names
        What the codes mean.
    codes : array of int
        The code of each task.
    device : array of int
        Where each runs.
    duration : array of int
        How long.
    """

    def __init__(self, names: Names, codes: Numbers, device: Numbers, duration: Exact) -> None:
        self.names, self.codes, self.device, self.duration = names, codes, device, duration

    def make(self) -> dict[Key, Task]:
        """Make the tasks with their keys."""
        tasks = map(Task, self.device.tolist(), self.duration.tolist())
        return dict(zip(self.names.keys(self.codes), tasks, strict=True))

    def __len__(self) -> int:
        return len(self.codes)

    def numbers(self, codes: Numbers) -> Numbers:
        """Look up the numbers of the tasks with these codes; -1 where there is none."""
        number = np.full(self.names.size + 1, -1)
        number[self.codes] = np.arange(len(self.codes))
        return number[np.where((codes < 0) | (codes > self.names.size), self.names.size, codes)]


class PrecedenceList(LazyList[Precedence]):
    """The precedences between the tasks of a table."""

    def __init__(self, tasks: Mapping[Key, Task], before: Numbers, after: Numbers, lag: Exact) -> None:
        self.tasks, self.before, self.after, self.lag = tasks, before, after, lag

    def make(self) -> Iterator[Precedence]:
        """Make the precedences with the keys of tasks."""
        keys = list(self.tasks)
        for before, after, lag in zip(self.before.tolist(), self.after.tolist(), self.lag.tolist(), strict=True):
            yield keys[before], keys[after], lag

    def __len__(self) -> int:
        return len(self.before)


class MoveTable(LazyDict[tuple[Key, Key], int]):
    """For how many ticks of its lag each of some precedences is on a link; -1 for those that are on none."""

    def __init__(self, tasks: Mapping[Key, Task], precedences: PrecedenceList, moving: Exact) -> None:
        self.tasks, self.precedences, self.moving = tasks, precedences, moving

    def make(self) -> dict[tuple[Key, Key], int]:
        """Make the mapping from the keys of both tasks."""
        waits = zip(self.precedences, self.moving.tolist(), strict=True)
        return {(before, after): moving for (before, after, _), moving in waits if moving >= 0}

    def __len__(self) -> int:
        return int((self.moving >= 0).sum())


class HoldList(LazyList[Hold]):
    """What tasks hold: ``take`` and ``amount`` of each hold, and by whom which ``part`` of which ``hold`` is returned.

    What belongs to one hold stands together, in the order of the holds.
    """

    def __init__(
        self, tasks: Mapping[Key, Task], take: Numbers, amount: Exact, hold: Numbers, returner: Numbers, part: Exact
    ) -> None:
        self.tasks, self.take, self.amount = tasks, take, amount
        self.hold, self.returner, self.part = hold, returner, part

    def make(self) -> Iterator[Hold]:
        """Make the holds with the keys of tasks."""
        keys = list(self.tasks)
        parts = [(keys[task], part) for task, part in zip(self.returner.tolist(), self.part.tolist(), strict=True)]
        bounds = pairwise(np.searchsorted(self.hold, np.arange(len(self) + 1)).tolist())
        for take, amount, (first, last) in zip(self.take.tolist(), self.amount.tolist(), bounds, strict=True):
            yield Hold(keys[take], amount, tuple(parts[first:last]))

    def __len__(self) -> int:
        return len(self.take)


class ClassTable(LazyDict[Key, int]):
    """The class of each task that can be one half of a block; -1 for those that cannot."""

    def __init__(self, tasks: Mapping[Key, Task], classes: Numbers) -> None:
        self.tasks, self.classes = tasks, classes

    def make(self) -> dict[Key, int]:
        """Make the mapping from the keys of tasks."""
        named = zip(self.tasks, self.classes.tolist(), strict=True)
        return {key: of_task for key, of_task in named if of_task >= 0}


class CodedOrders(LazyList[list[Any]]):
    """The orders of devices by the codes of their tasks.

    Parameters
    ----------
    names : Names
        What the codes mean.
    codes : array of int
        Those of all tasks, device by device in the order of the actions, of a block the first half's first.
    action : array of int
        To which action each of them belongs; actions are counted over all devices.
    bounds : list of int
        Where the actions of each device begin, and the end of all.
    """

    def __init__(self, names: Names, codes: Numbers, action: Numbers, bounds: list[int]) -> None:
        self.names, self.codes, self.action, self.bounds = names, codes, action, bounds

    @classmethod
    def of(cls, names: Names, orders: Sequence[Sequence[tuple[int, ...]]]) -> CodedOrders:
        """Take the orders of devices as the codes of each action."""
        return cls(names, *_laid_out(orders))

    def make(self) -> Iterator[list[Action]]:
        """Make the actions of each device."""
        keys = self.names.keys(self.codes)
        first = _first_places(self.action)
        actions: list[Action] = [
            keys[here] if there - here == 1 else Block(keys[here], keys[here + 1]) for here, there in pairwise(first)
        ]
        for here, there in pairwise(self.bounds):
            yield actions[here:there]

    def __len__(self) -> int:
        return len(self.bounds) - 1


class Timeline(LazyList[Placed]):
    """When each task of a problem runs: one row a task, by number (-1 for one that the problem does not know).

    ``block`` is -1 outside blocks.
    """

    def __init__(
        self, tasks: Mapping[Key, Task], number: Numbers, device: Numbers, start: Exact, end: Exact, block: Numbers
    ) -> None:
        self.tasks, self.number, self.device = tasks, number, device
        self.start, self.end, self.block = start, end, block

    @classmethod
    def of(cls, problem: Problem, rows: Sequence[Placed]) -> Timeline:
        """Write rows as arrays; those that are arrays of this problem stay what they are."""
        if _is_of(rows, cls, problem.tasks):
            return rows
        number = {key: place for place, key in enumerate(problem.tasks)}
        blocks: dict[int, int] = {}
        return cls(
            problem.tasks,
            _numbers(number.get(row.task, -1) for row in rows),
            _numbers(row.device for row in rows),
            _as_given([row.start for row in rows]),
            _as_given([row.end for row in rows]),
            _numbers(-1 if row.block is None else blocks.setdefault(row.block, len(blocks)) for row in rows),
        )

    def make(self) -> Iterator[Placed]:
        """Make the rows with the keys of tasks."""
        keys = list(self.tasks)
        blocks = (None if block < 0 else block for block in self.block.tolist())
        columns = (self.device.tolist(), self.start.tolist(), self.end.tolist(), blocks)
        return map(Placed, (keys[task] for task in self.number.tolist()), *columns)

    def __len__(self) -> int:
        return len(self.number)


class Numbered:
    """The arrays of a problem, each made when it is needed.

    Parameters
    ----------
    problem : Problem
        Any.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @cached_property
    def number(self) -> dict[Key, int]:
        """The number of each task."""
        return {key: place for place, key in enumerate(self.problem.tasks)}

    @cached_property
    def device(self) -> Numbers:
        """Where each task runs."""
        tasks = self.problem.tasks
        return tasks.device if isinstance(tasks, TaskTable) else _numbers(task.device for task in tasks.values())

    @cached_property
    def duration(self) -> Exact:
        """How long each task lasts outside blocks."""
        tasks = self.problem.tasks
        return tasks.duration if isinstance(tasks, TaskTable) else integers(task.duration for task in tasks.values())

    @cached_property
    def precedences(self) -> PrecedenceList:
        """What waits for what."""
        given = self.problem.precedences
        if _is_of(given, PrecedenceList, self.problem.tasks):
            return given
        number = self.number
        return PrecedenceList(
            self.problem.tasks,
            _numbers(number[before] for before, _, _ in given),
            _numbers(number[after] for _, after, _ in given),
            integers(lag for _, _, lag in given),
        )

    @cached_property
    def moving(self) -> Exact:
        """For each precedence, how long it is on a link; -1 where it is on none."""
        given = self.problem.moves
        if _is_of(given, MoveTable, self.problem.tasks) and given.precedences is self.problem.precedences:
            return given.moving
        return integers(given.get((before, after), -1) for before, after, _ in self.problem.precedences)

    @cached_property
    def holds(self) -> HoldList:
        """What tasks hold."""
        given = self.problem.holds
        if _is_of(given, HoldList, self.problem.tasks):
            return given
        number = self.number
        returns = [(hold, task, part) for hold, each in enumerate(given) for task, part in each.returns]
        return HoldList(
            self.problem.tasks,
            _numbers(number[hold.take] for hold in given),
            integers(hold.amount for hold in given),
            _numbers(hold for hold, _, _ in returns),
            _numbers(number[task] for _, task, _ in returns),
            integers(part for _, _, part in returns),
        )

    @cached_property
    def firsts(self) -> Numbers:
        """The class of each task as the first half of a block; -1 where it is none."""
        return self._classes(self.problem.fusing.firsts)

    @cached_property
    def seconds(self) -> Numbers:
        """The class of each task as the second half of a block; -1 where it is none."""
        return self._classes(self.problem.fusing.seconds)

    def _classes(self, given: Mapping[Key, int]) -> Numbers:
        if _is_of(given, ClassTable, self.problem.tasks):
            return given.classes
        return _numbers(given.get(key, -1) for key in self.problem.tasks)


class NumberedOrders(NamedTuple):
    """Orders that name every task of a problem once.

    Attributes
    ----------
    tasks, action, bounds
        As for `CodedOrders`, with the numbers of tasks.
    duration : list of int
        How long each action lasts, in ticks.
    """

    tasks: Numbers
    action: Numbers
    bounds: list[int]
    duration: list[int]


def number_orders(numbered: Numbered, orders: Orders) -> NumberedOrders:
    """Write the orders of devices with the numbers of tasks.

    Raises
    ------
    InputError
        If they do not name every task exactly once.
    """
    tasks = numbered.problem.tasks
    if isinstance(orders, CodedOrders) and isinstance(tasks, TaskTable) and orders.names == tasks.names:
        numbers, action, bounds = tasks.numbers(orders.codes), orders.action, orders.bounds
    else:
        number = numbered.number
        numbers, action, bounds = _laid_out(
            [[[number.get(task, -1) for task in tasks_of(action)] for action in order] for order in orders]
        )
    known = numbers[numbers >= 0]
    times = np.bincount(known, minlength=len(tasks))
    devices = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))[action]
    if len(known) < len(numbers) or (times != 1).any() or (numbered.device[numbers] != devices).any():
        check_complete(numbered.problem, orders)
        raise AssertionError("orders are complete as actions, and not as numbers")
    duration = _durations(numbered, orders, numbers, np.array(_first_places(action)))
    return NumberedOrders(numbers, action, bounds, duration)


def _laid_out(orders: Sequence[Sequence[Sequence[int]]]) -> tuple[Numbers, Numbers, list[int]]:
    """Lay out all actions one after the other: their tasks, to which each belongs, and where each device's begin."""
    actions = list(chain.from_iterable(orders))
    tasks = _numbers(chain.from_iterable(actions))
    action = np.repeat(np.arange(len(actions)), _numbers(map(len, actions)))
    return tasks, action, [0, *accumulate(map(len, orders))]


def _durations(numbered: Numbered, orders: Orders, numbers: Numbers, first: Numbers) -> list[int]:
    """Look up how long each action lasts, from where each begins, and where the last ends, among the tasks."""
    duration: list[int] = numbered.duration[numbers[first[:-1]]].tolist()
    fused = np.flatnonzero(np.diff(first) > 1)
    if not len(fused):
        return duration
    if isinstance(orders, CodedOrders):
        halves = numbered.firsts[numbers[first[fused]]], numbered.seconds[numbers[first[fused] + 1]]
        assert min(half.min() for half in halves) >= 0, "the halves of each block can fuse"
        pairs = list(zip(*(half.tolist() for half in halves), strict=True))
        known = {pair: numbered.problem.fusing.durations[pair] for pair in set(pairs)}
        found = [known[pair] for pair in pairs]
    else:
        actions = list(chain.from_iterable(orders))
        found = [numbered.problem.duration(actions[place]) for place in fused.tolist()]
    for place, lasts in zip(fused.tolist(), found, strict=True):
        duration[place] = lasts
    return duration


def place(problem: Problem, orders: Orders, starts: Mapping[Action, int]) -> Timeline:
    """List when each task runs, device by device, from the starts of the actions.

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    orders : Orders
        The actions of each device.
    starts : mapping of Action to int
        When each action starts, in ticks.
    """
    actions = chain.from_iterable(orders)
    return placed(problem, number_orders(Numbered(problem), orders), [starts[action] for action in actions])


def placed(problem: Problem, orders: NumberedOrders, starts: Sequence[int]) -> Timeline:
    """List when each task runs, from the start of each action in turn; see `place`."""
    start, end = integers(starts), integers(map(add, starts, orders.duration))
    fused = np.diff(_first_places(orders.action)) > 1
    block = np.where(fused, np.cumsum(fused) - 1, -1)
    device = Numbered(problem).device[orders.tasks]
    at = orders.action
    return Timeline(problem.tasks, orders.tasks, device, start[at], end[at], block[at])


def sorting(*columns: Exact) -> Numbers:
    """Find the order that sorts rows by their first column, then by the next; Python's integers by their ranks."""
    keys = (np.unique(each, return_inverse=True)[1] if each.dtype == object else each for each in reversed(columns))
    return np.lexsort(tuple(keys))


def _first_places(action: Numbers) -> list[int]:
    """Find where each action begins among the tasks, and where the last ends."""
    return [*np.flatnonzero(np.diff(action, prepend=-1)).tolist(), len(action)]


def _as_given(times: list[int]) -> Exact:
    """Write times of somebody else's; what is no whole number, against all types, is not made one."""
    return integers(times) if set(map(type, times)) <= {int} else np.array(times, dtype=object)


def _numbers(values: Iterable[int]) -> Numbers:
    return np.fromiter(values, dtype=np.int64)


def _is_of(given: object, kind: type[View], tasks: Mapping[Key, Task]) -> TypeGuard[View]:
    """Return whether something holds arrays, with the numbers of these very tasks."""
    return isinstance(given, kind) and given.tasks is tasks
