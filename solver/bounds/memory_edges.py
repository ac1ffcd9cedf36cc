"""Precedences that limited memory implies: what must be returned before what can be taken.

What it is worth: row `memory-edges` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.bounds.network import Cycle, Edge, Network, Reach
from solver.bounds.products import product
from solver.bounds.thinned import limited_holds, thin
from solver.deadline import OutOfTimeError, is_over
from solver.errors import InfeasibleError
from solver.problem import Hold, Precedence, Problem

MOST_ROUNDS = 3
LARGEST_SINGLE = 2**24
"""Whole numbers below this are exact as 32-bit floats, in which matrices are multiplied fastest."""
LARGEST_DOUBLE = 2**53


def memory_edges(problem: Problem, *, deadline: float | None = None) -> list[Precedence]:
    """Find precedences (return, take, 0) that every schedule obeys, given the problem's own.

    Suppose that the take x starts before the return y ends, and count what must then be held at one moment.

    At the start of x: every take that precedes (or is) x has started, and no return that follows (or is) x or y has
    ended. At the later of that and of the last take that y follows, which is before the end of y: every take that
    precedes x or y has started, and no return that follows y has ended. If either count exceeds the capacity, then y
    ends before x starts. What is found makes further tasks precede each other, so this is done in up to three rounds.

    With one take a microbatch and device, in order, this is the exact form of a limit: W(k − c) → F(k).

    Parameters
    ----------
    problem : Problem
        What is scheduled.
    deadline : float or None
        A time of `time.perf_counter` after which nothing more is looked for.

    Returns
    -------
    list of Precedence
        Without those that others imply.

    Raises
    ------
    InfeasibleError
        If a count exceeds the capacity whatever the order.
    """
    network = plain_network(problem)
    _, found = with_memory_edges(problem, network, deadline=deadline)
    keys = network.thinned.keys
    return [(keys[before], keys[after], 0) for before, after, _ in found]


def plain_network(problem: Problem) -> Network:
    """Make the network of the problem's own precedences."""
    thinned = thin(problem)
    return Network(thinned, thinned.edges)


def with_memory_edges(
    problem: Problem, network: Network, *, deadline: float | None = None
) -> tuple[Network, list[Edge]]:
    """Add to a network the precedences that memory implies; also list them alone."""
    limits = limited_memories(problem, network)
    found: list[Edge] = []
    fresh = set(limits)
    for _ in range(MOST_ROUNDS):
        if not fresh or is_over(deadline):
            break
        edges: dict[int, list[Edge]] = {}
        with suppress(OutOfTimeError):
            reach = network.reach(deadline=deadline)
            for device, limit in limits.items():
                edges[device] = limit.implied_edges(reach[device], deadline=deadline)
        fresh = {device for device, implied in edges.items() if implied}
        found += [edge for implied in edges.values() for edge in implied]
        network = _extended(network, edges, limits)
    return network, found


def _extended(network: Network, edges: Mapping[int, Sequence[Edge]], limits: Mapping[int, LimitedMemory]) -> Network:
    try:
        return network.with_edges(edge for implied in edges.values() for edge in implied)
    except Cycle:
        raise _deadlock(network, edges, limits) from None


def _deadlock(
    network: Network, edges: Mapping[int, Sequence[Edge]], limits: Mapping[int, LimitedMemory]
) -> InfeasibleError:
    """Name the first device whose limit, with those before it, lets the devices wait for each other in a cycle."""
    device = next(iter(edges))
    for device, implied in edges.items():  # noqa: B007 - the last one is the one that is named
        try:
            network = network.with_edges(implied)
        except Cycle:
            break
    return _lacking(device, limits[device].capacity + 1, limits[device].capacity)


def _lacking(device: int, needed: int, capacity: int) -> InfeasibleError:
    message = f"memory.limit: device {device} must hold {needed} at one time, but has {capacity}"
    return InfeasibleError(message, device, needed, capacity)


def limited_memories(problem: Problem, network: Network) -> dict[int, LimitedMemory]:
    """Read the holds of each device whose memory can run out."""
    limits: dict[int, LimitedMemory] = {}
    for device, holds in limited_holds(problem).items():
        capacity, total = problem.capacities[device], sum(hold.amount for hold in holds)
        if capacity is not None and capacity < total:
            limits[device] = _limited_memory(network, device, capacity, holds)
    return limits


