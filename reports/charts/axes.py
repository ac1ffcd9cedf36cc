"""Axes that are filled by what matters; what lies far outside is an arrow at the edge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

MOST_FOLDED = 2.5
"""An axis may be logarithmic if the ratio of its ends exceeds this."""

LARGE = 10_000

EXACT = ",.12~r"
"""The format of times and amounts along an axis: all digits of the round numbers at its ticks."""

ARROWS = {"right": "triangle-right", "left": "triangle-left", "top": "triangle-up", "bottom": "triangle-down"}
"""The mark of a point beyond each edge."""


@dataclass(frozen=True)
class Axis:
    """The range of an axis, and whether it is logarithmic."""

    low: float
    high: float
    is_folded: bool = False

    @classmethod
    def filled(
        cls, values: Sequence[float], others: Sequence[float] = (), *, room: float, may_fold: bool = False
    ) -> Axis:
        """Choose the range that values fill, and others that are not much farther out.

        Parameters
        ----------
        values : sequence of float
            The values that matter.
        others : sequence of float
            Further values: those beyond as much again on either side are left out.
        room : float
            The fraction of the axis that is left free at either end.
        may_fold : bool
            Whether the axis may be logarithmic.
        """
        low, high = min(values), max(values)
        span = high - low or abs(high) or 1.0
        near = [*values, *(value for value in others if low - span <= value <= high + span)]
        low, high = min(near), max(near)
        if may_fold and low > 0 and high > MOST_FOLDED * low:
            factor = (high / low) ** room
            return cls(low / factor, high * factor, is_folded=True)
        margin = (high - low or abs(high) or 1) * room
        return cls(max(0.0, low - margin), high + margin)

    @property
    def scale(self) -> alt.Scale:
        """The scale in a chart."""
        return alt.Scale(domain=[self.low, self.high], nice=False, type="log" if self.is_folded else "linear")

    @property
    def form(self) -> str:
        """The format of its numbers; large ones get k, M or G."""
        return "~s" if self.high >= LARGE else EXACT

    def share(self, value: float) -> float:
        """Return the position of a value along the axis, from 0 to 1; beyond an end, that of the end."""
        value = self.inside(value)
        if self.is_folded:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def inside(self, value: float) -> float:
        """Return the nearest value on the axis."""
        return min(max(value, self.low), self.high)


def edge(x: Axis, y: Axis, point: tuple[float, float]) -> str:
    """Return the edge of the plot beyond which a point lies; empty if it lies inside."""
    across, up = point
    if not x.low <= across <= x.high:
        return "right" if across > x.high else "left"
    if not y.low <= up <= y.high:
        return "top" if up > y.high else "bottom"
    return ""
