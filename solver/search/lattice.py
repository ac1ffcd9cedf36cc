"""Runs strings of tokens for chains of any length, if precedences join tasks at equal places of chains.

These are the inner loops of stretching, in plain Python over flat lists, and at the same time the source for numba. A
string of tokens does not depend on the length of chains, so a device's string with a part repeated is a string for
longer chains; the only other data needed are the precedences between chains.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Numbers: TypeAlias = list[int]
"""Plain lists here; NumPy arrays in compiled code."""

DEADLOCK = -1
"""Returned instead of a makespan."""


class Lattice(NamedTuple):
    """Data that is the same at every place of the chains."""

    # for each mode
    first: Numbers  # the chain that it advances
    second: Numbers  # the second chain that it advances, or -1
    third: Numbers  # the third, or -1
    duration: Numbers  # how long it lasts
    # rows: the part of the next lists from start[c] up to start[c + 1] belongs to chain c
    wait_start: Numbers
    wait_chain: Numbers  # chains whose task at the same place must have ended
    wait_lag: Numbers  # how long before
    then_start: Numbers
    then_device: Numbers  # the devices of chains that wait for it


class Strings(NamedTuple):
    """Strings of tokens, and the results of running them."""

    row: Numbers  # where each device's string begins in the lists with one entry per token, and where the last ends
    mode: Numbers  # the tokens
    start: Numbers  # when each starts
    base: Numbers  # for each chain, where its tasks begin in the next list; and where the last ends
    end: Numbers  # when each task ends, or -1
    # for each chain
    counts: Numbers  # how many of its tasks have run
    # for each device
    place: Numbers  # the next token
    clock: Numbers  # when the tokens ahead of it end
    asleep: Numbers  # whether it waits
    stack: Numbers  # devices that can go on


def rewind(strings: Strings) -> None:
    """Reset all strings to their beginning."""
    for task in range(len(strings.end)):
        strings.end[task] = -1
    for chain in range(len(strings.counts)):
        strings.counts[chain] = 0
    for device in range(len(strings.clock)):
        strings.place[device] = strings.row[device]
        strings.clock[device] = 0
        strings.asleep[device] = 0
        strings.stack[device] = device


def ended(lattice: Lattice, strings: Strings, mode: int, clock: int, depth: int) -> int:
    """Record when a token ends, and wake the devices that may wait for it; return the number of awake devices."""
    chain = lattice.first[mode]
    part = 0
    while chain >= 0:
        strings.end[strings.base[chain] + strings.counts[chain]] = clock
        strings.counts[chain] += 1
        for index in range(lattice.then_start[chain], lattice.then_start[chain + 1]):
            other = lattice.then_device[index]
            if strings.asleep[other]:
                strings.asleep[other] = 0
                strings.stack[depth] = other
                depth += 1
        part += 1
        chain = lattice.second[mode] if part == 1 else lattice.third[mode] if part == 2 else -1
    return depth


def last_end(strings: Strings) -> int:
    """Return the end of the last token; `DEADLOCK` if some have not run."""
    last = 0
    for device in range(len(strings.clock)):
        if strings.place[device] < strings.row[device + 1]:
            return DEADLOCK
        last = max(last, strings.clock[device])
    return last


def run(lattice: Lattice, strings: Strings) -> int:
    """Run strings at the earliest starts; return the end of the last token, `DEADLOCK` if they wait for each other."""
    rewind(strings)
    depth = len(strings.clock)
    while depth:
        depth -= 1
        device = strings.stack[depth]
        at, clock = strings.place[device], strings.clock[device]
        while at < strings.row[device + 1]:
            mode = strings.mode[at]
            ready = arrival(lattice, strings, mode, clock)
            if ready < 0:
                strings.asleep[device] = 1
                break
            strings.start[at] = ready
            clock = ready + lattice.duration[mode]
            at += 1
            depth = ended(lattice, strings, mode, clock, depth)
        strings.place[device] = at
        strings.clock[device] = clock
    return last_end(strings)


def arrival(lattice: Lattice, strings: Strings, mode: int, clock: int) -> int:
    """Return the earliest start of a token, or -1 if a task that it waits for has not run."""
    ready = clock
    first, second, third = lattice.first[mode], lattice.second[mode], lattice.third[mode]
    chain = first
    part = 0
    while chain >= 0:
        place = strings.counts[chain]
        for index in range(lattice.wait_start[chain], lattice.wait_start[chain + 1]):
            before = lattice.wait_chain[index]
            if before in (first, second, third) and strings.counts[before] == place:
                continue  # they are merged
            if strings.counts[before] <= place:
                return -1
            ends = strings.end[strings.base[before] + place] + lattice.wait_lag[index]
            if ends > ready:
                ready = ends
        part += 1
        chain = second if part == 1 else third if part == 2 else -1
    return ready


FUNCTIONS = (arrival, rewind, ended, last_end, run)
"""The functions that numba compiles, each after those that it uses."""
