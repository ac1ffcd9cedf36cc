"""Programs of devices that compute, hand over transfers to be done, and wait for some of them.

A program is a list of three instructions. `Compute` occupies the device. `Post` hands a group of sends and receives to
the device's queues and goes on at once. `Wait` lets it go on only when every member of an earlier group is done.
Which queue a transfer is on, whoever asks says: `solver.rendezvous` runs programs with any queues.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from solver.problem import Key


class Compute(NamedTuple):
    """Work that occupies the device.

    Attributes
    ----------
    name : Key
        What it is.
    duration : int
        How long, in ticks.
    """

    name: Key
    duration: int


class End(NamedTuple):
    """One of the two ends of a transfer.

    Attributes
    ----------
    transfer : Key
        Which transfer.
    is_send : bool
        Whether it is the sender's end.
    """

    transfer: Key
    is_send: bool


class Post(NamedTuple):
    """A group of sends and receives, handed over together; the device goes on at once.

    Attributes
    ----------
    ends : tuple of End
        Its members. Those on one queue enter it together, and all are done before what comes behind them is ready.
    """

    ends: tuple[End, ...]


class Wait(NamedTuple):
    """The device goes on when every member of a group is done.

    Attributes
    ----------
    post : int
        The place of the group's `Post` in the same program.
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
        How long it moves, in ticks; both ends are busy with it for so long.
    latency : int
        How much later it can be used, in ticks; that occupies nothing.
    """

    source: int
    destination: int
    duration: int = 0
    latency: int = 0


Queues: TypeAlias = Callable[[Key, Transfer], Hashable]
"""Names the queue that a transfer uses on each of its two devices; a device's queues are its own."""


class Posted(NamedTuple):
    """Where an end is posted.

    Attributes
    ----------
    device, instruction : int
        The program, and the place in it.
    """

    device: int
    instruction: int


def posted_ends(programs: Sequence[Program]) -> Iterator[tuple[End, Posted]]:
    """List every end that is posted, program by program, with its place."""
    for device, program in enumerate(programs):
        for place, instruction in enumerate(program):
            if isinstance(instruction, Post):
                yield from ((end, Posted(device, place)) for end in instruction.ends)


def blocking(programs: Sequence[Program]) -> list[list[Instruction]]:
    """Make every group be waited for at once: behind each `Post` stands a `Wait` for it."""
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
