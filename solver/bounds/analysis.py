"""Heads, tails and idle curves of all devices, raised by one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from solver.bounds.bound import is_over
from solver.bounds.idle_curves import Curve, Numbers, Pool, back_curve, front_curve, make_pool, raised_by_curve
from solver.bounds.network import Network, Reach
from solver.bounds.preceding_work import raised_heads, total_before
from solver.bounds.thinned import limited_holds
from solver.problem import Hold, Problem

ROUNDS = 2


@dataclass
class DeviceView:
    """One device's part of a network; all arrays are by place among its members."""

    device: int
    members: NDArray[np.int64]
    work: Numbers
    lead: Numbers
    before: Reach
    after: Reach
    pool: Pool | None
    front: Curve | None = None
    back: Curve | None = None

    @cached_property
    def work_before(self) -> Numbers:
        """The work of each task's predecessors on the device."""
        return total_before(self.work, self.before)

    @cached_property
    def work_after(self) -> Numbers:
        """The work of each task's successors on the device."""
        return total_before(self.work, self.after)

    @property
    def load(self) -> int:
        """The work of the device."""
        return int(self.work.sum())


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
    """

    network: Network
    heads: list[int]
    tails: list[int]
    views: list[DeviceView]

    @property
    def path(self) -> int:
        """The longest path."""
        lead = self.network.thinned.lead
        return max(
            (head + work + tail for head, work, tail in zip(self.heads, lead, self.tails, strict=True)), default=0
        )

    def of(self, view: DeviceView) -> tuple[Numbers, Numbers]:
        """Pick the heads and the tails of one device's tasks, as arrays."""
        return _picked(self.heads, view), _picked(self.tails, view)


def analyse(problem: Problem, network: Network, *, deadline: float | None = None) -> Analysis:
    """Raise heads and tails by longest paths, by the work before and after a task on its device, and by idle curves."""
    found = Analysis(network, network.heads(), network.tails(), [])
    if is_over(deadline):
        return found
    reach = network.reach()
    holds = limited_holds(problem)
    found.views = [
        _view(problem, network, device, reach[device], holds.get(device, [])) for device in network.thinned.members
    ]
    for _ in range(ROUNDS):
        for view in found.views:
            if is_over(deadline):
                return found
            _raise(found, view)
        found.heads = network.heads(found.heads)
        found.tails = network.tails(found.tails)
    return found


def _view(problem: Problem, network: Network, device: int, reach: Reach, holds: Sequence[Hold]) -> DeviceView:
    thinned = network.thinned
    members = thinned.members[device]
    before = reach & ~np.eye(len(members), dtype=bool)
    pool = None
    capacity = problem.capacities[device] if holds else None
    if holds and capacity is not None:
        pool = make_pool(capacity, holds, {thinned.keys[task]: place for place, task in enumerate(members)}, reach)
    return DeviceView(
        device=device,
        members=np.array(members, dtype=np.int64),
        work=np.array([thinned.work[task] for task in members], dtype=np.int64),
        lead=np.array([thinned.lead[task] for task in members], dtype=np.int64),
        before=before,
        after=np.ascontiguousarray(before.T),
        pool=pool,
    )


def _picked(values: Sequence[int], view: DeviceView) -> Numbers:
    return np.array([values[task] for task in view.members.tolist()], dtype=np.int64)


def _raise(found: Analysis, view: DeviceView) -> None:
    """Renew one device's curves and the heads and tails of its tasks."""
    heads, tails = found.of(view)
    heads = raised_heads(heads, view.work, view.before)
    tails = raised_heads(tails, view.work, view.after)
    view.front = front_curve(heads, view.work, view.lead, view.pool)
    view.back = back_curve(tails, view.work, view.lead, view.pool)
    heads = raised_by_curve(heads, view.work_before, view.front)
    tails = raised_by_curve(tails, view.work_after, view.back)
    for task, head, tail in zip(view.members.tolist(), heads.tolist(), tails.tolist(), strict=True):
        found.heads[task] = head
        found.tails[task] = tail
