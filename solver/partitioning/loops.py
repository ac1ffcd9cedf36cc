"""The inner loops: plain Python over lists, and at the same time the source that numba compiles for arrays.

Everything is indexed by whole numbers, and nothing is allocated. The functions in `FUNCTIONS` may use earlier ones, the
named tuples and numbers, and nothing else. Replays also run on lists; annealing only runs compiled.
"""

from __future__ import annotations

from math import exp
from typing import Any, NamedTuple, TypeAlias

from solver.random_numbers import draw

Numbers: TypeAlias = Any
"""A list of whole numbers, or a NumPy array in compiled code."""


class Graph(NamedTuple):
    """The graph of the order; see `solver.partitioning.problem`."""

    tasks: Numbers  # the class of each task
    starts: Numbers  # where the waits of each task begin in the next two
    others: Numbers  # the tasks that it waits for
    lags: Numbers  # the least times after their ends


class Fixed(NamedTuple):
    """Data that stays constant while a split is annealed."""

    low: Numbers  # the first place that each cut may have
    high: Numbers  # the last one
    least: int  # how many items a bin must hold
    run_of_item: Numbers
    column_of: Numbers  # by bin, run and mode
    parts: Numbers  # for each run, the number of parts of an item
    seconds: Numbers  # the columns of second modes; the column of the first mode directly precedes each
    limits: Numbers  # factors by limit and column
    most: Numbers
    owners: Numbers  # of each limit, in their order
    rows: Numbers  # factors by form and column
    form_starts: Numbers  # where the forms of each class begin


class Walk(NamedTuple):
    """Data that changes during annealing."""

    state: Numbers  # of the random numbers
    cuts: Numbers  # the split
    amounts: Numbers  # its columns
    new_cuts: Numbers  # the split being judged
    new_amounts: Numbers
    paths: Numbers  # factors by column and path
    constants: Numbers  # the lags on each path
    values: Numbers  # the length of each path for the split
    trial: Numbers  # and for the one being judged
    best: Numbers  # the length to beat, and that of the last replay
    best_amounts: Numbers  # the split that beats it
    ends: Numbers  # of each task
    via: Numbers  # the wait that determines the start of each task
    lengths: Numbers  # of each class
    chosen: Numbers  # the form that determines it
    counts: Numbers  # how often each form is on a path


def ends_of(lengths: Numbers, graph: Graph, lags: Numbers, ends: Numbers, via: Numbers) -> int:
    """Replay: compute the end of each task, and the wait that delays it; return the task that ends last.

    ``via[t]`` becomes the position of the wait that determines the start of task t, or −1.
    """
    tasks, starts, others = graph.tasks, graph.starts, graph.others
    last = 0
    longest = -1
    place = 0
    for task in range(len(tasks)):
        begin = -1
        by = -1
        stop = starts[task + 1]
        while place < stop:
            ready = ends[others[place]] + lags[place]
            if ready > begin:
                begin = ready
                by = place
            place += 1
        via[task] = by
        end = lengths[tasks[task]]
        if by >= 0:
            end += begin
        ends[task] = end
        if end > longest:
            longest = end
            last = task
    return last


def walk_back(last: int, graph: Graph, lags: Numbers, via: Numbers, chosen: Numbers, counts: Numbers) -> int:
    """Count the forms on the path to a task; return the sum of the lags on it."""
    total = 0
    task = last
    while True:
        counts[chosen[graph.tasks[task]]] += 1
        place = via[task]
        if place < 0:
            return int(total)
        total += lags[place]
        task = graph.others[place]


def may_shift(first: int, last: int, step: int, fixed: Fixed, cuts: Numbers) -> bool:
    """Return whether some neighbouring cuts may move by one."""
    for cut in range(first, last + 1):
        if cuts[cut] + step < fixed.low[cut] or cuts[cut] + step > fixed.high[cut]:
            return False
    if step < 0:
        return bool(cuts[first] - 1 >= cuts[first - 1] + fixed.least)
    return bool(cuts[last] + 1 <= cuts[last + 1] - fixed.least)


def shift_cuts(first: int, last: int, step: int, fixed: Fixed, walk: Walk) -> None:
    """Move some neighbouring cuts by one; moved parts keep their mode, and parts in the first mode move first."""
    for count in range(last - first + 1):
        cut = first + count if step < 0 else last - count
        source = cut - 1 if step < 0 else cut
        target = cut if step < 0 else cut - 1
        run = fixed.run_of_item[walk.new_cuts[cut] - (1 if step < 0 else 0)]
        plain = min(fixed.parts[run], walk.new_amounts[fixed.column_of[source, run, 0]])
        walk.new_amounts[fixed.column_of[source, run, 0]] -= plain
        walk.new_amounts[fixed.column_of[target, run, 0]] += plain
        if plain < fixed.parts[run]:
            walk.new_amounts[fixed.column_of[source, run, 1]] -= fixed.parts[run] - plain
            walk.new_amounts[fixed.column_of[target, run, 1]] += fixed.parts[run] - plain
        walk.new_cuts[cut] += step


def change(fixed: Fixed, walk: Walk) -> bool:
    """Make one random change, if allowed: of the mode of a part, or of the bin of an item."""
    bins = len(walk.cuts) - 1
    if len(fixed.seconds) > 0 and draw(walk.state, 100) < 45:
        column = fixed.seconds[draw(walk.state, len(fixed.seconds))]
        up = draw(walk.state, 2)
        source = column - 1 if up else column
        if walk.new_amounts[source] == 0:
            return False
        walk.new_amounts[source] -= 1
        walk.new_amounts[column if up else column - 1] += 1
        return True
    if bins < 2:
        return False
    first = 1 + draw(walk.state, bins - 1)
    last = first
    if draw(walk.state, 10) >= 4:
        last = first + draw(walk.state, bins - first)
    step = 1 - 2 * draw(walk.state, 2)
    if not may_shift(first, last, step, fixed, walk.new_cuts):
        return False
    shift_cuts(first, last, step, fixed, walk)
    return True


