"""Runs programs whose transfers need both ends at once, one after the other on each queue; and finds their deadlocks.

Each end of a transfer is on one queue of its device. An end is *ready* when its group has been posted and everything
ahead of it on its queue is done. A transfer starts when both its ends are ready, and keeps both queues busy until it
ends. It does not affect computation, except by `Wait`. A side action has one end, on a stream; it starts when that end
is ready and the side actions that it follows are done. So the times are longest paths in the graph of dependencies, and
a deadlock is a cycle in that graph. Only the order on a stream that serves several devices depends on times.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

import networkx as nx

from solver.errors import InputError
from solver.problem import Key
from solver.programs import (
    NO_SIDES,
    Compute,
    End,
    Post,
    Posted,
    Program,
    Queues,
    SideAction,
    Transfer,
    Wait,
    posted_ends,
)


class Moved(NamedTuple):
    """The times of a transfer.

    Attributes
    ----------
    sendable, receivable : int
        When each of its ends is ready, in ticks.
    start, end : int
        When it starts and ends moving.
    """

    sendable: int
    receivable: int
    start: int
    end: int


class Computed(NamedTuple):
    """The times of a computation, in ticks."""

    name: Key
    start: int
    end: int


class Ran(NamedTuple):
    """The times of a side action.

    Attributes
    ----------
    ready : int
        When it is posted and its stream is free, in ticks.
    start, end : int
        When it starts and ends.
    """

    ready: int
    start: int
    end: int


@dataclass(frozen=True)
class ProgramTimes:
    """The times of everything in some programs.

    Attributes
    ----------
    computed : list of list of Computed
        The computations of each device, in its order.
    transfers : dict of Key to Moved
        All transfers.
    points : list of list of int
        For each device, when it reaches each instruction, and when it has completed its last one.
    sides : dict of Key to Ran
        All side actions.
    """

    computed: list[list[Computed]]
    transfers: dict[Key, Moved]
    points: list[list[int]]
    sides: dict[Key, Ran] = field(default_factory=dict)

    @property
    def makespan(self) -> int:
        """The time from 0 to the last end of a computation or a side action, in ticks."""
        computed = (row[-1].end for row in self.computed if row)
        return max((*computed, *(each.end for each in self.sides.values())), default=0)


class Held(NamedTuple):
    """Why a transfer or a side action never starts: one of its ends is held up.

    Attributes
    ----------
    transfer : Key
        The transfer, or the side action.
    end : End
        The end that is not ready.
    device : int
        The device of that end.
    by : End
        The end that ``end`` waits for.
    queued : bool
        Whether the end is posted, and is after ``by`` on a queue.
    waiting : int or None
        The position of the `Wait` for ``by`` before the device posts the end; None if the end is posted. An end that is
        posted and not queued belongs to a side action that follows ``by``.
    """

    transfer: Key
    end: End
    device: int
    by: End
    queued: bool
    waiting: int | None


class RendezvousDeadlockError(InputError):
    """Programs hang because transfers wait for each other in a cycle.

    Attributes
    ----------
    cycle : tuple of Held
        The transfers of the cycle; each is held up by the next one, and the last one by the first.
    """

    def __init__(self, cycle: Sequence[Held]) -> None:
        self.cycle = tuple(cycle)
        names = " ← ".join(str(held.transfer) for held in (*cycle, cycle[0]))
        super().__init__(f"transfers wait for each other: {names}")


def run(
    programs: Sequence[Program],
    transfers: Mapping[Key, Transfer],
    queues: Queues,
    sides: Mapping[Key, SideAction] = NO_SIDES,
) -> ProgramTimes:
    """Compute the times of everything in programs, each as early as possible.

    Parameters
    ----------
    programs : sequence of Program
        One for each device, as `solver.program_faults.check_programs` accepts them. The two ends of a transfer are
        matched by its name, so crossed programs must be refused before (`solver.program_faults.find_crossings`).
    transfers : mapping of Key to Transfer
        All transfers.
    queues : callable
        Returns the queue of a transfer, see `solver.programs`.
    sides : mapping of Key to SideAction
        All side actions.

    Raises
    ------
    RendezvousDeadlockError
        If something never happens; with the first cycle, see `_first_cycle`.
    """
    machine = _Machine(programs, transfers, queues, sides)
    if not machine.runs():
        raise RendezvousDeadlockError(_first_cycle(machine))
    return machine.result()


@dataclass(slots=True)
class _Entry:
    """The ends posted together on one queue."""

    posted: int
    group: _Group
    ends: list[End]
    left: int
    latest: int = 0


@dataclass(slots=True)
class _Group:
    """A posted group: how many of its members are not done yet, and when the others were done."""

    device: int
    left: int
    until: int = 0


@dataclass(slots=True)
class _Queue:
    """A queue: its entries, the first of which is being served, and since when."""

    entries: deque[_Entry] = field(default_factory=deque)
    free: int = 0


class _Machine:
    """Runs programs as far as possible."""

    def __init__(
        self,
        programs: Sequence[Program],
        transfers: Mapping[Key, Transfer],
        queues: Queues,
        sides: Mapping[Key, SideAction],
    ) -> None:
        self.programs, self.transfers, self.sides = programs, transfers, sides
        self.ran: dict[Key, Ran] = {}
        self.followers: dict[Key, list[End]] = defaultdict(list)
        self.unfollowed: dict[Key, int] = {}
        for key, side in sides.items():
            self.unfollowed[key] = len(set(side.follows))
            for other in dict.fromkeys(side.follows):
                self.followers[other].append(End(key, True))
        self.points: list[list[int]] = [[0] for _ in programs]
        self.computed: list[list[Computed]] = [[] for _ in programs]
        self.moved: dict[Key, Moved] = {}
        self.groups: list[dict[int, _Group]] = [{} for _ in programs]
        self.queues: dict[tuple[int, Hashable], _Queue] = {}
        self.queue_of: dict[End, _Queue] = {}
        for key, transfer in transfers.items():
            name = queues(key, transfer)
            for device, is_send in ((transfer.source, True), (transfer.destination, False)):
                self.queue_of[End(key, is_send)] = self.queues.setdefault((device, name), _Queue())
        streams: dict[Hashable, _Queue] = defaultdict(_Queue)
        for key, side in sides.items():
            self.queue_of[End(key, True)] = streams[side.stream]
        served = {(side.stream, side.device) for side in sides.values()}
        self.in_step = len(served) > len(streams)  # whether devices share a stream, whose order is one of time
        self.ready: dict[End, int] = {}
        self.entry_of: dict[End, _Entry] = {}
        self.waiting_for: list[_Group | None] = [None] * len(programs)
        self.awake: list[tuple[int, int]] = []

    def runs(self) -> bool:
        """Run everything that can run; return whether all of it could."""
        self.awake = [(0, device) for device in range(len(self.programs))]
        while self.awake:
            self._advance(heappop(self.awake)[1])
        return len(self.moved) == len(self.transfers) and len(self.ran) == len(self.sides)  # then no wait is left

    def _advance(self, device: int) -> None:
        """Run a program until it waits for a group that is not done, or gets ahead of another device."""
        program, points = self.programs[device], self.points[device]
        self.waiting_for[device] = None
        while len(points) <= len(program):
            now = points[-1]
            if self.in_step and self.awake and self.awake[0] < (now, device):
                heappush(self.awake, (now, device))
                return
            instruction = program[len(points) - 1]
            if isinstance(instruction, Compute):
                end = now + instruction.duration
                self.computed[device].append(Computed(instruction.name, now, end))
                points.append(end)
            elif isinstance(instruction, Post):
                self._post(device, len(points) - 1, instruction.ends, now)
                points.append(now)
            else:
                group = self.groups[device][instruction.post]
                if group.left:
                    self.waiting_for[device] = group
                    return
                points.append(max(now, group.until))

    def _post(self, device: int, place: int, ends: Sequence[End], now: int) -> None:
        group = self.groups[device][place] = _Group(device, len(ends))
        by_queue: dict[Hashable, tuple[_Queue, list[End]]] = {}
        for end in ends:
            queue = self.queue_of[end]
            together = end if end.transfer in self.sides else id(queue)
            by_queue.setdefault(together, (queue, []))[1].append(end)
        for queue, members in by_queue.values():
            entry = _Entry(now, group, members, len(members))
            for end in members:
                self.entry_of[end] = entry
            queue.entries.append(entry)
            if len(queue.entries) == 1:
                self._take_in_hand(queue)

    def _take_in_hand(self, queue: _Queue) -> None:
        """Make a queue's first entry ready, start transfers with both ends ready, then continue with the next entry."""
        begun = [queue]
        while begun:
            queue = begun.pop()
            entry = queue.entries[0]
            at = max(queue.free, entry.posted)
            for end in entry.ends:
                self.ready[end] = at
                if end.transfer in self.sides:
                    if not self.unfollowed[end.transfer]:
                        begun += self._do(end)
                elif End(end.transfer, not end.is_send) in self.ready:
                    begun += self._move(end.transfer)

    def _move(self, key: Key) -> Iterable[_Queue]:
        """Run a transfer; return the queues that move on to their next entry."""
        transfer = self.transfers[key]
        ends = End(key, True), End(key, False)
        sendable, receivable = self.ready[ends[0]], self.ready[ends[1]]
        start = max(sendable, receivable)
        over = start + transfer.duration
        self.moved[key] = Moved(sendable, receivable, start, over)
        for end, done in zip(ends, (over, over + transfer.latency), strict=True):
            yield from self._leave(end, over, done)

    def _do(self, end: End) -> Iterable[_Queue]:
        """Run a side action, and those that wait only for it; return the streams that move on to their next entry."""
        side = self.sides[end.transfer]
        ready = self.ready[end]
        start = max([ready, *(self.ran[other].end for other in side.follows)])
        over = start + side.duration
        self.ran[end.transfer] = Ran(ready, start, over)
        yield from self._leave(end, over, over)
        for follower in self.followers[end.transfer]:
            self.unfollowed[follower.transfer] -= 1
            if not self.unfollowed[follower.transfer] and follower in self.ready:
                yield from self._do(follower)

    def _leave(self, end: End, over: int, done: int) -> Iterable[_Queue]:
        """Take an end that is done at ``done`` off its queue, which it keeps until ``over``."""
        entry, queue = self.entry_of[end], self.queue_of[end]
        self._settle(entry.group, done)
        entry.left -= 1
        entry.latest = max(entry.latest, over)
        if not entry.left:
            queue.free = entry.latest
            queue.entries.popleft()
            if queue.entries:
                yield queue

    def _settle(self, group: _Group, done: int) -> None:
        group.left -= 1
        group.until = max(group.until, done)
        if not group.left and self.waiting_for[group.device] is group:
            self.waiting_for[group.device] = None
            heappush(self.awake, (max(self.points[group.device][-1], group.until), group.device))

    def result(self) -> ProgramTimes:
        """Return the times of everything."""
        return ProgramTimes(self.computed, self.moved, self.points, self.ran)

    def held(self, posted: Mapping[End, Posted]) -> dict[Key, list[Held]]:
        """For each transfer that never starts, list the reasons why its ends are held up."""
        ends = {key: _ends(key) for key in self.transfers if key not in self.moved}
        ends |= {key: (End(key, True),) for key in self.sides if key not in self.ran}
        return {key: [each for end in found for each in self._holding(end, posted)] for key, found in ends.items()}

    def _holding(self, end: End, posted: Mapping[End, Posted]) -> Iterable[Held]:
        """List what holds up an end: the entry being served on its queue, or the `Wait` before the end is posted."""
        device = posted[end].device
        if end in self.ready:
            for other in self.sides[end.transfer].follows if end.transfer in self.sides else ():
                if other not in self.ran:
                    yield Held(end.transfer, end, device, End(other, True), queued=False, waiting=None)
            return
        if end in self.entry_of:
            for by in self.queue_of[end].entries[0].ends:
                if by.transfer not in self.moved and by.transfer not in self.ran:
                    yield Held(end.transfer, end, device, by, queued=True, waiting=None)
            return
        place = len(self.points[device]) - 1
        wait = self.programs[device][place]
        assert isinstance(wait, Wait)
        group = self.programs[device][wait.post]
        assert isinstance(group, Post)
        for by in group.ends:
            if by.transfer not in self.moved and by.transfer not in self.ran:
                yield Held(end.transfer, end, device, by, queued=False, waiting=place)


