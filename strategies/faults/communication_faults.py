"""Finds every fault in the communication of a lowered file, each with its place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from strategies.faults.deadlock import Place
from strategies.lowering.transfers import end_of, receive, send, waited_send
from strategies.model.actions import Op
from strategies.order_files.schedule_file import Aside, Fault, Token, ops_of, unreadable


class Computations(Protocol):
    """The computations of a file, as far as they can be understood."""

    @property
    def stages(self) -> int:
        """The number of stages."""

    @property
    def microbatches(self) -> int:
        """The number of microbatches."""

    @property
    def places(self) -> Mapping[Op, Place]:
        """The place of each operation."""

    def home(self, op: Op) -> int:
        """Return the device that an operation belongs on."""


@dataclass
class _TransferEnds:
    """The places of the sends and receives of transfers."""

    sends: dict[Op, Place] = field(default_factory=dict)
    receives: dict[Op, Place] = field(default_factory=dict)


def communication_faults(
    rows: Sequence[Sequence[Token | None]], unreadable: Iterable[tuple[int | None, int | None]], said: Computations
) -> Iterator[Fault]:
    """Yield the faults of sends, receives, waits, the reduction of gradients, shards, unknown actions and empty cells.

    Parameters
    ----------
    rows : sequence of sequence of token or None
        The cells of each device.
    unreadable : iterable of (row, column)
        The cells that hold no valid action, which are reported elsewhere.
    said : Computations
        The computations of the file.
    """
    known = set(unreadable)
    for row, cells in enumerate(rows):
        for column, token in enumerate(cells):
            if token is None and (row, column) not in known:
                yield Fault(row, column, "", "is an empty cell, which PyTorch refuses in a file with communication")
    yield from unknown_actions(rows)
    yield from _transfer_faults(rows, said)
    yield from _wait_faults(rows)
    yield from _gradient_faults(rows, said)
    yield from _shard_faults(rows, said)


def unknown_actions(rows: Sequence[Sequence[Token | None]]) -> Iterator[Fault]:
    """Yield the actions that no PyTorch known here has."""
    for token, place in _asides(rows):
        if not token.is_known:
            yield unreadable(*place, str(token))


def faults_beside(rows: Sequence[Sequence[Token | None]], said: Computations) -> Iterator[Fault]:
    """Yield the faults of the reduction of gradients and of shards, each only if the file has any.

    Parameters
    ----------
    rows : sequence of sequence of token or None
        The cells of each device.
    said : Computations
        The computations of the file.
    """
    if any(token.kind == "REDUCE_GRAD" for token, _ in _asides(rows)):
        yield from _gradient_faults(rows, said)
    yield from _shard_faults(rows, said)


def _asides(rows: Sequence[Sequence[Token | None]]) -> Iterator[tuple[Aside, Place]]:
    for row, cells in enumerate(rows):
        for column, token in enumerate(cells):
            if isinstance(token, Aside):
                yield token, Place(row, column)


def _transfer_faults(rows: Sequence[Sequence[Token | None]], said: Computations) -> Iterator[Fault]:
    found = _TransferEnds()
    for token, place in _asides(rows):
        end = end_of(token)
        if end is None:
            continue
        assert isinstance(end.transfer, Op)
        if problem := _why_impossible(token, end.transfer, said):
            yield Fault(*place, str(token), problem)
            continue
        side = found.sends if end.is_send else found.receives
        if end.transfer in side:
            first = side[end.transfer]
            text = f"appears twice; the first is in row {first.row + 1}, column {first.column + 1}"
            yield Fault(*place, str(token), text)
            continue
        side[end.transfer] = place
        if problem := _misplaced(token, place, said):
            yield Fault(*place, str(token), problem)
    yield from _too_early(found, said)
    yield from _too_late(found, said)
    yield from _one_sided(found, said)
    yield from _left_out(found, said)


def _why_impossible(token: Aside, transfer: Op, said: Computations) -> str | None:
    """Say why such a send or receive cannot exist."""
    for what, number, size in (
        ("stage", token.stage, said.stages),
        ("microbatch", transfer.microbatch, said.microbatches),
    ):
        if number >= size:
            allowed = f"the file's own are 0 to {size - 1}" if size > 1 else "the file's only one is 0"
            return f"is of {what} {number}, which is out of range; {allowed}"
    taken = receive(transfer).stage
    if not (0 <= transfer.stage < said.stages and 0 <= taken < said.stages):
        which = "first" if token.stage == 0 and token.kind in ("RECV_F", "SEND_B") else "last"
        verb = "sends" if token.kind.startswith("SEND") else "receives"
        return f"has no other side: stage {token.stage} is the {which}, and {verb} no such result"
    here, there = _home(transfer, said), _home(transfer._replace(stage=taken), said)
    if here == there and here is not None:
        return f"is not needed: stages {transfer.stage} and {taken} are both on device {here}"
    return None


def _home(transfer: Op, said: Computations) -> int | None:
    try:
        return said.home(transfer)
    except KeyError:  # the stage has no operation, which is reported elsewhere
        return None


def _misplaced(token: Aside, place: Place, said: Computations) -> str | None:
    assert token.microbatch is not None
    home = _home(Op(token.stage, "F", token.microbatch), said)
    if home is None or home == place.row:
        return None
    return f"is on the wrong device: stage {token.stage} belongs to device {home}"


def _too_early(found: _TransferEnds, said: Computations) -> Iterator[Fault]:
    for transfer, place in found.sends.items():
        for op in _producers(transfer):
            made = said.places.get(op)
            if made is not None and made.row == place.row and made.column > place.column:
                text = f"comes before {op} (column {made.column + 1}), which produces what it sends"
                yield Fault(*place, str(send(transfer)), text)


def _too_late(found: _TransferEnds, said: Computations) -> Iterator[Fault]:
    for transfer, place in found.receives.items():
        for op in _consumers(transfer):
            used = said.places.get(op)
            if used is not None and used.row == place.row and used.column < place.column:
                text = f"comes after {op} (column {used.column + 1}), which uses what it receives"
                yield Fault(*place, str(receive(transfer)), text)


def _producers(transfer: Op) -> list[Op]:
    return [transfer] if transfer.kind == "F" else [transfer, transfer._replace(kind="I")]


def _consumers(transfer: Op) -> list[Op]:
    return _producers(transfer._replace(stage=receive(transfer).stage))


def _one_sided(found: _TransferEnds, said: Computations) -> Iterator[Fault]:
    for transfer, place in found.sends.items():
        if transfer not in found.receives:
            other = receive(transfer)
            text = (
                f"is never received: {other} is missing on device {_home(transfer._replace(stage=other.stage), said)}"
            )
            yield Fault(*place, str(send(transfer)), text)
    for transfer, place in found.receives.items():
        if transfer not in found.sends:
            text = f"is never sent: {send(transfer)} is missing on device {_home(transfer, said)}"
            yield Fault(*place, str(receive(transfer)), text)


def _left_out(found: _TransferEnds, said: Computations) -> Iterator[Fault]:
    """Find results that another device uses but that are neither sent nor received."""
    absent: dict[tuple[int, str], list[int]] = defaultdict(list)
    for op, place in said.places.items():
        if op.kind == "W":
            continue
        transfer = op._replace(kind="F" if op.kind == "F" else "B")
        used = [said.places[each] for each in _consumers(transfer) if each in said.places]
        apart = any(each.row != place.row for each in used)
        if apart and transfer not in found.sends and transfer not in found.receives:
            absent[transfer.stage, transfer.kind].append(transfer.microbatch)
    for (stage, kind), microbatches in absent.items():
        for first, last in _runs(sorted(microbatches)):
            here = Op(stage, kind, first)
            names = [f"{send(here)} and {receive(here)}"]
            if last > first:
                there = here._replace(microbatch=last)
                names.append(f"{send(there)} and {receive(there)}")
            yield Fault(_home(here, said), None, " to ".join(names), "are missing")


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last number of each consecutive run."""
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        values = [number for _, number in run]
        yield values[0], values[-1]