def propose(fixed: Fixed, walk: Walk) -> bool:
    """Make a new split from the current one by up to three changes; return whether it differs."""
    for cut in range(len(walk.cuts)):
        walk.new_cuts[cut] = walk.cuts[cut]
    for column in range(len(walk.amounts)):
        walk.new_amounts[column] = walk.amounts[column]
    parts = 1
    if draw(walk.state, 10) >= 6:
        parts += 1
    if draw(walk.state, 10) >= 8:
        parts += 1
    done = False
    for _ in range(parts):
        if change(fixed, walk):
            done = True
    return done


def judge(count: int, walk: Walk) -> int:
    """Estimate the length of the new split from the known paths."""
    for place in range(count):
        walk.trial[place] = walk.values[place]
    for column in range(len(walk.amounts)):
        more = walk.new_amounts[column] - walk.amounts[column]
        if more:
            for place in range(count):
                walk.trial[place] += more * walk.paths[column, place]
    length = 0
    for place in range(count):
        length = max(length, walk.trial[place])
    return length


def excess_of(fixed: Fixed, amounts: Numbers) -> float:
    """Add up the relative excess over each owner's limits; only the most exceeded limit of an owner counts."""
    excess = 0.0
    worst = 0.0
    for place in range(len(fixed.most)):
        if place > 0 and fixed.owners[place] != fixed.owners[place - 1]:
            excess += worst
            worst = 0.0
        held = 0
        for column in range(len(amounts)):
            held += fixed.limits[place, column] * amounts[column]
        worst = max(worst, (held - fixed.most[place]) / max(1, fixed.most[place]))
    return excess + worst


def choose_forms(fixed: Fixed, walk: Walk) -> None:
    """Compute the duration of the tasks of each class for the new split, and the form that determines it."""
    for group in range(len(walk.lengths)):
        longest = -1
        for form in range(fixed.form_starts[group], fixed.form_starts[group + 1]):
            total = 0
            for column in range(len(walk.amounts)):
                total += fixed.rows[form, column] * walk.new_amounts[column]
            if total > longest:
                longest = total
                walk.chosen[group] = form
        walk.lengths[group] = longest


def learn(count: int, length: int, graph: Graph, fixed: Fixed, walk: Walk) -> int:
    """Replay the new split; if it is longer than the known paths show, add its path. Return the number of paths."""
    choose_forms(fixed, walk)
    end = ends_of(walk.lengths, graph, graph.lags, walk.ends, walk.via)
    walk.best[1] = walk.ends[end]
    if walk.best[1] <= length:
        return count
    for form in range(len(walk.counts)):
        walk.counts[form] = 0
    walk.constants[count] = walk_back(end, graph, graph.lags, walk.via, walk.chosen, walk.counts)
    for column in range(len(walk.amounts)):
        walk.paths[column, count] = 0
    for form in range(len(walk.counts)):
        if walk.counts[form]:
            for column in range(len(walk.amounts)):
                walk.paths[column, count] += walk.counts[form] * fixed.rows[form, column]
    walk.values[count] = walk.constants[count]
    for column in range(len(walk.amounts)):
        walk.values[count] += walk.paths[column, count] * walk.amounts[column]
    walk.trial[count] = walk.best[1]
    return count + 1


def go(count: int, walk: Walk) -> None:
    """Make the new split the current one."""
    for place in range(count):
        walk.values[place] = walk.trial[place]
    for cut in range(len(walk.cuts)):
        walk.cuts[cut] = walk.new_cuts[cut]
    for column in range(len(walk.amounts)):
        walk.amounts[column] = walk.new_amounts[column]


def anneal(
    moves: int, hot: float, cold: float, price: float, count: int, graph: Graph, fixed: Fixed, walk: Walk
) -> int:
    """Anneal a split, judged by known paths; a split that seems better than the best is replayed, and its path added.

    Occasionally a split on the way is replayed as well, so that the walk does not settle where no path is known. Return
    the number of paths at the end.
    """
    cost = -1.0
    heat = hot
    for place in range(count):
        walk.values[place] = walk.constants[place]
        for column in range(len(walk.amounts)):
            walk.values[place] += walk.amounts[column] * walk.paths[column, place]
    for move in range(moves):
        heat *= (cold / hot) ** (1.0 / moves)
        if not propose(fixed, walk):
            continue
        length = judge(count, walk)
        excess = excess_of(fixed, walk.new_amounts)
        if (excess == 0.0 and length < walk.best[0]) or move % 64 == 0:
            count = learn(count, length, graph, fixed, walk)
            length = max(length, walk.best[1])
            if excess == 0.0 and length < walk.best[0]:
                walk.best[0] = length
                for column in range(len(walk.amounts)):
                    walk.best_amounts[column] = walk.new_amounts[column]
        worse = length * (1.0 + price * excess) - cost
        if cost < 0 or worse <= 0 or draw(walk.state, 1 << 28) < exp(-worse / heat) * (1 << 28):
            cost += worse
            go(count, walk)
        if count == len(walk.constants):
            break
    return count


FUNCTIONS = (
    *(ends_of, walk_back, draw, may_shift, shift_cuts, change, propose, judge, excess_of, choose_forms, learn, go),
    anneal,
)
"""The functions that numba compiles, each after those that it uses."""
