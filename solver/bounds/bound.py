"""What a lower bound is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bound:
    """No schedule is shorter.

    Attributes
    ----------
    value : int
        The bound, in ticks.
    piece : str
        The argument that gives it, a name in `solver.bounds.makespan.ARGUMENTS`.
    device : int or None
        The device that it is about; None for an argument about several.
    details : dict
        The numbers behind it, such as ``load``, ``front`` and ``back``.
    """

    value: int
    piece: str
    device: int | None = None
    details: dict[str, int | str] = field(default_factory=dict, compare=False)


def best(*bounds: Bound | None) -> Bound:
    """Choose the highest bound; of equal ones, the first."""
    return max((bound for bound in bounds if bound is not None), key=lambda bound: bound.value)
