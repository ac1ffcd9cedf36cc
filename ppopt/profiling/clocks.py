"""Clock offsets between ranks, from the necessary order of events.

A consumer cannot start before its producer has ended, on any device. Each such pair limits how far one clock may be
ahead of the other; pairs in both directions bracket the offset.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from statistics import median
from typing import NamedTuple

import networkx as nx

from ppopt.profiling.measurement import MeasuredAction
from ppopt.profiling.transfers import Transfer
from reports.numbers import milliseconds

Pairs = dict[tuple[int, int], float]
"""For (i, j): how far the clock of i may at most be moved forward relative to that of j."""

NEGLIGIBLE = 1e-6
_DESCRIBED = "clock offsets were added"


class Clocks(NamedTuple):
    """The milliseconds to add to each device's clock, and notes on them."""

    offsets: tuple[float, ...]
    notes: list[str]


def bounds(found: Iterable[Transfer], only_ends: Callable[[MeasuredAction], bool] = lambda _: False) -> Pairs:
    """Find how far clocks may be moved: i against j by at most the least time from an end on i to a start on j.

    Parameters
    ----------
    found : iterable of Transfer
        The transfers between devices.
    only_ends : callable
        Returns whether only the end of a consumer is reliable: its recorded start may precede the end of its wait.
    """
    pairs: Pairs = {}
    for transfer in found:
        pair = (transfer.producer.device, transfer.consumer.device)
        consumer = transfer.consumer
        slack = consumer.end - transfer.producer.end if only_ends(consumer) else transfer.slack
        pairs[pair] = min(slack, pairs.get(pair, slack))
    return pairs


def estimate_offsets(devices: int, pairs: Pairs, *, shared: bool) -> Clocks:
    """Find offsets that put every consumer after its producer.

    Parameters
    ----------
    devices : int
        The number of devices.
    pairs : dict
        As `bounds` returns them.
    shared : bool
        Whether all times are of one clock already. Then the offsets are 0 unless that is contradicted; otherwise they
        are the middle of the possible range, as if transfers took equally long in both directions.
    """
    notes: list[str] = []
    offsets = [0.0] * devices if shared else _middles(devices, pairs, notes)
    left = {(i, j): bound - (offsets[i] - offsets[j]) for (i, j), bound in pairs.items()}
    if all(bound >= -NEGLIGIBLE for bound in left.values()):
        if not shared:
            notes.append(_described(offsets, pairs))
        return Clocks(tuple(offsets), notes)
    changes = _least_changes(devices, left)
    if changes is None:
        notes.append(
            "no clock offsets let every action start after the end of what it waits for; they are "
            f"{milliseconds(-min(left.values()))} ms short at worst"
        )
        return Clocks(tuple(offsets), notes)
    offsets = [offset + change for offset, change in zip(offsets, changes, strict=True)]
    if not shared:
        offsets = [offset - offsets[0] for offset in offsets]
    notes.append(_described(offsets, pairs))
    return Clocks(tuple(offsets), notes)


def estimate_by_step(
    devices: int, pairs: Mapping[int, Pairs], counted: Collection[int]
) -> tuple[Clocks, dict[int, tuple[float, ...]]]:
    """Find offsets for each step on its own, where clocks begin anew in each.

    Parameters
    ----------
    devices : int
        The number of devices.
    pairs : mapping of int to dict
        For each step, as `bounds` returns them.
    counted : collection of int
        The steps whose notes and medians are reported.
    """
    by_step = {step: estimate_offsets(devices, each, shared=False) for step, each in pairs.items()}
    usual = [median(by_step[step].offsets[device] for step in counted) for device in range(devices)]
    widest: Pairs = {}
    for step in counted:
        for pair, bound in pairs[step].items():
            widest[pair] = max(bound, widest.get(pair, bound))
    told = (note for step in sorted(counted) for note in by_step[step].notes if not note.startswith(_DESCRIBED))
    notes = [*dict.fromkeys(told), f"{_described(usual, widest)}; clocks begin anew in each step, so these are medians"]
    return Clocks(tuple(usual), notes), {step: clocks.offsets for step, clocks in by_step.items()}


def _middles(devices: int, pairs: Mapping[tuple[int, int], float], notes: list[str]) -> list[float]:
    """Walk from device to device over the tightest brackets, and take the middle of each."""
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(devices))
    loose = 1 + sum(abs(bound) for bound in pairs.values())
    for i, j in pairs:
        both = (j, i) in pairs
        graph.add_edge(i, j, width=pairs[i, j] + pairs[j, i] if both else loose)
    tree = nx.minimum_spanning_tree(graph, weight="width")
    offsets = [0.0] * devices
    reached: set[int] = set()
    for root in range(devices):
        if root in reached:
            continue
        reached.add(root)
        for i, j in nx.bfs_edges(tree, root):
            reached.add(j)
            offsets[j] = offsets[i] + _middle(pairs.get((j, i)), pairs.get((i, j)))
    one_way = sorted((i, j) for i, j in pairs if (j, i) not in pairs and tree.has_edge(i, j))
    if one_way:
        i, j = one_way[0]
        notes.append(
            f"nothing is sent from device {j} to device {i}, so their clock offset has a limit on one side only; it "
            "was chosen as if the fastest transfer took no time"
        )
    return offsets


def _middle(upper: float | None, at_least: float | None) -> float:
    """Return the middle of −at_least … upper, or the only end that is known."""
    if upper is None:
        return -(at_least or 0.0)
    return upper if at_least is None else (upper - at_least) / 2


def _least_changes(devices: int, pairs: Mapping[tuple[int, int], float]) -> list[float] | None:
    """Move clocks back, or forward, as little as necessary, whichever is less; None if neither helps."""
    back = _moved_back(devices, pairs)
    forward = _moved_back(devices, {(j, i): bound for (i, j), bound in pairs.items()})
    if back is None or forward is None:
        return None
    return min(back, [-change for change in forward], key=lambda changes: sum(map(abs, changes)))


def _moved_back(devices: int, pairs: Mapping[tuple[int, int], float]) -> list[float] | None:
    """Find the smallest backward changes (at most 0) that keep all bounds, by shortest paths; None if none exist."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_weighted_edges_from((-1, device, 0.0) for device in range(devices))
    graph.add_weighted_edges_from((j, i, bound) for (i, j), bound in pairs.items())
    try:
        lengths = nx.single_source_bellman_ford_path_length(graph, -1)
    except nx.NetworkXUnbounded:
        return None
    return [lengths[device] for device in range(devices)]


def _described(offsets: Iterable[float], pairs: Mapping[tuple[int, int], float]) -> str:
    listed = ", ".join(f"{'' if offset < 0 else '+'}{milliseconds(offset)}" for offset in offsets)
    brackets = [(pairs[i, j] + pairs[j, i]) / 2 for i, j in pairs if i < j and (j, i) in pairs]
    sure = f"; transfers in both directions pin them down to ± {milliseconds(max(brackets))} ms" if brackets else ""
    return f"{_DESCRIBED} to the devices, inferred from which actions waited for which: {listed} ms{sure}"
