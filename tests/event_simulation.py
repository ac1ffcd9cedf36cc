"""A small simulation of programs, moment by moment: slow, and independent of the replay that it checks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from solver.problem import Key
from solver.programs import Compute, End, Post, Program, SideAction, Transfer


@dataclass
class Simulation:
    """The state of everything at one moment."""

    programs: Sequence[Program]
    transfers: Mapping[Key, Transfer]
    queue_of: Callable[[Key, Transfer], Hashable]
    sides: Mapping[Key, SideAction] = field(default_factory=dict)
    now: int = 0
    starts: dict[Key, int] = field(default_factory=dict)
    computed: list[list[tuple[Key, int, int]]] = field(default_factory=list)

    def run(self) -> bool:
        """Advance from moment to moment until nothing more happens; return whether every program has ended."""
        self.counters = [0] * len(self.programs)
        self.busy = [0] * len(self.programs)
        self.computed = [[] for _ in self.programs]
        self.queues: dict[Hashable, list[set[End]]] = {}
        while True:
            while self._something_happens():
                pass
            moments = [*self.busy]
            for key, start in self.starts.items():
                over = start + self._lasts(key)
                moments += [over, over + self._latency(End(key, False))]
            later = [moment for moment in moments if moment > self.now]
            if not later:
                through = all(count == len(each) for count, each in zip(self.counters, self.programs, strict=True))
                return through and len(self.starts) == len(self.transfers) + len(self.sides)
            self.now = min(later)

    def _something_happens(self) -> bool:
        """Let queues and streams do all that they can, or else the lowest device that can go on take one step."""
        happened: list[bool] = []
        for entries in self.queues.values():
            if entries and all(self._has_moved(end) for end in entries[0]):
                entries.pop(0)
                happened.append(True)
        in_hand = {end for entries in self.queues.values() if entries for end in entries[0]}
        for key in self.transfers:
            if key not in self.starts and {End(key, True), End(key, False)} <= in_hand:
                self.starts[key] = self.now
                happened.append(True)
        for key, side in self.sides.items():
            ready = key not in self.starts and End(key, True) in in_hand
            if ready and all(self._has_moved(End(other, True)) for other in side.follows):
                self.starts[key] = self.now
                happened.append(True)
        return any(happened) or any(self._step(device) for device in range(len(self.programs)))

    def _lasts(self, key: Key) -> int:
        return self.sides[key].duration if key in self.sides else self.transfers[key].duration

    def _latency(self, end: End) -> int:
        return 0 if end.is_send or end.transfer in self.sides else self.transfers[end.transfer].latency

    def _has_moved(self, end: End) -> bool:
        start = self.starts.get(end.transfer)
        return start is not None and start + self._lasts(end.transfer) <= self.now

    def _is_done(self, end: End) -> bool:
        return self._has_moved(end) and (
            self.starts[end.transfer] + self._lasts(end.transfer) + self._latency(end) <= self.now
        )

    def _step(self, device: int) -> bool:
        program, place = self.programs[device], self.counters[device]
        if self.busy[device] > self.now or place == len(program):
            return False
        instruction = program[place]
        if isinstance(instruction, Compute):
            self.busy[device] = self.now + instruction.duration
            self.computed[device].append((instruction.name, self.now, self.busy[device]))
        elif isinstance(instruction, Post):
            for end in instruction.ends:
                queue = self._queue(device, end)
                entries = self.queues.setdefault(queue, [])
                members = {each for each in instruction.ends if self._queue(device, each) == queue}
                members = {end} if end.transfer in self.sides else members
                if not entries or entries[-1] != members:
                    entries.append(members)
        else:
            group = program[instruction.post]
            assert isinstance(group, Post)
            if not all(map(self._is_done, group.ends)):
                return False
        self.counters[device] += 1
        return True

    def _queue(self, device: int, end: End) -> Hashable:
        if end.transfer in self.sides:
            return "stream", self.sides[end.transfer].stream
        return device, self.queue_of(end.transfer, self.transfers[end.transfer])


def asynchronous_makespan(programs: Sequence[Program], transfers: Mapping[Key, Transfer]) -> int | None:
    """Find the last end if a send goes at once and neither queues nor receives hold it up; None if devices hang."""
    points: list[list[int]] = [[0] for _ in programs]
    sent: dict[Key, int] = {}
    last, moving = 0, True
    while moving:
        moving = False
        for program, reached in zip(programs, points, strict=True):
            while len(reached) <= len(program):
                now, instruction = reached[-1], program[len(reached) - 1]
                if isinstance(instruction, Compute):
                    now += instruction.duration
                    last = max(last, now)
                elif isinstance(instruction, Post):
                    sent |= {end.transfer: now for end in instruction.ends if end.is_send}
                else:
                    ends = cast("Post", program[instruction.post]).ends
                    if any(end.transfer not in sent for end in ends):
                        break
                    for end in ends:
                        moved = transfers[end.transfer]
                        now = max(now, sent[end.transfer] + moved.duration + (0 if end.is_send else moved.latency))
                reached.append(now)
                moving = True
    return None if any(len(each) <= len(program) for each, program in zip(points, programs, strict=True)) else last
