"""The period of a steady state of jobs that go out and back through a row of devices, a few at a time.

A job runs *out* through the devices, rank by rank, and then *back*, and holds memory on each device from the one to the
other. It may leave a *late* task on a device, which nothing waits for. In a steady state with r jobs per period, job
k + r does everything one period after job k. If the order of each device is fixed, the least period is the largest
ratio of durations to periods over all circles of the graph, and times follow from longest paths.

Plain Python over flat lists, and at the same time the source for numba.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Numbers: TypeAlias = list[int]
"""Plain lists here; NumPy arrays in compiled code."""

NEVER = 1 << 60
"""Returned instead of a period if there is none, or none that is short enough."""

TRIED = 8
"""The most places to try for a late task."""


class Line(NamedTuple):
    """The chains of a row of devices. Chain ``rank`` runs out, ``ranks + rank`` back, and ``2 · ranks + rank`` late."""

    # for each chain
    duration: Numbers
    with_late: Numbers  # its duration, including that of its late task
    wait_start: Numbers  # where its part of the next two lists begins: the chains that wait for it
    wait_chain: Numbers
    wait_lag: Numbers
    # for each rank
    take: Numbers  # the memory that the task on the way out takes when it starts
    back_give: Numbers  # what the task on the way back returns when it ends
    late_give: Numbers  # what the late task returns when it ends
    capacity: Numbers
    slots: Numbers  # the number of jobs that fit in the capacity
    least: Numbers  # how many more jobs must have run out than back before the next one runs back
    late: Numbers  # whether there are late tasks


class TripState(NamedTuple):
    """The jobs of one period. Task k of chain c is node ``c · r + k``."""

    place: Numbers  # for each job of a period, where on the line it starts; and the number of places a period advances
    # for each node
    follow: Numbers  # what its device runs next; itself while it is not in the device's order
    step: Numbers  # and how many periods later that is numbered
    time: Numbers  # when it starts
    parent: Numbers  # the node that determines its time, or -1
    weight: Numbers  # how much later than that node it starts
    height: Numbers  # minus this many periods
    queue: Numbers  # nodes whose times have risen
    queued: Numbers  # whether it is one of them
    mark: Numbers
    before: Numbers  # its time before a late task was put somewhere
    due: Numbers  # for one on the way back: the node before whose start its late task must have ended; or itself
    due_step: Numbers  # and how many periods later that is numbered
    # for each place at which a late task may be put
    place_node: Numbers
    place_step: Numbers
    place_need: Numbers


def place_of(state: TripState, job: int) -> int:
    """Return where on the line a job of any period starts."""
    jobs = len(state.place) - 1
    return state.place[job % jobs] + job // jobs * state.place[jobs]


def ahead_of(line: Line, state: TripState, rank: int, job: int) -> int:
    """Count the jobs that have run out at a rank when a job runs back there."""
    last = job
    here = place_of(state, job)
    reach = len(line.capacity) - rank
    while last - job < line.slots[rank] and place_of(state, last + 1) - here < reach:
        last += 1
    ahead = max(last + 1 - job, line.least[rank])
    return job + min(ahead, line.slots[rank])


def put_behind(state: TripState, chain: int, job: int, other: int, next_job: int) -> None:
    """Make a device run a task of one chain right after a task of another."""
    jobs = len(state.place) - 1
    node = chain * jobs + job % jobs
    state.follow[node] = other * jobs + next_job % jobs
    state.step[node] = next_job // jobs - job // jobs


def put_in_order(line: Line, state: TripState) -> bool:
    """Fix the order of all devices, without late tasks, by the places of the jobs; return whether memory allows it."""
    jobs, ranks = len(state.place) - 1, len(line.capacity)
    for node in range(len(state.follow)):
        state.follow[node], state.step[node] = node, 1
        state.due[node], state.due_step[node] = node, 1
    for rank in range(ranks):
        ahead = ahead_of(line, state, rank, 0)
        for job in range(jobs):
            last, then = ahead, ahead_of(line, state, rank, job + 1)
            chain, at = ranks + rank, job
            while last < then:
                put_behind(state, chain, at, rank, last)
                chain, at = rank, last
                last += 1
            put_behind(state, chain, at, ranks + rank, job + 1)
            ahead = then
        if line.late[rank] and not note_due(line, state, rank):
            return False
    return True


def note_due(line: Line, state: TripState, rank: int) -> bool:
    """Find the node before which each late task must have ended because of memory; return whether this is possible."""
    jobs = len(state.place) - 1
    took, back, late, room = line.take[rank], line.back_give[rank], line.late_give[rank], line.capacity[rank]
    begin = (len(line.capacity) + rank) * jobs
    if late == 0:
        return True
    returned, job = 0, 0
    for number in range(3 * jobs + line.slots[rank]):
        while ahead_of(line, state, rank, returned) <= number:
            returned += 1
        needed = -((room + back * returned - took * (number + 1)) // late)
        if needed > returned:
            return False
        while job < min(needed, jobs):
            state.due[begin + job] = rank * jobs + number % jobs
            state.due_step[begin + job] = number // jobs
            job += 1
        if job == jobs:
            break
    return True


def ratio_of_circle(state: TripState) -> int:
    """Return the period that a circle of parents requires, rounded up; 0 without a circle, `NEVER` if none suffices."""
    for node in range(len(state.mark)):
        state.mark[node] = -1
    for start in range(len(state.mark)):
        node = start
        while node >= 0 and state.mark[node] < 0:
            state.mark[node] = start
            node = state.parent[node]
        if node >= 0 and state.mark[node] == start:
            weight, height = state.weight[node], state.height[node]
            other = state.parent[node]
            while other != node:
                weight += state.weight[other]
                height += state.height[other]
                other = state.parent[other]
            return -(-weight // height) if height > 0 else NEVER
    return 0


def settle_times(line: Line, state: TripState, period: int) -> int:
    """Set all starts to the earliest times for a period; return 0, or a longer period that is necessary."""
    nodes = len(state.follow)
    for node in range(nodes):
        state.time[node] = 0
        state.parent[node] = -1
        state.queue[node] = node
        state.queued[node] = 1
    return raise_times(line, state, period, nodes, -1)


def raise_times(line: Line, state: TripState, period: int, last: int, kept: int) -> int:
    """Raise the times of all nodes that wait, directly or indirectly, for the nodes in the queue up to ``last``.

    Return 0 when no more times need to be raised; a longer period, if this one is too short for that to end; or 1 as
    soon as the time of the node ``kept`` is raised, if there is such a node. The queue is empty afterwards in any case.
    """
    jobs, room = len(state.place) - 1, len(state.queue)
    first, raised, result = 0, 0, 0
    while first != last and not result:
        node = state.queue[first]
        first = (first + 1) % room
        state.queued[node] = 0
        raised += 1
        if raised % room == 0 and kept < 0:
            result = ratio_of_circle(state)
        chain, now = node // jobs, state.time[node]
        begin = line.wait_start[chain]
        for index in range(begin - 2, line.wait_start[chain + 1]):
            weight, height = line.duration[chain], 0
            if index >= begin:
                other = line.wait_chain[index] * jobs + node % jobs
                weight += line.wait_lag[index]
            elif index == begin - 1:
                other, height = state.follow[node], state.step[node]
            else:
                other, height = state.due[node], state.due_step[node]
                weight = line.with_late[chain]
            if now + weight - height * period > state.time[other]:
                state.time[other] = now + weight - height * period
                state.parent[other], state.weight[other], state.height[other] = node, weight, height
                result = 1 if other == kept else result
                if not state.queued[other]:
                    state.queued[other] = 1
                    state.queue[last] = other
                    last = (last + 1) % room
    while first != last:
        state.queued[state.queue[first]] = 0
        first = (first + 1) % room
    return result


def least_period(line: Line, state: TripState, low: int, most: int) -> int:
    """Find the least period of the orders; `NEVER` if it is above the most, or they can never run."""
    period = low
    while period <= most:
        needed = settle_times(line, state, period)
        if needed == 0:
            return period
        period = needed
    return NEVER


def runs_there(line: Line, state: TripState, period: int, late: int, node: int, step: int) -> bool:
    """Run a late task right after a node, if the period allows it.

    The task starts when that node ends. Later nodes may be delayed by it, and so on; if the delay comes back to the
    node itself, the circle is longer than the period.
    """
    jobs = len(state.place) - 1
    state.before[:] = state.time
    other, between = state.follow[node], state.step[node]
    start = state.time[node] + line.duration[node // jobs] + step * period
    state.time[late] = start
    state.follow[node], state.step[node] = late, -step
    state.follow[late], state.step[late] = other, step + between
    state.queue[0] = late
    state.queued[late] = 1
    if raise_times(line, state, period, 1, late) == 0:
        return True
    state.time[:] = state.before
    state.follow[node], state.step[node] = other, between
    state.follow[late], state.step[late] = late, 1
    return False


def list_places(line: Line, state: TripState, period: int, rank: int, job: int) -> int:
    """List all places for a late task, and how much too short each one is; return their number."""
    jobs, ranks = len(state.place) - 1, len(line.capacity)
    begin = (ranks + rank) * jobs + job
    needed = line.duration[2 * ranks + rank]
    node, step, count = begin, 0, 0
    while count < len(state.place_node):
        other, then = state.follow[node], step + state.step[node]
        end = state.time[node] + step * period + line.duration[node // jobs] + needed
        state.place_node[count] = node
        state.place_step[count] = step
        state.place_need[count] = max(0, end - state.time[other] - then * period)
        count += 1
        if (other == state.due[begin] and then == state.due_step[begin]) or other == begin:
            break
        node, step = other, then
    return count


def put_late(line: Line, state: TripState, period: int, rank: int, job: int) -> bool:
    """Put a late task where it delays others least; return whether a place was found."""
    jobs, ranks = len(state.place) - 1, len(line.capacity)
    count = list_places(line, state, period, rank, job)
    for _ in range(min(count, TRIED)):
        best = 0
        for place in range(1, count):
            if state.place_need[place] < state.place_need[best]:
                best = place
        late = (2 * ranks + rank) * jobs + job
        if runs_there(line, state, period, late, state.place_node[best], state.place_step[best]):
            return True
        state.place_need[best] = NEVER
    return False


def put_all_late(line: Line, state: TripState, period: int) -> int:
    """Put the late tasks of all devices; return the number of those without a place."""
    jobs, missing = len(state.place) - 1, 0
    for rank in range(len(line.capacity)):
        if line.late[rank]:
            for job in range(jobs):
                if not put_late(line, state, period, rank, job):
                    missing += 1
    return missing


FUNCTIONS = (
    *(place_of, ahead_of, put_behind, note_due, put_in_order, ratio_of_circle, raise_times, settle_times),
    *(least_period, runs_there, list_places, put_late, put_all_late),
)
"""The functions that numba compiles, each after those that it uses."""
