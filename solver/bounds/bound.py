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
        The argument that gives it. For the makespan: ``path`` (precedences alone), ``heads and tails`` (a path with
        what work and memory add to the starts and ends of its tasks), ``slot turns`` (with what slots of memory waste,
        too), ``load``, ``window``, ``jackson``, ``area``, ``blocks``, ``block area`` and ``device relaxation``. For the
        span: ``work`` (of a device) and ``span``. For both: ``lengths``, where no sum of durations and lags lies below
        the schedule's and above the bound before, and ``search``, where CP-SAT has excluded all below it.
    device : int or None
        The device that it is about; None for an argument about several.
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
