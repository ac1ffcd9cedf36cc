"""Tasks that nothing waits for may be put in the order of what they wait for.

What it is worth: row `alike` of docs/development/ablation.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

import numpy as np

from solver.bounds.network import Edge, Network
from solver.bounds.products import product
from solver.problem import Problem


def alike_edges(problem: Problem, network: Network, *, deadline: float | None = None) -> list[Edge]:
    """Order tasks that are alike and wait for one task each by the order of those.

    Take tasks of one device with the same duration that return the same amount, that no others wait for, and that each
    wait for one task outside their group. Sort the times at which those tasks end and the slots in which the group
    runs: the k-th slot starts after the k-th end, so the k-th task to be free may have the k-th slot. Neither times nor
    memory change. Where one of the awaited tasks always precedes another, so then do their followers. This loses no
    makespan, but not every schedule obeys it.

    Raises
    ------
    OutOfTimeError
        If the deadline (of `time.perf_counter`) passes first.
    """
    places = {task: place for members in network.thinned.members.values() for place, task in enumerate(members)}
    edges: list[Edge] = []
    groups = _groups(problem, network)
    reach = network.reach(deadline=deadline) if groups else {}
    for awaited in groups:
        device = network.thinned.device[next(iter(awaited))]
        followers = sorted(awaited, key=places.__getitem__)
        at = np.array([places[awaited[task]] for task in followers])
        before = reach[device][np.ix_(at, at)] & ~np.eye(len(at), dtype=bool)
        place = {task: row for row, task in enumerate(followers)}
        given = [(place[a], place[task]) for task in followers for a, _ in network.preds[task] if a in place]
        if not all(before[after, first] for first, after in given):
            continue  # an order was imposed on them that this one contradicts
        counts = before.astype(np.float32)
        direct = before & ~(product(counts, counts, deadline=deadline) > 0)
        edges += [(followers[first], followers[later], 0) for later, first in np.argwhere(direct).tolist()]
    return edges


def _groups(problem: Problem, network: Network) -> list[dict[int, int]]:
    """Group the tasks that may change places; each with the one task that it waits for outside its group."""
    thinned = network.thinned
    returned: dict[int, list[int]] = defaultdict(list)
    for hold in problem.holds:
        returned[thinned.number[hold.take]].append(-1)  # a task that takes is like no other
        for key, part in hold.returns:
            returned[thinned.number[key]].append(part)
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for task, parts in returned.items():
        if len(parts) == 1 and parts[0] >= 0:
            groups[thinned.device[task], thinned.work[task], thinned.least_action[task], parts[0]].append(task)
    found = [_awaited(network, group) for group in groups.values()]
    return [awaited for awaited in found if len(awaited) > 1]


def _awaited(network: Network, group: list[int]) -> dict[int, int]:
    members = set(group)
    while True:
        free = {task for task in members if all(after in members for after, _ in network.succs[task])}
        awaited: dict[int, int] = {}
        for task in free:
            outside = [before for before, _ in network.preds[task] if before not in free]
            here = len(outside) == 1 and network.thinned.device[outside[0]] == network.thinned.device[task]
            if here and not any(lag for _, lag in network.preds[task]):
                awaited[task] = outside[0]
        if len(awaited) == len(members):
            return awaited
        members = set(awaited)
