"""The idle time of devices by cause: every idle tick has one of six causes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from reports.memory import memory_steps
from solver.problem import Key, Placed, Problem

CAUSES = ("filling", "data", "latency", "order", "draining", "overhead")
"""The causes of idle time."""


@dataclass(frozen=True)
class Idle:
    """The idle time of one device, in ticks; the six causes add up to all of it.

    Attributes
    ----------
    filling : int
        From the first start of all devices to this device's first start; for a device without work, everything.
    data : int
        While the input that the device waits for is being computed.
    latency : int
        While that input is in transit.
    order : int
        While the device could already have started a later action, or the next one itself.
    draining : int
        From the device's last end to the last end of all devices.
    overhead : int
        At the beginning of its actions, where they are not working yet.
    """

    filling: int
    data: int
    latency: int
    order: int
    draining: int
    overhead: int = 0


class Wait(NamedTuple):
    """The idle time just before one action, in ticks.

    Attributes
    ----------
    idle : int
        The whole idle time; for the first action of a device, the filling.
    data, latency, order : int
        Its parts by cause; all 0 for the first action of a device.
    producer : Key or None
        The task whose result arrives last (of several, the one that ends last); None if the action waits for no task.
    """

    idle: int
    data: int
    latency: int
    order: int
    producer: Key | None


@dataclass(frozen=True)
class Waiting:
    """The idle time of all devices, by cause.

    Attributes
    ----------
    devices : tuple of Idle
        The idle time of each device.
    before : tuple of Wait
        The idle time before each row; both halves of a block share theirs.
    """

    devices: tuple[Idle, ...]
    before: tuple[Wait, ...]

    def with_overhead(self, overhead: Sequence[int]) -> Waiting:
        """Add the overhead of each device's actions, in ticks."""
        devices = (replace(idle, overhead=each) for idle, each in zip(self.devices, overhead, strict=True))
        return replace(self, devices=tuple(devices))


@dataclass(frozen=True)
class Arrivals:
    """The arrival of the last input of each action, by leading row (`leading_rows`); other rows' entries mean nothing.

    Attributes
    ----------
    moments : list of int
        The arrival; the first start of all devices if an action waits for nothing.
    sent : list of int
        The end of the task that produces the input.
    producers : list of (int or None)
        The row of that task.
    """

    moments: list[int]
    sent: list[int]
    producers: list[int | None]


def leading_rows(rows: Sequence[Placed]) -> list[int]:
    """Return, for each row, the row that stands for its action: itself, or the row of its block's first half."""
    leads = list(range(len(rows)))
    for place, (row, following) in enumerate(pairwise(rows)):
        if row.block is not None and row.block == following.block:
            leads[place + 1] = place
    return leads


def find_arrivals(problem: Problem, rows: Sequence[Placed], leads: Sequence[int]) -> Arrivals:
    """Find the input that arrives last for each action; of several, the one sent last.

    Parameters
    ----------
    problem : Problem
        The problem, with its precedences.
    rows : sequence of Placed
        The times of all tasks.
    leads : sequence of int
        The `leading_rows` of them.
    """
    place_of = {row.task: place for place, row in enumerate(rows)}
    ends = [row.end for row in rows]
    start_of_all = min((row.start for row in rows), default=0)
    moments, sent = [start_of_all] * len(rows), [start_of_all] * len(rows)
    producers: list[int | None] = [None] * len(rows)
    for before, after, lag in problem.precedences:
        producer, lead = place_of[before], leads[place_of[after]]
        end = ends[producer]
        moment, latest = end + lag, moments[lead]
        if moment < latest or (moment == latest and end <= sent[lead]) or leads[producer] == lead:
            continue
        moments[lead], sent[lead], producers[lead] = moment, end, producer
    return Arrivals(moments, sent, producers)


