"""Finds the communicators that a lowered order needs: it runs with some and hangs with others, whatever its times."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from solver.program_faults import find_crossings
from solver.programs import Compute, End, posted_ends
from solver.rendezvous import Held, RendezvousDeadlockError, run
from strategies.lowering.as_program import LoweredPrograms
from strategies.lowering.transfers import receive, send, token_of, wait_for_send
from strategies.model.actions import Op
from strategies.model.communicators import COMMUNICATORS, MEANINGS, RELEASED, queues
from strategies.order_files.schedule_file import Fault

_LONGEST = 8


def crossing_faults(lowered: LoweredPrograms) -> Iterator[Fault]:
    """For each directed pair of devices, find the first receive that meets another result's send."""
    for crossing in find_crossings(lowered.programs, lowered.transfers):
        assert isinstance(crossing.sent, Op)
        assert isinstance(crossing.received, Op)
        (source, at), (row, there) = crossing.sends, crossing.receives
        met, column = lowered.columns[source][at] + 1, lowered.columns[row][there]
        text = (
            f"is crossed: from device {source} to device {row} messages are taken in the order in which they are sent, "
            f"and here it meets {send(crossing.sent)} (device {source}, column {met}); PyTorch then computes with the "
            "wrong result, and does not notice"
        )
        yield Fault(row, column, str(receive(crossing.received)), text)


def cycles(
    lowered: LoweredPrograms, communicators: Sequence[str] = COMMUNICATORS
) -> dict[str, tuple[Held, ...] | None]:
    """Find the communicators with which a lowered order runs if each send needs its receive.

    Parameters
    ----------
    lowered : LoweredPrograms
        Uncrossed, with any durations: whether it hangs does not depend on them.
    communicators : sequence of str
        The kinds of communicators to try.

    Returns
    -------
    dict of str to (tuple of Held) or None
        For each kind, the first cycle of transfers that wait for each other; None if the order runs.
    """
    found: dict[str, tuple[Held, ...] | None] = {}
    for name in communicators:
        try:
            run(lowered.programs, lowered.transfers, queues(name), lowered.sides)
            found[name] = None
        except RendezvousDeadlockError as error:
            found[name] = error.cycle
    return found


def needed_communicators(found: Mapping[str, object]) -> str:
    """Say in one line which communicators an order runs with, and which it hangs with."""
    runs = [name for name in found if found[name] is None]
    hangs = [name for name in found if found[name] is not None]
    parts = []
    if runs:
        which = f"any communicators ({', '.join(runs)})" if not hangs else _listed(runs)
        unknown = "" if RELEASED & set(runs) else ", which PyTorch 2.13 does not have"
        parts.append(f"runs with {which}{unknown}")
    if hangs:
        parts.append(f"hangs with {_listed(hangs)}" if runs else f"hangs with any communicators ({', '.join(hangs)})")
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"{name} ({MEANINGS[name]})" for name in names)


def describe_hang(cycle: Sequence[Held], lowered: LoweredPrograms, communicators: str) -> str:
    """Write a cycle as a walk that a person can follow: each step says which transfer blocks which, and where.

    Parameters
    ----------
    cycle : sequence of Held
        As `cycles` finds it.
    lowered : LoweredPrograms
        The order.
    communicators : str
        The communicators with which it hangs.
    """
    places = _places(lowered)
    start = cycle[0]
    parts = [f"{_named(start.end, places)} {_reason(start, lowered, places, communicators)}"]
    for before, held in itertools.pairwise(cycle):
        if held.end == before.by:
            parts.append(f"which {_reason(held, lowered, places, communicators)}")
        else:
            reason = _reason(held, lowered, places, communicators)
            parts.append(f"whose other side {_named(held.end, places)} {reason}")
    last = cycle[-1].by
    parts.append("where the walk began" if last == start.end else f"whose other side is {token_of(start.end)}")
    if len(parts) > _LONGEST:
        parts = [*parts[: _LONGEST - 2], f"… ({len(parts) - _LONGEST + 1} steps more) …", parts[-1]]
    return ", ".join(parts)


def _places(lowered: LoweredPrograms) -> dict[End, tuple[int, int]]:
    return {end: (at.device, lowered.columns[at.device][at.instruction]) for end, at in posted_ends(lowered.programs)}


def _named(end: End, places: Mapping[End, tuple[int, int]]) -> str:
    device, column = places[end]
    return f"{token_of(end)} (device {device}, column {column + 1})"


def _reason(held: Held, lowered: LoweredPrograms, places: Mapping[End, tuple[int, int]], communicators: str) -> str:
    in_front = f"{token_of(held.by)} (column {places[held.by][1] + 1})"
    if held.queued:
        return f"stands behind {in_front} on {_queue_name(held, lowered, communicators)}"
    if held.waiting is None:
        return f"follows {in_front}"
    column = lowered.columns[held.device][held.waiting]
    blocked = _waiting_action(held, lowered, column)
    return f"comes after {blocked} (column {column + 1}), which waits for {in_front}"


def _waiting_action(held: Held, lowered: LoweredPrograms, column: int) -> object:
    """Return the computation of a column that waits, or else what only waits: for a send, or at the end."""
    here = zip(lowered.programs[held.device], lowered.columns[held.device], strict=True)
    computing = (each.name for each, place in here if place == column and isinstance(each, Compute))
    transfer = held.by.transfer
    last = wait_for_send(transfer) if isinstance(transfer, Op) and held.by.is_send else "the last computation"
    return next(computing, last)


def _queue_name(held: Held, lowered: LoweredPrograms, communicators: str) -> str:
    if held.transfer in lowered.sides:
        return f"device {held.device}'s stream"
    transfer = lowered.transfers[held.transfer]
    if communicators == "edge":
        return f"the communicator {transfer.source} → {transfer.destination}"
    if communicators == "pair":
        low, high = sorted(transfer[:2])
        return f"the communicator {low}–{high}"
    if communicators == "way":
        return f"device {held.device}'s communicator for {'forwards' if _is_forward(held) else 'backwards'}"
    return f"device {held.device}'s communicator"


def _is_forward(held: Held) -> bool:
    return token_of(held.end).kind.endswith("F")
