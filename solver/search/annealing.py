"""The inner loops of the local search: plain Python over plain lists, and at the same time the source for numba.

Everything is indexed by whole numbers, and nothing is allocated. The rows of all devices are concatenated in flat
lists; the row of device d begins at ``row[d]``. The functions in `FUNCTIONS` may use each other, the two named tuples
and numbers, and nothing else. They are one file, however long: one move runs through all of them, and numba compiles
them as one unit in which each uses those before it.

What it is worth: row `joint-moves` of docs/development/ablation.md.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple, TypeAlias

from solver.random_numbers import draw

Numbers: TypeAlias = list[int]
"""Plain lists here; NumPy arrays in compiled code."""

MOST_POSTPONED = 48
"""The most tokens of a string that may be postponed at one time; beyond that, the string is rejected."""

PATH_AGE = 12
"""Moves after which the critical path is traced again."""

REACH = 7
"""The most places by which a token is moved further, beyond a plain exchange."""

FOREVER = 1 << 62
"""Later than every time."""

STUCK = -2
"""Marks a deadlock of devices."""

SEARCH_REACH = 24
"""The most places between the parts of a new joint action."""


class Fixed(NamedTuple):
    """Data that stays constant during a search."""

    # for each mode
    first: Numbers  # the chain that it advances; modes below the number of chains are single chains
    second: Numbers  # the second chain that it advances, or -1
    third: Numbers  # the third, or -1
    merged: Numbers  # whether its last two chains run as one piece
    duration: Numbers  # how long it lasts
    take: Numbers  # the memory that it takes when it starts
    give: Numbers  # the memory that it returns when it ends
    # rows: the part of the first list from start[i] up to start[i + 1] belongs to i
    chain_start: Numbers  # for each chain, where its row begins
    chain_task: Numbers  # its tasks, in order
    need_start: Numbers  # for each task, where its row begins
    need_chain: Numbers  # chains of its own device that must be ahead of it
    need_count: Numbers  # how much of each
    wait_start: Numbers  # for each task, where its row begins
    wait_task: Numbers  # tasks that must have ended before it starts, except those on its own device without a lag
    wait_lag: Numbers  # how long before
    then_start: Numbers  # for each task, where its row begins
    then_task: Numbers  # tasks that wait for it in that way
    joint_start: Numbers  # for each mode, where its row begins
    joint_mode: Numbers  # the joint modes that it can become a part of
    # for each task, and for each device
    task_device: Numbers  # where the task runs
    capacity: Numbers  # the memory of the device
    row: Numbers  # where the device's places begin in the lists of `State` with one entry per place


class State(NamedTuple):
    """The current schedule, the change being tried, and the best schedule."""

    # the schedule, for each place
    mode: Numbers  # the token
    task: Numbers  # the task of its first chain
    task_b: Numbers  # the task of its second chain, or -1
    task_c: Numbers  # the task of its third chain, or -1
    start: Numbers  # when it starts
    idle: Numbers  # how long the device has been idle up to its start
    # the schedule, for each device
    length: Numbers  # how many tokens it runs
    load: Numbers  # how long they last together
    # the schedule, for each task
    begin: Numbers  # when it starts
    end: Numbers  # when it ends
    place: Numbers  # its place in the row of its device
    # the best schedule: its tokens, and how many each device runs
    best_mode: Numbers
    best_length: Numbers
    # a change: the new string of one device, and the old contents of its row from the first changed place on
    text: Numbers  # the new tokens, before any is put off
    old_mode: Numbers
    old_task: Numbers
    old_task_b: Numbers
    old_task_c: Numbers
    postponed: Numbers  # tokens of the text, postponed until they fit
    counts: Numbers  # for each chain, how many of its tasks are ahead
    # the times that a change brings, for each place or task that the replay has reached
    new_start: Numbers
    new_idle: Numbers
    new_begin: Numbers
    new_end: Numbers
    stamp: Numbers  # for each task, in which try its new times were computed
    waiter: Numbers  # for each task, the first device that waits for it, or -1
    # how far the replay has come, for each device
    kept: Numbers  # the first place that is not as it was
    pointer: Numbers  # the next place
    until: Numbers  # where the window ends
    clock: Numbers  # when what is ahead of the next place ends
    new_idleness: Numbers  # how long it has been idle by then
    blocked: Numbers  # the task that it waits for, or -1
    next_waiter: Numbers  # the next device that waits for the same task, or -1
    stack: Numbers  # devices that can go on
    # a critical path: its places that directly follow a different token which delays them
    path_device: Numbers
    path_place: Numbers
    # single numbers: see `SLOTS`
    slots: Numbers


SLOTS = 13
"""The number of entries of `State.slots`; the names below are their indices."""

RANDOM = 0
"""The state of the random numbers: where `draw` looks for it."""

STAMP = 1
"""The number of the current try."""

WORTH, BEST = 2, 3
"""The makespan, or span, of the schedule, and of the best one."""

PATH, AGE = 4, 5
"""The number of places listed of the critical path, and the moves since it was traced."""

TEXT, LOW, HIGH = 6, 7, 8
"""The number of tokens of the text, and the first and the last place at which it differs from the row."""

OLD_LENGTH, OLD_LOAD, CHANGED = 9, 10, 11
"""The length and load of the device before the change, and the place from which its row is unchanged."""

WORST = 12
"""The lateness of the latest device so far in the replay."""


def fits(fixed: Fixed, count: Numbers, mode: int, room: int) -> bool:
    """Return whether a token can come next: its memory fits, and what must be ahead of it on its device is."""
    if fixed.take[mode] > room:
        return False
    first, second, third = fixed.first[mode], fixed.second[mode], fixed.third[mode]
    task = fixed.chain_task[fixed.chain_start[first] + count[first]]
    for index in range(fixed.need_start[task], fixed.need_start[task + 1]):
        if count[fixed.need_chain[index]] < fixed.need_count[index]:
            return False
    if second < 0:
        return True
    if fixed.merged[mode]:
        last, before = (second, first) if third < 0 else (third, second)
        if count[last] != count[before]:
            return False
        if third < 0:
            return True
    task = fixed.chain_task[fixed.chain_start[second] + count[second]]
    for index in range(fixed.need_start[task], fixed.need_start[task + 1]):
        if count[fixed.need_chain[index]] < fixed.need_count[index]:
            return False
    return True


def put(fixed: Fixed, state: State, at: int, mode: int) -> None:
    """Write a token into a row and count its tasks."""
    count, starts, tasks = state.counts, fixed.chain_start, fixed.chain_task
    chain = fixed.first[mode]
    state.mode[at] = mode
    state.task[at] = tasks[starts[chain] + count[chain]]
    count[chain] += 1
    state.task_b[at] = -1
    state.task_c[at] = -1
    chain = fixed.second[mode]
    if chain >= 0:
        state.task_b[at] = tasks[starts[chain] + count[chain]]
        count[chain] += 1
        chain = fixed.third[mode]
        if chain >= 0:
            state.task_c[at] = tasks[starts[chain] + count[chain]]
            count[chain] += 1


def decode(fixed: Fixed, state: State, device: int) -> bool:
    """Write the text into the row of a device from the first changed place on; postpone tokens that do not fit.

    The row's old contents are kept for `restore`. Return False if no order of the remaining tokens is found.
    """
    slots, row, mode_at = state.slots, fixed.row[device], state.mode
    low, high, size, length = slots[LOW], slots[HIGH], slots[TEXT], state.length[device]
    count, postponed = state.counts, state.postponed
    level = forget_counts(fixed, state, device, low)
    for place in range(low, length):
        state.old_mode[place] = mode_at[row + place]
        state.old_task[place] = state.task[row + place]
        state.old_task_b[place] = state.task_b[row + place]
        state.old_task_c[place] = state.task_c[row + place]
    slots[OLD_LENGTH] = length
    slots[OLD_LOAD] = state.load[device]
    capacity = fixed.capacity[device]
    out, waiting = row + low, 0
    for place in range(low, size):
        if waiting == 0 and place > high and size == length:
            break
        mode = state.text[place]
        if not fits(fixed, count, mode, capacity - level):
            if waiting == MOST_POSTPONED:
                state.length[device] = out - row
                return False
            postponed[waiting] = mode
            waiting += 1
            continue
        put(fixed, state, out, mode)
        level += fixed.take[mode] - fixed.give[mode]
        out += 1
        index = 0
        while index < waiting:
            mode = postponed[index]
            if not fits(fixed, count, mode, capacity - level):
                index += 1
                continue
            put(fixed, state, out, mode)
            level += fixed.take[mode] - fixed.give[mode]
            out += 1
            waiting -= 1
            for later in range(index, waiting):
                postponed[later] = postponed[later + 1]
            index = 0
    state.length[device] = size
    slots[CHANGED] = out - row  # after it, the row is unchanged
    return waiting == 0


def forget_counts(fixed: Fixed, state: State, device: int, low: int) -> int:
    """Reset the counts of a device's chains to the tasks ahead of a place; return the memory held there."""
    row, mode_at, count = fixed.row[device], state.mode, state.counts
    for at in range(row, row + state.length[device]):
        mode = mode_at[at]
        count[fixed.first[mode]] = 0
        if fixed.second[mode] >= 0:
            count[fixed.second[mode]] = 0
            if fixed.third[mode] >= 0:
                count[fixed.third[mode]] = 0
    level = 0
    for at in range(row, row + low):
        mode = mode_at[at]
        level += fixed.take[mode] - fixed.give[mode]
        count[fixed.first[mode]] += 1
        if fixed.second[mode] >= 0:
            count[fixed.second[mode]] += 1
            if fixed.third[mode] >= 0:
                count[fixed.third[mode]] += 1
    return level


