"""Errors that a user can fix, and that nothing fits the memory; one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction


class InputError(ValueError):
    """What the user gave is wrong; the message names the key, what was found and what is allowed."""


class DeadlockError(InputError):
    """A fixed order cannot run, because its actions wait for each other in a circle.

    Attributes
    ----------
    cycle : list
        The actions of one circle, each waiting for the one before it (the first for the last).
    """

    def __init__(self, cycle: list[object]) -> None:
        self.cycle = cycle
        super().__init__(f"the order deadlocks: {describe_cycle(cycle)}")


class InfeasibleError(Exception):
    """No schedule fits the memory; the message says what is missing.

    It is no `InputError`: what was given makes sense, and the answer is that there is none.

    Attributes
    ----------
    device : int
        Where memory does not suffice.
    needed, capacity : int or Fraction
        What must be held there at one time, and what there is; in the same unit as in the message.
    """

    def __init__(self, message: str, device: int, needed: int | Fraction, capacity: int | Fraction) -> None:
        self.device = device
        self.needed = needed
        self.capacity = capacity
        super().__init__(message)


class TimeTooShortError(Exception):
    """The time limit is too short for any answer; the message says how long one takes.

    It is no `InputError`: with more time, or on another machine, the same has an answer.
    """


def describe_cycle(cycle: list[object], longest: int = 12) -> str:
    """Write a circle of waiting actions as text, leaving out its middle when it is long.

    Parameters
    ----------
    cycle : list
        The actions, each waiting for the one before it.
    longest : int
        How many actions are written out at most.
    """
    names = [str(action) for action in cycle]
    if len(names) > longest:
        left_out = len(names) - longest
        names = [*names[: longest - 2], f"… {left_out} more …", *names[-2:]]
    return " → ".join([*names, names[0]]) + " (each waits for the one before it)"
