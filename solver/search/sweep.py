"""Earliest starts and memory of a search's orders, by one sweep over the devices."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from solver.problem import Action, Key, Orders, Problem, tasks_of
from solver.states import Objective


class _Missing(NamedTuple):
    """The work that has not run yet."""

    task: Key


class _Links:
    """Results in transit: each waits for earlier ones on its link, in the order in which the device produces them.

    Parameters
    ----------
    leaving : mapping of Key to list of (Key, link, int)
        For each task, its successors on other devices, with the link and the time on the link.
    """

    def __init__(self, leaving: Mapping[Key, Sequence[tuple[Key, tuple[int, int], int]]]) -> None:
        self.leaving = leaving
        self.free: dict[tuple[int, int], int] = {}
        self.arrived: dict[tuple[Key, Key], int] = {}

    def leave(self, task: Key, end: int) -> None:
        """Send the results of a task."""
        for after, link, moving in self.leaving.get(task, ()):
            self.free[link] = self.arrived[task, after] = max(end, self.free.get(link, 0)) + moving


class Sweeper:
    """Data shared by a problem's sweeps: dependencies, and the memory that tasks take and return.

    Parameters
    ----------
    problem : Problem
        The problem.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.waits: dict[Key, list[tuple[Key, int]]] = {task: [] for task in problem.tasks}
        self.leaving: dict[Key, list[tuple[Key, tuple[int, int], int]]] = {}
        for before, after, lag in problem.precedences:
            moving = problem.moves.get((before, after), 0) if problem.moves else 0
            self.waits[after].append((before, lag - moving))
            if moving:
                link = problem.tasks[before].device, problem.tasks[after].device
                self.leaving.setdefault(before, []).append((after, link, moving))
        self.taken: dict[Key, int] = dict.fromkeys(problem.tasks, 0)
        self.returned: dict[Key, int] = dict.fromkeys(problem.tasks, 0)
        for hold in problem.holds:
            self.taken[hold.take] += hold.amount
            for task, part in hold.returns:
                self.returned[task] += part

    def starts(self, orders: Orders) -> dict[Action, int] | None:
        """Find the earliest start of every action; None if they wait for each other in a cycle."""
        ends: dict[Key, int] = {}
        links = _Links(self.leaving)
        starts: dict[Action, int] = {}
        free = [0] * len(orders)
        places = [0] * len(orders)
        awake = deque(range(len(orders)))
        asleep: dict[Key, list[int]] = {}
        duration = self.problem.duration
        while awake:
            device = awake.popleft()
            order = orders[device]
            while places[device] < len(order):
                action = order[places[device]]
                tasks = tasks_of(action)
                start = self._earliest(tasks, ends, links.arrived, free[device])
                if not isinstance(start, int):
                    asleep.setdefault(start.task, []).append(device)
                    break
                starts[action] = start
                free[device] = end = start + duration(action)
                places[device] += 1
                for task in tasks:
                    ends[task] = end
                    links.leave(task, end)
                    if task in asleep:
                        awake.extend(asleep.pop(task))
        complete = all(place == len(order) for place, order in zip(places, orders, strict=True))
        return starts if complete else None

    def _earliest(
        self, tasks: Sequence[Key], ends: Mapping[Key, int], arrived: Mapping[tuple[Key, Key], int], free: int
    ) -> int | _Missing:
        several = len(tasks) > 1
        for task in tasks:
            for before, lag in self.waits[task]:
                if several and self.problem.partners.get(before) == task and before in tasks:
                    continue  # the two are merged
                end = ends.get(before)
                if end is None:
                    return _Missing(before)
                if arrived:
                    end = arrived.get((before, task), end)
                if end + lag > free:
                    free = end + lag
        return free

    def fits_memory(self, orders: Orders) -> bool:
        """Return whether every device stays within its capacity; its order alone decides this."""
        return all(
            capacity is None or self._peak(order) <= capacity
            for order, capacity in zip(orders, self.problem.capacities, strict=True)
        )

    def memory(self, orders: Orders) -> tuple[int, int]:
        """Compute the largest peak of a device, and the sum of all peaks, in ticks of memory."""
        peaks = [self.problem.static_of(device) + self._peak(order) for device, order in enumerate(orders)]
        return max(peaks, default=0), sum(peaks)

    def _peak(self, order: Sequence[Action]) -> int:
        level = peak = 0
        for action in order:
            tasks = tasks_of(action)
            level += sum(self.taken[task] for task in tasks)
            peak = max(peak, level)
            level -= sum(self.returned[task] for task in tasks)
        return peak

    def objective(self, orders: Orders, objective: Objective) -> int | None:
        """Compute the makespan or the span (ticks) at the earliest starts; None for a deadlock."""
        starts = self.starts(orders)
        if starts is None:
            return None
        spans = [(starts[order[0]], starts[order[-1]] + self.problem.duration(order[-1])) for order in orders if order]
        if objective == "makespan":
            return max(end for _, end in spans)
        return max(end - start for start, end in spans)
