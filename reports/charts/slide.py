"""The memory frontier as a picture for a slide: large letters, a title in words, and what more memory buys."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import altair as alt

from reports.charts.axes import Axis
from reports.charts.frontier import COPIES_LINE, MOST_NAMED, ROOM, Plot, whole_axes
from reports.charts.label_places import LETTER_WIDTH, Box, Sheet
from reports.frontier_points import ShownFrontier
from reports.numbers import grouped, percent, with_unit
from reports.picture import GROUND
from reports.source import on_costs

WIDTH, HEIGHT = 1280, 720
LEFT, RIGHT, BOTTOM = 150, 40, 100
_TITLE, _SUBTITLE, _LEGEND = 66, 24, 78
SCALE = 1.5
"""The size of letters, relative to those of a page."""

_TITLES = ("memory per device", "step time")
_WIDEST, _MOST_LINES = 115, 4
_LETTERS = round(12 * SCALE)
_LINE_HEIGHT = 28
_ABOVE = 26
"""Pixels between a bracket and the curve."""

_AROUND = 1.5
"""What is shown on either side of a bracket, as a multiple of its width."""

_HEAD, _TEXT = 0.6, 0.4
"""The room above a bracket and the part of it that its text takes, as fractions of what is shown below the bracket."""

Level: TypeAlias = tuple[float, float]
"""A memory limit, and the shortest step known within it."""

_LINE = "The solid line is the shortest step known within that memory, the dashed line its proven lower bound."


def frontier_slide(
    shown: ShownFrontier, title: str = "", compared: tuple[Level, Level] | None = None
) -> alt.LayerChart:
    """Draw a frontier for a slide of 16 to 9.

    Parameters
    ----------
    shown : ShownFrontier
        The frontier.
    title : str
        The name of the model.
    compared : pair of (float, float), optional
        Two memory limits, each with the shortest step known within it; a bracket between them says what the greater
        one saves.

    Returns
    -------
    altair.LayerChart
        At most eight texts name points, limits and the bracket. With a bracket, the picture shows what lies around it.
    """
    lines = [on_costs(_LINE, shown.source), *_copies(shown), *_scope(shown), *_open_gap(shown, compared)]
    head = _TITLE + _SUBTITLE * len(lines) + _LEGEND
    sheet = Sheet(HEIGHT - head - BOTTOM, (WIDTH - LEFT - RIGHT, WIDTH - LEFT - RIGHT), SCALE)
    if compared is None:
        plot = Plot(shown, *whole_axes(shown), _TITLES, SCALE, ground=GROUND)
        layers = [*plot.curves(3), *plot.limit(), *plot.names(sheet), *plot.points(size=180)]
    else:
        bracket = _Bracket(shown, *compared[0], *compared[1])
        plot = Plot(shown, *bracket.axes, _TITLES, SCALE, MOST_NAMED - 1, GROUND, has_arrows=False)
        layers = [*plot.curves(3), *plot.limit(), *plot.points(size=180), *bracket.layers(plot)]
        layers += plot.names(sheet, bracket.boxes(plot, sheet))
    named = f"Step time against memory per device{f': {title}' if title else ''}"
    chart: alt.LayerChart = alt.LayerChart(
        layer=layers,
        width=WIDTH - LEFT - RIGHT,
        height=sheet.height,
        title=alt.TitleParams(named, subtitle=lines, anchor="start", frame="group", offset=14),
        autosize="none",
        padding={"left": LEFT, "right": RIGHT, "top": head, "bottom": BOTTOM},
        config=alt.Config(
            title=alt.TitleConfig(fontSize=28, subtitleFontSize=18, subtitlePadding=8),
            axis=alt.AxisConfig(labelFontSize=_LETTERS, titleFontSize=20, titleFontWeight="normal", titlePadding=20),
            legend=alt.LegendConfig(labelFontSize=_LETTERS, symbolSize=180, labelLimit=0, columnPadding=70),
            text=alt.MarkConfig(fontSize=_LETTERS),
        ),
    )
    return chart


def _copies(shown: ShownFrontier) -> list[str]:
    """Write what copies save."""
    if shown.copies is None:
        return []
    return textwrap.wrap(f"{COPIES_LINE} {shown.copies.saving.sentence(shown.units)}", _WIDEST)


def _scope(shown: ShownFrontier) -> list[str]:
    """Write the cuts for which bounds and proofs hold, if these are few enough to be read."""
    if not shown.scope:
        return []
    lines = textwrap.wrap(f"Bounds and proofs hold {shown.scope}.", _WIDEST)
    return lines if len(lines) <= _MOST_LINES else ["Bounds and proofs hold for some cuts of the layers only."]


def _open_gap(shown: ShownFrontier, compared: tuple[tuple[float, float], tuple[float, float]] | None) -> list[str]:
    """Warn of a bracket whose ends a longer search may still move far."""
    ends = [] if compared is None else [limit for limit, _ in compared]
    gaps = {point.limit: point.gap for point in shown.points if point.limit in ends and point.gap > OPEN_GAP}
    if not gaps:
        return []
    limit = max(gaps, key=gaps.__getitem__)
    held = with_unit(grouped(limit), shown.units.memory)
    return [f"The search was short: with {held} a step may be up to {percent(gaps[limit])} shorter than found."]


OPEN_GAP = 0.05
"""A larger gap at an end of the bracket is named: what the memory saves is then hardly known."""


@dataclass(frozen=True)
class _Bracket:
    """What the memory between two limits saves.

    Attributes
    ----------
    shown : ShownFrontier
        The frontier.
    low, high : float
        The limits.
    before, after : float
        The shortest step known within each.
    """

    shown: ShownFrontier
    low: float
    before: float
    high: float
    after: float

    @property
    def texts(self) -> list[str]:
        """Say what is gained, and from which step to which."""
        more = f"+{with_unit(grouped(self.high - self.low), self.shown.units.memory)}"
        if self.before == self.after:
            return [f"{more}: no shorter step known", with_unit(grouped(self.before), self.shown.units.time)]
        saved = percent((self.before - self.after) / self.before)
        return [
            f"{more}: {saved} shorter",
            with_unit(f"{grouped(self.before)} → {grouped(self.after)}", self.shown.units.time),
        ]

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """The axes around the bracket, with room above it."""
        width = _AROUND * (self.high - self.low)
        known = [*(each.limit for each in self.shown.points), *(each.memory for each in self.shown.published)]
        least, most = self.shown.stairs[0][0], max(self.high, *known)
        across = Axis.filled([max(least, self.low - width), min(most, self.high + width)], room=ROOM)
        rise = _HEAD * (self.level - self.least or self.level)
        return across, Axis.filled([self.least, self.level + rise], room=ROOM)

    @property
    def least(self) -> float:
        """The lowest bound around the bracket."""
        return min(self.after, *(bound for _, bound in self.shown.bounds), self.shown.highest_bound)

    @cached_property
    def level(self) -> float:
        """The height of the bracket: above the curve, and above published schedules that its text would cover."""
        level, width = self.before, (self.high - self.low) / 2
        near = [each for each in self.shown.published if self.low - width <= each.memory <= self.high + width]
        for makespan in sorted(each.makespan for each in near if each.makespan >= level):
            if makespan > level + _TEXT * (level - self.least):
                break
            level = makespan
        return level

    def layers(self, plot: Plot) -> list[alt.Chart]:
        """Draw the bracket above the curve, with a line down to the curve at either end."""
        level = self.level
        ends = [
            {"memory": self.low, "makespan": self.before, "top": level},
            {"memory": self.high, "makespan": self.after, "top": level},
        ]
        across = {"memory": self.low, "to_memory": self.high, "makespan": level}
        middle = {"memory": (self.low + self.high) / 2, "makespan": level}
        x, y = plot.x, plot.y
        return [
            alt.Chart(alt.InlineData(values=[across]))
            .mark_rule(strokeWidth=4, yOffset=-_ABOVE, y2Offset=-_ABOVE)
            .encode(x=x, x2="to_memory:Q", y=y),
            alt.Chart(alt.InlineData(values=ends))
            .mark_rule(strokeWidth=2, strokeDash=[2, 3], y2Offset=-_ABOVE)
            .encode(x=x, y=y, y2="top:Q"),
            alt.Chart(alt.InlineData(values=[middle]))
            .mark_text(text=self.texts, dy=-_ABOVE - 10, baseline="line-bottom", lineHeight=_LINE_HEIGHT, fontSize=22,
                       fontWeight="bold", yOffset=-_LINE_HEIGHT)
            .encode(x=x, y=y),
        ]  # fmt: skip

    def boxes(self, plot: Plot, sheet: Sheet) -> list[Box]:
        """Return the boxes of its text and its lines."""
        level = (1 - plot.up.share(self.level)) * sheet.height
        width = 22 / 12 * LETTER_WIDTH * max(map(len, self.texts))
        middle = plot.across.share((self.low + self.high) / 2)
        top = level - _ABOVE - 10 - 2 * _LINE_HEIGHT
        ends = [(self.low, self.before), (self.high, self.after)]
        return [
            Box(middle, -width / 2, width / 2, top, level - _ABOVE),
            *(
                Box(plot.across.share(at), -3, 3, level - _ABOVE, (1 - plot.up.share(step)) * sheet.height)
                for at, step in ends
            ),
        ]
