"""Searching for the order in which microbatches are fed to a given schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain, pairwise
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from solver.errors import DeadlockError
from solver.numbered import Numbered, NumberedOrders, TaskTable, number_orders
from solver.problem import Orders, Problem
from solver.search.feeding import Feeding
from solver.search.feeding_loops import Fed
from strategies.model.actions import KINDS, OpNames
from strategies.model.items import pyramid, work_of
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.model.static_memory import static_memory
from strategies.problem.dependencies import build_problem, split_as_in

STEPS = 200_000
"""The most orders that are tried where no clock runs; fewer of a schedule with many operations."""

MOST_ACTIONS = 100_000_000
"""The most actions that are replayed where no clock runs, which take about a second."""

Numbers = NDArray[np.int64]


class FoundFeed(NamedTuple):
    """A feeding order.

    Attributes
    ----------
    feed : tuple of int
        The numbers of the listed microbatches, in the order in which they are fed.
    makespan : float
        The makespan with it, in the unit of time, as the search counts it.
    fits : bool
        Whether it keeps the memory limit.
    """

    feed: tuple[int, ...]
    makespan: float
    fits: bool


def search_feed(
    pipeline: Pipeline,
    placement: Placement,
    orders: Orders,
    *,
    deadline: float | None = None,
    seed: int = 0,
) -> list[FoundFeed]:
    """Search for the order of feeding microbatches with which a schedule is shortest, within its memory limit.

    Parameters
    ----------
    pipeline : Pipeline
        The costs, cut into stages, with microbatches that differ.
    placement : Placement
        Which device holds which stage.
    orders : sequence of sequence of (Op or Block)
        The actions of each device, by places of the feeding order.
    deadline : float, optional
        On the clock of `time.perf_counter`; without one, the effort depends on the schedule alone.
    seed : int
        The seed of the search.

    Returns
    -------
    list of FoundFeed
        The best one found, and those that the search began with: as listed, the pyramid, sorted both ways. The best
        comes first; those that do not fit the memory come last.

    Raises
    ------
    InputError
        If transfers wait, or microbatches are cut into different numbers of slices.
    """
    pipeline.refuse_waits("feed: best")
    listed = pipeline.model_copy(update={"feed": "given"})
    fed = write_fed(listed, placement, orders)
    each = listed.slices_of_each
    feeding = Feeding(fed, len(listed.items.classes), listed.items.of.tolist(), each)
    work = [work_of(factors, listed.weights) for factors in listed.items.classes]
    by_item = [sum(work[part] for part in parts) for parts in listed.items.of.reshape(-1, each).tolist()]
    rising = sorted(range(len(by_item)), key=by_item.__getitem__)
    starts = [range(len(by_item)), pyramid([Fraction(each) for each in by_item]), rising, rising[::-1]]
    steps = STEPS if deadline is not None else min(STEPS, MOST_ACTIONS // max(1, len(fed.row)))
    found = feeding.search(starts, deadline=deadline, steps=10**12 if deadline is not None else steps, seed=seed)
    feeds = [FoundFeed(tuple(order), feeding.makespan(order), feeding.fits(order)) for _, order in found]
    return sorted(feeds, key=lambda each: (not each.fits, each.makespan) if feeds[0].fits else (False, 0.0))


def fed_best(
    pipeline: Pipeline,
    placement: Placement,
    orders: Orders,
    *,
    deadline: float | None = None,
    seed: int = 0,
) -> tuple[Pipeline, str]:
    """Feed microbatches in the best order that a search finds for a schedule.

    Parameters
    ----------
    pipeline, placement, orders, deadline, seed
        As for `search_feed`.

    Returns
    -------
    pipeline : Pipeline
        With that order.
    note : str
        How much it saves.
    """
    if pipeline.entries is None:
        return pipeline.model_copy(update={"feed": "given"}), "feed: all microbatches cost the same, in whatever order"
    found = search_feed(pipeline, placement, orders, deadline=deadline, seed=seed)
    best, pyramid_, given = (
        next(each for each in found if each.feed == feed)
        for feed in (
            found[0].feed,
            *(pipeline.model_copy(update={"feed": name}).items.feed for name in ("pyramid", "given")),
        )
    )
    saved = ", ".join(_saved(best, other, name) for other, name in ((given, "as listed"), (pyramid_, "as a pyramid")))
    over = "" if best.fits else "; no order that was tried fits the memory"
    return pipeline.model_copy(update={"feed": best.feed}), f"feed: fed in the best order found, {saved}{over}"


def _saved(best: FoundFeed, other: FoundFeed, name: str) -> str:
    if best.fits and not other.fits:
        return f"{name} it would not fit the memory"
    return f"{1 - best.makespan / other.makespan:.2%} shorter than {name}"


def write_fed(pipeline: Pipeline, placement: Placement, orders: Orders, costs: Pipeline | None = None) -> Fed:
    """Write a fixed order for the search, with lengths, lags and amounts by stage and class of items.

    Parameters
    ----------
    pipeline, placement, orders
        As for `search_feed`.
    costs : Pipeline, optional
        The same pipeline with the classes of items that are fed, if these are others.
    """
    costs = pipeline if costs is None else costs
    problem = build_problem(pipeline, placement, split_as_in(orders))
    tasks = cast("TaskTable", problem.tasks)
    parts = _Parts.of(tasks, placement)
    written = number_orders(Numbered(problem), orders)
    first = np.flatnonzero(np.diff(written.action, prepend=-1))
    fused = np.diff(np.append(first, len(written.action))) > 1
    one, two = written.tasks[first], written.tasks[np.minimum(first + 1, len(written.tasks) - 1)]
    waits = _waits(problem, written, parts)
    turn = _in_turn(waits)
    place = np.empty(len(turn), dtype=np.int64)
    place[turn] = np.arange(len(turn))
    in_turn = [waits[action] for action in turn.tolist()]
    wait = np.array(list(chain.from_iterable(in_turn)), dtype=np.int64).reshape(-1, 3)
    changes = [list(_changes(written, device, parts)) for device in range(problem.devices)]
    change = np.array(list(chain.from_iterable(changes)), dtype=np.int64).reshape(-1, 2)
    length, work, lag, amount = _tables(costs, placement)
    slots = (parts.item[one][turn], np.where(fused, parts.item[two], parts.item[one])[turn])
    halves = (parts.row[one][turn], np.where(fused, parts.row[two], -1)[turn])
    least = [each.reshape(-1, len(costs.items.classes)).min(axis=1) for each in (length, work, lag)]
    starts = np.cumsum([0, *map(len, in_turn)])
    overlap = float(pipeline.overlap or 0)
    return Fed(
        row=halves[0],
        slot=slots[0],
        second_row=halves[1],
        second_slot=slots[1],
        wait_start=starts,
        wait_action=place[wait[:, 0]],
        wait_row=wait[:, 1].copy(),
        wait_slot=wait[:, 2].copy(),
        change_start=np.cumsum([0, *map(len, changes)]),
        change_row=change[:, 0].copy(),
        change_slot=change[:, 1].copy(),
        touched=_touched(slots, starts, wait, placement.microbatches),
        tail=_tails(halves, starts, place[wait[:, 0]], wait[:, 1], least, overlap),
        length=length,
        work=work,
        lag=lag,
        amount=amount,
        room=_room(pipeline, placement),
        saved=overlap,
    )


def _touched(slots: tuple[Numbers, Numbers], starts: Numbers, wait: Numbers, items: int) -> Numbers:
    """Find for each slot the first action that depends on what is in it."""
    touched = np.full(items, len(slots[0]), dtype=np.int64)
    for column in slots:
        np.minimum.at(touched, column, np.arange(len(column)))
    waiting = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    lagging = wait[:, 1] >= 0
    np.minimum.at(touched, wait[lagging, 2], waiting[lagging])
    return touched


def _tails(
    halves: tuple[Numbers, Numbers],
    starts: Numbers,
    before: Numbers,
    lag_row: Numbers,
    least: Sequence[NDArray[np.float64]],
    overlap: float,
) -> NDArray[np.float64]:
    """Find for each action the least time from its end to the last end, whatever the slots hold.

    A block is at least as long as its longer half, or with σ > 1 as 2 − σ of it.
    """
    length, work, lag = (each.tolist() for each in least)
    tail = [0.0] * len(halves[0])
    halves_of = zip(halves[0].tolist(), halves[1].tolist(), strict=True)
    part = min(1.0, 2.0 - overlap)
    lasts = [part * max(length[one], work[two]) if two >= 0 else length[one] for one, two in halves_of]
    begin, waits, rows = starts.tolist(), before.tolist(), lag_row.tolist()
    for action in reversed(range(len(tail))):
        behind = tail[action] + lasts[action]
        for place in range(begin[action], begin[action + 1]):
            after = behind + (lag[rows[place]] if rows[place] >= 0 else 0.0)
            if after > tail[waits[place]]:
                tail[waits[place]] = after
    return np.array(tail) * (1 - 1e-12)  # floats that are added in another order


class _Parts(NamedTuple):
    """For each task: the row of its costs, by direction, stage and kind; its kind; and the place that it is fed in."""

    row: Numbers
    kind: Numbers
    item: Numbers

    @classmethod
    def of(cls, tasks: TaskTable, placement: Placement) -> _Parts:
        names = cast("OpNames", tasks.names)
        stage, kind, item = names.parts(tasks.codes)
        direction = np.zeros(len(stage), dtype=np.int64)
        for number, (part, _) in enumerate(placement.directions()):
            direction[(item >= part.start) & (item < part.stop)] = number
        return cls((direction * names.stages + stage) * len(KINDS) + kind, kind, item)


def _waits(problem: Problem, written: NumberedOrders, parts: _Parts) -> list[list[tuple[int, int, int]]]:
    """List for each action what it waits for: an action, the row of the lag behind it (−1 for none), and its slot."""
    numbered = Numbered(problem)
    action_of = np.empty(len(written.tasks), dtype=np.int64)
    action_of[written.tasks] = written.action
    waits: list[list[tuple[int, int, int]]] = [[] for _ in range(written.bounds[-1])]
    for start, end in pairwise(written.bounds):
        for action in range(start + 1, end):
            waits[action].append((action - 1, -1, 0))
    before, after = numbered.precedences.before, numbered.precedences.after
    crosses = numbered.device[before] != numbered.device[after]
    before, after = before[crosses], after[crosses]
    columns = (action_of[before], parts.row[before], parts.item[before], action_of[after])
    for action, row, slot, waiting in zip(*(column.tolist() for column in columns), strict=True):
        waits[waiting].append((action, row, slot))
    return waits


def _in_turn(waits: Sequence[Sequence[tuple[int, int, int]]]) -> Numbers:
    """Order actions such that each comes behind all that it waits for."""
    missing = [len(each) for each in waits]
    then: list[list[int]] = [[] for _ in waits]
    for action, each in enumerate(waits):
        for before, _, _ in each:
            then[before].append(action)
    ready = [action for action, count in enumerate(missing) if not count]
    for action in ready:
        for behind in then[action]:
            missing[behind] -= 1
            if not missing[behind]:
                ready.append(behind)
    if len(ready) < len(waits):
        raise DeadlockError([])
    return np.array(ready, dtype=np.int64)


def _changes(written: NumberedOrders, device: int, parts: _Parts) -> Iterator[tuple[int, int]]:
    """List the changes of a device's memory in order: what an action takes when it starts, and returns when it ends."""
    tasks = written.tasks[np.searchsorted(written.action, written.bounds[device]) :]
    action = written.action[np.searchsorted(written.action, written.bounds[device]) :]
    tasks = tasks[action < written.bounds[device + 1]]
    yield from zip(parts.row[tasks].tolist(), parts.item[tasks].tolist(), strict=True)  # of a block F comes first


