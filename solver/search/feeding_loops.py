"""The inner loops of the search for a feeding order: plain Python over plain lists, and the source for numba.

A fixed order of actions has *slots*, into which the items of a permutation go. How long an action lasts, how long a
result is on its way and how much memory is taken depend on what is in the slot. Times are floats: what is found is
replayed exactly by whoever uses it.
"""

from __future__ import annotations

from math import log
from typing import Any, NamedTuple, TypeAlias

from solver.random_numbers import draw

Numbers: TypeAlias = Any
"""Whole numbers in plain lists, or in NumPy arrays, which compiled code takes."""

Reals: TypeAlias = Any
"""Floats, likewise."""


class Fed(NamedTuple):
    """A fixed order, action by action such that each waits for earlier ones only."""

    row: Numbers  # for each action, the row of its lengths
    slot: Numbers  # and its slot
    second_row: Numbers  # the same of the second half of a block, -1 if it is none
    second_slot: Numbers
    wait_start: Numbers  # the waits from wait_start[i] up to wait_start[i + 1] belong to action i
    wait_action: Numbers  # an earlier action
    wait_row: Numbers  # the row of the lag behind it, -1 for none
    wait_slot: Numbers
    change_start: Numbers  # for each device, where its changes of memory begin, in the order in which they happen
    change_row: Numbers
    change_slot: Numbers
    touched: Numbers  # for each slot, the first action that depends on what is in it
    tail: Reals  # for each action, the least time from its end to the last end, whatever the slots hold
    length: Reals  # by row and kind of item: how long an action lasts
    work: Reals  # the same without its overhead
    lag: Reals
    amount: Reals  # what is taken; what is returned is negative
    room: Reals  # for each device, the memory for what is taken; infinite if there is no limit
    saved: float  # how much of the shorter half a block saves


def makespan(fed: Fed, kinds: int, held: Numbers, ends: Reals, first: int, least: float) -> float:
    """Replay the order with the kinds of items held in its slots; return the last end.

    Actions before the first one keep their ends. Where the makespan is sure to be above the least one, since an action
    ends too late for what must follow it, some length above that is returned, and later ends are not known.
    """
    last: float = 0.0
    for action in range(first):
        if ends[action] > last:
            last = ends[action]
    for action in range(first, len(fed.row)):
        start = 0.0
        for place in range(fed.wait_start[action], fed.wait_start[action + 1]):
            end = ends[fed.wait_action[place]]
            if fed.wait_row[place] >= 0:
                end += fed.lag[fed.wait_row[place] * kinds + held[fed.wait_slot[place]]]
            if end > start:
                start = end
        own = fed.row[action] * kinds + held[fed.slot[action]]
        end = start + fed.length[own]
        if fed.second_row[action] >= 0:
            second = fed.second_row[action] * kinds + held[fed.second_slot[action]]
            shorter = fed.work[own] if fed.work[own] < fed.work[second] else fed.work[second]
            end += fed.work[second] - fed.saved * shorter
        ends[action] = end
        if end + fed.tail[action] > last:
            last = end + fed.tail[action]
            if last > least:
                return last
    return last


def excess(fed: Fed, kinds: int, held: Numbers) -> float:
    """Return by how much devices exceed their memory, as a share of it, all together."""
    over = 0.0
    for device in range(len(fed.room)):
        level = peak = 0.0
        for place in range(fed.change_start[device], fed.change_start[device + 1]):
            level += fed.amount[fed.change_row[place] * kinds + held[fed.change_slot[place]]]
            if level > peak:
                peak = level
        if peak > fed.room[device] * (1 + 1e-12):
            over += peak / fed.room[device] - 1
    return over


def cost_of(fed: Fed, kinds: int, held: Numbers, ends: Reals, limited: bool, first: int, least: float) -> float:
    """Return the makespan; longer where memory is exceeded, so that a search leaves such orders."""
    length = makespan(fed, kinds, held, ends, first, least)
    if limited and length <= least:
        over = excess(fed, kinds, held)
        if over > 0:
            length *= 2 + over
    return length


def permute(kind: Numbers, order: Numbers, held: Numbers, each: int) -> None:
    """Put the items of an order into the slots: those of item k hold ``kind[k * each]`` and what follows it."""
    for place in range(len(order)):
        for part in range(each):
            held[place * each + part] = kind[order[place] * each + part]


def first_changed(fed: Fed, slot: int, end: int) -> int:
    """Return the first action that depends on what is in some slots."""
    first = len(fed.row)
    for each in range(slot, end):
        if fed.touched[each] < first:
            first = fed.touched[each]
    return first


def copy(source: Any, target: Any, first: int, end: int) -> None:
    """Copy a part of a list."""
    for place in range(first, end):
        target[place] = source[place]


def rearrange(order: Numbers, trial: Numbers, first: int, second: int, exchanged: bool) -> None:
    """Exchange two items, or move the first to the place of the second."""
    copy(order, trial, 0, len(order))
    if exchanged:
        trial[first], trial[second] = order[second], order[first]
        return
    towards = 1 if second > first else -1
    for place in range(first, second, towards):
        trial[place] = order[place + towards]
    trial[second] = order[first]


def anneal(
    fed: Fed,
    kinds: int,
    kind: Numbers,
    each: int,
    order: Numbers,
    best: Numbers,
    trial: Numbers,
    held: Numbers,
    ends: Reals,
    known: Reals,
    random: Numbers,
    steps: int,
    hot: float,
    cold: float,
    limited: bool,
) -> float:
    """Exchange and move items for a number of steps, at a falling temperature; leave the best order, return its cost.

    A longer order is taken with the probability exp(−longer ÷ temperature); the temperature falls from ``hot`` to
    ``cold``, both as shares of the makespan.
    """
    size = len(order)
    permute(kind, order, held, each)
    now: float = cost_of(fed, kinds, held, ends, limited, 0, NEVER)
    copy(ends, known, 0, len(ends))
    copy(order, best, 0, size)
    least, dirty = now, len(ends)
    for step in range(steps):
        heat = least * hot * (cold / hot) ** (step / steps)
        one = draw(random, size)
        reach = size if draw(random, 4) == 0 else 1 + size // 4
        other = (one + 1 + draw(random, reach)) % size
        if one == other:
            continue
        rearrange(order, trial, one, other, draw(random, 2) == 0)
        permute(kind, trial, held, each)
        first = first_changed(fed, min(one, other) * each, (max(one, other) + 1) * each)
        copy(known, ends, dirty, first)
        dirty = first
        worst = now - heat * log((1 + draw(random, 1 << 24)) / (1 << 24))
        found = cost_of(fed, kinds, held, ends, limited, first, worst)
        if found <= worst:
            now = found
            copy(trial, order, 0, size)
            copy(ends, known, first, len(ends))
            dirty = len(ends)
            if found < least:
                least = found
                copy(order, best, 0, size)
    return least


NEVER = 1e300
"""Longer than every makespan."""

FUNCTIONS = (draw, makespan, excess, cost_of, permute, first_changed, copy, rearrange, anneal)
"""Those that are compiled, each behind those that it uses."""
