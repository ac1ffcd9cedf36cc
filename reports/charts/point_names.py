"""The names of the points of a chart, and the arrows to what lies beyond its edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt

from reports.charts.axes import ARROWS, Axis, edge
from reports.charts.label_places import LONGEST, Box, Place, Sheet, label_places

ARROW: dict[str, Any] = {
    "shape": alt.ExprRef("datum.arrow"),
    "xOffset": alt.ExprRef("datum.arrow == 'triangle-right' ? -7 : datum.arrow == 'triangle-left' ? 7 : 0"),
    "yOffset": alt.ExprRef("datum.arrow == 'triangle-up' ? 7 : datum.arrow == 'triangle-down' ? -7 : 0"),
}
"""The looks of an arrow, which stands within the plot."""

_ARROW_ROOM, _ARROW_WIDTH = "  ", 8.0
"""Letters that leave room for an arrow next to a name, and how far the name is moved, in pixels."""

MOST_BEYOND = 3
"""Points beyond the edges that are named."""


@dataclass(frozen=True)
class Named:
    """Points of a chart, of which some are named.

    Attributes
    ----------
    x, y : Axis
        The axes.
    fields : (str, str)
        The fields on the axes.
    names : mapping of (float, float) to list of str
        The names of the points with these values, the most important first.
    others : sequence of (float, float)
        The points without a name.
    amounts : mapping of (float, float) to str
        What a name beyond an edge has behind it: the value there.
    """

    x: Axis
    y: Axis
    fields: tuple[str, str]
    names: Mapping[tuple[float, float], Sequence[str]]
    others: Sequence[tuple[float, float]]
    amounts: Mapping[tuple[float, float], str]

    @cached_property
    def texts(self) -> dict[tuple[float, float], str]:
        """The text at each named point."""
        texts, beyond = {}, 0
        for point, names in self.names.items():
            text = ", ".join(names)
            if edge(self.x, self.y, point):
                beyond += 1
                if beyond > MOST_BEYOND:
                    continue
                text += f" {self.amounts[point]}"
            texts[point] = text
        return texts

    def place(self, point: tuple[float, float], height: float) -> tuple[float, float]:
        """Return the place of a point in the plot: x from 0 to 1, y in pixels from the top."""
        return self.x.share(point[0]), (1 - self.y.share(point[1])) * height

    def places(self, sheet: Sheet, taken: Sequence[Box] = (), lines: Sequence[Box] = ()) -> list[Place | None]:
        """Choose the place of each text."""
        points = [*self.texts, *(point for point in (*self.names, *self.others) if point not in self.texts)]
        there = [self.place(point, sheet.height) for point in points]
        texts = [text + _ARROW_ROOM * bool(edge(self.x, self.y, point)) for point, text in self.texts.items()]
        return label_places(there, texts, sheet, taken=taken, lines=lines)

    def marks(
        self, places: Sequence[Place | None], x: alt.X, y: alt.Y, *, scale: float = 1.0, ground: str = "", **mark: Any
    ) -> list[alt.Chart]:
        """Draw the texts and the lines that lead to them.

        Parameters
        ----------
        places : sequence of Place or None
            Their places.
        x, y : altair.X, altair.Y
            The axes in the chart.
        scale : float
            The size of letters, relative to those of a page.
        ground : str
            The colour of the ground, which keeps lines away from letters; empty for none.
        **mark
            Further properties of all marks, such as ``clip``.
        """
        rows = [
            self._at(point) | {"name": text, **self._beside_arrow(point, place)._asdict()}
            for (point, text), place in zip(self.texts.items(), places, strict=True)
            if place is not None
        ]
        away = [row for row in rows if row["leader"]]
        leaders = alt.Chart(alt.InlineData(values=away)).mark_rule(
            y2Offset=alt.ExprRef("datum.leader"), strokeWidth=0.75, opacity=0.6, **mark
        )
        outline = {"stroke": ground, "strokeWidth": 5, "strokeJoin": "round"}
        looks: dict[str, Any] = {key: alt.ExprRef(f"datum.{key}") for key in ("align", "dx", "dy")} | mark
        texts = [
            alt.Chart(alt.InlineData(values=rows))
            .mark_text(baseline="middle", limit=LONGEST * scale, **looks | around)
            .encode(x=x, y=y, text="name:N")
            for around in ([outline, {}] if ground else [{}])
        ]
        drawn = [leaders.encode(x=x, y=y, y2=f"{self.fields[1]}:Q")] if away else []
        return [*drawn, *(texts if rows else [])]

    def _beside_arrow(self, point: tuple[float, float], place: Place) -> Place:
        """Move the name of a point beyond an edge away from its arrow."""
        side = edge(self.x, self.y, point)
        if side != place.align:
            return place
        return place._replace(dx=place.dx + (-_ARROW_WIDTH if side == "right" else _ARROW_WIDTH))

    def _at(self, point: tuple[float, float]) -> dict[str, Any]:
        across, up = self.fields
        return {across: self.x.inside(point[0]), up: self.y.inside(point[1])}

    def divided(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Divide rows into those inside the plot, and those beyond an edge, which become arrows there."""
        across, up = self.fields
        inside, beyond = [], []
        for row in rows:
            point = row[across], row[up]
            if side := edge(self.x, self.y, point):
                beyond.append({**row, **self._at(point), "arrow": ARROWS[side]})
            else:
                inside.append(dict(row))
        return inside, beyond
