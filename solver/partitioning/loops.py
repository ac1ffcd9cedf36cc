"""The inner loops: plain Python over lists, and the source that numba compiles for arrays.

Everything is indexed by whole numbers. The functions in `FUNCTIONS` may use those before them, numbers, and nothing
else.
"""

from __future__ import annotations

from math import exp
from typing import Any, TypeAlias

Numbers: TypeAlias = Any
"""A list of whole numbers here; a numpy array where numba compiles."""


def ends_of(
    lengths: Numbers, tasks: Numbers, starts: Numbers, others: Numbers, lags: Numbers, ends: Numbers, via: Numbers
) -> int:
    """Replay: find when each task ends, and by which wait it is held up; return the task that ends last.

    ``starts[t]`` is where the waits of task t begin in ``others`` and ``lags``; ``via[t]`` becomes the place of the wait
    that decides, or −1.
    """
    last = 0
    for task in range(len(tasks)):
        begin = 0
        by = -1
        for place in range(starts[task], starts[task + 1]):
            ready = ends[others[place]] + lags[place]
            if ready > begin or by < 0:
                begin = max(begin, ready)
                by = place
        via[task] = by
        end = begin + lengths[tasks[task]]
        ends[task] = end
        if end > ends[last]:
            last = task
    return last


def walk_back(
    last: int, tasks: Numbers, others: Numbers, lags: Numbers, via: Numbers, chosen: Numbers, counts: Numbers
) -> int:
    """Count the forms on the path to a task; return the lags on it together."""
    total = 0
    task = last
    while True:
        counts[chosen[tasks[task]]] += 1
        place = via[task]
        if place < 0:
            return total
        total += lags[place]
        task = others[place]


def draw(state: Numbers, below: int) -> int:
    """Draw a number from 0 up to, and without, another (the generator of POSIX drand48)."""
    state[0] = (state[0] * 25214903917 + 11) & 281474976710655
    return (state[0] >> 17) % below


def shift_cuts(
    first: int,
    last: int,
    step: int,
    cuts: Numbers,
    low: Numbers,
    high: Numbers,
    least: int,
    run_of_item: Numbers,
    column_of: Numbers,
    has_second: Numbers,
    amounts: Numbers,
) -> bool:
    """Move some neighbouring cuts by one, if they may; an item that changes its bin keeps its mode."""
    for cut in range(first, last + 1):
        if cuts[cut] + step < low[cut] or cuts[cut] + step > high[cut]:
            return False
    if step < 0 and cuts[first] - 1 < cuts[first - 1] + least:
        return False
    if step > 0 and cuts[last] + 1 > cuts[last + 1] - least:
        return False
    for count in range(last - first + 1):
        if step < 0:
            cut = first + count
            item = cuts[cut] - 1
            source, target = cut - 1, cut
        else:
            cut = last - count
            item = cuts[cut]
            source, target = cut, cut - 1
        run = run_of_item[item]
        mode = 0
        if amounts[column_of[source, run, 0]] == 0 and has_second[run]:
            mode = 1
        amounts[column_of[source, run, mode]] -= 1
        amounts[column_of[target, run, mode]] += 1
        cuts[cut] += step
    return True


