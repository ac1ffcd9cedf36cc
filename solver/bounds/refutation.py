"""Deadlines that no schedule meets: windows of time and memory force precedences until they contradict.

Suppose that a schedule ends by a deadline. Then every task starts at its head or later, and ends by the deadline less
its tail or earlier. Of that follows, for the tasks of one device, in every such schedule:

- *Order.* If the earliest end of u is later than the latest start of v, then u is not before v. One of the two is
  before the other, since the device runs one at a time; so v is before u.
- *Memory.* As `solver.bounds.memory_edges` shows, a return y ends before a take x starts if too much is held at one
  moment otherwise: at the start of x, or at the later of that and of the last take that starts before the end of y.
  What is held then are takes that have started, less returns that may have ended. Precedences show which these are, and
  so do windows: the head of one task is no less than the latest start or end of another (`LimitedMemory`).
- These precedences raise heads and tails, by longest paths, by the work before and after a task, and by idle curves
  (`solver.bounds.analysis`), all of which hold in every schedule that obeys them. So windows become narrower, and more
  follows.

If precedences form a cycle, if memory does not suffice whatever the order, or if what the precedences show is a bound
beyond the deadline, there is no such schedule, and the deadline and one tick is a bound: makespans are whole numbers of
ticks. Alike tasks are exchanged first (`solver.bounds.alike`), which makes no schedule longer. Problems with blocks are
left out: there, two halves are on a device at one time.

What it is worth: row `refutation` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from solver.bounds.analysis import Analysis, DeviceView, analyse
from solver.bounds.bound import Bound
from solver.bounds.makespan import bound_of, implied_analysis
from solver.bounds.memory_edges import LimitedMemory, Windows, limited_memories
from solver.bounds.network import Cycle, Edge, Reach
from solver.bounds.products import product
from solver.deadline import OutOfTimeError, check_time
from solver.errors import InfeasibleError
from solver.problem import Problem

FINEST = 2048
"""No step that raises the bound is smaller than the bound divided by this."""

MOST_PAIRS = 2_000_000
"""With more pairs of tasks of one device, of all devices together, a single deadline takes many seconds."""


def refuted_bounds(problem: Problem, known: int, *, deadline: float | None = None) -> Iterator[Bound]:
    """Raise a bound by refuting deadlines: steps grow until one fails, then they are halved.

    Parameters
    ----------
    problem : Problem
        What is scheduled. Nothing is looked for where no memory is short, since windows alone show little, nor where
        there are very many tasks.
    known : int
        A bound that is known.
    deadline : float or None
        A time of `time.perf_counter` after which nothing more is looked for.

    Yields
    ------
    Bound
        Each higher than the one before.
    """
    if problem.fusing.firsts or len(problem.tasks) ** 2 > MOST_PAIRS * problem.devices:
        return
    with suppress(OutOfTimeError):
        check_time(deadline)
        found = implied_analysis(problem, deadline)
        limits = limited_memories(problem, found.network)
        if not limits:
            return
        finest = max(1, known // FINEST)
        step, grows = finest, True
        while step >= finest:
            if is_refuted(problem, found, limits, known + step - 1, deadline=deadline):
                known += step
                yield Bound(known, "deadline")
            else:
                grows = False
            step = 4 * step if grows else step // 2


def is_refuted(
    problem: Problem, found: Analysis, limits: dict[int, LimitedMemory], length: int, *, deadline: float | None = None
) -> bool:
    """Return whether it is shown that no schedule takes at most this long.

    Parameters
    ----------
    problem, found : Problem, Analysis
        What is scheduled, and what is known of it whatever the length.
    limits : dict of int to LimitedMemory
        The memory of devices where it is short.
    length : int
        In ticks.
    deadline : float or None
        On the clock of `time.perf_counter`.

    Raises
    ------
    OutOfTimeError
        If the deadline passes first.
    """
    while bound_of(problem, found, deadline=deadline).value <= length:
        check_time(deadline)
        try:
            edges = list(_forced(found, limits, length, deadline))
            if not edges:
                return False
            network = found.network.with_edges(edges)
        except (Cycle, InfeasibleError):
            return True
        found = analyse(problem, network, known=found, deadline=deadline)
    return True


def _forced(found: Analysis, limits: dict[int, LimitedMemory], length: int, deadline: float | None) -> Iterator[Edge]:
    """List the precedences that the windows force on the tasks of each device, without those that are known."""
    reach = found.network.reach(deadline=deadline)
    for view in found.views:
        check_time(deadline)
        heads, tails = found.of(view)
        windows = Windows(heads, length - tails - view.work, heads + view.work, length - tails)
        before = reach[view.device]
        yield from _ordered(view, before, windows, deadline)
        if view.device in limits:
            yield from limits[view.device].implied_edges(before, windows, deadline=deadline)


def _ordered(view: DeviceView, before: Reach, windows: Windows, deadline: float | None) -> Iterator[Edge]:
    """List which tasks are too late to precede which: ``late[u, v]``, v is before u."""
    late = (windows.first_end[:, None] > windows.last_start[None, :]) & ~before & ~before.T
    if (late & late.T).any():
        raise Cycle
    known = (before | late).astype(np.float32)
    np.fill_diagonal(known, 0)
    direct = late & ~(product(known, known, deadline=deadline) > 0)
    for after, first in np.argwhere(direct).tolist():
        yield int(view.members[first]), int(view.members[after]), 0
