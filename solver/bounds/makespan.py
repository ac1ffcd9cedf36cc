"""The quick lower bound on the makespan: five arguments over the plain problem; the highest holds."""

from __future__ import annotations

from solver.bounds.alike import alike_edges
from solver.bounds.analysis import Analysis, DeviceView, analyse
from solver.bounds.area import area_bound, hold_lengths
from solver.bounds.blocks import blocks_bound
from solver.bounds.bound import Bound, best, is_over
from solver.bounds.idle_curves import joined
from solver.bounds.jackson import jackson_bound
from solver.bounds.memory_edges import plain_network, with_memory_edges
from solver.bounds.network import Network
from solver.bounds.thinned import limited_holds
from solver.problem import Problem


def makespan_bound(problem: Problem, *, deadline: float | None = None) -> Bound:
    """Find a time that no schedule can beat.

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    deadline : float or None
        A time of `time.perf_counter` after which the best bound so far is returned.

    Returns
    -------
    Bound
        The highest of the longest path and, for each device: its load with the least head before and the least tail
        behind it (``load``) or with all that its idle curves show (``window``), Jackson's preemptive bound, the area
        that memory needs, and what blocks can save (``blocks``).

    Raises
    ------
    InfeasibleError
        If memory does not suffice for any schedule.
    """
    network = implied_network(problem, deadline=deadline)
    return bound_of(problem, analyse(problem, network, deadline=deadline), deadline=deadline)


def implied_network(problem: Problem, *, deadline: float | None = None) -> Network:
    """Make the network of all precedences that lose no makespan: given, by alike tasks, and by memory."""
    network = plain_network(problem)
    if is_over(deadline):
        return network
    network = network.with_edges(alike_edges(problem, network))
    return with_memory_edges(problem, network, deadline=deadline)[0]


def bound_of(problem: Problem, found: Analysis, *, deadline: float | None = None) -> Bound:
    """Choose the highest bound that an analysis shows."""
    step = found.network.thinned.step
    highest = Bound(found.path * step, "path")
    for view in found.views:
        highest = best(highest, _load_bound(found, view), _window_bound(found, view))
        if not is_over(deadline):
            highest = best(highest, _jackson_bound(found, view))
    for view in found.views if problem.fusing.firsts else ():
        if not is_over(deadline):
            highest = best(highest, blocks_bound(problem, found, view))
    return best(highest, *_area_bounds(problem, found, deadline, highest.value // step))


def _load_bound(found: Analysis, view: DeviceView) -> Bound:
    heads, tails = found.of(view)
    head, tail, step = int(heads.min()), int(tails.min()), found.network.thinned.step
    details: dict[str, int | str] = {"load": view.load * step, "front": head * step, "back": tail * step}
    return Bound((head + view.load + tail) * step, "load", view.device, details)


def _window_bound(found: Analysis, view: DeviceView) -> Bound | None:
    if view.front is None or view.back is None:
        return None
    value, front, back = joined(view.load, view.front, view.back)
    step = found.network.thinned.step
    details: dict[str, int | str] = {"load": view.load * step, "front": front * step, "back": back * step}
    return Bound(value * step, "window", view.device, details)


def _jackson_bound(found: Analysis, view: DeviceView) -> Bound:
    heads, tails = found.of(view)
    value = jackson_bound(heads.tolist(), view.work.tolist(), tails.tolist())
    return Bound(value * found.network.thinned.step, "jackson", view.device)


def _area_bounds(problem: Problem, found: Analysis, deadline: float | None, known: int) -> list[Bound]:
    if is_over(deadline):
        return []
    lengths = hold_lengths(problem, found.network)
    thinned = found.network.thinned
    heads = dict(zip(thinned.keys, found.heads, strict=True))
    tails = dict(zip(thinned.keys, found.tails, strict=True))
    return [
        Bound(
            area_bound(holds, problem.capacities[device] or 0, lengths, heads, tails, known) * thinned.step,
            "area",
            device,
        )
        for device, holds in limited_holds(problem).items()
    ]