def explain_idle(problem: Problem, rows: Sequence[Placed], beside: Sequence[Placed] = ()) -> Waiting:
    """Divide the idle time of each device by cause, from the first start of all devices to the last end of all.

    A gap before an action is divided at two moments. Until the end of the task whose result arrives last for the
    action, the device waits for data, and after that for the latency. But from the moment at which the device could
    have started a later action of its order, or this one, it idles because of the order. It can start an action that
    has all its inputs, if the memory that the action takes fits on the device.

    Parameters
    ----------
    problem : Problem
        The problem that was scheduled.
    rows : sequence of Placed
        The times of all tasks, device by device in order of time; the halves of a block are adjacent. Each task of the
        problem runs once, and a device runs one action at a time.
    beside : sequence of Placed
        What devices do beside that: no device waits here for it, but the first start and the last end may be its own.

    Returns
    -------
    Waiting
        The idle time of each device, and before each row.
    """
    leads = leading_rows(rows)
    arrivals = find_arrivals(problem, rows, leads)
    memory = _Memory(problem, rows, leads)
    start_of_all = min((row.start for row in (*rows, *beside)), default=0)
    end_of_all = max((row.end for row in (*rows, *beside)), default=0)
    waits = [Wait(0, 0, 0, 0, None if row is None else rows[row].task) for row in arrivals.producers]
    devices: list[Idle] = []
    for device, actions in enumerate(_actions_by_device(problem.devices, rows, leads)):
        if not actions:
            devices.append(Idle(end_of_all - start_of_all, 0, 0, 0, 0))
            continue
        gaps = list(_explain_gaps(rows, actions, arrivals, memory.of_device(device)))
        first, last = actions[0], actions[-1]
        filling = rows[first].start - start_of_all
        data, latency, order = (sum(gap[cause] for _, gap in gaps) for cause in range(3))
        devices.append(Idle(filling, data, latency, order, end_of_all - rows[last].end))
        waits[first] = waits[first]._replace(idle=filling)
        for action, gap in gaps:
            waits[action] = Wait(sum(gap), *gap, waits[action].producer)
    return Waiting(tuple(devices), tuple([waits[lead] for lead in leads]))


def _actions_by_device(devices: int, rows: Sequence[Placed], leads: Sequence[int]) -> list[list[int]]:
    """List the leading rows of each device."""
    actions: list[list[int]] = [[] for _ in range(devices)]
    for place, (row, lead) in enumerate(zip(rows, leads, strict=True)):
        if place == lead:
            actions[row.device].append(place)
    return actions


class _Memory:
    """The memory that actions take and that devices have left; devices without a limit are not tracked."""

    def __init__(self, problem: Problem, rows: Sequence[Placed], leads: Sequence[int]) -> None:
        given = problem.capacities or (None,) * problem.devices
        self.capacities = [
            None if room is None else room + problem.static_of(device) for device, room in enumerate(given)
        ]
        self.taken: dict[int, int] = {}
        self.steps: list[list[tuple[int, int]]] = [[] for _ in range(problem.devices)]
        if any(capacity is not None for capacity in self.capacities):
            self.steps = memory_steps(problem, rows)
            self.taken = _taken(problem, rows, leads)

    def of_device(self, device: int) -> _DeviceMemory:
        capacity = self.capacities[device]
        return _DeviceMemory(capacity, {} if capacity is None else self.taken, self.steps[device])


def _taken(problem: Problem, rows: Sequence[Placed], leads: Sequence[int]) -> dict[int, int]:
    """Add up the memory that each action takes, by leading row."""
    amounts: dict[Key, int] = {}
    for hold in problem.holds:
        amounts[hold.take] = amounts.get(hold.take, 0) + hold.amount
    taken: dict[int, int] = {}
    for row, lead in zip(rows, leads, strict=True):
        amount = amounts.get(row.task)
        if amount:
            taken[lead] = taken.get(lead, 0) + amount
    return taken


class _DeviceMemory(NamedTuple):
    capacity: int | None
    taken: dict[int, int]
    steps: list[tuple[int, int]]

    def room(self, moment: int) -> int:
        """Return the memory left at a moment, after all that is returned then; negative if over the limit."""
        if self.capacity is None:
            return 0
        passed = bisect_right(self.steps, moment, key=itemgetter(0))
        return self.capacity - (self.steps[passed - 1][1] if passed else 0)


def _explain_gaps(
    rows: Sequence[Placed], actions: Sequence[int], arrivals: Arrivals, memory: _DeviceMemory
) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Divide the gaps of a device, from the last one back, into waiting for data, for latency, and for the order.

    For each amount of memory that later actions take, ``ready`` keeps the moment at which the first has its inputs.
    """
    ready: dict[int, int] = {}
    for previous, action in reversed(list(pairwise(actions))):
        free, start, arrival = rows[previous].end, rows[action].start, arrivals.moments[action]
        if start != free:
            choice = min(arrival, _first_ready(ready, memory.room(free), start))
            yield action, _divide(free, start, arrivals.sent[action], choice)
        amount = memory.taken.get(action, 0)
        if arrival < ready.get(amount, arrival + 1):
            ready[amount] = arrival


def _first_ready(ready: dict[int, int], room: int, latest: int) -> int:
    """Return when the first of the fitting actions has its inputs; an action that takes no memory always fits."""
    return min((moment for amount, moment in ready.items() if amount == 0 or amount <= room), default=latest)


def _divide(free: int, start: int, sent: int, choice: int) -> tuple[int, int, int]:
    """Divide a gap at the end of the producer and at the moment from which the device could start an action."""
    idle_by_order = min(start, max(free, choice))
    under_way = min(idle_by_order, max(free, sent))
    return under_way - free, idle_by_order - under_way, start - idle_by_order
