"""Simulated annealing of a steady state: one period of a schedule, laid out on a circle.

In a steady state every chain runs one task in each period. A device runs its operations in a cyclic order with some
rotation, so each operation has a *phase*; idle time is represented by a few additional pieces in that order. The time
of each operation follows from a walk along the precedences between chains: it is the first moment after its inputs that
has its phase. The walk also gives the number of tasks in progress, and so the memory held.

Plain Python over flat lists, and at the same time the source for numba.
"""

from __future__ import annotations

from math import exp
from typing import NamedTuple, TypeAlias

from solver.random_numbers import draw

Numbers: TypeAlias = list[int]
"""Plain lists here; NumPy arrays in compiled code."""


class Circle(NamedTuple):
    """Data that stays constant while a period is annealed. Chains keep the problem's numbers; idle pieces follow."""

    sorted: Numbers  # the chains, each after those that it waits for
    wait_start: Numbers  # for each chain, where its part of the next two lists begins
    wait_chain: Numbers
    wait_lag: Numbers
    duration: Numbers  # of chains and idle pieces
    take: Numbers  # of chains: the memory taken at the start
    give: Numbers  # and returned at the end
    capacity: Numbers  # of devices
    row: Numbers  # where each device's pieces begin in the lists with one entry per piece, and where the last ends
    lower: Numbers  # for each chain, the earliest start of its task
    wanted: Numbers  # and the desired start


class Turning(NamedTuple):
    """The period being changed."""

    piece: Numbers  # for each place of a device's row, the chain or idle piece
    rotation: Numbers  # for each device, the phase of its first piece
    phase: Numbers  # of chains and idle pieces
    time: Numbers  # of chains: when task number 0 starts
    over: Numbers  # of devices: the memory beyond the capacity
    ready: Numbers  # of chains: when it could have started
    best_piece: Numbers
    best_rotation: Numbers
    old_piece: Numbers
    slots: Numbers  # the state of the random numbers


def lay(circle: Circle, turning: Turning, device: int, period: int) -> None:
    """Compute the phases of a device's pieces."""
    at = turning.rotation[device]
    for place in range(circle.row[device], circle.row[device + 1]):
        piece = turning.piece[place]
        turning.phase[piece] = at % period
        at += circle.duration[piece]


def walk(circle: Circle, turning: Turning, period: int) -> None:
    """Compute the time of each operation."""
    for chain in circle.sorted:
        ready = circle.lower[chain]
        for index in range(circle.wait_start[chain], circle.wait_start[chain + 1]):
            before = circle.wait_chain[index]
            arrival = turning.time[before] + circle.duration[before] + circle.wait_lag[index]
            if arrival > ready:
                ready = arrival
        turning.ready[chain] = ready
        turning.time[chain] = ready + (turning.phase[chain] - ready) % period


