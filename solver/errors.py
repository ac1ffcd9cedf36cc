"""Errors that a user can fix, and answers such as that nothing fits the memory; one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction


class InputError(ValueError):
    """The user's input is wrong; the message names the key, what was found and what is allowed."""


class DeadlockError(InputError):
    """A fixed order cannot run because its actions wait for each other in a cycle.

    Attributes
    ----------
    cycle : list
        The actions of one cycle, each waiting for the one before it (the first for the last).
    """

    def __init__(self, cycle: list[object]) -> None:
        self.cycle = cycle
        super().__init__(f"the order deadlocks: {describe_cycle(cycle)}")


class InfeasibleError(Exception):
    """No schedule fits the memory; the message says what is missing.

    This is not an `InputError`: the question makes sense, and the answer is that no schedule exists.

    Attributes
    ----------
    device : int
        The device whose memory does not suffice.
    needed, capacity : int or Fraction
        The memory that must be held there at one time, and the memory available; in the message's unit.
    """

    def __init__(self, message: str, device: int, needed: int | Fraction, capacity: int | Fraction) -> None:
        self.device = device
        self.needed = needed
        self.capacity = capacity
        super().__init__(message)


class TimeTooShortError(Exception):
    """The time limit is too short for any answer; the message says how long one takes.

    This is not an `InputError`: with more time, or on another machine, the same question has an answer.
    """


def describe_cycle(cycle: list[object], longest: int = 12) -> str:
    """Write a cycle of waiting actions as text, without its middle if it is long.

    Parameters
    ----------
    cycle : list
        The actions, each waiting for the one before it.
    longest : int
        The most actions to write out.
    """
    names = [str(action) for action in cycle]
    if len(names) > longest:
        left_out = len(names) - longest
        names = [*names[: longest - 2], f"… {left_out} more …", *names[-2:]]
    return " → ".join([*names, names[0]]) + " (each waits for the one before it)"
