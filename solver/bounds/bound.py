"""What a lower bound is."""

from __future__ import annotations

from dataclasses import dataclass, field

from solver.states import Argument


@dataclass(frozen=True)
class Bound:
    """No schedule is shorter.

    Attributes
    ----------
    value : int
        The bound, in ticks.
    piece : str
        The argument that gives it: ``path``, ``load``, ``window``, ``jackson``, ``area``, ``blocks``, ``block area``
        or ``device relaxation`` for the makespan, ``span`` for the span, and ``search`` where CP-SAT has excluded all
        below it.
    device : int or None
        The device it is about; None for a path through several.
    details : dict
        The numbers behind it, such as ``load``, ``front`` and ``back``.
    """

    value: int
    piece: Argument
    device: int | None = None
    details: dict[str, int | str] = field(default_factory=dict, compare=False)


def best(*bounds: Bound | None) -> Bound:
    """Choose the highest bound; of equal ones, the first."""
    return max((bound for bound in bounds if bound is not None), key=lambda bound: bound.value)
