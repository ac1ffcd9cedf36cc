"""Heads, tails and idle curves of all devices, raised by one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from solver.bounds.bound import Bound
from solver.bounds.idle_curves import Curve, Numbers, Pool, back_curve, front_curve, make_pool, raised_by_curve
from solver.bounds.network import Network, Reach, transposed
from solver.bounds.preceding_work import raised_heads, total_before
from solver.bounds.thinned import Thinned, limited_holds
from solver.deadline import OutOfTimeError, check_time
from solver.problem import Hold, Problem

ROUNDS = 2
MOST_ROUNDS = 16
"""After two rounds, further ones are made only as long as the longest path rises; where memory is short it may."""

MOST_PAIRS = 600_000_000
"""Pairs of tasks of one device, of all devices together; each takes two bytes."""


@dataclass
class DeviceView:
    """One device's part of a network; all arrays are by place among its members."""

    device: int
    members: NDArray[np.int64]
    work: Numbers
    least_action: Numbers
    front: Curve | None = None
    back: Curve | None = None

    @property
    def load(self) -> int:
        """The work of the device."""
        return int(self.work.sum())


@dataclass
class Inside:
    """What precedes what on a device, and its memory; ``before[x, z]``: z strictly precedes x."""

    view: DeviceView
    before: Reach
    after: Reach
    pool: Pool | None

    @cached_property
    def work_before(self) -> Numbers:
        """The work of each task's predecessors on the device."""
        return total_before(self.view.work, self.before)

    @cached_property
    def work_after(self) -> Numbers:
        """The work of each task's successors on the device."""
        return total_before(self.view.work, self.after)


@dataclass
class Analysis:
    """What is known of every task and device.

    Attributes
    ----------
    network : Network
        All precedences.
    heads, tails : list of int
        For each task: the earliest start, and the least time from its end to the end of the schedule.
    views : list of DeviceView
        The devices that have tasks.
    stages : dict of str to tuple
        Heads and tails as each argument left them that raises both, for the names of what they prove.
    """

    network: Network
    heads: list[int]
    tails: list[int]
    views: list[DeviceView]
    stages: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)

    def keep(self, argument: str) -> None:
        """Keep heads and tails as an argument leaves them."""
        self.stages[argument] = list(self.heads), list(self.tails)

    def paths(self) -> Iterator[Bound]:
        """Bound the makespan by the longest path, as each argument makes it."""
        for argument, (heads, tails) in self.stages.items():
            yield Bound(self.longest(heads, tails), argument)

    def longest(self, heads: Sequence[int], tails: Sequence[int]) -> int:
        """Find the longest time that some task takes with its head and its tail."""
        least_action = self.network.thinned.least_action
        return max((head + work + tail for head, work, tail in zip(heads, least_action, tails, strict=True)), default=0)

    def of(self, view: DeviceView) -> tuple[Numbers, Numbers]:
        """Pick the heads and the tails of one device's tasks, as arrays."""
        times = self.network.thinned.times
        heads, tails = ([values[task] for task in view.members.tolist()] for values in (self.heads, self.tails))
        return times(heads), times(tails)


def analyse(
    problem: Problem, network: Network, *, known: Analysis | None = None, deadline: float | None = None
) -> Analysis:
    """Raise heads and tails by longest paths, by the work before and after a task on its device, and by idle curves.

    Longest paths are found whatever the clock says: that is linear. The rest ends with what it has, and is not begun
    where its matrices would be too large. Heads and tails begin with those of a network that has fewer precedences,
    where they are known.
    """
    heads, tails = (None, None) if known is None else (known.heads, known.tails)
    found = Analysis(network, network.heads(heads), network.tails(tails), _views(network.thinned))
    found.keep("path")
    if sum(len(view.members) ** 2 for view in found.views) > MOST_PAIRS:
        return found
    with suppress(OutOfTimeError):
        insides = list(_insides(problem, found, deadline))
        longest, number, rises = found.longest(found.heads, found.tails), 0, True
        while number < (ROUNDS if known is None else 1) or (rises and number < MOST_ROUNDS):
            for inside in insides:
                _raise(found, inside, deadline)
            found.heads = network.heads(found.heads)
            found.tails = network.tails(found.tails)
            before, longest = longest, found.longest(found.heads, found.tails)
            number, rises = number + 1, longest > before
    found.keep("heads and tails")
    return found


def _views(thinned: Thinned) -> list[DeviceView]:
    work, least_action = thinned.times(thinned.work), thinned.times(thinned.least_action)
    members = {device: np.array(tasks, dtype=np.int64) for device, tasks in thinned.members.items()}
    return [DeviceView(device, tasks, work[tasks], least_action[tasks]) for device, tasks in members.items()]


def _insides(problem: Problem, found: Analysis, deadline: float | None) -> Iterator[Inside]:
    check_time(deadline)
    holds = limited_holds(problem)
    reach = found.network.reach(deadline=deadline)
    for view in found.views:
        check_time(deadline)
        before = reach.pop(view.device)
        pool = _pool(problem, found, view, holds.get(view.device, []), before)
        np.fill_diagonal(before, False)
        yield Inside(view, before, transposed(before), pool)


def _pool(problem: Problem, found: Analysis, view: DeviceView, holds: Sequence[Hold], reach: Reach) -> Pool | None:
    capacity = problem.capacities[view.device] if holds else None
    if capacity is None:
        return None
    keys = found.network.thinned.keys
    return make_pool(capacity, holds, {keys[task]: place for place, task in enumerate(view.members.tolist())}, reach)


def _raise(found: Analysis, inside: Inside, deadline: float | None) -> None:
    """Renew one device's curves and the heads and tails of its tasks."""
    view, pool = inside.view, inside.pool
    heads, tails = found.of(view)
    heads = raised_heads(heads, view.work, inside.before, deadline=deadline)
    tails = raised_heads(tails, view.work, inside.after, deadline=deadline)
    view.front = front_curve(heads, view.work, view.least_action, pool)
    view.back = back_curve(tails, view.work, view.least_action, pool)
    heads = raised_by_curve(heads, inside.work_before, view.front)
    tails = raised_by_curve(tails, inside.work_after, view.back)
    for task, head, tail in zip(view.members.tolist(), heads.tolist(), tails.tolist(), strict=True):
        found.heads[task] = head
        found.tails[task] = tail