def _wait_faults(rows: Sequence[Sequence[Token | None]]) -> Iterator[Fault]:
    """Yield the waits that do not follow a send on their device, or wait for one again."""
    sends = {
        end.transfer: place for token, place in _asides(rows) if (end := end_of(token)) is not None and end.is_send
    }
    waits: dict[Op, Place] = {}
    for token, place in _asides(rows):
        transfer = waited_send(token)
        if transfer is None:
            continue
        sent = sends.get(transfer)
        if sent is None:
            yield Fault(*place, str(token), f"waits for {send(transfer)}, which is missing")
        elif sent.row != place.row:
            yield Fault(*place, str(token), f"is on the wrong device: {send(transfer)} is on device {sent.row}")
        elif sent.column > place.column:
            text = f"comes before {send(transfer)} (column {sent.column + 1}), which it waits for"
            yield Fault(*place, str(token), text)
        elif transfer in waits:
            text = f"appears twice; the first is in column {waits[transfer].column + 1}"
            yield Fault(*place, str(token), text)
        waits.setdefault(transfer, place)


def _gradient_faults(rows: Sequence[Sequence[Token | None]], said: Computations) -> Iterator[Fault]:
    last: dict[int, tuple[Op, Place]] = {}
    for op, place in said.places.items():
        if op.kind in "BW" and (op.stage not in last or place > last[op.stage][1]):
            last[op.stage] = (op, place)
    reduced: dict[int, Place] = {}
    for token, place in _asides(rows):
        if token.kind == "REDUCE_GRAD":
            if problem := _reduction_problem(token, place, last, reduced):
                yield Fault(*place, str(token), problem)
            if token.stage in last and last[token.stage][1].row == place.row:
                reduced.setdefault(token.stage, place)
    for stage, (op, place) in sorted(last.items()):
        if stage not in reduced:
            times = f"{said.microbatches:,} times too large" if said.microbatches > 1 else "not reduced"
            text = (
                f"is missing behind {op} (column {place.column + 1}): PyTorch divides gradients there, so those of "
                f"stage {stage} would silently be {times}"
            )
            yield Fault(place.row, None, f"{stage}REDUCE_GRAD", text)


