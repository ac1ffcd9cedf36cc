"""Stretching: a schedule with few tasks per chain becomes one with many by repeating a part of each device's string.

A device's string may be cut at two places if the numbers of tasks ahead differ between them by the same r for each of
its chains. Between two such cuts it has exactly r tasks of each of its chains. With that part repeated n times, it is a
string for chains that are r·n longer, and its memory repeats, since the same amount is held at both cuts. Devices are
cut independently of each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from solver.search.compiled import CompiledProblem
from solver.search.string_runner import FEW_COPIES, MANY_COPIES, Periodic, Runner, Timed

TIMES_TO_CUT = 60
"""The number of times, around the middle of a schedule, at which cuts are tried."""

MOST_ROUNDS = 8
"""Periods with up to this many tasks per chain are tried, and those with as many tasks as there are devices."""


@dataclass(frozen=True)
class Cuts:
    """The places where a device's string may be cut to repeat a part with a given number of tasks of each chain.

    Attributes
    ----------
    starts, ends : list of int
        The places at which such parts begin and end, in order.
    times : list of int
        The start of the first token of each part.
    """

    starts: list[int]
    ends: list[int]
    times: list[int]

    def near(self, time: int, rounding: int) -> tuple[int, int]:
        """Choose the part that begins at or after a time (1), before it (−1), or nearest to it (0)."""
        behind = min(bisect_left(self.times, time), len(self.times) - 1)
        ahead = max(0, behind - 1)
        closer = ahead if time - self.times[ahead] < self.times[behind] - time else behind
        index = (closer, behind, ahead)[rounding]
        return self.starts[index], self.ends[index]


def cuts(compiled: CompiledProblem, device: int, string: Sequence[int], starts: Sequence[int], tasks: int) -> Cuts:
    """Find all parts of a device's string that have ``tasks`` tasks of each of its chains."""
    count = dict.fromkeys(compiled.local_chains[device], 0)
    if not count:
        return Cuts([0], [0], [0])
    lead = compiled.local_chains[device][0]
    places: dict[tuple[tuple[int, ...], int], int] = {}
    found: list[tuple[int, int]] = []
    for place in range(len(string) + 1):
        ahead = tuple(number - count[lead] for number in count.values())
        places[ahead, count[lead]] = place
        begin = places.get((ahead, count[lead] - tasks))
        if begin is not None:
            found.append((begin, place))
        if place < len(string):
            for chain in compiled.modes[string[place]].chains:
                count[chain] += 1
    found.sort()
    return Cuts([a for a, _ in found], [b for _, b in found], [starts[a] for a, _ in found])


def periods(
    runner: Runner, timed: Timed, more: int, good_enough: int, stop: Callable[[], bool]
) -> tuple[int, Periodic, int] | None:
    """Find the parts of a schedule whose repetition gives the shortest one with ``more`` further tasks per chain.

    Parameters
    ----------
    runner : Runner
        Runs the problem.
    timed : Timed
        The schedule.
    more : int
        The number of tasks to add to each chain.
    good_enough : int
        A length that nothing beats.
    stop : callable
        Called between tries; if it returns True, no further one is made.

    Returns
    -------
    (int, Periodic, int) or None
        The estimated length of the stretched schedule, from a few copies; the repeating part; and the number of copies.
        None if nothing repeats.
    """
    best: tuple[int, Periodic, int] | None = None
    for tasks in _rounds(len(timed.tokens), more):
        found = [
            cuts(runner.compiled, device, string, timed.starts[device], tasks)
            for device, string in enumerate(timed.tokens)
        ]
        if not all(each.starts for each in found):
            continue
        for candidate in _candidates(timed, found, tasks):
            if stop() or (best is not None and best[0] <= good_enough):
                return best
            copies = more // tasks + 1
            length = stretched_length(runner, candidate, copies)
            if length is not None and (best is None or length < best[0]):
                best = length, candidate, copies
    return best


def _rounds(devices: int, more: int) -> list[int]:
    sizes = dict.fromkeys([*range(1, MOST_ROUNDS + 1), devices])
    return [size for size in sizes if more % size == 0 and size <= more]


def _candidates(timed: Timed, found: Sequence[Cuts], tasks: int) -> Iterator[Periodic]:
    """Yield sets of parts that begin near one time in the middle of the schedule, without duplicates."""
    seen: set[tuple[tuple[int, int], ...]] = set()
    for index in _middle_first(TIMES_TO_CUT):
        time = timed.makespan * (index + 1) // (TIMES_TO_CUT + 1)
        for rounding in (0, 1, 2):
            chosen = tuple(each.near(time, rounding) for each in found)
            if chosen in seen:
                continue
            seen.add(chosen)
            pairs = [*zip(timed.tokens, chosen, strict=True)]
            yield Periodic(
                before=[string[:a] for string, (a, _) in pairs],
                period=[string[a:b] for string, (a, b) in pairs],
                after=[string[b:] for string, (_, b) in pairs],
                tasks=tasks,
            )


def _middle_first(size: int) -> list[int]:
    return sorted(range(size), key=lambda index: abs(2 * index + 1 - size))


def stretched_length(runner: Runner, periodic: Periodic, copies: int) -> int | None:
    """Estimate the length of a schedule with many copies by extrapolating from two runs; None for a deadlock."""
    found = runner.lengths(periodic, [copies] if copies <= MANY_COPIES else [FEW_COPIES, MANY_COPIES])
    if found is None:
        return None
    few, many = found[0], found[-1]
    if copies <= MANY_COPIES:
        return many
    return many + (copies - MANY_COPIES) * (many - few) // (MANY_COPIES - FEW_COPIES)
