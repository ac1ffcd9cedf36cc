"""What blocks can save, and what they cannot: the ends of a schedule hold tasks that have nothing to fuse with.

What it is worth: row `blocks` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from solver.bounds.analysis import Analysis, DeviceView
from solver.bounds.bound import Bound
from solver.bounds.idle_curves import Numbers
from solver.bounds.loads import alone_times
from solver.bounds.pairing import Pairing, gather
from solver.bounds.thinned import limited_holds
from solver.problem import Hold, Key, Problem

MOST_PAIRS = 40_000_000

MOST_LISTED = 50_000
"""Tasks of a device."""


@dataclass(frozen=True)
class Sides:
    """The two sides of a device's blocks.

    Attributes
    ----------
    firsts : list of int
        How long each first side takes alone.
    seconds : list of int
        How long each second side takes outside blocks, with its partner.
    partners : list of int
        How much of that the partner takes, for those that have one.
    others : int
        How long everything else on the device takes.
    pairing : Pairing
        What pairs of them save at most.
    """

    firsts: list[int]
    seconds: list[int]
    partners: list[int]
    others: int
    pairing: Pairing


class Left(NamedTuple):
    """What is left out of the tasks of a device that are alike; see `solver.repetition.Repetition`.

    Attributes
    ----------
    place : int
        That of one of those that are written down, among the device's members.
    head, tail : int
        The least of their heads and of their tails.
    number : int
        How many are left out.
    """

    place: int
    head: int
    tail: int
    number: int


class BlocksCurve(NamedTuple):
    """What the number of a device's blocks leaves.

    Attributes
    ----------
    device : int
        The device.
    least : array
        The least makespan with 0, 1, 2, … blocks, beyond every schedule where there can be no such number.
    load : int
        All its tasks, one after the other.
    """

    device: int
    least: Numbers
    load: int

    @property
    def bound(self) -> Bound:
        """The least of the makespans."""
        return Bound(int(self.least.min()), "blocks", self.device, {"load": self.load})


def blocks_curve(problem: Problem, found: Analysis, view: DeviceView, left: Sequence[Left] = ()) -> BlocksCurve | None:
    """Bound the makespan from one device on which first and second sides may fuse, by the number x of its blocks.

    A second side counts with its partner. No second side starts before e, the least head of them; every first side ends
    at least g, the least tail of them, before the end of the schedule. Let a first sides start before any second side,
    and let b second sides (or their partners) end after the last first side has ended, x blocks be formed.

    - Those a and b are in no block, so x ≤ nF − a and x ≤ nB − b. They are all live at one moment each, so memory
      limits a and b. If the memory is full with the a < nF, the first second side is in no block either. Either it is
      none of the b, and x ≤ nB − b − 1; or it is one of them by its partner, which alone lies behind the last first.
    - In [0, e] the device runs nothing but those a and what is no side; in the last g nothing but those b and that.
      What remains is idle. Both count where the windows are disjoint, which they are if e + g < the bound with both.
    - The load is that of all tasks alone less what x blocks save, whichever they are (`Pairing`).
    - All blocks lie between e and T − g.
    - a = nF implies b = nB. (Not the converse, where partners run by themselves.)

    So T ≥ the least, over a and b, of max(load − savings + idle, e + g + the x shortest blocks). Where these are too
    many, T ≥ the least head, the load less the most that x blocks save, and the least tail.

    None of this looks at more of a task than its class, its durations, its memory, its head and its tail, so tasks that
    are left out of what is written down take part like the others. None where they are too many to be listed, and where
    there can be no block.
    """
    if len(view.members) + sum(each.number for each in left) > MOST_LISTED:
        return None
    view_of = _Members(found, view, left)
    sides = _sides(problem, view_of)
    if sides is None:
        return None
    window = _Windows(problem, found, view_of)
    savings, shortest = sides.pairing.savings(), sides.pairing.shortest()
    most_a, most_b = window.most_firsts(), window.most_seconds()
    load = sum(sides.firsts) + sum(sides.seconds) + sides.others
    times_of, never = found.network.thinned.times, found.network.thinned.never
    rest = times_of([load - saved for saved in savings])
    if (most_a + 1) * (most_b + 1) * len(savings) > MOST_PAIRS:
        return _curve(view.device, rest + window.around, load, never)
    front, back = window.front_idle(most_a, sides), window.back_idle(most_b, sides)
    late = window.back_idle_of_partner(most_b, sides)
    shortest = [0, *(window.e + window.g + total for total in shortest[1:])]
    times = (rest, times_of(shortest))
    least: Numbers = np.full(len(savings), never, dtype=rest.dtype)
    for a in range(most_a + 1):
        full = a == most_a < len(sides.firsts)
        idle = int(front[a])
        least = np.minimum(least, _least_for(a, full, (idle, back), times, sides, window))
        if full and late is not None:
            least = np.minimum(least, _least_for(a, False, (idle, late), times, sides, window))
    return _curve(view.device, least, load, never)


def _curve(device: int, least: Numbers, load: int, never: int) -> BlocksCurve | None:
    """Make the curve; None where no number of blocks is possible."""
    return None if int(least.min()) >= never else BlocksCurve(device, least, load)


def _least_for(
    a: int,
    full: bool,
    idle: tuple[int, Numbers],
    times: tuple[Numbers, Numbers],
    sides: Sides,
    window: _Windows,
) -> Numbers:
    """Find the least bound over all b for one a, by x."""
    rest, inside = times
    firsts, seconds = len(sides.firsts), len(sides.seconds)
    b = np.arange(len(idle[1]), dtype=np.int64)
    allowed = seconds - b
    if full:
        allowed = allowed - 1
    if a == firsts:
        b, allowed = b[b == seconds], allowed[b == seconds]
    back = idle[1][b]
    x = np.arange(len(rest), dtype=np.int64)[None, :]
    both = rest + idle[0] + back[:, None]
    apart = window.e + window.g < both
    value = np.maximum(np.where(apart, both, rest + np.maximum(idle[0], back)[:, None]), inside)
    usable = (x <= firsts - a) & (x <= allowed[:, None])
    never = window.never
    least: Numbers = np.where(usable, value, never).min(axis=0, initial=never)
    return least


class _Members:
    """The tasks of a device, those that are left out too, each of them by the key of one like it."""

    def __init__(self, found: Analysis, view: DeviceView, left: Sequence[Left]) -> None:
        heads, tails = found.of(view)
        times = found.network.thinned.times
        counts = [each.number for each in left]
        places = np.repeat(np.array([each.place for each in left], dtype=np.int64), counts)
        members = np.concatenate([view.members, view.members[places]])
        self.device = view.device
        self.keys = [found.network.thinned.keys[task] for task in members.tolist()]
        self.work: Numbers = np.concatenate([view.work, view.work[places]])
        self.heads: Numbers = np.concatenate([heads, np.repeat(times([e.head for e in left]), counts)])
        self.tails: Numbers = np.concatenate([tails, np.repeat(times([e.tail for e in left]), counts)])


def _sides(problem: Problem, members: _Members) -> Sides | None:
    """Measure a device's tasks outside blocks; None where there can be no block."""
    keys = members.keys
    firsts = [key for key in keys if key in problem.fusing.firsts]
    seconds = [key for key in keys if key in problem.fusing.seconds]
    if not firsts or not seconds:
        return None
    partners = [problem.partners[key] for key in seconds if key in problem.partners]
    sided = {*firsts, *seconds, *partners}
    thin = dict(zip(keys, members.work.tolist(), strict=True))
    first_lengths = [problem.tasks[key].duration for key in firsts]
    second_lengths = [sum(alone_times(problem, key)) for key in seconds]
    return Sides(
        firsts=first_lengths,
        seconds=second_lengths,
        partners=[alone_times(problem, key)[1] for key in seconds if key in problem.partners],
        others=sum(thin[key] for key in keys if key not in sided),
        pairing=Pairing(
            gather(zip((problem.fusing.firsts[key] for key in firsts), first_lengths, strict=True)),
            gather(zip((problem.fusing.seconds[key] for key in seconds), second_lengths, strict=True)),
            problem.fusing.durations,
        ),
    )