def restore(fixed: Fixed, state: State, device: int) -> None:
    """Undo `decode`."""
    row, slots = fixed.row[device], state.slots
    length = slots[OLD_LENGTH]
    for place in range(slots[LOW], length):
        state.mode[row + place] = state.old_mode[place]
        state.task[row + place] = state.old_task[place]
        state.task_b[row + place] = state.old_task_b[place]
        state.task_c[row + place] = state.old_task_c[place]
    state.length[device] = length
    state.load[device] = slots[OLD_LOAD]


def first_from(start: Numbers, low: int, high: int, time: int) -> int:
    """Find the first place of a row that starts at a time or later."""
    while low < high:
        middle = (low + high) // 2
        if start[middle] < time:
            low = middle + 1
        else:
            high = middle
    return low


def replay(fixed: Fixed, state: State, device: int, target: int, limit: float, span: bool) -> float:
    """Compute the times after the first changed place of a device; return the cost, or -1 if it exceeds the limit.

    Actions that start before that place cannot depend on it and keep their times. The rest is swept in windows of the
    old start times, each longer than the one before, until nothing in the next window waits for a changed time. The
    cost is the sum of all devices' lateness beyond the target, plus that of the latest device once for every device.
    """
    slots, rows, length = state.slots, fixed.row, state.length
    slots[STAMP] += 1
    since, low = 0, slots[LOW]
    while low:
        at = rows[device] + low - 1
        since = state.start[at] + fixed.duration[state.mode[at]]
        if state.start[at] < since:
            break
        low -= 1  # it takes no time, so it may start at the same moment as the change, and is computed again
        since = 0
    total = keep_prefix(fixed, state, device, low, since, target)
    # if a device's row changes its length or load, places cannot be compared, and everything is swept
    same_size = length[device] == slots[OLD_LENGTH] and state.load[device] == slots[OLD_LOAD]
    alike = not span and same_size and slots[LOW] > 0
    horizon, width, reach = FOREVER, 0, FOREVER
    if alike:
        high = rows[device] + slots[CHANGED] - 1
        width = 8 * (fixed.duration[state.mode[high]] or 1 + state.load[device] // length[device])
        horizon = max(since, state.start[high]) + width
        reach = -1
    while total <= limit:
        depth = open_windows(fixed, state, device, horizon)
        total, reach = sweep(fixed, state, depth, since, reach, target, total, limit, span)
        if reach == STUCK:
            return -1.0
        at = rows[device] + slots[CHANGED]
        if alike and state.pointer[device] == at and at < rows[device] + length[device]:
            reach = max(reach, state.begin[state.task[at]])  # the first token in its old place decides
        if reach < horizon or not alike:
            break
        horizon = max(reach + 1, horizon + width)
        width *= 2
    if total > limit:
        return -1.0
    return cost_of(fixed, state, target, True)


def open_windows(fixed: Fixed, state: State, device: int, horizon: int) -> int:
    """Stack the devices with actions left before an old start time, the changed one on top; return their number."""
    depth = 0
    for other in range(len(fixed.row)):
        until = fixed.row[other] + state.length[other]
        if horizon < FOREVER:
            last = until
            until = first_from(state.start, state.pointer[other], last, horizon)
            if other == device:
                until = max(until, min(fixed.row[device] + state.slots[CHANGED], last))
        state.until[other] = until
        if other != device and state.pointer[other] < until:
            state.stack[depth] = other
            depth += 1
    state.stack[depth] = device
    return depth + 1


def keep_prefix(fixed: Fixed, state: State, device: int, low: int, since: int, target: int) -> float:
    """Reset all devices to a time, and one to a place at or before its first changed one; return the cost so far."""
    rows, length = fixed.row, state.length
    total, worst = 0.0, 0
    for other in range(len(rows)):
        begin = rows[other]
        at = begin + low
        if other != device:
            at = first_from(state.start, begin, begin + length[other], since)
        state.kept[other] = at
        state.pointer[other] = at
        state.blocked[other] = -1
        if at > begin:
            state.clock[other] = state.start[at - 1] + fixed.duration[state.mode[at - 1]]
            state.new_idleness[other] = state.idle[at - 1]
        else:
            state.clock[other] = 0
            state.new_idleness[other] = 0
        over = state.load[other] + state.new_idleness[other] - target
        if over > 0:
            total += over
            worst = max(worst, over)
    state.slots[WORST] = worst
    return total + len(rows) * worst


def sweep(  # noqa: C901 - the innermost loop: a call for each step would cost more than the step
    fixed: Fixed,
    state: State,
    depth: int,
    since: int,
    reach: int,
    target: int,
    total: float,
    limit: float,
    span: bool,
) -> tuple[float, int]:
    """Run the stacked devices to the ends of their windows; a device that waits for a task is woken by it.

    Return the cost so far, and the latest old start of the actions that wait for a changed time; `STUCK` instead if the
    devices wait for each other.
    """
    rows, stack = fixed.row, state.stack
    task_at, task_b_at, task_c_at, mode_at = state.task, state.task_b, state.task_c, state.mode
    stamps, begins, ends, new_begin, new_end = state.stamp, state.begin, state.end, state.new_begin, state.new_end
    new_start, new_idle, waiters = state.new_start, state.new_idle, state.waiter
    wait_start, wait_task, wait_lag, duration = fixed.wait_start, fixed.wait_task, fixed.wait_lag, fixed.duration
    stamp, worst, devices = state.slots[STAMP], state.slots[WORST], len(rows)
    while depth and total <= limit:
        depth -= 1
        other = stack[depth]
        at = state.pointer[other]
        until = state.until[other]
        clock = state.clock[other]
        idle = state.new_idleness[other]
        load = state.load[other]
        changed = False
        while at < until:
            ready = clock
            missing = -1
            task = task_at[at]
            part = 0
            while task >= 0:
                for index in range(wait_start[task], wait_start[task + 1]):
                    before = wait_task[index]
                    if stamps[before] == stamp:
                        arrival = new_end[before] + wait_lag[index]
                    elif begins[before] < since:
                        arrival = ends[before] + wait_lag[index]
                    else:
                        missing = before
                        break
                    if arrival > ready:
                        ready = arrival
                if missing >= 0:
                    break
                part += 1
                task = task_b_at[at] if part == 1 else task_c_at[at] if part == 2 else -1
            if missing >= 0:
                state.blocked[other] = missing
                state.next_waiter[other] = waiters[missing]
                waiters[missing] = other
                break
            if ready > clock and not (span and at == rows[other]):
                over = load + idle - target
                idle += ready - clock
                now = load + idle - target
                if now > 0:
                    total += now - over if over > 0 else now
                    if now > worst:
                        total += devices * (now - worst)
                        worst = now
                    if total > limit:
                        break
            clock = ready + duration[mode_at[at]]
            new_start[at] = ready
            new_idle[at] = idle
            task = task_at[at]
            part = 0
            while task >= 0:
                changed = ends[task] != clock
                if changed:
                    for index in range(fixed.then_start[task], fixed.then_start[task + 1]):
                        behind = begins[fixed.then_task[index]]
                        if behind > reach:
                            reach = behind
                new_end[task] = clock
                new_begin[task] = ready
                stamps[task] = stamp
                waiter = waiters[task]
                if waiter >= 0:
                    waiters[task] = -1
                    while waiter >= 0:
                        state.blocked[waiter] = -1
                        stack[depth] = waiter
                        depth += 1
                        waiter = state.next_waiter[waiter]
                part += 1
                task = task_b_at[at] if part == 1 else task_c_at[at] if part == 2 else -1
            at += 1
        if changed and at < rows[other] + state.length[other] and begins[task_at[at]] > reach:
            reach = begins[task_at[at]]
        state.pointer[other] = at
        state.clock[other] = clock
        state.new_idleness[other] = idle
    state.slots[WORST] = worst
    stuck = False
    for other in range(devices):
        if state.blocked[other] >= 0:
            waiters[state.blocked[other]] = -1
            stuck = True
    return total, STUCK if stuck or total > limit else reach


def cost_of(fixed: Fixed, state: State, target: int, tried: bool) -> float:
    """Compute the cost of the schedule, or of the try just replayed, for a target."""
    total, worst = 0.0, 0
    for device in range(len(fixed.row)):
        until = fixed.row[device] + state.length[device]
        if not tried or state.pointer[device] < until:
            state.new_idleness[device] = state.idle[until - 1] if until > fixed.row[device] else 0
        over = state.load[device] + state.new_idleness[device] - target
        if over > 0:
            total += over
            worst = max(worst, over)
    return total + len(fixed.row) * worst


def accept(fixed: Fixed, state: State) -> None:
    """Make the replayed try the schedule."""
    worth = 0
    for other in range(len(fixed.row)):
        for at in range(state.kept[other], state.pointer[other]):
            state.start[at] = state.new_start[at]
            state.idle[at] = state.new_idle[at]
            place = at - fixed.row[other]
            task = state.task[at]
            state.end[task] = state.new_end[task]
            state.begin[task] = state.new_begin[task]
            state.place[task] = place
            task = state.task_b[at]
            if task >= 0:
                state.end[task] = state.new_end[task]
                state.begin[task] = state.new_begin[task]
                state.place[task] = place
                task = state.task_c[at]
                if task >= 0:
                    state.end[task] = state.new_end[task]
                    state.begin[task] = state.new_begin[task]
                    state.place[task] = place
        late = state.load[other] + state.new_idleness[other]
        if late > worth:
            worth = late
    state.slots[WORTH] = worth
    state.slots[AGE] = PATH_AGE


def trace_path(fixed: Fixed, state: State) -> None:  # noqa: C901 - a call for each step would cost more than the step
    """Walk back along a random critical path, and list its places that directly follow a different, delaying token."""
    slots, worth, ties, device = state.slots, -1, 0, 0
    for other in range(len(fixed.row)):
        late = state.load[other] + state.idle[fixed.row[other] + state.length[other] - 1] if state.length[other] else 0
        if late > worth:
            worth, device, ties = late, other, 1
        elif late == worth:
            ties += 1
            if draw(slots, ties) == 0:
                device = other
    at = fixed.row[device] + state.length[device] - 1
    found = 0
    while at >= 0:
        row = fixed.row[device]
        begin = state.start[at]
        options = 0
        following = -1
        if at > row and state.start[at - 1] + fixed.duration[state.mode[at - 1]] == begin:
            options = 1
            following = at - 1
        task = state.task[at]
        part = 0
        while task >= 0:
            for index in range(fixed.wait_start[task], fixed.wait_start[task + 1]):
                before = fixed.wait_task[index]
                if state.end[before] + fixed.wait_lag[index] == begin:
                    options += 1
                    if draw(slots, options) == 0:
                        following = fixed.row[fixed.task_device[before]] + state.place[before]
            part += 1
            task = state.task_b[at] if part == 1 else state.task_c[at] if part == 2 else -1
        if following == at - 1 and at > row and state.mode[at] != state.mode[at - 1]:
            state.path_device[found] = device
            state.path_place[found] = at - row
            found += 1
        if following >= 0 and not row <= following < row + state.length[device]:
            device = 0
            while device + 1 < len(fixed.row) and fixed.row[device + 1] <= following:
                device += 1
        at = following
    slots[PATH] = found
    slots[AGE] = 0


def shift(fixed: Fixed, state: State, device: int, source: int, goal: int) -> None:
    """Write the text of a device's row with one token moved to another place."""
    row, text, slots = fixed.row[device], state.text, state.slots
    low, high = (source, goal) if source < goal else (goal, source)
    length = state.length[device]
    moved = state.mode[row + source]
    for place in range(low, high + 1):
        text[place] = state.mode[row + place]
    if source < goal:
        for place in range(source, goal):
            text[place] = text[place + 1]
    else:
        for place in range(source, goal, -1):
            text[place] = text[place - 1]
    text[goal] = moved
    for place in range(high + 1, length):
        text[place] = state.mode[row + place]
    slots[TEXT] = length
    slots[LOW] = low
    slots[HIGH] = high


def propose_shift(fixed: Fixed, state: State) -> int:
    """Move a token across an arc of a critical path that its device makes tight; sometimes further, or anywhere."""
    slots = state.slots
    if slots[PATH] == 0 or draw(slots, 10) == 0:
        device = draw(slots, len(fixed.row))
        length = state.length[device]
        if length < 2:
            return -1
        source = draw(slots, length)
        goal = source + 1 + draw(slots, 2 * REACH)
        if draw(slots, 2):
            goal = 2 * source - goal
    else:
        index = draw(slots, slots[PATH])
        device, source = state.path_device[index], state.path_place[index]
        length = state.length[device]
        extra = draw(slots, REACH + 1) if draw(slots, 3) == 0 else 0
        if draw(slots, 2):
            goal = source - 1 - extra
        else:
            source, goal = source - 1, source + extra
    if goal < 0 or goal >= length or source >= length or source == goal:
        return -1
    if state.mode[fixed.row[device] + source] == state.mode[fixed.row[device] + goal]:
        return -1
    shift(fixed, state, device, source, goal)
    return device


def nearest(fixed: Fixed, state: State, device: int, mode: int, place: int) -> int:
    """Find the nearest token of a mode to a place; -1 if there is none within reach."""
    row, length = fixed.row[device], state.length[device]
    for distance in range(1, SEARCH_REACH + 1):
        later = draw(state.slots, 2)
        for side in range(2):
            other = place + distance if side == later else place - distance
            if 0 <= other < length and state.mode[row + other] == mode:
                return other
    return -1


def propose_joint(fixed: Fixed, state: State) -> int:
    """Fuse or merge a token with others near it, or split a joint one."""
    slots = state.slots
    if slots[PATH] and draw(slots, 3):
        index = draw(slots, slots[PATH])
        device, place = state.path_device[index], state.path_place[index] - draw(slots, 2)
    else:
        device = draw(slots, len(fixed.row))
        if state.length[device] == 0:
            return -1
        place = draw(slots, state.length[device])
    if place < 0 or place >= state.length[device]:
        return -1
    mode = state.mode[fixed.row[device] + place]
    if fixed.second[mode] >= 0:
        return split(fixed, state, device, place)
    options = fixed.joint_start[mode + 1] - fixed.joint_start[mode]
    if options == 0:
        return -1
    joint = fixed.joint_mode[fixed.joint_start[mode] + draw(slots, options)]
    return join(fixed, state, device, place, joint)


def join(fixed: Fixed, state: State, device: int, place: int, joint: int) -> int:
    """Write the text with the parts of a joint token, one of which is at a place, joined."""
    row, slots, text = fixed.row[device], state.slots, state.text
    mode = state.mode[row + place]
    spots = (-1, -1, -1)
    for part in range(3):
        chain = fixed.first[joint] if part == 0 else fixed.second[joint] if part == 1 else fixed.third[joint]
        if chain < 0:
            continue
        spot = place if chain == mode else nearest(fixed, state, device, chain, place)
        if spot < 0:
            return -1
        spots = (
            spot if part == 0 else spots[0],
            spot if part == 1 else spots[1],
            spot if part == 2 else spots[2],
        )
    goal = spots[draw(slots, 2)]
    low = high = place
    size = 0
    for other in range(state.length[device]):
        if other in (spots[0], spots[1], spots[2]):
            low = min(low, other)
            high = max(high, other)
            if other == goal:
                text[size] = joint
                size += 1
            continue
        text[size] = state.mode[row + other]
        size += 1
    slots[TEXT] = size
    slots[LOW] = low
    slots[HIGH] = high
    return device


def split(fixed: Fixed, state: State, device: int, place: int) -> int:
    """Write the text with a joint token split; sometimes its last part is placed later."""
    row, slots, text = fixed.row[device], state.slots, state.text
    mode = state.mode[row + place]
    first, second, third = fixed.first[mode], fixed.second[mode], fixed.third[mode]
    if (third >= 0 or not fixed.merged[mode]) and draw(slots, 2):
        first, second = second, first
    last = third if third >= 0 else second
    later = place + draw(slots, REACH + 1) if fixed.merged[mode] and draw(slots, 2) else place
    length = state.length[device]
    later = min(later, length - 1)
    size = 0
    for other in range(length):
        if other == place:
            text[size] = first
            size += 1
            if third >= 0:
                text[size] = second
                size += 1
        else:
            text[size] = state.mode[row + other]
            size += 1
        if other == later:
            text[size] = last
            size += 1
    slots[TEXT] = size
    slots[LOW] = place
    slots[HIGH] = later
    return device


def text_load(fixed: Fixed, state: State) -> int:
    """Add up the durations of the text's tokens."""
    total = 0
    for place in range(state.slots[TEXT]):
        total += fixed.duration[state.text[place]]
    return total


def anneal(
    fixed: Fixed,
    state: State,
    moves: int,
    hot: float,
    cold: float,
    slack: int,
    goal: int,
    joint_share: int,
    span: bool,
) -> int:
    """Try some moves while the temperature falls from hot to cold; return the number of moves tried.

    This ends early when a schedule reaches the goal. A move is accepted if its cost is at most the schedule's plus an
    exponentially distributed allowance, which is drawn beforehand so that the replay can stop early.
    """
    slots = state.slots
    target = max(goal, slots[BEST] - slack)
    cost = cost_of(fixed, state, target, False)
    for tried in range(moves):
        if slots[AGE] >= PATH_AGE:
            trace_path(fixed, state)
        slots[AGE] += 1
        joint = joint_share > 0 and draw(slots, 100) < joint_share
        device = propose_joint(fixed, state) if joint else propose_shift(fixed, state)
        if device < 0:
            continue
        load = text_load(fixed, state) if joint else state.load[device]
        temperature = hot + (cold - hot) * tried / moves
        limit = cost - temperature * log((draw(slots, 1000000) + 1) / 1000001)
        possible = decode(fixed, state, device)
        state.load[device] = load
        found = replay(fixed, state, device, target, limit, span) if possible else -1.0
        if found < 0:
            restore(fixed, state, device)
            continue
        accept(fixed, state)
        cost = found
        if slots[WORTH] < slots[BEST]:
            slots[BEST] = slots[WORTH]
            state.best_mode[:] = state.mode
            state.best_length[:] = state.length
            if slots[BEST] <= goal:
                return tried + 1
            target = max(goal, slots[BEST] - slack)
            cost = cost_of(fixed, state, target, False)
    return moves


FUNCTIONS = (
    draw,
    fits,
    put,
    forget_counts,
    decode,
    restore,
    first_from,
    open_windows,
    keep_prefix,
    sweep,
    cost_of,
    replay,
    accept,
    trace_path,
    shift,
    propose_shift,
    nearest,
    join,
    split,
    propose_joint,
    text_load,
    anneal,
)
"""The functions that numba compiles, each after those that it uses."""
