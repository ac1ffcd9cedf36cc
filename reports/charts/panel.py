"""A panel of the page: a chart, a sentence that states its message, and a table for readers who cannot see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.content import Section

if TYPE_CHECKING:
    import altair as alt


@dataclass(frozen=True)
class Table:
    """A header and rows of the same length; the first cell names the row."""

    header: list[str]
    rows: list[list[str]]


def has_schedules(section: Section) -> bool:
    """Return whether a section has any schedule."""
    return bool(section.schedules)


@dataclass(frozen=True)
class Panel:
    """A chart with its words, all made from a section.

    Attributes
    ----------
    name : str
        Its key in the page.
    title : str
        Its title.
    chart : callable
        Draws it.
    sentence : callable
        Says what it shows in this section.
    table : callable
        Lists its numbers.
    is_drawn : callable
        Whether a section has anything to draw.
    """

    name: str
    title: str
    chart: Callable[[Section], alt.LayerChart | alt.Chart]
    sentence: Callable[[Section], str]
    table: Callable[[Section], Table]
    is_drawn: Callable[[Section], bool] = has_schedules
