"""The area that holds need: memory times time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from solver.bounds.network import Network
from solver.bounds.thinned import limited_holds
from solver.problem import Hold, Key, Problem


def hold_lengths(problem: Problem, network: Network) -> dict[Key, dict[Key, int]]:
    """Find for each hold of a limited device a least time from the start of its take to the end of each return.

    It is the longest path between them where chains stand for their tasks: one chain leads to another if a precedence
    leads from each task of the one to the task at the same place of the other, with the least of their lags. The path
    then exists for every hold whose take and return are at the same place.
    """
    home = _homes(problem, network)
    succs, lead = _between_chains(network, home)
    rank = {home[task][0]: place for place, task in enumerate(network.order)}
    number = network.thinned.number
    ends_of: dict[int, dict[int, int]] = {}
    lengths: dict[Key, dict[Key, int]] = {}
    for hold in (hold for holds in limited_holds(problem).values() for hold in holds):
        chain, place = home[number[hold.take]]
        if chain not in ends_of:
            ends_of[chain] = _longest(chain, lead[chain], succs, rank)
        homes = {task: home[number[task]] for task, _ in hold.returns}
        ends = ends_of[chain]
        lengths[hold.take] = {task: ends[at[0]] for task, at in homes.items() if at[1] == place and at[0] in ends}
    return lengths


def _homes(problem: Problem, network: Network) -> list[tuple[int, int]]:
    """Return for each task its chain and its place in it; a task outside chains is one by itself."""
    homes = [(-1 - task, 0) for task in range(len(network.order))]
    for chain, keys in enumerate(problem.chains):
        for place, key in enumerate(keys):
            homes[network.thinned.number[key]] = (chain, place)
    return homes


def _between_chains(
    network: Network, homes: Sequence[tuple[int, int]]
) -> tuple[dict[int, list[tuple[int, int]]], dict[int, int]]:
    """Find which chains lead to which, with the delay from end to end; and the least duration in each chain."""
    lead: dict[int, int] = {}
    sizes: dict[int, int] = defaultdict(int)
    for (chain, _), duration in zip(homes, network.thinned.least_action, strict=True):
        lead[chain] = min(duration, lead.get(chain, duration))
        sizes[chain] += 1
    lags: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    for before, after, lag in network.thinned.edges:
        (first, place), (second, other) = homes[before], homes[after]
        if first != second and place == other:
            lags[first, second][place] = lag
    succs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for (first, second), found in lags.items():
        if len(found) == sizes[first] == sizes[second]:
            succs[first].append((second, min(found.values()) + lead[second]))
    return succs, lead


def _longest(
    source: int, length: int, succs: Mapping[int, Sequence[tuple[int, int]]], rank: Mapping[int, int]
) -> dict[int, int]:
    """Find the longest path from the start of a chain's task to the end of that of every chain behind it."""
    reached = {source}
    stack = [source]
    while stack:
        for after, _ in succs.get(stack.pop(), ()):
            if after not in reached:
                reached.add(after)
                stack.append(after)
    ends = {source: length}
    for task in sorted(reached, key=rank.__getitem__):
        end = ends[task]
        for after, delay in succs.get(task, ()):
            if end + delay > ends.get(after, -1):
                ends[after] = end + delay
    return ends


def area_bound(
    holds: Sequence[Hold],
    capacity: int,
    lengths: Mapping[Key, Mapping[Key, int]],
    heads: Mapping[Key, int],
    rests: Mapping[Key, int],
    known: int,
    copies: Mapping[Key, int],
    ends: tuple[int, int],
) -> int:
    """Bound the time in which a device's memory has room for all its holds.

    Each part of a hold is live for at least its length, and at no time is more live than the capacity; so the sum of
    part × length fits into the area under what can be live. Until the heads of the takes nothing more than they take
    can be live, and likewise towards the end; both count where they cannot overlap, within a length that is known.

    Parameters
    ----------
    holds : sequence of Hold
        The holds of the device.
    capacity : int
        Its memory.
    lengths : mapping
        As `hold_lengths` finds them.
    heads : mapping of Key to int
        The earliest start of each take.
    rests : mapping of Key to int
        The least time from the end of each return to the end of the schedule.
    known : int
        A lower bound on the length of the schedule.
    copies : mapping of Key to int
        For how many holds that of each take stands.
    ends : (int, int)
        Until when none of those that are left out can be taken, and how long before the end none of them is returned:
        what is free beyond that is not counted.
    """
    parts = [
        (lengths[hold.take][task], part * copies[hold.take])
        for hold in holds
        for task, part in hold.returns
        if task in lengths.get(hold.take, ())
    ]
    area = sum(length * part for length, part in parts)
    area += free_at_ends(holds, capacity, heads, rests, known, ends)
    return -(-area // capacity) if capacity else 0


def free_at_ends(
    holds: Sequence[Hold],
    capacity: int,
    heads: Mapping[Key, int],
    rests: Mapping[Key, int],
    known: int,
    ends: tuple[int, int],
) -> int:
    """Sum the area that stays free towards both ends of the schedule; the parameters are those of `area_bound`."""
    front = [(heads[hold.take], hold.amount) for hold in holds]
    back = [(rests[task], part) for hold in holds for task, part in hold.returns]
    window = min(known // 2, max(time for time, _ in front))
    first, last = min(window, ends[0]), min(known - window, ends[1])
    return unused(front, capacity, first) + unused(back, capacity, last)


def unused(steps: Sequence[tuple[int, int]], capacity: int, window: int) -> int:
    """Sum the area that stays free within a window, when amounts come at given times."""
    unused = level = before = 0
    for time, amount in sorted(steps):
        if level >= capacity or before >= window:
            break
        unused += (capacity - level) * (min(time, window) - before)
        before = time
        level += amount
    return unused