def _limited_memory(network: Network, device: int, capacity: int, holds: Sequence[Hold]) -> LimitedMemory:
    place = {network.thinned.keys[task]: at for at, task in enumerate(network.thinned.members[device])}
    unit = -(-sum(hold.amount for hold in holds) // (LARGEST_DOUBLE - 1))  # rounded down: what exceeds still does
    parts = [
        (place[hold.take], place[task], part // unit) for hold in holds for task, part in hold.returns if task in place
    ]
    takes, returns, amounts = zip(*parts, strict=True) if parts else ((), (), ())
    exact: Any = np.float32 if sum(amounts) < LARGEST_SINGLE else np.float64
    return LimitedMemory(
        device=device,
        capacity=capacity // unit,
        members=network.thinned.members[device],
        takes=np.array(takes, dtype=np.int64),
        returns=np.array(returns, dtype=np.int64),
        parts=np.array(amounts, dtype=exact),
    )


class Windows(NamedTuple):
    """Within what times each task of a device starts and ends, by place."""

    first_start: NDArray[Any]
    last_start: NDArray[Any]
    first_end: NDArray[Any]
    last_end: NDArray[Any]


@dataclass(frozen=True)
class LimitedMemory:
    """What is taken and returned on one device.

    Attributes
    ----------
    device, capacity : int
        Where, and how much there is.
    members : sequence of int
        The tasks of the device.
    takes, returns, parts : arrays
        For each part of a hold: the place among the members of the task that takes it and of that which returns it, and
        how much it is.
    """

    device: int
    capacity: int
    members: Sequence[int]
    takes: NDArray[np.int64]
    returns: NDArray[np.int64]
    parts: NDArray[Any]

    def implied_edges(
        self, reach: Reach, windows: Windows | None = None, *, deadline: float | None = None
    ) -> list[Edge]:
        """List which returns must end before which takes, without what is known and what others imply.

        Parameters
        ----------
        reach : matrix
            What is known to precede what.
        windows : Windows, optional
            When each task runs, where that is known.
        deadline : float or None
            On the clock of `time.perf_counter`.

        Raises
        ------
        OutOfTimeError
            If the deadline passes first.
        """
        takes, returns = np.unique(self.takes), np.unique(self.returns)
        held = self._held(reach, windows, takes, returns, deadline)
        exceeds = held > self.capacity
        follows = reach[np.ix_(returns, takes)].T
        if (exceeds & follows).any():
            raise _lacking(self.device, int(held[exceeds & follows].max()), self.capacity)
        new = exceeds & ~reach[np.ix_(takes, returns)]
        if not new.any():
            return []
        direct = new & ~_through(reach, takes, returns, new, deadline)
        return [(self.members[returns[y]], self.members[takes[x]], 0) for x, y in np.argwhere(direct).tolist()]

    def _held(
        self,
        reach: Reach,
        windows: Windows | None,
        takes: NDArray[np.int64],
        returns: NDArray[np.int64],
        deadline: float | None,
    ) -> NDArray[Any]:
        """Count what is held at one moment if a take (row) starts before a return (column) ends."""
        exact = self.parts.dtype
        some = self.parts > 0
        parts, took, gives = self.parts[some], self.takes[some], self.returns[some]
        taken = reach[np.ix_(takes, took)]  # x by part: the part is taken before x or by it
        behind_take = reach[np.ix_(gives, takes)].T  # x by part: it is returned behind x or by it
        behind_return = reach[np.ix_(gives, returns)]  # part by y: it is returned behind y or by it
        taken_for_return = reach[np.ix_(returns, took)].T  # part by y: it is taken before y
        if windows is not None:
            taken = taken | (windows.first_start[takes][:, None] >= windows.last_start[took][None, :])
            behind_take = behind_take | (windows.first_end[gives][None, :] > windows.last_start[takes][:, None])
            behind_return = behind_return | (windows.first_end[gives][:, None] >= windows.last_end[returns][None, :])
            taken_for_return = taken_for_return | (
                windows.last_start[took][:, None] < windows.first_end[returns][None, :]
            )
        at_take = (taken & behind_take).astype(exact) @ parts
        between = product((taken & ~behind_take) * parts, behind_return.astype(exact), deadline=deadline)
        at_return = parts @ (taken_for_return & behind_return).astype(exact)
        beside = product(taken * parts, (~taken_for_return & behind_return).astype(exact), deadline=deadline)
        held: NDArray[Any] = np.maximum(at_take[:, None] + between, at_return[None, :] + beside)
        return held


def _through(
    reach: Reach,
    takes: NDArray[np.int64],
    returns: NDArray[np.int64],
    new: NDArray[np.bool_],
    deadline: float | None,
) -> NDArray[np.bool_]:
    """Return which new precedences follow from others of them."""
    counts = new.astype(np.float32)
    earlier = reach[np.ix_(takes, takes)] & ~np.eye(len(takes), dtype=bool)
    later = reach[np.ix_(returns, returns)] & ~np.eye(len(returns), dtype=bool)
    before = product(earlier.astype(np.float32), counts, deadline=deadline)
    implied: NDArray[np.bool_] = (before > 0) | (product(counts, later.astype(np.float32), deadline=deadline) > 0)
    return implied
