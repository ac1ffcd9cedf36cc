"""The second stage: one device or two exactly, all others as delays."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from solver.bounds.analysis import Analysis
from solver.bounds.bound import Bound, best
from solver.bounds.idle_curves import joined
from solver.bounds.jackson import jackson_bound
from solver.bounds.makespan import implied_analysis
from solver.bounds.network import Network
from solver.bounds.thinned import limited_holds
from solver.cpsat_run import run
from solver.deadline import OutOfTimeError, is_over, until
from solver.problem import Problem
from solver.resolution import largest_horizon

MOST_TASKS = 2000
PARAMETERS = {"cp_model_probing_level": 0}
NONE = -(2**60)


def relaxed_bound(
    problem: Problem,
    quick: Bound,
    *,
    deadline: float,
    upper: int | None = None,
    workers: int = 1,
    seed: int = 0,
    stop: Callable[[], bool] | None = None,
    found: Analysis | None = None,
) -> Bound:
    """Raise a bound by solving one device, then two, without the limits of the others.

    The tasks of the chosen devices keep all that they have (one at a time, memory, precedences); those of the others
    only delay them, along the longest paths through them. Each schedule of the problem is one of this relaxation, so
    what CP-SAT proves for it is true for all: its optimum, or its bound when it is stopped. Where minimising proves
    nothing, whether a middle length is possible is asked instead.

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    quick : Bound
        What is known, as `makespan_bound` finds it.
    deadline : float
        A time of `time.perf_counter`.
    upper : int or None
        The length of a known schedule, in ticks.
    workers, seed : int
        As CP-SAT knows them.
    stop : callable or None
        Asked again and again; the search ends when it says yes.
    found : Analysis, optional
        What `implied_analysis` finds, where it is known.

    Returns
    -------
    Bound
        At least as high as ``quick``.
    """
    highest = quick

    def over() -> bool:
        return is_over(deadline) or (stop is not None and stop())

    found = found or implied_analysis(problem, deadline)
    order = _by_tightness(found, quick)
    proven: dict[int, int] = {}
    attempts: list[tuple[int, ...]] = [(device,) for device in order]
    while attempts:
        devices = attempts.pop(0)
        if over() or (upper is not None and highest.value >= upper):
            break
        if sum(len(found.network.thinned.members[device]) for device in devices) <= MOST_TASKS:
            now = time.perf_counter()
            until = now + (deadline - now) / (len(attempts) + (2 if len(devices) == 1 else 1))
            try:
                relaxation = Relaxation.of(problem, found, devices, over)
            except OutOfTimeError:
                break
            value = _prove(relaxation, quick.value, until, upper, workers, seed, stop)
            details: dict[str, int | str] = {"devices" if devices[1:] else "device": ", ".join(map(str, devices))}
            highest = best(highest, Bound(value, "device relaxation", devices[0], details))
            proven[devices[0]] = max(value, proven.get(devices[0], 0))
        if not attempts and len(devices) == 1:
            attempts = _pairs(found, order, proven)
    return highest


def _pairs(found: Analysis, order: Sequence[int], proven: dict[int, int]) -> list[tuple[int, ...]]:
    """Pair the device that proved most with the one that starts first, and with the next that proved most."""
    ranked = sorted(order, key=lambda device: -proven.get(device, 0))
    starts = {view.device: int(found.of(view)[0].min()) for view in found.views}
    others = [min(ranked[1:], key=starts.__getitem__), ranked[1]] if len(ranked) > 1 else []
    return [(ranked[0], device) for device in dict.fromkeys(others)]


def _by_tightness(found: Analysis, quick: Bound) -> list[int]:
    """Order the devices by what bounds them singly, the one that a quick bound is about first."""
    tightness: dict[int, int] = {}
    for view in found.views:
        heads, tails = found.of(view)
        value = jackson_bound(heads.tolist(), view.work.tolist(), tails.tolist())
        if view.front is not None and view.back is not None:
            value = max(value, joined(view.load, view.front, view.back)[0])
        tightness[view.device] = value
    return sorted(tightness, key=lambda device: (device != quick.device, -tightness[device], -device))


@dataclass(frozen=True)
class Relaxation:
    """Some tasks with the delays between them, in units of ``unit`` ticks.

    Attributes
    ----------
    tasks, device, work, head, tail : sequences
        The tasks by their number, and for each what it is.
    delays : list of (int, int, int)
        Places before and after, and the least time from end to start.
    holds : dict of int to list of (int, int, int)
        For each device: places of a take and a return, and how much.
    capacities : dict of int to int
        For each of those devices.
    unit : int
        How many ticks one unit of time is.
    """

    tasks: Sequence[int]
    device: Sequence[int]
    work: Sequence[int]
    head: Sequence[int]
    tail: Sequence[int]
    delays: Sequence[tuple[int, int, int]]
    holds: dict[int, list[tuple[int, int, int]]]
    capacities: dict[int, int]
    unit: int

    @classmethod
    def of(
        cls, problem: Problem, found: Analysis, devices: Sequence[int], over: Callable[[], bool] = lambda: False
    ) -> Relaxation:
        """Keep some devices of an analysed problem.

        Raises
        ------
        OutOfTimeError
            If it is over first.
        """
        thinned = found.network.thinned
        tasks = [task for device in devices for task in thinned.members[device]]
        place = {task: at for at, task in enumerate(tasks)}
        horizon = sum(thinned.work) + sum(thinned.least_action) + sum(lag for *_, lag in found.network.edges)
        step = -(-horizon // largest_horizon(len(tasks))) or 1
        holds: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for device, limited in limited_holds(problem).items():
            for hold in limited if device in devices else ():
                returns = [(thinned.number[task], part) for task, part in hold.returns if part]
                take = place[thinned.number[hold.take]]
                holds[device] += [(take, place[task], part) for task, part in returns if task in place]
        return cls(
            tasks=tasks,
            device=[thinned.device[task] for task in tasks],
            work=[thinned.work[task] // step for task in tasks],
            head=[found.heads[task] // step for task in tasks],
            tail=[found.tails[task] // step for task in tasks],
            delays=[(a, b, lag // step) for a, b, lag in _delays(found.network, tasks, over)],
            holds=holds,
            capacities={device: problem.capacities[device] or 0 for device in holds},
            unit=step,
        )


def _delays(network: Network, tasks: Sequence[int], over: Callable[[], bool]) -> list[tuple[int, int, int]]:
    """Find the longest paths between tasks through others, without those that paths through the tasks imply."""
    place = {task: at for at, task in enumerate(tasks)}
    least_action, size = network.thinned.least_action, len(tasks)
    longest: dict[int, NDArray[np.int64]] = {}
    for task in until(over, network.order):
        row = np.full(size, NONE, dtype=np.int64)
        for before, lag in network.preds[task]:
            if before in place:
                row[place[before]] = max(lag, int(row[place[before]]))
            else:
                np.maximum(row, longest[before] + (least_action[before] + lag), out=row)
        longest[task] = row
    between = np.array([longest[task] for task in tasks], dtype=np.int64)
    between[between < 0] = NONE
    work = np.array([network.thinned.work[task] for task in tasks], dtype=np.int64)
    implied = np.full_like(between, NONE)
    for middle in range(size):
        if over():
            raise OutOfTimeError
        np.maximum(implied, between[:, middle, None] + (between[middle] + work[middle])[None, :], out=implied)
    needed = np.argwhere((between >= 0) & (implied < between)).tolist()
    return [(before, after, int(between[after, before])) for after, before in needed]


def _model(relaxation: Relaxation, least: int, most: int) -> tuple[cp_model.CpModel, cp_model.IntVar]:
    model = cp_model.CpModel()
    makespan = model.new_int_var(least, most, "makespan")
    starts: list[Any] = []
    intervals: dict[int, list[cp_model.IntervalVar]] = defaultdict(list)
    for device, work, head, tail in zip(
        relaxation.device, relaxation.work, relaxation.head, relaxation.tail, strict=True
    ):
        if head + work + tail > most:
            model.add_bool_or([])  # nothing fits: the model is infeasible
        start = model.new_int_var(head, max(head, most - tail - work), "")
        starts.append(start)
        model.add(makespan >= start + (work + tail))
        intervals[device].append(model.new_fixed_size_interval_var(start, work, ""))
    for of_device in intervals.values():
        model.add_no_overlap(of_device)
    for before, after, lag in relaxation.delays:
        model.add(starts[after] >= starts[before] + (relaxation.work[before] + lag))
    for device, parts in relaxation.holds.items():
        live = []
        for take, end, _ in parts:
            length = model.new_int_var(0, most, "")
            live.append(model.new_interval_var(starts[take], length, starts[end] + relaxation.work[end], ""))
        model.add_cumulative(live, [part for *_, part in parts], relaxation.capacities[device])
    return model, makespan


def _prove(
    relaxation: Relaxation,
    known: int,
    until: float,
    upper: int | None,
    workers: int,
    seed: int,
    stop: Callable[[], bool] | None,
) -> int:
    """Raise a bound as far as one relaxation shows in the time given."""
    unit = relaxation.unit
    least = known // unit
    top = upper // unit if upper is not None else _horizon(relaxation)
    half = (time.perf_counter() + until) / 2
    model, makespan = _model(relaxation, least, max(least, top))
    model.minimize(makespan)
    asking: dict[str, Any] = {
        "stop": stop or (lambda: False),
        "workers": workers,
        "seed": seed,
        "parameters": PARAMETERS,
    }
    result = run(model, [makespan], deadline=half, **asking)
    if result.status == "infeasible":
        return max(known, (max(least, top) + 1) * unit) if upper is not None else known
    proven = least if result.bound is None else result.bound
    low = max(least, min(proven, max(least, top)))
    if result.status == "optimal":
        return max(known, low * unit)
    high = max(least, top) if result.values is None else result.values[0]
    while low < high and not is_over(until) and not (stop is not None and stop()):
        middle = (low + high) // 2
        asked, _ = _model(relaxation, low, middle)
        now = time.perf_counter()
        if run(asked, deadline=now + (until - now) / 2, **asking).status == "infeasible":
            low = middle + 1
        else:
            high = middle  # possible, or not shown to be impossible: less is easier to refute
    return max(known, low * unit)


def _horizon(relaxation: Relaxation) -> int:
    """Bound the length of some schedule of a relaxation from above."""
    ends = [head + tail for head, tail in zip(relaxation.head, relaxation.tail, strict=True)]
    return sum(relaxation.work) + sum(lag for *_, lag in relaxation.delays) + max(ends) + max(relaxation.head)
