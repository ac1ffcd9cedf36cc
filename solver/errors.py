"""Errors that a user can fix, one line each."""


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
