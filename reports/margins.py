"""How far a verdict holds: the costs at which another schedule takes the lead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.numbers import grouped, percent, with_unit
from solver.counted import listed

LEVEL = 0.01
"""Schedules within this share of the shortest makespan are level with it."""

MOST_NAMED = 4
"""Schedules that are named as level; the others are counted."""

_DIGITS = 4


@dataclass(frozen=True)
class Margin:
    """A cost at which the lead changes.

    Attributes
    ----------
    cost : {"overhead", "latency", "transfer", "noise"}
        Which cost grows; the others stay.
    value : float
        Up to here the leader leads, beyond it another schedule; in the user's unit of time, noise as a ratio.
    leader, overtaken_by : str
        The schedules.
    share : float
        The value as a share of F + B (`Margins.work`); noise as it is.
    is_added : bool
        Whether the value comes on top of costs that differ from each other, rather than being the cost itself.
    is_present : bool
        Whether it is the present value: both are equally long now.
    """

    cost: str
    value: float
    leader: str
    overtaken_by: str
    share: float
    is_added: bool = False
    is_present: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; ``added`` is there only if the value comes on top of differing costs."""
        plain = {key: getattr(self, key) for key in ("cost", "value", "leader", "overtaken_by")}
        return plain | ({"added": True} if self.is_added else {})

    def where(self, unit: str) -> str:
        """Say when the lead changes."""
        if self.cost == "noise":
            return f"times vary by {percent(self.value)}"
        value = f"{with_unit(grouped(self.value, _DIGITS), unit)}{' more' if self.is_added else ''}"
        return f"{_BEGINNINGS[self.cost]} {value} ({percent(self.share)} of F + B)"


_BEGINNINGS = {
    "overhead": "an operation's overhead is",
    "latency": "the latency is",
    "transfer": "a transfer takes",
}


@dataclass(frozen=True)
class LeadingCurve:
    """The makespan of a schedule that leads somewhere, over the overhead of an operation.

    Attributes
    ----------
    name : str
        The schedule.
    points : sequence of (float, float)
        Overheads and makespans; straight lines lie between them.
    """

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Margins:
    """How far a verdict holds.

    Attributes
    ----------
    margins : tuple of Margin
        Each change of the lead, cost by cost, from the present costs up.
    unchanged : tuple of str
        The costs that change nothing as far as was looked.
    work : float
        F + B: the work of one microbatch, spread evenly over the devices. Times were looked at up to here.
    most_noise : float
        Noise was looked at up to here.
    level : tuple of str
        The schedules that are level with the winner, nearest first.
    curves : tuple of LeadingCurve
        The schedules that lead at some overhead, in their turn; empty if only one does.
    added : bool
        Whether overheads in the curves come on top of those given.
    """

    margins: tuple[Margin, ...] = ()
    unchanged: tuple[str, ...] = ()
    work: float = 0.0
    most_noise: float = 0.0
    level: tuple[str, ...] = ()
    curves: tuple[LeadingCurve, ...] = ()
    added: bool = False

    def renamed(self, names: dict[str, str]) -> Margins:
        """Give schedules other names."""
        return replace(
            self,
            margins=tuple(
                replace(
                    each,
                    leader=names.get(each.leader, each.leader),
                    overtaken_by=names.get(each.overtaken_by, each.overtaken_by),
                )
                for each in self.margins
            ),
            level=tuple(names.get(name, name) for name in self.level),
            curves=tuple(replace(curve, name=names.get(curve.name, curve.name)) for curve in self.curves),
        )

    def sentences(self, unit: str) -> str:
        """Say how far the winner leads, and which schedules are level with it; empty if nothing is known."""
        return " ".join(self._sentences(unit))

    def _sentences(self, unit: str) -> Iterator[str]:
        first = {each.cost: each for each in reversed(self.margins)}
        told = ""
        for cost in dict.fromkeys(each.cost for each in self.margins):
            each = first[cost]
            if each.is_present:
                yield f"{each.overtaken_by} is as long as {each.leader}, and leads with any more {cost}."
            else:
                yield f"{told or each.leader} leads until {each.where(unit)}; beyond, {each.overtaken_by}."
                told = "It"
        if self.unchanged:
            yield f"{self._unchanged(unit)} changes which schedule leads."
        if self.level:
            more = len(self.level) - MOST_NAMED
            names = listed(self.level[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            yield f"Level with it, within {LEVEL:.0%}: {names}."

    def _unchanged(self, unit: str) -> str:
        times = " or ".join(cost for cost in self.unchanged if cost != "noise")
        parts = [f"{times} up to F + B ({with_unit(grouped(self.work, _DIGITS), unit)})"] if times else []
        parts += [f"noise up to {self.most_noise:.0%}"] if "noise" in self.unchanged else []
        return "No " + " and no ".join(parts)
