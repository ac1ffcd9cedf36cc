"""Tasks in an order in which all precedences point forward; longest paths and reachability in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import accumulate, product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from solver.bounds.thinned import Thinned
from solver.deadline import is_over, until

Edge: TypeAlias = tuple[int, int, int]
Reach: TypeAlias = NDArray[np.bool_]

MOST_BITS = 2_000_000_000
"""Reachability of all tasks at once takes this much memory at most; else it is found device by device."""

TILE = 256


class Cycle(Exception):  # noqa: N818 - not an error by itself: it shows that there is no schedule
    """Precedences wait for each other in a cycle."""


class Network:
    """The tasks with all their precedences, given and found.

    Attributes
    ----------
    thinned : Thinned
        The tasks.
    edges : list of (int, int, int)
        Before, after, lag.
    preds, succs : list of list of (int, int)
        For each task: its neighbours with the lag between them.
    order : list of int
        The tasks, each behind all that it waits for.
    """

    def __init__(self, thinned: Thinned, edges: Iterable[Edge]) -> None:
        self.thinned = thinned
        self.edges = list(edges)
        size = len(thinned.keys)
        self.preds: list[list[tuple[int, int]]] = [[] for _ in range(size)]
        self.succs: list[list[tuple[int, int]]] = [[] for _ in range(size)]
        for before, after, lag in self.edges:
            self.preds[after].append((before, lag))
            self.succs[before].append((after, lag))
        self.order = self._topological_order()

    def _topological_order(self) -> list[int]:
        missing = [len(preds) for preds in self.preds]
        order = [task for task, count in enumerate(missing) if not count]
        for task in order:
            for after, _ in self.succs[task]:
                missing[after] -= 1
                if not missing[after]:
                    order.append(after)
        if len(order) < len(missing):
            raise Cycle
        return order

    def with_edges(self, edges: Iterable[Edge]) -> Network:
        """Add precedences."""
        return Network(self.thinned, [*self.edges, *edges])

    def heads(self, least: Sequence[int] | None = None) -> list[int]:
        """Find the earliest start of every task, by the longest path to it from starts known so far."""
        heads = list(least) if least is not None else [0] * len(self.order)
        least_action = self.thinned.least_action
        for task in self.order:
            head = heads[task]
            for before, lag in self.preds[task]:
                arrival = heads[before] + least_action[before] + lag
                if arrival > head:
                    head = arrival
            heads[task] = head
        return heads

    def tails(self, least: Sequence[int] | None = None) -> list[int]:
        """Find the least time from the end of every task to the end of all."""
        tails = list(least) if least is not None else [0] * len(self.order)
        least_action = self.thinned.least_action
        for task in reversed(self.order):
            tail = tails[task]
            for after, lag in self.succs[task]:
                rest = tails[after] + least_action[after] + lag
                if rest > tail:
                    tail = rest
            tails[task] = tail
        return tails

    def reach(self, *, deadline: float | None = None) -> dict[int, Reach]:
        """Find for each device which of its tasks start before (or are) which: ``reach[d][after, before]``.

        The places in a matrix are those of ``thinned.members[d]``. Paths through other devices count.

        Raises
        ------
        OutOfTimeError
            If the deadline (of `time.perf_counter`) passes first.
        """
        size = len(self.order)
        groups: list[list[int]] = [[]]
        bits = 0
        for device, members in self.thinned.members.items():
            if groups[-1] and (bits + len(members)) * size > MOST_BITS:
                groups.append([])
                bits = 0
            groups[-1].append(device)
            bits += len(members)
        found: dict[int, Reach] = {}
        for group in groups:
            found.update(self._matrices(group, self._bits_before(group, deadline)))
        return found

    def _bits_before(self, devices: Sequence[int], deadline: float | None) -> list[int]:
        """Mark for every task which tasks of some devices are before it, each by a bit."""
        members = self.thinned.members
        before_bits = [0] * len(self.order)
        width = 0
        for device in devices:
            for place, task in enumerate(members[device]):
                before_bits[task] = 1 << (width + place)
            width += _rounded_up(len(members[device]))
        for task in until(partial(is_over, deadline), self.order):
            bits = before_bits[task]
            for before, _ in self.preds[task]:
                bits |= before_bits[before]
            before_bits[task] = bits
        return before_bits

    def _matrices(self, devices: Sequence[int], before_bits: Sequence[int]) -> dict[int, Reach]:
        members = self.thinned.members
        widths = [_rounded_up(len(members[device])) for device in devices]
        offsets = [0, *accumulate(widths)]
        return {
            device: _matrix([before_bits[task] for task in members[device]], offset // 8, sum(widths) // 8)
            for device, offset in zip(devices, offsets, strict=False)
        }


def _rounded_up(bits: int) -> int:
    """Round up to whole bytes."""
    return -(-bits // 8) * 8


def transposed(matrix: Reach) -> Reach:
    """Copy the transpose of a matrix, tile by tile: a processor's cache holds one, which is six times as fast."""
    height, width = matrix.shape
    copy = np.empty((width, height), dtype=bool)
    for top, left in product(range(0, height, TILE), range(0, width, TILE)):
        copy[left : left + TILE, top : top + TILE] = matrix[top : top + TILE, left : left + TILE].T
    return copy


def _matrix(rows: Sequence[int], offset: int, size: int) -> Reach:
    """Cut a device's bits out of long rows of bits."""
    length = -(-len(rows) // 8)
    cut = b"".join(row.to_bytes(size, "little")[offset : offset + length] for row in rows)
    matrix = np.frombuffer(cut, dtype=np.uint8).reshape(len(rows), length)
    return np.unpackbits(matrix, axis=1, bitorder="little")[:, : len(rows)].astype(bool)
