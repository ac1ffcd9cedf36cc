"""A panel of the page: a chart, a sentence that states its message, and a table for readers who cannot see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.charts.folding import ALL_SCHEDULES, by_focus
from reports.content import Section

if TYPE_CHECKING:
    import altair as alt


@dataclass(frozen=True)
class Table:
    """A header and rows of the same length; the first cell names the row.

    Attributes
    ----------
    header : list of str
        The titles of the columns.
    rows : list of list of str
        The cells.
    focus : tuple of bool, or None
        For rows of schedules, whether each row's schedule is in focus.
    """

    header: list[str]
    rows: list[list[str]]
    focus: tuple[bool, ...] | None = None


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

    def specification(self, section: Section, key: str) -> dict[str, Any]:
        """Specify the chart for the page: schedules out of focus are folded, and menus stand in an element of the page.

        Parameters
        ----------
        section : Section
            The section.
        key : str
            The chart's key in the page; the element of its menus has the id ``menu-`` and this key.
        """
        specification: dict[str, Any] = self.chart(section).to_dict()
        height = specification.get("height")
        if isinstance(height, dict):  # Vega-Lite warns of a step beside a width that is fitted to the page
            names = [(row["name"], row["focus"]) for row in _rows(specification) if "focus" in row]
            every, focus = (len({name for name, shown in names if shown or whole}) for whole in (True, False))
            specification["height"] = height["step"] * every
            heights = f"{height['step']} * max(1, {by_focus(every, focus)})"
            specification["params"] = [*specification.get("params", ()), {"name": "height", "expr": heights}]
        for parameter in specification.get("params", ()):
            if parameter["name"] == ALL_SCHEDULES:
                parameter["value"] = False
            if "bind" in parameter and "input" in parameter["bind"]:
                parameter["bind"]["element"] = f"#menu-{key}"
        return specification


def _rows(specification: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield all rows of a chart or of its layers."""
    for rows in specification.get("datasets", {}).values():
        yield from rows
    for part in (specification, *specification.get("layer", ())):
        yield from part.get("data", {}).get("values", ())
