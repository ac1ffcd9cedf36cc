"""Blocks against memory: a block saves work, but all that waits for one of its halves is held until it ends.

What it is worth: row `block-area` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from solver.block_lengths import block_durations, shortest_blocks
from solver.bounds.analysis import Analysis
from solver.bounds.blocks import BlocksCurve
from solver.bounds.bound import Bound
from solver.bounds.idle_curves import Numbers
from solver.bounds.loads import alone_times
from solver.bounds.thinned import limited_holds
from solver.deadline import is_over, until
from solver.numbered import integers
from solver.problem import Hold, Key, Problem

After = Mapping[Key, Sequence[tuple[Key, int]]]


class Area(NamedTuple):
    """What the holds of a device, or of all, need of its memory, times time.

    Attributes
    ----------
    capacity : int
        The memory.
    least : int
        What is needed where nothing is fused, with what stays free at both ends.
    longer : mapping of Key to int
        What each task adds if it is in a block.
    """

    capacity: int
    least: int
    longer: Counter[Key]

    def fits(self, time: int, added: Sequence[Numbers], allowed: Sequence[Numbers]) -> bool:
        """Return whether the area suffices, with the best of the allowed numbers of blocks on each device."""
        blocks = sum(int(more[which].min()) for more, which in zip(added, allowed, strict=True))
        return self.least + blocks <= self.capacity * time


def block_area_bound(
    problem: Problem,
    found: Analysis,
    curves: Sequence[BlocksCurve],
    known: int,
    copies: Mapping[Key, int],
    ends: Mapping[int, tuple[int, int]],
    deadline: float | None = None,
) -> Bound | None:
    """Bound the makespan by the blocks of all devices together, and the memory that they need.

    Take a schedule of length T, its tasks numbered within each chain by their order. (That changes neither what is live
    at a moment nor the sum of the holds' lengths.)

    - *Work.* If device d forms x_d blocks, T ≥ c_d(x_d), the curve of `blocks_curve`. So x_d is one of the numbers with
      c_d(x_d) ≤ T.
    - *Holds.* Take a part of a hold and a path of precedences from the task that takes it to the one that returns it.
      The tasks of the path are run by different actions, one after the other, since whatever waits for a task waits for
      the end of its action; only a second half and its partner may be run by one, and count together. An action lasts
      at least as long as its task does alone, or, if it is a block, as long as the shortest block of that task. So the
      part is held at least for the length of the path where nothing is fused, and for (shortest block − alone) longer
      for every task on it that is in a block. That may be negative.
    - *Area.* Summed over the parts held on a device e, a task t in a block adds k_e(t), the sum over all paths through
      t. Of the x_d first halves and the x_d second halves that are in blocks of d, each kind adds at least its x_d
      least k_e(t). The tasks on the paths run on *all* devices: an activation is held on one device while its
      microbatch passes through blocks of others.
    - *Memory.* The live parts never exceed the capacity, and at both ends less can be live (`_free`): capacity_e · T ≥
      area_e + free_e + Σ_d (what x_d blocks add). The sum of that over all e is looked at, too: there, one choice of
      tasks has to do for all.

    As T grows, more numbers x_d are allowed and the left-hand side grows. So if no choice of allowed numbers fits T, no
    schedule is as short as T, and the least T that fits on every device is a bound.

    Nothing here looks at single tasks beyond the curves and the ends, so tasks that are left out of what is written
    down take part like the last of their chain; the ends are looked at only as far as none of them can be there.

    Parameters
    ----------
    problem : Problem
        What is scheduled, or what is written down of it.
    found : Analysis
        Of it.
    curves : sequence of BlocksCurve
        Of all devices on which tasks can fuse.
    known : int
        A bound on the makespan, in ticks.
    copies : mapping of Key to int
        For how many tasks each stands.
    ends : mapping of int to (int, int)
        For each device: how far its front and its back show the whole.
    deadline : float or None
        A time of `time.perf_counter`.

    Returns
    -------
    Bound or None
        None where it is not above what is known.

    Raises
    ------
    OutOfTimeError
        If the deadline passes first.
    """
    fusing = {device for device, *_ in block_durations(problem)}
    if problem.fusing.firsts.keys() & problem.fusing.seconds.keys() or fusing - {curve.device for curve in curves}:
        return None
    areas = list(_areas(problem, found, known, copies, ends, deadline))
    longer = Counter[Key]()
    for area in areas:
        longer.update(area.longer)
    areas.append(Area(sum(area.capacity for area in areas), sum(area.least for area in areas), longer))
    halves = [_halves(problem, curve.device) for curve in curves]
    added = [
        [_added(sides, area.longer, copies, len(curve.least)) for sides, curve in zip(halves, curves, strict=True)]
        for area in until(partial(is_over, deadline), areas)
    ]

    def fits(time: int) -> bool:
        allowed = [np.flatnonzero(curve.least <= time) for curve in curves]
        every = zip(areas, added, strict=True)
        return all(map(len, allowed)) and all(area.fits(time, more, allowed) for area, more in every)

    low, high = known, known
    while not fits(high):
        low, high = high, 2 * high + 1
    if high == known:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return Bound(high, "block area")


def _areas(
    problem: Problem,
    found: Analysis,
    known: int,
    copies: Mapping[Key, int],
    ends: Mapping[int, tuple[int, int]],
    deadline: float | None,
) -> Iterator[Area]:
    """Find what each device with a limit needs."""
    lengths = _Lengths(problem, found)
    for device, holds in limited_holds(problem).items():
        capacity = problem.capacities[device]
        if not capacity:
            continue
        least, longer = 0, Counter[Key]()
        for hold in until(partial(is_over, deadline), holds):
            least += copies[hold.take] * lengths.add(hold, longer)
        front, back = (min(known // 2, end) for end in ends[device])
        takes = Counter[Key]()
        for hold in holds:
            takes[hold.take] += hold.amount
        taken = [((take,), amount) for take, amount in takes.items()]
        returned = [(tuple(task for task, _ in hold.returns), hold.amount) for hold in holds if hold.returns]
        least += _free(problem, found, capacity, taken, found.heads, front)
        least += _free(problem, found, capacity, returned, found.tails, back)
        yield Area(capacity, least, longer)


class _Lengths:
    """How long what is taken is held at least, and which blocks lengthen that."""

    def __init__(self, problem: Problem, found: Analysis) -> None:
        self.partners, self.behind = problem.partners, set(problem.partners.values())
        self.alone = {key: alone_times(problem, key) for key in problem.tasks}
        self.shortest = shortest_blocks(problem)
        keys = found.network.thinned.keys
        self.place = {keys[task]: place for place, task in enumerate(found.network.order)}
        chained = {pair for chain in problem.chains for pair in pairwise(chain)}
        self.after: dict[Key, list[tuple[Key, int]]] = defaultdict(list)
        for before, after, lag in problem.precedences:
            if (before, after) not in chained:
                self.after[before].append((after, lag))

    def add(self, hold: Hold, longer: Counter[Key]) -> int:
        """Sum a hold's parts times their lengths without blocks, and add what blocks lengthen them by, task by task."""
        reached, came_from = self._longest(hold.take)
        total = 0
        for task, part in hold.returns:
            if task not in reached:
                continue
            total += part * (reached[task] + self._time(came_from[task], task))
            behind: Key | None = None
            key: Key | None = task
            while key is not None:
                if key in self.shortest:
                    alone = self.alone[key][0] + (self.alone[key][1] if self.partners.get(key, key) == behind else 0)
                    longer[key] += part * (self.shortest[key] - alone)
                behind, key = key, came_from[key]
        return total

    def _longest(self, take: Key) -> tuple[dict[Key, int], dict[Key, Key | None]]:
        """Find the longest time from a task's start to the start of each that waits for it, and the task before it."""
        later: dict[Key, None] = {take: None}
        for key in (waiting := [take]):
            new = [after for after, _ in self.after.get(key, ()) if after not in later]
            later.update(dict.fromkeys(new))
            waiting.extend(new)
        reached: dict[Key, int] = {take: 0}
        came_from: dict[Key, Key | None] = {take: None}
        for key in sorted(later, key=self.place.__getitem__):
            end = reached[key] + self._time(came_from[key], key)
            for after, lag in self.after.get(key, ()):
                at = end if self.partners.get(key) == after else end + lag
                if at > reached.get(after, -1):
                    reached[after], came_from[after] = at, key
        return reached, came_from

    def _time(self, before: Key | None, task: Key) -> int:
        """Return how much later than the start of a task, or the end of the one it is partner of, its end is at least.

        A partner that is on a path without the task before it counts nothing: its action may be shorter than it is.
        """
        if task not in self.behind:
            return self.alone[task][0]
        return self.alone[before][1] if before is not None and self.partners.get(before) == task else 0


def _halves(problem: Problem, device: int) -> list[list[Key]]:
    """List the first and the second halves of a device's blocks."""
    kinds = (problem.fusing.firsts, problem.fusing.seconds)
    return [[key for key in kind if problem.tasks[key].device == device] for kind in kinds]


def _added(halves: Sequence[Sequence[Key]], longer: Mapping[Key, int], copies: Mapping[Key, int], size: int) -> Numbers:
    """Sum the least that 0, 1, 2, … first halves and as many second halves of a device add."""
    total: Numbers = integers([0] * size)
    for keys in halves:
        costs = sorted(cost for key in keys for cost in [longer[key]] * min(copies[key], size))
        total = total + integers(accumulate(costs[: size - 1], initial=0))
    return total


def _free(
    problem: Problem,
    found: Analysis,
    capacity: int,
    groups: Sequence[tuple[Sequence[Key], int]],
    times: Sequence[int],
    end: int,
) -> int:
    """Bound the area that stays free in [0, end], seen from the start or from the end of a schedule.

    Parameters
    ----------
    groups : sequence of (sequence of Key, int)
        What is taken by one or another of some tasks of a device, and how much. Seen from the end, what is returned
        last is taken first.
    times : sequence of int
        The heads of all tasks; seen from the end, the tails.

    If no two of the groups can be in one action, the j-th of those that take something, in their order, does so no
    earlier than j − 1 actions of others after the least of all times. With tasks count their partners: what is merged
    starts and ends with both.
    """
    thinned, partners, fusing = found.network.thinned, problem.partners, problem.fusing
    task_of = {partner: task for task, partner in partners.items()}
    main = [{task_of.get(key, key) for key in keys} for keys, _ in groups]
    every = set().union(*main)
    apart = sum(map(len, main)) == len(main) == len(every)
    apart = apart and (every.isdisjoint(fusing.firsts) or every.isdisjoint(fusing.seconds))
    work = [min(thinned.least_action[thinned.number[key]] for key in keys) if apart else 0 for keys, _ in groups]
    heads = sorted(
        min(times[thinned.number[each]] for key in keys for each in (key, partners.get(key, key))) for keys in main
    )
    ahead = accumulate(sorted(work), initial=min(heads, default=0))
    area = taken = now = 0
    amounts = sorted((amount for _, amount in groups), reverse=True)
    for head, done, amount in zip(heads, ahead, amounts, strict=False):
        until_then = min(end, max(head, done))
        area += max(0, capacity - taken) * (until_then - now)
        taken, now = taken + amount, until_then
    return area + max(0, capacity - taken) * (end - now)
