"""The independent checker: what is wrong with a timeline. It shares no code with what makes timelines.

It does not know engines, graphs or orders; it holds a timeline against the problem alone, and is the definition
of a valid one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from solver.numbered import Numbered, Numbers, Timeline, integers, sorting
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
    rows = Timeline.of(problem, timeline)
    numbered = Numbered(problem)
    found = list(_tasks_run_once(problem, rows, timeline))
    if (rows.number < 0).any():
        timeline = [row for row in timeline if row.task in problem.tasks]
        rows = Timeline.of(problem, timeline)
    found += _on_their_devices(numbered, rows, timeline)
    found += _last_as_long_as_they_should(numbered, rows, timeline)
    found += _one_at_a_time(rows, timeline)
    found += _wait_for_their_inputs(numbered, rows)
    found += _wait_for_their_links(problem, timeline)
    if memory:
        found += _fit_the_memory(numbered, rows)
    return found


def _places(wrong: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(wrong).tolist()


def _tasks_run_once(problem: Problem, rows: Timeline, timeline: Sequence[Placed]) -> Iterable[Violation]:
    times = np.bincount(rows.number[rows.number >= 0], minlength=len(problem.tasks))
    if (rows.number >= 0).all() and (times == 1).all():
        return
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


def _on_their_devices(numbered: Numbered, rows: Timeline, timeline: Sequence[Placed]) -> Iterable[Violation]:
    homes = numbered.device[rows.number]
    for place in _places(rows.device != homes):
        row = timeline[place]
        yield Violation("device", f"{row.task} runs on device {row.device}, but belongs to device {homes[place]}")


def _last_as_long_as_they_should(numbered: Numbered, rows: Timeline, timeline: Sequence[Placed]) -> Iterable[Violation]:
    lasts, due = rows.end - rows.start, numbered.duration[rows.number]
    for place in _places((rows.block < 0) & (lasts != due)):
        yield Violation("duration", f"{timeline[place].task} lasts {lasts[place]}, but takes {due[place]}")
    halves = np.flatnonzero(rows.block >= 0)
    halves = halves[np.argsort(rows.block[halves], kind="stable")]
    begins = _places(np.diff(rows.block[halves], prepend=-1) != 0)
    if len(halves) == 2 * len(begins) == 2 * len(_whole(numbered, rows, halves[::2], halves[1::2])):
        return
    for first, last in pairwise([*begins, len(halves)]):
        yield from _block_is_whole(numbered.problem, [timeline[place] for place in halves[first:last].tolist()])


def _whole(numbered: Numbered, rows: Timeline, one: Numbers, other: Numbers) -> list[int]:
    """Find the pairs of rows that are a block without fault."""
    together = np.ones(len(one), dtype=np.bool_)
    for column in (rows.block, rows.start, rows.end, rows.device):
        together &= (column[one] == column[other]).astype(np.bool_)
    durations = numbered.problem.fusing.durations
    firsts, seconds = numbered.firsts[rows.number], numbered.seconds[rows.number]
    lasts = (rows.end - rows.start)[one].tolist()
    classes = (column[half].tolist() for half in (one, other) for column in (firsts, seconds))
    turns = [((first, behind), (second, before)) for first, before, second, behind in zip(*classes, strict=True)]
    dues = {pairs: [durations[pair] for pair in pairs if min(pair) >= 0 and pair in durations] for pairs in set(turns)}
    return [place for place in _places(together) if dues[turns[place]] == [lasts[place]]]


def _block_is_whole(problem: Problem, rows: Sequence[Placed]) -> Iterable[Violation]:
    names = " and ".join(str(row.task) for row in rows)
    if len(rows) != 2:
        yield Violation("block", f"block {rows[0].block} has {len(rows)} halves ({names}), not two")
        return
    if len({(row.start, row.end, row.device) for row in rows}) != 1:
        yield Violation("block", f"{names} are one block, but do not start and end together on one device")
    one, other = rows
    dues = [problem.fusing.duration(*pair) for pair in ((one.task, other.task), (other.task, one.task))]
    known = [due for due in dues if due is not None]
    if len(known) != 1:
        yield Violation("block", f"{names} cannot fuse: a first and a second half that go together are needed")
    elif one.end - one.start != known[0]:
        yield Violation("duration", f"the block of {names} lasts {one.end - one.start}, but takes {known[0]}")


def _one_at_a_time(rows: Timeline, timeline: Sequence[Placed]) -> Iterable[Violation]:
    order = sorting(rows.device, rows.start, rows.end)
    device, start, end, block = (column[order] for column in (rows.device, rows.start, rows.end, rows.block))
    fused = (block[:-1] >= 0) & (block[1:] == block[:-1]) & (end[1:] == end[:-1])
    # where each starts when the one before it has ended, or ends with its other half, none can reach further
    if ((device[1:] != device[:-1]) | (start[1:] >= end[:-1]) | fused).all():
        return
    latest = timeline[order[0]]
    for row in (timeline[place] for place in order[1:].tolist()):
        fused = row.block is not None and row.block == latest.block
        if row.device == latest.device and row.start < latest.end and not fused:
            text = f"device {row.device} runs {latest.task} until {latest.end} and {row.task} from {row.start}"
            yield Violation("overlap", text)
        if row.device != latest.device or row.end >= latest.end:
            latest = row


def _wait_for_their_inputs(numbered: Numbered, rows: Timeline) -> Iterable[Violation]:
    waits, row_of = numbered.precedences, _rows_by_task(numbered, rows)
    before, after = row_of[waits.before], row_of[waits.after]
    ready = rows.end[before] + waits.lag
    for place in _places((before >= 0) & (after >= 0) & (rows.start[after] < ready)):
        first, second, _ = waits[place]
        yield Violation(
            "precedence", f"{second} starts at {rows.start[after[place]]}, but waits for {first} until {ready[place]}"
        )


def _rows_by_task(numbered: Numbered, rows: Timeline) -> Numbers:
    """Find the row of each task; -1 where it has none."""
    places = np.full(len(numbered.problem.tasks), -1)
    places[rows.number] = np.arange(len(rows))
    return places


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


def _fit_the_memory(numbered: Numbered, rows: Timeline) -> Iterable[Violation]:
    problem, holds = numbered.problem, numbered.holds
    if all(capacity is None for capacity in problem.capacities):
        return
    row_of = _rows_by_task(numbered, rows)
    taker, returner = row_of[holds.take], row_of[holds.returner]
    taken, returned = np.flatnonzero(taker >= 0), np.flatnonzero((returner >= 0) & (taker[holds.hold] >= 0))
    device = rows.device[np.concatenate([taker[taken], taker[holds.hold[returned]]])]
    moment = np.concatenate([rows.start[taker[taken]], rows.end[returner[returned]]])
    change = np.concatenate([holds.amount[taken], -holds.part[returned]])
    # at one moment, what is returned (negative) comes before what is taken
    order = sorting(device, moment, change)
    bounds = np.searchsorted(device[order], np.arange(problem.devices + 1)).tolist()
    for place, (first, last) in enumerate(pairwise(bounds)):
        capacity, here = problem.capacities[place], order[first:last]
        if capacity is None:
            continue
        static = integers([problem.static_of(place)])
        level = np.concatenate([static, np.cumsum(change[here]) + static])
        if level.max() > capacity + problem.static_of(place):
            when = [0, *moment[here].tolist()][np.argmax(level)]
            room = capacity + problem.static_of(place)
            yield Violation("memory", f"device {place} holds {level.max()} at {when}, but has {room}")
