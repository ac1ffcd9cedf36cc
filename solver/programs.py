"""Programs of devices that compute, post transfers and side actions, and wait for some of them.

A program is a list of three kinds of instructions. `Compute` occupies the device. `Post` hands a group of sends and
receives, or a side action, to the device's queues, and the device continues at once. `Wait` blocks the device until
every member of an earlier group is done. The caller chooses the queue of each transfer: `solver.rendezvous` runs
programs with any queues.

A side action is work beside computing, on a stream: a copy to the host, a collective. It is posted as an end without
another one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from solver.problem import Key


class Compute(NamedTuple):
    """Work that occupies the device.

    Attributes
    ----------
    name : Key
        Its name.
    duration : int
        In ticks.
    """

    name: Key
    duration: int


class End(NamedTuple):
    """One of the two ends of a transfer, or the only end of a side action.

    Attributes
    ----------
    transfer : Key
        The transfer, or the side action.
    is_send : bool
        Whether it is the sender's end; a side action has only that.
    """

    transfer: Key
    is_send: bool


class Post(NamedTuple):
    """A group of sends and receives, posted together; the device continues at once.

    Attributes
    ----------
    ends : tuple of End
        Its members. Transfers on one queue enter it together, and all are done before later entries are ready; side
        actions enter their streams one by one.
    """

    ends: tuple[End, ...]


class Wait(NamedTuple):
    """The device continues when every member of a group is done.

    Attributes
    ----------
    post : int
        The position of the group's `Post` in the same program.
    """

    post: int


Instruction: TypeAlias = Compute | Post | Wait

Program: TypeAlias = Sequence[Instruction]


class Transfer(NamedTuple):
    """A result that moves from one device to another.

    Attributes
    ----------
    source, destination : int
        The devices.
    duration : int
        The time that it moves, in ticks; both ends are busy for that time.
    latency : int
        The additional time until it can be used, in ticks; this occupies nothing.
    """

    source: int
    destination: int
    duration: int = 0
    latency: int = 0


class SideAction(NamedTuple):
    """Work on a stream, beside the computing of the device that posts it.

    It starts when it has been posted, everything posted earlier on its stream has ended, and so have the side actions
    that it follows.

    Attributes
    ----------
    device : int
        The device that posts it.
    stream : Hashable
        The stream. It takes side actions in the order in which they are posted, and may serve several devices.
    duration : int
        In ticks.
    follows : tuple of Key
        Other side actions, of any stream.
    """

    device: int
    stream: Hashable
    duration: int
    follows: tuple[Key, ...] = ()


NO_SIDES: Mapping[Key, SideAction] = MappingProxyType({})
"""The side actions of programs that have none."""


Queues: TypeAlias = Callable[[Key, Transfer], Hashable]
"""Returns the queue that a transfer uses on each of its two devices; devices do not share queues."""


class Posted(NamedTuple):
    """Where an end is posted.

    Attributes
    ----------
    device, instruction : int
        The program, and the position in it.
    """

    device: int
    instruction: int


def posted_ends(programs: Sequence[Program]) -> Iterator[tuple[End, Posted]]:
    """Yield every posted end, program by program, with its position."""
    for device, program in enumerate(programs):
        for place, instruction in enumerate(program):
            if isinstance(instruction, Post):
                yield from ((end, Posted(device, place)) for end in instruction.ends)


def blocking(programs: Sequence[Program]) -> list[list[Instruction]]:
    """Insert a `Wait` directly after each `Post`, so that every group is waited for at once."""
    return [_blocking(program) for program in programs]


def _blocking(program: Program) -> list[Instruction]:
    moved: dict[int, int] = {}
    changed: list[Instruction] = []
    for place, instruction in enumerate(program):
        if isinstance(instruction, Post):
            moved[place] = len(changed)
            changed += [instruction, Wait(len(changed))]
        elif isinstance(instruction, Wait):
            changed.append(Wait(moved[instruction.post]))
        else:
            changed.append(instruction)
    return changed
