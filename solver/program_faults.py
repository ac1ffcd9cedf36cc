"""Faults of programs that do not depend on times: missing ends, and crossed receives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from solver.errors import InputError
from solver.problem import Key
from solver.programs import NO_SIDES, End, Post, Posted, Program, SideAction, Transfer, Wait, posted_ends


def check_programs(
    programs: Sequence[Program], transfers: Mapping[Key, Transfer], sides: Mapping[Key, SideAction] = NO_SIDES
) -> None:
    """Refuse programs that miss or repeat an end of a transfer, post it on a wrong device, or wait for a non-group.

    The same holds for side actions, which follow only each other.

    Raises
    ------
    InputError
        With the first fault.
    """
    homes = {End(key, True): each.device for key, each in sides.items()}
    for key, (source, destination, *_) in transfers.items():
        homes |= {End(key, True): source, End(key, False): destination}
    seen: set[End] = set()
    for end, (device, _) in posted_ends(programs):
        if problem := _problem_of(end, device, homes, seen):
            raise InputError(f"device {device}: {_called(end)} {problem}")
        seen.add(end)
    for key, each in sides.items():
        unknown = next((other for other in each.follows if other not in sides), None)
        if unknown is not None:
            raise InputError(f"device {each.device}: {key} follows {unknown}, which is no side action")
    missing = next((end for end in homes if end not in seen), None)
    if missing is not None:
        raise InputError(f"{_called(missing)} is never posted")
    for device, program in enumerate(programs):
        _check_waits(device, program)


def _called(end: End) -> str:
    return f"the {'send' if end.is_send else 'receive'} of {end.transfer}"


def _problem_of(end: End, device: int, homes: Mapping[End, int], seen: set[End]) -> str | None:
    if end not in homes:
        return "belongs to no transfer"
    if device != homes[end]:
        return f"belongs to device {homes[end]}"
    return "is posted twice" if end in seen else None


def _check_waits(device: int, program: Program) -> None:
    for place, instruction in enumerate(program):
        if isinstance(instruction, Wait) and not _is_group(program, place, instruction.post):
            raise InputError(f"device {device}: instruction {place} waits for {instruction.post}, which is no group")


def _is_group(program: Program, place: int, post: int) -> bool:
    return 0 <= post < place and isinstance(program[post], Post)


class Crossing(NamedTuple):
    """Two transfers on one directed pair of devices, sent in one order and received in another.

    Attributes
    ----------
    sent, received : Key
        The first send that meets another transfer's receive, and the transfer of that receive.
    sends, receives : Posted
        Where the two are posted.
    """

    sent: Key
    received: Key
    sends: Posted
    receives: Posted


def find_crossings(programs: Sequence[Program], transfers: Mapping[Key, Transfer]) -> list[Crossing]:
    """For each directed pair of devices, find the first receive that meets the send of another transfer.

    Messages have no tags: on a directed pair, the k-th send meets the k-th receive. Programs whose receives are in
    another order than their sends need not hang; they compute with wrong data.
    """
    sends: dict[tuple[int, int], list[tuple[Key, Posted]]] = defaultdict(list)
    receives: dict[tuple[int, int], list[tuple[Key, Posted]]] = defaultdict(list)
    for end, posted in posted_ends(programs):
        if end.transfer not in transfers:
            continue
        transfer = transfers[end.transfer]
        side = sends if end.is_send else receives
        side[transfer.source, transfer.destination].append((end.transfer, posted))
    found: list[Crossing] = []
    for pair, sent in sends.items():
        met = zip(sent, receives[pair], strict=False)
        first = next(((one, other) for one, other in met if one[0] != other[0]), None)
        if first is not None:
            (key, at), (other, there) = first
            found.append(Crossing(key, other, at, there))
    return found