def _ends(key: Key) -> tuple[End, ...]:
    return End(key, True), End(key, False)


def _first_cycle(machine: _Machine) -> list[Held]:
    """Find the earliest cycle of transfers that is held up by nothing outside the cycle.

    A cycle can hold up other transfers, and those still others; only a cycle that waits for nothing but itself is a
    cause. Among several, the one is chosen whose first send comes earliest if no transfer has to wait. The walk starts
    at that transfer and always continues with the earliest transfer that holds up the current one, until it returns.
    """
    posted = dict(posted_ends(machine.programs))
    held = machine.held(posted)
    early = departures(machine.programs, machine.transfers, machine.sides)
    number = {key: place for place, key in enumerate(held)}

    def earliness(key: Key) -> tuple[int, int]:
        return early.get(key, 0), number[key]

    graph: nx.DiGraph[Key] = nx.DiGraph()
    graph.add_nodes_from(held)
    graph.add_edges_from((key, each.by.transfer) for key, causes in held.items() for each in causes)
    parts = [part for part in nx.strongly_connected_components(graph) if _is_closed(graph, part)]
    part = min(parts, key=lambda each: min(map(earliness, each)))
    walk: dict[Key, Held] = {}
    key = min(part, key=earliness)
    while key not in walk:
        walk[key] = min(held[key], key=lambda each: earliness(each.by.transfer))
        key = walk[key].by.transfer
    cycle = [key]
    while walk[cycle[-1]].by.transfer != key:
        cycle.append(walk[cycle[-1]].by.transfer)
    first = cycle.index(min(cycle, key=earliness))
    return [walk[each] for each in (*cycle[first:], *cycle[:first])]


