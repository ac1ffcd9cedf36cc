"""The independent checker: what is wrong with a timeline. It shares no code with what makes timelines.

It does not know engines, graphs or orders; it holds a timeline against the problem alone, and is the definition
of a valid one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from solver.problem import Key, Placed, Problem


@dataclass(frozen=True)
class Violation:
    """One rule that a timeline breaks.

    Attributes
    ----------
    kind : str
        ``unknown``, ``missing``, ``twice``, ``device``, ``duration``, ``overlap``, ``precedence``, ``link``, ``block``
        or ``memory``.
    message : str
        What is wrong, with the tasks and times (ticks).
    """

    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def violations(problem: Problem, timeline: Sequence[Placed], *, memory: bool = True) -> list[Violation]:
    """List every rule that a timeline breaks.

    Parameters
    ----------
    problem : Problem
        What was to be scheduled.
    timeline : sequence of Placed
        When each task runs.
    memory : bool
        Whether the devices' capacities count.

    Returns
    -------
    list of Violation
        Empty for a valid timeline.
    """
    found = list(_tasks_run_once(problem, timeline))
    known = [row for row in timeline if row.task in problem.tasks]
    found += _on_their_devices(problem, known)
    found += _last_as_long_as_they_should(problem, known)
    found += _one_at_a_time(known)
    found += _wait_for_their_inputs(problem, known)
    found += _wait_for_their_links(problem, known)
    if memory:
        found += _fit_the_memory(problem, known)
    return found


def _tasks_run_once(problem: Problem, timeline: Sequence[Placed]) -> Iterable[Violation]:
    seen: set[Key] = set()
    for row in timeline:
        if row.task not in problem.tasks:
            yield Violation("unknown", f"{row.task} is not a task of the problem")
        elif row.task in seen:
            yield Violation("twice", f"{row.task} runs more than once")
        seen.add(row.task)
    for task in problem.tasks:
        if task not in seen:
            yield Violation("missing", f"{task} never runs")


def _on_their_devices(problem: Problem, timeline: Sequence[Placed]) -> Iterable[Violation]:
    for row in timeline:
        home = problem.tasks[row.task].device
        if row.device != home:
            yield Violation("device", f"{row.task} runs on device {row.device}, but belongs to device {home}")


def _last_as_long_as_they_should(problem: Problem, timeline: Sequence[Placed]) -> Iterable[Violation]:
    blocks: dict[int, list[Placed]] = defaultdict(list)
    for row in timeline:
        if row.block is not None:
            blocks[row.block].append(row)
            continue
        due = problem.tasks[row.task].duration
        if row.end - row.start != due:
            yield Violation("duration", f"{row.task} lasts {row.end - row.start}, but takes {due}")
    for number, rows in blocks.items():
        yield from _block_is_whole(problem, number, rows)


def _block_is_whole(problem: Problem, number: int, rows: Sequence[Placed]) -> Iterable[Violation]:
    names = " and ".join(str(row.task) for row in rows)
    if len(rows) != 2:
        yield Violation("block", f"block {number} has {len(rows)} halves ({names}), not two")
        return
    if len({(row.start, row.end, row.device) for row in rows}) != 1:
        yield Violation("block", f"{names} are one block, but do not start and end together on one device")
    one, other = rows
    classes = [
        (problem.fusing.firsts[first.task], problem.fusing.seconds[second.task])
        for first, second in ((one, other), (other, one))
        if first.task in problem.fusing.firsts and second.task in problem.fusing.seconds
    ]
    dues = [problem.fusing.durations[pair] for pair in classes if pair in problem.fusing.durations]
    if len(dues) != 1:
        yield Violation("block", f"{names} cannot fuse: a first and a second half that go together are needed")
    elif one.end - one.start != dues[0]:
        yield Violation("duration", f"the block of {names} lasts {one.end - one.start}, but takes {dues[0]}")


def _one_at_a_time(timeline: Sequence[Placed]) -> Iterable[Violation]:
    by_device: dict[int, list[Placed]] = defaultdict(list)
    for row in timeline:
        by_device[row.device].append(row)
    for device, rows in by_device.items():
        rows.sort(key=lambda row: (row.start, row.end))
        latest = rows[0]
        for _, row in pairwise(rows):
            fused = row.block is not None and row.block == latest.block
            if row.start < latest.end and not fused:
                yield Violation(
                    "overlap", f"device {device} runs {latest.task} until {latest.end} and {row.task} from {row.start}"
                )
            if row.end >= latest.end:
                latest = row


def _wait_for_their_inputs(problem: Problem, timeline: Sequence[Placed]) -> Iterable[Violation]:
    starts = {row.task: row.start for row in timeline}
    ends = {row.task: row.end for row in timeline}
    for before, after, lag in problem.precedences:
        if before in ends and after in starts and starts[after] < ends[before] + lag:
            yield Violation(
                "precedence",
                f"{after} starts at {starts[after]}, but waits for {before} until {ends[before] + lag}",
            )


def _wait_for_their_links(problem: Problem, timeline: Sequence[Placed]) -> Iterable[Violation]:
    """Find what starts before its input can have come over its link, behind all that is produced there earlier."""
    if not problem.moves:
        return
    rows = {row.task: row for row in timeline}
    first = _first_places(timeline)
    on_link: dict[tuple[int, int], list[tuple[tuple[int, int, int, bool], Key, Key, int]]] = defaultdict(list)
    for before, after, lag in problem.precedences:
        if (before, after) in problem.moves and before in rows and after in rows:
            row = rows[before]
            is_second = row.block is not None and before in problem.fusing.seconds
            turn = (row.end, row.start, first[before], is_second)
            on_link[row.device, rows[after].device].append((turn, before, after, lag))
    for (source, destination), results in on_link.items():
        free = 0
        for _, before, after, lag in sorted(results, key=lambda each: each[0]):
            moving = problem.moves[before, after]
            free = max(free, rows[before].end) + moving
            if rows[after].start < free + lag - moving:
                text = f"{after} starts at {rows[after].start}, but waits for {before} until {free + lag - moving}"
                yield Violation("link", f"{text}, over the link from device {source} to device {destination}")


def _first_places(timeline: Sequence[Placed]) -> dict[Key, int]:
    """Find where in the timeline each task stands, and a half of a block where the first of both does.

    That is the order of what takes no time and so begins and ends together.
    """
    blocks: dict[tuple[int, int], int] = {}
    places: dict[Key, int] = {}
    for place, row in enumerate(timeline):
        whole = place if row.block is None else blocks.setdefault((row.device, row.block), place)
        places[row.task] = whole
    return places


def _fit_the_memory(problem: Problem, timeline: Sequence[Placed]) -> Iterable[Violation]:
    limited = {device for device, capacity in enumerate(problem.capacities) if capacity is not None}
    if not limited:
        return
    rows = {row.task: row for row in timeline}
    changes: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for hold in problem.holds:
        taker = rows.get(hold.take)
        if taker is None or taker.device not in limited:
            continue
        changes[taker.device].append((taker.start, hold.amount))
        changes[taker.device] += [(rows[task].end, -part) for task, part in hold.returns if task in rows]
    for device in sorted(limited):
        yield from _level_stays_below(problem, device, changes[device])


def _level_stays_below(problem: Problem, device: int, events: list[tuple[int, int]]) -> Iterable[Violation]:
    capacity = problem.capacities[device]
    level = peak = problem.static_of(device)
    when = 0
    for time, change in sorted(events):  # at one moment, what is returned (negative) comes before what is taken
        level += change
        if level > peak:
            peak, when = level, time
    room = None if capacity is None else capacity + problem.static_of(device)
    if room is not None and peak > room:
        yield Violation("memory", f"device {device} holds {peak} at {when}, but has {room}")