def _tables(pipeline: Pipeline, placement: Placement) -> tuple[NDArray[np.float64], ...]:
    """List lengths, work, lags behind and amounts for each direction, stage, kind and class of items."""
    rows: list[list[tuple[float, float, float, float]]] = []
    for homes in placement.homes:
        for stage, device in enumerate(homes):
            onward = homes[min(stage + 1, len(homes) - 1)], homes[max(stage - 1, 0)]
            costs = [works[stage] for works in pipeline.costs_by_class]
            own = [cost.slowed(pipeline.pace(device)) for cost in costs]
            full = [pipeline.with_pace(cost, device) for cost in costs]
            hops = [
                (
                    pipeline.hop(min(stage, len(homes) - 2), device, onward[0], "F", each).lag,
                    pipeline.hop(max(stage - 1, 0), device, onward[1], "B", each).lag,
                )
                for each in pipeline.items.classes
            ]
            for number, kind in enumerate(KINDS):
                rows.append(
                    [
                        (
                            float(whole.durations[number]),
                            float(work.durations[number]),
                            float(lags[0] if kind == "F" else lags[1]),
                            float(cost.changes[kind]),
                        )
                        for whole, work, lags, cost in zip(full, own, hops, costs, strict=True)
                    ]
                )
    length, work, lag, amount = np.array(rows, dtype=np.float64).reshape(-1, 4).T.copy()
    return length, work, lag, amount


def _room(pipeline: Pipeline, placement: Placement) -> NDArray[np.float64]:
    """Return each device's memory for what is taken."""
    pairs = zip(pipeline.limits, static_memory(pipeline, placement), strict=True)
    return np.array([np.inf if limit is None else max(float(limit - static), 1e-300) for limit, static in pairs])
