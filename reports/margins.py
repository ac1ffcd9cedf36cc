"""How far a verdict holds: the costs at which another schedule takes the lead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.numbers import number, percent
from reports.units import in_best_unit
from solver.counted import listed

LEVEL = 0.01
"""Schedules within this share of the shortest makespan are level with it."""

MOST_NAMED = 4
"""Schedules that are named as level; the others are counted."""

_ONE = "One of them"
"""The subject of sentences about those that are level."""


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
            return f"times vary by {self.amount(unit)}"
        return f"{_BEGINNINGS[self.cost]} {self.amount(unit)} ({percent(self.share)} of F + B)"

    def amount(self, unit: str) -> str:
        """Write the value."""
        if self.cost == "noise":
            return f"about {_of_few_draws(self.value)}"
        return f"{in_best_unit(self.value, unit)}{' more' if self.is_added else ''}"


def _of_few_draws(ratio: float) -> str:
    """Write a ratio in percent with two digits: the mean of a few draws gives no more."""
    return f"{number(100 * ratio, 2)}%"


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


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
    winner : str
        The schedule that leads now.
    """

    margins: tuple[Margin, ...] = ()
    unchanged: tuple[str, ...] = ()
    work: float = 0.0
    most_noise: float = 0.0
    level: tuple[str, ...] = ()
    curves: tuple[LeadingCurve, ...] = ()
    added: bool = False
    winner: str = ""

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
            winner=names.get(self.winner, self.winner),
        )

    @property
    def nearest(self) -> Margin | None:
        """The change of the lead at the least share of F + B, or else under noise; None if nothing ends the lead."""
        ends = [each for each in self.margins if self._ends_the_lead(each)]
        return min(ends, key=lambda each: (each.cost == "noise", each.share), default=None)

    def sentences(self, unit: str) -> str:
        """Say how far the winner leads, and which schedules are level with it; empty if nothing is known."""
        return " ".join(self._sentences(unit))

    def _sentences(self, unit: str) -> Iterator[str]:
        if self.level:
            yield f"{self._level_names()} are level, within {LEVEL:.0%}."
        present: dict[tuple[str, str], list[str]] = {}
        for each in self.margins:
            if each.is_present:
                present.setdefault((each.overtaken_by, each.leader), []).append(each.cost)
        for (rival, leader), costs in present.items():
            yield f"{rival} is as long as {leader}, and leads with any more {_either(costs)}."
        only_level, told = [], ""
        for cost in dict.fromkeys(each.cost for each in self.margins):
            first, *_ = own = [each for each in self.margins if each.cost == cost]
            beyond = next((each for each in own if self._ends_the_lead(each)), None)
            if beyond is None:
                only_level.append(cost)
                continue
            leader = first.leader if beyond is first else _ONE
            subject = "It" if told == leader != _ONE else leader
            yield f"{subject} leads until {beyond.where(unit)}; beyond, {beyond.overtaken_by}."
            told = leader
        if only_level and self.level:
            yield f"{self._up_to(only_level, unit)} gives the lead to one that is not level."
        if self.unchanged:
            yield f"{self._up_to(self.unchanged, unit)} changes which schedule leads."

    def _ends_the_lead(self, margin: Margin) -> bool:
        """Return whether a schedule takes the lead that is neither the winner nor level with it."""
        return not margin.is_present and margin.overtaken_by not in (self.winner, *self.level)

    def _level_names(self) -> str:
        named, more = [self.winner, *self.level[:MOST_NAMED]], len(self.level) - MOST_NAMED
        return f"{listed(named)} and {more} more" if more > 0 else f"{listed(named[:-1])} and {named[-1]}"

    def _up_to(self, costs: Sequence[str], unit: str) -> str:
        times = [cost for cost in costs if cost != "noise"]
        parts = [f"{_either(times)} up to F + B ({in_best_unit(self.work, unit)})"] if times else []
        parts += [f"noise up to {self.most_noise:.0%}"] if "noise" in costs else []
        return "No " + " and no ".join(parts)
