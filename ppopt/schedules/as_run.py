"""A schedule as it ran, with each transfer's actual time as the lag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, cast

from solver.problem import Key, Placed, Precedence, Problem
from strategies.model.actions import Op


class Transferred(NamedTuple):
    """The times at which a result moved, in ticks.

    Attributes
    ----------
    source, destination : int
        The devices.
    sendable, receivable : int
        The earliest possible starts of its send and its receive.
    start, end : int
        The start and end of the transfer.
    arrival : int
        The time from which it could be used.
    """

    source: int
    destination: int
    sendable: int
    receivable: int
    start: int
    end: int
    arrival: int


def moved_by_links(problem: Problem, rows: Sequence[Placed]) -> dict[Op, Transferred]:
    """Find when each result is on its link, if a link moves one result at a time.

    Parameters
    ----------
    problem : Problem
        The problem, whose ``moves`` give the times on the link.
    rows : sequence of Placed
        When each operation ran, in each device's order, the halves of a block one after the other.
    """
    leaving: dict[Key, list[tuple[Key, int]]] = defaultdict(list)
    for before, after, lag in problem.precedences:
        if (before, after) in problem.moves:
            leaving[before].append((after, lag))
    free: dict[tuple[int, int], int] = defaultdict(int)
    found: dict[Op, Transferred] = {}
    for row in rows:
        for after, lag in leaving[row.task]:
            link, moving = (row.device, problem.tasks[after].device), problem.moves[row.task, after]
            start = max(row.end, free[link])
            free[link] = end = start + moving
            op = cast("Op", row.task)
            transfer = op._replace(kind="F" if op.kind == "F" else "B")
            found[transfer] = Transferred(*link, start, start, start, end, end + lag - moving)
    return found


def as_it_ran(problem: Problem, rows: Sequence[Placed], transfers: Mapping[Op, Transferred]) -> Problem:
    """Give each precedence between devices its transfer's actual lag, counted from the end of the producer.

    If a device waited longer than for its inputs, it waited for its own sends; this wait becomes a lag between its
    previous action and the next one.

    Parameters
    ----------
    problem : Problem
        The scheduled problem.
    rows : sequence of Placed
        When each operation ran, device by device in the order of time.
    transfers : mapping of Op to Transferred
        By producer; a backward for the input is keyed as ``B``.
    """
    ends = {row.task: row.end for row in rows}
    precedences = list(_with_own_lags(problem, ends, transfers))
    latest: dict[Key, int] = {}
    for before, after, lag in precedences:
        latest[after] = max(latest.get(after, 0), ends[before] + lag)
    for row, following in pairwise(rows):
        if row.device != following.device or (row.block is not None and row.block == following.block):
            continue
        if following.start > max(row.end, latest.get(following.task, 0)):
            precedences.append((row.task, following.task, following.start - row.end))
    return replace(problem, precedences=precedences, moves={})


def _with_own_lags(
    problem: Problem, ends: Mapping[Key, int], transfers: Mapping[Op, Transferred]
) -> Iterator[Precedence]:
    for before, after, lag in problem.precedences:
        op = cast("Op", before)
        transfer = None
        if problem.tasks[before].device != problem.tasks[after].device:
            transfer = transfers.get(op._replace(kind="F" if op.kind == "F" else "B"))
        yield before, after, lag if transfer is None else transfer.arrival - ends[before]
