"""Places the names of a few points so that nothing covers anything else at any width of the chart.

A name stands beside its point, or above or below it at the end of an upright line. A name without a free place is left
to the tooltip of its point.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

NARROWEST, WIDEST = 260.0, 1700.0
"""The range of plot widths, in pixels, in which names must not cover each other."""

LETTER_WIDTH, LINE_HEIGHT, LONGEST = 6.7, 14.0, 260.0
"""Average pixels of a letter and of a line, and the width at which a name is cut off."""

_NEAR, _BESIDE = 6.0, 10.0
_SIDES = {"left": 0.0, "right": 1.0, "center": 2.0}
_CROSSING, _MOST_CROSSING = 30.0, 60.0
"""The most that it costs a name to cover a line, and any number of lines, in pixels of distance from its point."""


class Box(NamedTuple):
    """A rectangle tied to a place on the x axis, so that it moves with the width of the plot.

    Attributes
    ----------
    anchor : float
        The place, from 0 (left) to 1 (right).
    left, right : float
        Its sides, in pixels from the anchor.
    top, bottom : float
        Its edges, in pixels from the top of the plot.
    """

    anchor: float
    left: float
    right: float
    top: float
    bottom: float


class Place(NamedTuple):
    """The place of a name relative to its point.

    Attributes
    ----------
    align : str
        The alignment of the text.
    dx, dy : float
        The offset of the text in pixels.
    leader : float
        The end of the upright line that leads to the name, in pixels below the point; 0 if there is none.
    """

    align: str
    dx: float
    dy: float
    leader: float = 0.0


class Sheet(NamedTuple):
    """The plot that names are placed in.

    Attributes
    ----------
    height : float
        Its height, in pixels.
    widths : (float, float)
        Its least and its greatest width.
    scale : float
        The size of letters, relative to those of a page.
    """

    height: float
    widths: tuple[float, float] = (NARROWEST, WIDEST)
    scale: float = 1.0


def label_places(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    sheet: Sheet,
    *,
    taken: Sequence[Box] = (),
    lines: Sequence[Box] = (),
) -> list[Place | None]:
    """Choose a place for the name of each point, one after the other.

    Parameters
    ----------
    points : sequence of (float, float)
        Their positions: x from 0 (left) to 1 (right), and y in pixels from the top.
    texts : sequence of str
        Their names, the most important first; further points have none.
    sheet : Sheet
        The plot.
    taken : sequence of Box
        The boxes of other texts.
    lines : sequence of Box
        Lines, which a name covers only if there is no other place as near.

    Returns
    -------
    list of Place or None
        One for each name; None if every place would cover a point, a name, or the line to one.
    """
    fixed = [*taken, *(dot(point, sheet.scale) for point in points)]
    places: list[Place | None] = []
    for (x, y), text in zip(points, texts, strict=False):
        choices = _free(_choices(x, y, text, sheet), fixed, sheet)
        best = min(choices, key=lambda choice: _cost(choice, lines), default=None)
        places.append(None if best is None else best[0])
        fixed += [] if best is None else best[1]
    return places


def dot(point: tuple[float, float], scale: float = 1.0) -> Box:
    """Return the box of a point, given by x from 0 (left) to 1 (right) and y in pixels from the top."""
    x, y = point
    return Box(x, -_NEAR * scale, _NEAR * scale, y - _NEAR * scale, y + _NEAR * scale)


def text_width(text: str, scale: float = 1.0) -> float:
    """Estimate the width of a name in pixels."""
    return scale * min(LONGEST, LETTER_WIDTH * len(text))


def _free(
    choices: Iterable[tuple[Place, list[Box]]], fixed: Sequence[Box], sheet: Sheet
) -> Iterator[tuple[Place, list[Box]]]:
    """Yield the choices whose boxes overlap nothing."""
    for place, boxes in choices:
        if not any(_overlap(one, other, sheet.widths) for one in boxes for other in fixed):
            yield place, boxes


def _choices(x: float, y: float, text: str, sheet: Sheet) -> Iterator[tuple[Place, list[Box]]]:
    """Yield the places within the plot at every width, with the boxes of the name and of the line that leads to it."""
    width, half = text_width(text, sheet.scale), LINE_HEIGHT * sheet.scale / 2
    first, last = -x * sheet.widths[0], (1 - x) * sheet.widths[0] - width
    for dy in _lines_away(y, half, sheet.height):
        top, bottom = y + dy - half, y + dy + half
        is_beside = abs(dy) <= half
        starts = (_BESIDE * sheet.scale, -_BESIDE * sheet.scale - width) if is_beside else (-3.0, 3 - width, -width / 2)
        for align, start in zip(_SIDES, starts, strict=False):
            left = min(max(start, first), last)
            dx = left + {"left": 0.0, "right": width, "center": width / 2}[align]
            box = Box(x, left, left + width, top, bottom)
            if abs(dy) <= 2 * half:
                yield Place(align, dx, dy), [box]
                continue
            leader = dy - half if dy > 0 else dy + half
            near = _NEAR * sheet.scale if dy > 0 else -_NEAR * sheet.scale
            upright = Box(x, -1, 1, *sorted((y + near, y + leader)))
            yield Place(align, dx, dy, leader), [box, upright]


def _lines_away(y: float, half: float, height: float) -> Iterator[float]:
    for step in range(1, 2 * round(height / half)):
        dy = half * (step // 2) * (1 if step % 2 else -1)
        if half <= y + dy <= height - half:
            yield dy


def _cost(choice: tuple[Place, list[Box]], lines: Sequence[Box]) -> float:
    place, boxes = choice
    crossed = sum(min(_CROSSING, covered(boxes[0], [line])) for line in lines)
    return abs(place.dy) + _SIDES[place.align] + min(crossed, _MOST_CROSSING)


def covered(box: Box, others: Iterable[Box], widths: tuple[float, float] = (NARROWEST, WIDEST)) -> float:
    """Return the area of a box that lies on others, counting each at the plot width where the overlap is largest."""
    return sum(_shared(box, other, widths) for other in others)


def _overlap(one: Box, other: Box, widths: tuple[float, float]) -> bool:
    return one.top < other.bottom and other.top < one.bottom and _shared(one, other, widths) > 0


def _shared(one: Box, other: Box, widths: tuple[float, float]) -> float:
    """Return the largest area that two boxes can share.

    As the plot widens, one box moves along the other, from its position at the narrowest width to that at the widest.
    They share most when their centres are nearest.
    """
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    if down <= 0:
        return 0.0
    ends = sorted((other.anchor - one.anchor) * width for width in widths)
    together = (one.left + one.right - other.left - other.right) / 2
    shift = min(max(together, ends[0]), ends[1])
    across = min(one.right, other.right + shift) - max(one.left, other.left + shift)
    return down * max(0.0, across)
