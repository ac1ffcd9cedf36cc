"""What a lower bound is, and what it means that there is no schedule."""

from __future__ import annotations

from dataclasses import dataclass, field

from solver.errors import InputError


@dataclass(frozen=True)
class Bound:
    """No schedule is shorter.

    Attributes
    ----------
    value : int
        The bound, in ticks.
    piece : str
        The argument that gives it: ``load``, ``path``, ``window``, ``jackson``, ``area``, ``blocks`` or
        ``device relaxation``.
    device : int or None
        The device it is about; None for a path through several.
    details : dict
        The numbers behind it, such as ``load``, ``front`` and ``back``.
    """

    value: int
    piece: str
    device: int | None = None
    details: dict[str, int | str] = field(default_factory=dict, compare=False)


class InfeasibleError(InputError):
    """No schedule fits the memory.

    Attributes
    ----------
    device : int
        Where memory does not suffice.
    needed : int
        What must be held there at one time.
    capacity : int
        What there is.
    """

    def __init__(self, device: int, needed: int, capacity: int) -> None:
        self.device = device
        self.needed = needed
        self.capacity = capacity
        super().__init__(f"memory.limit: device {device} must hold {needed} at one time, but has {capacity}")


def best(*bounds: Bound | None) -> Bound:
    """Choose the highest bound; of equal ones, the first."""
    return max((bound for bound in bounds if bound is not None), key=lambda bound: bound.value)