def anneal(
    moves: int,
    hot: float,
    cold: float,
    state: Numbers,
    cuts: Numbers,
    amounts: Numbers,
    best: Numbers,
    best_amounts: Numbers,
    paths: Numbers,
    constants: Numbers,
    count: int,
    limits: Numbers,
    most: Numbers,
    owners: Numbers,
    price: float,
    low: Numbers,
    high: Numbers,
    least: int,
    run_of_item: Numbers,
    column_of: Numbers,
    has_second: Numbers,
    seconds: Numbers,
    rows: Numbers,
    form_starts: Numbers,
    tasks: Numbers,
    starts: Numbers,
    others: Numbers,
    lags: Numbers,
    ends: Numbers,
    via: Numbers,
    lengths: Numbers,
    chosen: Numbers,
    counts: Numbers,
    values: Numbers,
    trial: Numbers,
    new_cuts: Numbers,
    new_amounts: Numbers,
) -> int:
    """Anneal a split, judged by known paths; what seems to be better than the best is replayed, and its path added.

    ``paths[c, i]`` is the factor of column c in path i, of which there are ``count``; returns how many there are then.
    ``seconds`` lists the columns of second modes, each right behind that of the first. ``best[0]`` is the length to
    beat; ``best_amounts`` becomes the split that does.
    """
    columns = len(amounts)
    bins = len(cuts) - 1
    for place in range(count):
        values[place] = constants[place]
    for column in range(columns):
        if amounts[column]:
            for place in range(count):
                values[place] += amounts[column] * paths[column, place]
    cost = -1.0
    factor = (cold / hot) ** (1.0 / max(1, moves))
    heat = hot
    for move in range(moves + 1):
        heat *= factor
        for cut in range(bins + 1):
            new_cuts[cut] = cuts[cut]
        for column in range(columns):
            new_amounts[column] = amounts[column]
        parts = 0
        if move > 0:
            parts = 1 + (draw(state, 10) >= 6) + (draw(state, 10) >= 8)
        done = False
        for _ in range(parts):
            if len(seconds) > 0 and draw(state, 100) < 45:
                column = seconds[draw(state, len(seconds))]
                source, target = (column - 1, column) if draw(state, 2) else (column, column - 1)
                if new_amounts[source] > 0:
                    new_amounts[source] -= 1
                    new_amounts[target] += 1
                    done = True
            elif bins > 1:
                first = 1 + draw(state, bins - 1)
                last = first
                if draw(state, 10) >= 4:
                    last = first + draw(state, bins - first)
                step = 1 - 2 * draw(state, 2)
                if shift_cuts(
                    first, last, step, new_cuts, low, high, least, run_of_item, column_of, has_second, new_amounts
                ):
                    done = True
        if move > 0 and not done:
            continue
        for place in range(count):
            trial[place] = values[place]
        for column in range(columns):
            change = new_amounts[column] - amounts[column]
            if change:
                for place in range(count):
                    trial[place] += change * paths[column, place]
        length = 0
        for place in range(count):
            length = max(length, trial[place])
        excess = 0.0
        worst = 0.0
        for place in range(len(most)):
            if place > 0 and owners[place] != owners[place - 1]:
                excess += worst
                worst = 0.0
            held = 0
            for column in range(columns):
                held += limits[place, column] * new_amounts[column]
            worst = max(worst, (held - most[place]) / max(1, most[place]))
        excess += worst
        # now and then a split is replayed that is only passed by, lest the walk settles where no path is known
        if (excess == 0.0 and length < best[0]) or move % 64 == 0:
            for group in range(len(lengths)):
                longest = -1
                for form in range(form_starts[group], form_starts[group + 1]):
                    total = 0
                    for column in range(columns):
                        total += rows[form, column] * new_amounts[column]
                    if total > longest:
                        longest = total
                        chosen[group] = form
                lengths[group] = longest
            end = ends_of(lengths, tasks, starts, others, lags, ends, via)
            if ends[end] > length:
                length = ends[end]
                for form in range(len(counts)):
                    counts[form] = 0
                constants[count] = walk_back(end, tasks, others, lags, via, chosen, counts)
                for column in range(columns):
                    paths[column, count] = 0
                for form in range(len(counts)):
                    if counts[form]:
                        for column in range(columns):
                            paths[column, count] += counts[form] * rows[form, column]
                values[count] = constants[count]
                for column in range(columns):
                    values[count] += paths[column, count] * amounts[column]
                trial[count] = length
                count += 1
            if excess == 0.0 and length < best[0]:
                best[0] = length
                for column in range(columns):
                    best_amounts[column] = new_amounts[column]
        price_here = length * (1.0 + price * excess)
        worse = price_here - cost
        if cost < 0 or worse <= 0 or draw(state, 1 << 30) < exp(-worse / heat) * (1 << 30):
            cost = price_here
            for place in range(count):
                values[place] = trial[place]
            for cut in range(bins + 1):
                cuts[cut] = new_cuts[cut]
            for column in range(columns):
                amounts[column] = new_amounts[column]
        if count == len(constants):
            return count
    return count


FUNCTIONS = (ends_of, walk_back, draw, shift_cuts, anneal)
"""What numba compiles, each behind those that it uses."""