class _Windows:
    """The time before any second side and after all first sides."""

    def __init__(self, problem: Problem, found: Analysis, members: _Members) -> None:
        keys, heads, tails = members.keys, members.heads, members.tails
        self.problem = problem
        self.device = members.device
        self.firsts = np.array([key in problem.fusing.firsts for key in keys])
        self.seconds = np.array([key in problem.fusing.seconds for key in keys])
        self.heads, self.tails, self.work = heads, tails, members.work
        self.e = int(heads[self.seconds].min())
        self.g = int(tails[self.firsts].min())
        self.around = int(heads.min() + tails.min())
        self.times, self.never = found.network.thinned.times, found.network.thinned.never
        self.keys = keys
        self.partners = {problem.partners[key] for key in problem.fusing.seconds if key in problem.partners}

    def most_firsts(self) -> int:
        """Return how many first sides can start before any second side."""
        firsts = [key for key, is_first in zip(self.keys, self.firsts, strict=True) if is_first]
        amounts: dict[Key, int] = dict.fromkeys(firsts, 0)
        for hold in self._holds():
            if hold.take in amounts and all(self._behind_second(task) for task, _ in hold.returns):
                amounts[hold.take] += hold.amount
        return self._fit([amounts[key] for key in firsts])

    def most_seconds(self) -> int:
        """Return how many second sides or partners can end after the last first side."""
        seconds = [key for key, is_second in zip(self.keys, self.seconds, strict=True) if is_second]
        parts: dict[Key, int] = dict.fromkeys(seconds, 0)
        partner_of = {self.problem.partners[key]: key for key in seconds if key in self.problem.partners}
        for hold in self._holds():
            last, part = hold.returns[-1]
            second = partner_of.get(last, last)
            ends_with = last in partner_of or last not in self.problem.partners
            if second in parts and ends_with and hold.take in self.problem.fusing.firsts:
                parts[second] += part
        return self._fit([parts[key] for key in seconds])

    def _holds(self) -> list[Hold]:
        return limited_holds(self.problem).get(self.device, [])

    def _behind_second(self, task: Key) -> bool:
        return task in self.problem.fusing.seconds or task in self.partners

    def _fit(self, amounts: Sequence[int]) -> int:
        capacity = self.problem.capacities[self.device] if self.device < len(self.problem.capacities) else None
        if capacity is None:
            return len(amounts)
        return sum(total <= capacity for total in accumulate(sorted(amounts)))

    def front_idle(self, most: int, sides: Sides) -> Numbers:
        """Bound the idle time in [0, e] for each a."""
        heads = self.heads[self.firsts]
        long = self.times(sides.firsts)
        others = self._others(self.heads, self.e)
        return _idle(heads, long, most, self.e, others, int(self.heads.min()))

    def back_idle(self, most: int, sides: Sides, more: int = 0) -> Numbers:
        """Bound the idle time in the last g for each b, where more work than theirs is done there."""
        seconds = np.flatnonzero(self.seconds)
        keys = [self.keys[place] for place in seconds.tolist()]
        single = np.array([key not in self.problem.partners for key in keys])
        tails = np.where(single, self.tails[seconds], self.tails.min())  # the tails of partners may change places
        long = self.times(sides.seconds)
        others = self._others(self.tails, self.g) + more
        return _idle(tails, long, most, self.g, others, int(self.tails.min()))

    def back_idle_of_partner(self, most: int, sides: Sides) -> Numbers | None:
        """Bound the idle time in the last g for each b of which one takes part with its partner only.

        None where no second side has one. For b = 0, which cannot be, the idle time is that of b = 1.
        """
        if not sides.partners or not most:
            return None
        fewer = self.back_idle(most - 1, sides, max(sides.partners))
        return np.concatenate([fewer[:1], fewer])

    def _others(self, starts: Numbers, end: int) -> int:
        sided = self.firsts | self.seconds | np.array([key in self.partners for key in self.keys])
        return int(np.clip(end - starts[~sided], 0, self.work[~sided]).sum())


def _idle(starts: Numbers, long: Numbers, most: int, end: int, others: int, least: int) -> Numbers:
    """Bound the idle time within a window for 0, 1, … of the tasks in it: those that can do most there."""
    done = np.sort(np.clip(end - starts, 0, long))[::-1]
    sums = np.concatenate([[0], np.cumsum(done)])[: most + 1]
    idle: Numbers = np.maximum(np.maximum(end - sums - others, min(least, end)), 0)
    return idle
