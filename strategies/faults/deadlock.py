"""Orders that cannot run: actions before their own input, and cycles of waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from strategies.model.actions import Op
from strategies.order_files.schedule_file import Fault, Token

_LONGEST = 12


class Place(NamedTuple):
    """A cell of a schedule file, counted from 0; the row is the device."""

    row: int
    column: int


class _Wait(NamedTuple):
    """One step of a cycle: a cell, and how it depends on the next."""

    cell: int
    by_order: bool


def waits_for(op: Op, places: Mapping[Op, Place], stages: int) -> Iterator[Op]:
    """Yield the operations that an operation waits for, of those in the file."""
    if op.kind == "W":
        inputs = [op._replace(kind="I")]
    elif op.kind == "F":
        inputs = [op._replace(stage=op.stage - 1)] if op.stage else []
    else:
        inputs = [op._replace(kind="F")]
        if op.stage + 1 < stages:
            inputs += [Op(op.stage + 1, kind, op.microbatch) for kind in "BI"]
    return (each for each in inputs if each in places)


def find_inversions(places: Mapping[Op, Place], stages: int) -> Iterator[tuple[tuple[Op, Op], Fault]]:
    """Find operations that stand before their own input on the same device, or in one block with it.

    Parameters
    ----------
    places : mapping of Op to Place
        The place of each operation.
    stages : int
        The number of stages.

    Yields
    ------
    tuple of ((Op, Op), Fault)
        The input with the operation that waits for it, and the fault.
    """
    for op, place in places.items():
        for before in waits_for(op, places, stages):
            there = places[before]
            if there.row == place.row and there.column >= place.column:
                how = "is in one block with" if there == place else "comes before"
                text = f"{how} {before} (column {there.column + 1}), which it waits for"
                yield (before, op), Fault(*place, str(op), text)


def find_deadlock(
    rows: Sequence[Sequence[Token | None]],
    places: Mapping[Op, Place],
    stages: int,
    left_out: Container[tuple[Op, Op]],
) -> Iterator[Fault]:
    """Find a cycle of actions that wait for each other.

    Parameters
    ----------
    rows : sequence of sequence of token or None
        The cells of each device.
    places : mapping of Op to Place
        The place of each operation.
    stages : int
        The number of stages.
    left_out : container of (Op, Op)
        Inversions, which are reported already.

    Yields
    ------
    Fault
        One cycle, if there is any.
    """
    cells = sorted(set(places.values()))
    number = {cell: place for place, cell in enumerate(cells)}
    inputs: list[list[int]] = [[] for _ in cells]
    for op, place in places.items():
        here = number[place]
        for before in waits_for(op, places, stages):
            if (before, op) not in left_out and places[before].row != place.row:
                inputs[here].append(number[places[before]])
    for earlier, later in pairwise(range(len(cells))):
        if cells[earlier].row == cells[later].row:
            inputs[later].append(earlier)
    stuck = _stuck(inputs)
    if stuck:
        cycle = _cycle(inputs, stuck, cells)
        yield Fault(*cells[cycle[0].cell], "", f"the order deadlocks: {_described(cycle, cells, rows)}")


def _stuck(inputs: Sequence[Sequence[int]]) -> set[int]:
    """Run everything that can run; return the rest, which is in a cycle or waits for one."""
    followers: list[list[int]] = [[] for _ in inputs]
    for cell, before in enumerate(inputs):
        for each in before:
            followers[each].append(cell)
    open_inputs = [len(before) for before in inputs]
    ready = [cell for cell, count in enumerate(open_inputs) if not count]
    done = 0
    while ready:
        done += 1
        for follower in followers[ready.pop()]:
            open_inputs[follower] -= 1
            if not open_inputs[follower]:
                ready.append(follower)
    return {cell for cell, count in enumerate(open_inputs) if count} if done < len(inputs) else set()


def _cycle(inputs: Sequence[Sequence[int]], stuck: set[int], cells: Sequence[Place]) -> list[_Wait]:
    """Find a short cycle: each cell with how it depends on the next, and the last one on the first."""
    cell, seen = min(stuck), set[int]()
    while cell not in seen:  # everything that is stuck has an input that is stuck
        seen.add(cell)
        cell = next(each for each in inputs[cell] if each in stuck)
    found = _shortest(inputs, stuck, cell)
    steps = [_Wait(here, cells[there].row == cells[here].row) for here, there in pairwise([*found, found[0]])]
    turn = next(place for place, step in enumerate(steps) if not step.by_order)
    return _without_runs([*steps[turn:], *steps[:turn]])


def _shortest(inputs: Sequence[Sequence[int]], stuck: set[int], start: int) -> list[int]:
    """Walk from a cell through its inputs back to itself on a shortest path."""
    came_from: dict[int, int] = {}
    queue = deque([start])
    while start not in came_from:
        cell = queue.popleft()
        for each in inputs[cell]:
            if each in stuck and each not in came_from:
                came_from[each] = cell
                queue.append(each)
    path = [came_from[start]]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]


def _without_runs(steps: Sequence[_Wait]) -> list[_Wait]:
    """Merge neighbouring cells on one device: only the ends of a run are informative."""
    return [step for before, step in pairwise([_Wait(-1, False), *steps]) if not (before.by_order and step.by_order)]


def _described(cycle: Sequence[_Wait], cells: Sequence[Place], rows: Sequence[Sequence[Token | None]]) -> str:
    def named(step: _Wait) -> str:
        row, column = cells[step.cell]
        return f"{rows[row][column]} (device {row}, column {column + 1})"

    parts = [named(cycle[0])]
    for before, step in pairwise(cycle):
        parts.append(f"{'comes after' if before.by_order else 'waits for'} {named(step)}")
    row, column = cells[cycle[0].cell]
    parts.append(f"{'comes after' if cycle[-1].by_order else 'waits for'} {rows[row][column]}")
    if len(parts) > _LONGEST:
        parts = [*parts[: _LONGEST - 3], f"… ({len(parts) - _LONGEST + 1} steps more) …", *parts[-2:]]
    first, second, *rest = parts
    return ", which ".join([f"{first} {second}", *rest])