def _reduction_problem(
    token: Aside, place: Place, last: Mapping[int, tuple[Op, Place]], reduced: Mapping[int, Place]
) -> str | None:
    if token.stage not in last:
        return f"is of stage {token.stage}, which has no backward here"
    op, there = last[token.stage]
    if there.row != place.row:
        return f"is on the wrong device: stage {token.stage} belongs to device {there.row}"
    if there.column > place.column:
        return f"comes before {op} (column {there.column + 1}): the gradients of what follows would not be divided"
    if token.stage in reduced:
        return (
            f"appears twice; the first is in column {reduced[token.stage].column + 1}, and each divides the gradients"
        )
    return None


def _shard_faults(rows: Sequence[Sequence[Token | None]], said: Computations) -> Iterator[Fault]:
    if not any(token.kind in ("UNSHARD", "RESHARD") for token, _ in _asides(rows)):
        return
    homes = {op.stage: place.row for op, place in said.places.items()}
    for row, cells in enumerate(rows):
        yield from _shard_faults_of(row, cells, homes)


def _shard_faults_of(row: int, cells: Sequence[Token | None], homes: Mapping[int, int]) -> Iterator[Fault]:
    gathered: dict[int, int] = {}
    reported: set[int] = set()
    for column, token in enumerate(cells):
        if isinstance(token, Aside) and token.kind in ("UNSHARD", "RESHARD"):
            if homes.get(token.stage) != row:
                yield Fault(row, column, str(token), _stray_shard(token.stage, homes))
            elif token.kind == "UNSHARD":
                if token.stage in gathered:
                    text = f"comes again before a RESHARD; the first is in column {gathered[token.stage] + 1}"
                    yield Fault(row, column, str(token), text)
                gathered[token.stage] = column
            elif gathered.pop(token.stage, None) is None:
                yield Fault(row, column, str(token), f"has no {token.stage}UNSHARD before it")
            continue
        for op in ops_of(token):
            if op.stage not in gathered and op.stage not in reported:
                reported.add(op.stage)  # report each stage once: its later ones have the same cause
                yield Fault(row, column, str(op), f"computes without its parameters: no {op.stage}UNSHARD is in force")
    for stage, column in gathered.items():
        yield Fault(row, column, f"{stage}UNSHARD", f"has no {stage}RESHARD behind it")


def _stray_shard(stage: int, homes: Mapping[int, int]) -> str:
    if stage in homes:
        return f"is on the wrong device: stage {stage} belongs to device {homes[stage]}"
    return f"is of stage {stage}, which has no action here"