def excess(circle: Circle, turning: Turning, period: int) -> int:
    """Compute by how much the devices' memory is exceeded."""
    total = 0
    time, duration, take, give = turning.time, circle.duration, circle.take, circle.give
    chains = len(time)
    for device in range(len(circle.capacity)):
        peak = 0
        for place in range(circle.row[device], circle.row[device + 1]):
            taker = turning.piece[place]
            if taker >= chains or take[taker] == 0:
                continue
            level, now = 0, time[taker]
            for other_place in range(circle.row[device], circle.row[device + 1]):
                other = turning.piece[other_place]
                if other >= chains:
                    continue
                if take[other]:
                    level += take[other] * ((now - time[other]) // period + 1)
                if give[other]:
                    level -= give[other] * ((now - time[other] - duration[other]) // period + 1)
            if level > peak:
                peak = level
        over = peak - circle.capacity[device]
        turning.over[device] = over if over > 0 else 0
        if over > 0:
            total += over
    return total


def cost_of(circle: Circle, turning: Turning, period: int, unit: float, wanted: bool) -> float:
    """Compute the cost: missing memory, plus how long memory is held or how far times are from the desired ones."""
    walk(circle, turning, period)
    cost = 3.0 * excess(circle, turning, period) / unit
    spent = 0.0
    for chain in range(len(turning.time)):
        if wanted:
            spent += abs(turning.time[chain] - circle.wanted[chain])
        else:
            end = turning.time[chain] + circle.duration[chain]
            spent += (circle.give[chain] * end - circle.take[chain] * turning.time[chain]) / unit
    return cost + spent / period


def change(circle: Circle, turning: Turning, device: int, period: int, reach: int) -> None:
    """Rotate a device's pieces, or exchange or move some while the phase of one is kept."""
    slots, low = turning.slots, circle.row[device]
    size = circle.row[device + 1] - low
    kind = draw(slots, 4)
    if kind == 0 or size < 2:
        chain = turning.piece[low + draw(slots, size)]
        if chain < len(turning.time):
            turning.rotation[device] = (turning.rotation[device] + turning.ready[chain] - turning.phase[chain]) % period
            return
    if kind <= 1 or size < 2:
        turning.rotation[device] = (turning.rotation[device] + draw(slots, 2 * reach + 1) - reach) % period
        return
    source = draw(slots, size)
    goal = (source + 1) % size if draw(slots, 2) else draw(slots, size)
    if kind == 2:
        kept = turning.piece[low + source]
        turning.piece[low + source] = turning.piece[low + goal]
        turning.piece[low + goal] = kept
    else:
        moved = turning.piece[low + source]
        step = 1 if goal > source else -1
        at = source
        while at != goal:
            turning.piece[low + at] = turning.piece[low + at + step]
            at += step
        turning.piece[low + goal] = moved
    held = turning.piece[low + draw(slots, size)]
    at = 0
    for place in range(low, low + size):
        if turning.piece[place] == held:
            break
        at += circle.duration[turning.piece[place]]
    turning.rotation[device] = (turning.phase[held] - at) % period


def begin(circle: Circle, turning: Turning, period: int, unit: float, wanted: bool) -> float:
    """Lay out all devices; return the cost, which becomes the best so far."""
    for device in range(len(circle.capacity)):
        lay(circle, turning, device, period)
    turning.best_piece[:] = turning.piece
    turning.best_rotation[:] = turning.rotation
    return cost_of(circle, turning, period, unit, wanted)


def settle(circle: Circle, turning: Turning, period: int, unit: float, wanted: bool) -> float:
    """Restore the best period, with its times and its excess memory; return its cost."""
    turning.piece[:] = turning.best_piece
    turning.rotation[:] = turning.best_rotation
    for device in range(len(circle.capacity)):
        lay(circle, turning, device, period)
    return cost_of(circle, turning, period, unit, wanted)


def anneal_circle(
    circle: Circle,
    turning: Turning,
    moves: int,
    hot: float,
    cold: float,
    period: int,
    reach: int,
    unit: float,
    wanted: bool,
    best: float,
) -> float:
    """Anneal a period for some moves; return the cost of the best one so far."""
    slots = turning.slots
    cost = cost_of(circle, turning, period, unit, wanted)
    cooling = (cold / hot) ** (1.0 / max(1, moves))
    temperature = hot
    for _ in range(moves):
        temperature *= cooling
        device = draw(slots, len(circle.capacity))
        low, high = circle.row[device], circle.row[device + 1]
        if low == high:
            continue
        rotation = turning.rotation[device]
        for place in range(low, high):
            turning.old_piece[place] = turning.piece[place]
        change(circle, turning, device, period, reach)
        lay(circle, turning, device, period)
        tried = cost_of(circle, turning, period, unit, wanted)
        if tried > cost and draw(slots, 1000000) >= 1000000 * exp((cost - tried) / temperature):
            turning.rotation[device] = rotation
            for place in range(low, high):
                turning.piece[place] = turning.old_piece[place]
            lay(circle, turning, device, period)
            continue
        cost = tried
        if cost < best:
            best = cost
            turning.best_piece[:] = turning.piece
            turning.best_rotation[:] = turning.rotation
    return best


FUNCTIONS = (draw, lay, walk, excess, cost_of, change, begin, settle, anneal_circle)
"""What numba compiles, each behind those that it uses."""