def _is_closed(graph: nx.DiGraph[Key], part: set[Key]) -> bool:
    return all(after in part for key in part for after in graph[key])


def departures(
    programs: Sequence[Program], transfers: Mapping[Key, Transfer], sides: Mapping[Key, SideAction] = NO_SIDES
) -> dict[Key, int]:
    """Find when each send and side action is posted if none ever waits: for its receive, a queue, or one it follows.

    Returns
    -------
    dict of Key to int
        In ticks. Sends that programs never reach, because they wait for each other even then, are omitted.
    """
    points: list[list[int]] = [[0] for _ in programs]
    sent: dict[Key, int] = {}
    waiting: dict[Key, int] = {}
    awake = list(range(len(programs)))
    while awake:
        device = awake.pop()
        program, reached = programs[device], points[device]
        while len(reached) <= len(program):
            now, instruction = reached[-1], program[len(reached) - 1]
            if isinstance(instruction, Compute):
                reached.append(now + instruction.duration)
            elif isinstance(instruction, Post):
                for end in instruction.ends:
                    if end.is_send:
                        sent[end.transfer] = now
                        if end.transfer in waiting:
                            awake.append(waiting.pop(end.transfer))
                reached.append(now)
            else:
                group = program[instruction.post]
                assert isinstance(group, Post)
                missing = next((end.transfer for end in group.ends if end.transfer not in sent), None)
                if missing is not None:
                    waiting[missing] = device
                    break
                each = (_done(end, transfers.get(end.transfer) or sides[end.transfer], sent) for end in group.ends)
                reached.append(max([now, *each]))
    return sent


def _done(end: End, moving: Transfer | SideAction, sent: Mapping[Key, int]) -> int:
    moved = sent[end.transfer] + moving.duration
    return moved if end.is_send or isinstance(moving, SideAction) else moved + moving.latency
