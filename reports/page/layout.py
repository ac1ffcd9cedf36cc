"""The panels of a section of the page, and where they stand."""

from __future__ import annotations

from typing import NamedTuple

from reports.charts.bubbles import BUBBLES
from reports.charts.cuts import CUT, DEVICE_MEMORY
from reports.charts.effects import EFFECTS
from reports.charts.frontier import FRONTIER
from reports.charts.intervals import NOISE
from reports.charts.losses import DEVICES, IDLE, LADDER
from reports.charts.margins import MARGINS
from reports.charts.panel import Panel
from reports.charts.trade import MEMORY
from reports.content import Section


class Group(NamedTuple):
    """Panels below a heading, row by row; a group without a panel in a section is left out there.

    Attributes
    ----------
    title : str
        The heading.
    rows : tuple of tuple of Panel
        The panels that stand side by side.
    """

    title: str
    rows: tuple[tuple[Panel, ...], ...]


GROUPS = (
    Group("How the schedules compare", ((BUBBLES, MEMORY, MARGINS, NOISE),)),
    Group("The cut", ((CUT, DEVICE_MEMORY),)),
    Group("Where the time goes", ((LADDER,), (IDLE, DEVICES))),
)

BESIDE_SLIDERS = (EFFECTS,)
"""The panels that stand above the sliders of other costs."""

HOW_TO_READ = {
    FRONTIER.name: "The solid line is the shortest step known on the placements searched, and nothing there can lie "
    "below the dashed line; the gap between the lines is shaded. A square is a published schedule on another placement "
    "or cut, or with blocks that the search was not allowed; it may lie below either line. Drag to move, hold Ctrl and "
    "turn the wheel to zoom, double-click to see all; click a point to go to its timeline."
}
"""What a reader must know of a panel, if it is not obvious."""

ALL_PANELS = (FRONTIER, *(each for group in GROUPS for row in group.rows for each in row), *BESIDE_SLIDERS)


def hero(section: Section) -> Panel | None:
    """Choose the one picture that shows a section's decision; None if there is nothing to draw.

    A frontier for what memory buys, the cut for which layers go where, idle time by cause for a run beside its
    prediction or for a single schedule, and otherwise step time against memory.
    """
    if not section.schedules:
        return None
    if section.frontier is not None:
        return FRONTIER
    if section.reasons:
        return CUT
    return IDLE if section.measured is not None or len(section.schedules) == 1 else MEMORY
