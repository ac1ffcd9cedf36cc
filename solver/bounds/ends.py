"""The area of memory that stays unused at both ends of a schedule, since little of what needs it can run there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import floor
from typing import NamedTuple

from solver.block_lengths import block_durations
from solver.bounds.analysis import Analysis
from solver.bounds.area import free_at_ends, unused
from solver.bounds.bound import Bound
from solver.bounds.passages import Passage, Passages
from solver.bounds.thinned import limited_holds
from solver.problem import Hold, Key, Problem
from solver.repetition import is_regular


@dataclass(frozen=True)
class Held:
    """What the holds of a device need: of the first of each chain, which stands for all.

    Attributes
    ----------
    area : int
        Memory times time, of all holds, where nothing is in a block.
    parts : list of (int, Passage)
        Each part that is returned, and the path that it is held for.
    """

    area: int
    parts: list[tuple[int, Passage]]


def held_on(problem: Problem, sizes: Sequence[int]) -> dict[int, Held]:
    """Find what the holds of each limited device need.

    Parameters
    ----------
    problem : Problem
        One that repeats.
    sizes : sequence of int
        How many tasks each chain has.
    """
    paths = Passages(problem)
    found: dict[int, Held] = {}
    for device, holds in limited_holds(problem).items():
        area, parts = 0, []
        for hold in (hold for hold in holds if hold.take in paths.chain):
            take = paths.chain[hold.take]
            for task, part in hold.returns:
                passage = paths.between(take, paths.chain[task])
                if passage is not None and part:
                    area += part * sizes[take] * passage.length
                    parts.append((part, passage))
        found[device] = Held(area, parts)
    return found


def passage_bounds(
    problem: Problem,
    found: Analysis,
    known: int,
    copies: Mapping[Key, int],
    ends: Mapping[int, tuple[int, int]],
) -> Iterator[Bound]:
    """Bound the makespan by the area that holds need on each device, with all that stays free at the ends.

    Nothing is said of a problem with blocks, which change how much passages need, of one that does not repeat, or of
    one whose durations are too large for 64 bits.

    Parameters
    ----------
    problem : Problem
        What is scheduled, or what is written down of it.
    found : Analysis
        Of it.
    known : int
        A bound on the makespan, in ticks.
    copies : mapping of Key to int
        For how many tasks each stands.
    ends : mapping of int to (int, int)
        For each device, as for `area_bound`.
    """
    if problem.fusing.firsts or not is_regular(problem):
        return
    held = held_on(problem, [sum(copies[key] for key in chain) for chain in problem.chains])
    left = Ends(problem, found, held)
    for device, each in held.items():
        capacity = problem.capacities[device]
        if capacity:
            free = left.free(device, known, ends[device])
            yield Bound(-(-(each.area + free) // capacity), "area", device)


class _Action(NamedTuple):
    """What a device may run: the chains of its halves, how long it lasts, the least time before and behind it."""

    device: int
    halves: list[set[int]]
    duration: int
    head: int
    tail: int


class Ends:
    """What stays free at both ends of limited memories.

    Every part of a hold is held from its take to its return, and meanwhile some task on its passage runs, or a lag
    between two of them passes, or it waits. Let C(A) be how much of the running and of the lags, times the part, lies
    within [0, A], and C'(Z) within the last Z, A + Z ≤ T. Between these the memory has room for what is left of it:
    capacity · (T − A − Z) ≥ (what all passages need) − C(A) − C'(Z). So capacity · T is at least what they need,
    and capacity · A − C(A), and capacity · Z − C'(Z) more. Two bounds hold for C(A):

    - It is no more than what is live in [0, A], which is limited by the takes that can have been made
      (`solver.bounds.area`). The k-th take on the device starts no earlier than the k-th of their heads, and none
      starts before the one ahead of it is done.
    - A device runs one action at a time. While it is a task of chain c, it serves all passages through c (with its
      partner, where they are merged), while it is a block those through either half; and behind it passes at most the
      lag that follows on each of them, which is counted as part of the time that the action takes: what lies within
      [0, A] of the lag does so behind all of the action. No task runs before its head, no block before those of either
      half. So the rate of each device is at most the highest of what can run on it by then, and C(A) the integral of
      their sum.

    Heads and tails of tasks that nothing waits for hold after some of those of a device have changed places (see
    `solver.bounds.alike`); what is live does not change by that, but of which chain each of them is. So to the rates
    the least of all these chains counts.

    In the same way looked at from the end, with tails and with the lags ahead of tasks. (Of a merged pair or a block
    the tail of the partner holds for its end, and the tail of a first half: in the plain problem behind it, the parts
    of a block may be laid in any order in which the partner is behind its task; see `solver.bounds.thinned.Thinned`.)

    Parameters
    ----------
    problem : Problem
        One that repeats.
    found : Analysis
        Of it.
    held : mapping of int to Held
        As `held_on` finds it.
    """

    def __init__(self, problem: Problem, found: Analysis, held: Mapping[int, Held]) -> None:
        self.problem, self.held = problem, held
        keys = found.network.thinned.keys
        self.heads = dict(zip(keys, found.heads, strict=True))
        self.tails = dict(zip(keys, found.tails, strict=True))
        self.last = self._last()
        self.rests = self._rests()
        self.holds = limited_holds(problem)
        self.blocks = list(block_durations(problem))
        self.behind = set(problem.partners.values())
        self.actions = list(self._actions())

    def _last(self) -> dict[int, list[int]]:
        """List the chains of each device for whose tasks no other chain waits: such tasks may have changed places."""
        place = {key: number for number, chain in enumerate(self.problem.chains) for key in chain}
        awaited = {place[a] for a, b, _ in self.problem.precedences if place[a] != place[b]}
        found: dict[int, list[int]] = defaultdict(list)
        for number, chain in enumerate(self.problem.chains):
            if number not in awaited:
                found[self.problem.tasks[chain[0]].device].append(number)
        return found

    def _rests(self) -> dict[Key, int]:
        """Bound the time between what returns memory and the end: with its partner, a task ends when that does."""
        problem, rests = self.problem, dict(self.tails)
        least = {
            device: min(self.tails[key] for number in chains for key in problem.chains[number])
            for device, chains in self.last.items()
        }
        for key in (key for key in problem.partners if problem.can_merge(key)):
            rests[key] = min(rests[key], least.get(problem.tasks[key].device, 0))
        return rests

    def free(self, device: int, known: int, ends: tuple[int, int]) -> int:
        """Find how much stays free of a device's memory at both ends together, rounded down.

        Parameters
        ----------
        device : int
            With limited memory.
        known : int
            A bound on the makespan.
        ends : (int, int)
            As for `area_bound`.
        """
        capacity, holds = self.problem.capacities[device] or 0, self.holds[device]
        least = free_at_ends(holds, capacity, self.heads, self.rests, known, ends)
        first, last = known // 2, known - known // 2
        until = min(first, ends[0]), min(last, ends[1])
        front = max(self.before_takes(holds, capacity, until[0]), self._unserved(device, capacity, first, back=False))
        back = max(self.behind_returns(holds, capacity, until[1]), self._unserved(device, capacity, last, back=True))
        return max(least, front + back)

    def before_takes(self, holds: Sequence[Hold], capacity: int, window: int) -> int:
        """Sum what is free of a capacity in a window from the beginning, since no more can have been taken."""
        times = sorted((self.heads[hold.take], hold.amount) for hold in holds)
        return unused(_one_by_one(times, self._apart([hold.take for hold in holds])), capacity, window)

    def behind_returns(self, holds: Sequence[Hold], capacity: int, window: int) -> int:
        """Sum what is free of a capacity in a window up to the end, since no more can still be returned."""
        returns = [(task, part) for hold in holds for task, part in hold.returns]
        times = sorted((self.rests[task], part) for task, part in returns)
        return unused(_one_by_one(times, self._apart([task for task, _ in returns])), capacity, window)

    def _apart(self, keys: Sequence[Key]) -> int:
        """Bound how long the actions last of which each has one of some tasks; 0 where one may have two of them."""
        fusing, partners = self.problem.fusing, self.problem.partners
        firsts = any(key in fusing.firsts for key in keys)
        seconds = any(key in fusing.seconds or key in self.behind for key in keys)
        given = set(keys)
        if (firsts and seconds) or len(given) < len(keys) or any(partners.get(key) in given for key in keys):
            return 0
        device = self.problem.tasks[keys[0]].device
        durations = [*self.problem.merged_durations.values(), *(self.problem.tasks[key].duration for key in given)]
        return min(*durations, *(block for other, _, _, block in self.blocks if other == device), durations[0])

    def _unserved(self, device: int, capacity: int, window: int, *, back: bool) -> int:
        """Sum what no rate uses, from the end of the schedule that is looked at."""
        rises = self.rises(self.held[device].parts, back=back)
        if rises is None:
            return 0
        free, rate, at = Fraction(0), Fraction(0), 0
        for time, rise in sorted(rises):
            if time >= window or rate >= capacity:
                break
            free += (capacity - rate) * (time - at)
            at, rate = time, rate + rise
        return floor(free + max(Fraction(0), capacity - rate) * (window - at))

    def rises(self, parts: Sequence[tuple[int, Passage]], *, back: bool) -> list[tuple[int, Fraction]] | None:
        """List when the rates rise at which passages are served, and by how much.

        Parameters
        ----------
        parts : sequence of (int, Passage)
            The passages, each with what is held along it.
        back : bool
            Whether they are looked at from the end of the schedule.

        Returns
        -------
        list of (int, Fraction) or None
            None where a lag comes with a task of no duration.
        """
        options: dict[int, list[tuple[int, Fraction]]] = defaultdict(list)
        for action in self.actions:
            served = sum(part for part, passage in parts for half in action.halves if half & passage.chains)
            lags = sum(part * passage.lags(half, back=back) for part, passage in parts for half in action.halves)
            if lags and not action.duration:
                return None
            if served:
                rate = served + Fraction(lags, action.duration or 1)
                options[action.device].append((action.tail if back else action.head, rate))
        return [rise for each in options.values() for rise in _rising(each)]

    def _actions(self) -> Iterator[_Action]:
        """List what may run."""
        problem = self.problem
        number = {chain[0]: place for place, chain in enumerate(problem.chains)}
        heads, tails = (
            [min(times[key] for key in chain) for chain in problem.chains] for times in (self.heads, self.tails)
        )
        for chains in self.last.values():
            for times in (heads, tails):
                least = min(times[chain] for chain in chains)
                for chain in chains:
                    times[chain] = least
        last = {key: number.get(problem.partners.get(key), place) for key, place in number.items()}
        for key, place in number.items():
            device, duration = problem.tasks[key]
            yield _Action(device, [{place}], duration, heads[place], tails[place])
            if key in problem.merged_durations:
                merged = {place, last[key]}
                yield _Action(device, [merged], problem.merged_durations[key], heads[place], tails[last[key]])
        durations = {each[:3]: each[3] for each in self.blocks}
        for first, second in product(problem.fusing.firsts.keys() & number, problem.fusing.seconds.keys() & number):
            one, other, end = number[first], number[second], last[second]
            kinds = problem.tasks[first].device, problem.fusing.firsts[first], problem.fusing.seconds[second]
            if problem.tasks[second].device == kinds[0] and kinds in durations:
                head, tail = max(heads[one], heads[other]), max(tails[one], tails[end])
                yield _Action(kinds[0], [{one}, {other, end}], durations[kinds], head, tail)


def _one_by_one(times: list[tuple[int, int]], apart: int) -> list[tuple[int, int]]:
    """Move times, in order, such that they are so far apart; leave them where their amounts differ."""
    if len({amount for _, amount in times}) > 1:
        return times
    moved: list[tuple[int, int]] = []
    for time, amount in times:
        moved.append((max(time, moved[-1][0] + apart) if moved else time, amount))
    return moved


def _rising(options: Sequence[tuple[int, Fraction]]) -> Iterator[tuple[int, Fraction]]:
    """List when the highest rate of a device's options so far rises, and by how much."""
    highest = Fraction(0)
    for time, rate in sorted(options):
        if rate > highest:
            yield time, rate - highest
            highest = rate
