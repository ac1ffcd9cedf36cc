"""The quick lower bound on the makespan: a handful of arguments over the plain problem; the highest holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from solver.bounds.alike import alike_edges
from solver.bounds.analysis import Analysis, analyse
from solver.bounds.block_area import block_area_bound
from solver.bounds.blocks import BlocksCurve, blocks_curve
from solver.bounds.bound import Bound, best
from solver.bounds.idle_curves import joined
from solver.bounds.jackson import jackson_bound
from solver.bounds.loads import least_loads
from solver.bounds.memory_edges import plain_network, with_memory_edges
from solver.bounds.network import Network
from solver.bounds.round_trips import round_trips_bound
from solver.bounds.stretched import WholeDevice, devices_of, repeated_paths, whole_paths
from solver.deadline import OutOfTimeError, check_time, is_over
from solver.problem import Problem
from solver.repetition import LONG, Repetition, as_repetition, shortened

ARGUMENTS: Mapping[str, str] = {
    "path": "the longest chain of operations that wait for one another: for a result, for memory or for their device",
    "heads and tails": "what must precede and follow one operation: chains of operations that wait for one another, "
    "and the work and idle time of the devices on the way",
    "load": "the work of device {device}, with the time before it can start and after it must end",
    "window": "the work of device {device}, with the idle time that filling, draining and memory force on it",
    "jackson": "the work of device {device} and when each part of it can start and must be done",
    "round trips": "round trips through all devices, and what they wait for one another, as device {device} has memory "
    "for few of them",
    "blocks": "the work of device {device}, less all that overlapping can save",
    "deadline": "a deadline just below it, which no schedule can meet: too much would have to wait for memory",
    "block area": "the work of all devices, less what overlapping saves, and the memory that overlapping holds longer",
    "work": "the work of device {device}",
    "span": "the work of device {device}, with the idle time that its round trips and its memory force on it",
    "lengths": "the durations and transfers: no sum of them lies between the bound proven before and the length found",
    "search": "an exhaustive search by CP-SAT, which excludes anything shorter",
}
"""Every name that the ``piece`` of a `Bound` can have, with the words for it in an explanation."""

PERIODS = (2, 3)
"""So many tasks of each chain for every device show nearly all that the arguments show of long chains."""

WITH_SECOND = 3.5
"""With the second of these, bounds take about so many times as long as with the first alone."""

MOST_TASKS_TWICE = 10_000
"""With more tasks than this written down, the smaller number of periods has to do."""

MOST_WHOLE_PAIRS = 12_000_000
"""Up to so many pairs of tasks of one device the whole is looked at, too, where no load holds the bound."""


def makespan_bound(
    problem: Problem | Repetition, *, known: Bound | None = None, deadline: float | None = None
) -> Bound:
    """Find a time that no schedule can beat.

    Of a problem that repeats only so much is looked at as shows the rest (`solver.bounds.stretched`), whatever the
    length of its chains.

    Parameters
    ----------
    problem : Problem or Repetition
        What is scheduled; a repetition with at least two tasks of each chain for every device, better three.
    known : Bound, optional
        The best of `bounds_of_long`, where they have been found already.
    deadline : float or None
        A time of `time.perf_counter` after which the best bound so far is returned, which is at least `load_bound`.

    Returns
    -------
    Bound
        The highest; `solver.bounds.bound.Bound` lists the arguments.

    Raises
    ------
    InfeasibleError
        If memory does not suffice for any schedule.
    """
    short = [*bounds_of_long(problem, deadline=deadline)] if known is None else [known]
    if isinstance(problem, Repetition):
        return best(*short) if short else bound_as_written(problem, deadline=deadline)
    if short and not _is_worth_it(problem, best(*short)):
        return best(*short)
    return best(*short, bound_as_written(problem, deadline=deadline))


def bounds_of_long(problem: Problem | Repetition, *, deadline: float | None = None) -> Iterator[Bound]:
    """Find what the first tasks of long chains show: from few of them, then from more; nothing where chains are short.

    Parameters
    ----------
    problem, deadline
        As for `makespan_bound`.
    """
    for short in _shortened(problem):
        yield bound_as_written(short, deadline=deadline)


def sizes_to_write(devices: int, chains: int) -> list[int]:
    """Choose how many tasks of each chain are written down of a long problem, the fewest first."""
    first, *others = [max(2, periods * devices) for periods in PERIODS]
    return [first, *(size for size in others if chains * size <= MOST_TASKS_TWICE)]


def _shortened(problem: Problem | Repetition) -> Iterator[Repetition]:
    """Write less of a problem down: twice, where that is little; not at all where it is short or does not repeat."""
    small, more = (problem.problem, problem.more) if isinstance(problem, Repetition) else (problem, (0,))
    longest = max((len(chain) for chain in small.chains), default=0) + max(more)
    if longest < LONG * small.devices:
        return
    for size in sizes_to_write(small.devices, len(small.chains)):
        short = shortened(problem, size)
        if short is not None:
            yield short


def _is_worth_it(problem: Problem, known: Bound) -> bool:
    """Return whether a look at the whole may show more: where memory is short, every turn of it adds a little."""
    loads = Counter(task.device for task in problem.tasks.values())
    turned = known.piece in ("path", "heads and tails", "round trips")
    return turned and sum(load * load for load in loads.values()) <= MOST_WHOLE_PAIRS


def bound_as_written(problem: Problem | Repetition, *, deadline: float | None = None) -> Bound:
    """Find a time that no schedule of a whole can beat from all that is written down of it.

    Parameters
    ----------
    problem : Problem or Repetition
        A repetition with some tasks of each chain, better two or three for each device than fewer.
    deadline : float or None
        As for `makespan_bound`.

    Raises
    ------
    InfeasibleError
        As for `makespan_bound`.
    """
    whole = as_repetition(problem)
    found = implied_analysis(whole.problem, deadline)
    return best(bound_of(whole, found, deadline=deadline), round_trips_bound(whole))


def load_bound(problem: Problem, loads: Sequence[int] | None = None) -> Bound:
    """Find a time that no schedule can beat, in time that is linear in the number of tasks.

    The longest path; and, for each device, its load with the least head of its tasks before it and their least tail
    behind it. Every task on the device starts no earlier than the least head and ends no later than the least tail
    before the end of the schedule, and between those two moments they run one at a time.

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    loads : sequence of int, optional
        For each device how much work it has at least, in ticks, where the problem is only the first part of what is
        scheduled: each task that was left out waits for what a task of its device that is here waits for, and is
        waited for likewise. By default the work of the problem's own tasks, less all that blocks can save.
    """
    return _path_and_loads(problem, analyse(problem, plain_network(problem), deadline=0.0), loads)


def implied_network(problem: Problem, *, deadline: float | None = None) -> Network:
    """Make the network of all precedences that lose no makespan: given, by alike tasks, and by memory."""
    network = plain_network(problem)
    with suppress(OutOfTimeError):
        check_time(deadline)
        network = network.with_edges(alike_edges(problem, network, deadline=deadline))
        network = with_memory_edges(problem, network, deadline=deadline)[0]
    return network


def implied_analysis(problem: Problem, deadline: float | None = None) -> Analysis:
    """Analyse a problem with all precedences that `implied_network` finds."""
    return analyse(problem, implied_network(problem, deadline=deadline), deadline=deadline)


def bound_of(problem: Problem | Repetition, found: Analysis, *, deadline: float | None = None) -> Bound:
    """Choose the highest bound that an analysis shows.

    Parameters
    ----------
    problem : Problem or Repetition
        What is scheduled; where only the first tasks are written down, `solver.bounds.stretched` says why what they
        show is true of the whole.
    found : Analysis
        Of what is written down.
    deadline : float or None
        As for `makespan_bound`.
    """
    whole = as_repetition(problem)
    written, copies = whole.problem, whole.copies()
    highest = _path_and_loads(written, found, least_loads(written, copies.__getitem__))
    devices = list(devices_of(whole, found))
    highest = best(highest, *map(_window_bound, devices))
    with suppress(OutOfTimeError):
        if whole.is_shortened:
            highest = best(highest, *whole_paths(found, devices, deadline))
            highest = best(highest, *repeated_paths(whole, found, deadline))
        else:
            highest = best(highest, *_jackson_bounds(found, deadline))
    curves = list(_blocks_curves(written, found, devices, deadline))
    highest = best(highest, *(curve.bound for curve in curves))
    with suppress(OutOfTimeError):
        if curves:
            ends = {each.view.device: each.ends for each in devices}
            highest = best(highest, block_area_bound(written, found, curves, highest.value, copies, ends, deadline))
    return highest


def _path_and_loads(problem: Problem, found: Analysis, loads: Sequence[int] | None = None) -> Bound:
    highest = best(*found.paths())
    loads = least_loads(problem) if loads is None else loads
    for view in found.views:
        load = loads[view.device]
        heads, tails = found.of(view)
        front, back = int(heads.min()), int(tails.min())
        details: dict[str, int | str] = {"load": load, "front": front, "back": back}
        highest = best(highest, Bound(front + load + back, "load", view.device, details))
    return highest


def _window_bound(device: WholeDevice) -> Bound | None:
    curves = device.curves
    if curves is None:
        return None
    value, front, back = joined(device.load, *curves)
    details: dict[str, int | str] = {"load": device.load, "front": front, "back": back}
    return Bound(value, "window", device.view.device, details)


def _jackson_bounds(found: Analysis, deadline: float | None) -> Iterator[Bound]:
    for view in found.views:
        if is_over(deadline):
            return
        heads, tails = found.of(view)
        yield Bound(jackson_bound(heads.tolist(), view.work.tolist(), tails.tolist()), "jackson", view.device)


def _blocks_curves(
    problem: Problem, found: Analysis, devices: Sequence[WholeDevice], deadline: float | None
) -> Iterator[BlocksCurve]:
    for each in devices if problem.fusing.firsts else ():
        if is_over(deadline):
            return
        curve = blocks_curve(problem, found, each.view, each.left)
        if curve is not None:
            yield curve
