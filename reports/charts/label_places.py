"""Places the names of points next to them, without covering each other at any width of the chart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

NARROWEST, WIDEST = 320.0, 1000.0
"""The range of plot widths, in pixels, in which names must not cover each other."""

LETTER_WIDTH, LINE_HEIGHT, LONGEST = 6.7, 14.0, 260.0
"""Average pixels of a letter and of a line, and the width at which a name is cut off."""

_NEAR, _BESIDE = 6.0, 10.0
_ROUNDS = 4
_SIDES = {"left": 0.0, "right": 1.0, "center": 2.0}
_CROSSING, _COVERING = 6.0, 1000.0


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
    """The place of a name relative to its point: its alignment, and its offset in pixels."""

    align: str
    dx: float
    dy: float


def label_places(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    height: float,
    taken: Sequence[Box] = (),
    lines: Sequence[Box] = (),
) -> list[Place]:
    """Choose a place for the name of each point.

    Each name in turn takes the place where it covers least of the other names, the points and the taken boxes. Ties go
    to the place that covers least of the lines, then to the one nearest to the point. This is repeated, since names
    that are placed later move, too.

    Parameters
    ----------
    points : sequence of (float, float)
        Their positions: x from 0 (left) to 1 (right), and y in pixels from the top.
    texts : sequence of str
        Their names.
    height : float
        The height of the plot, in pixels.
    taken : sequence of Box
        The boxes of other texts.
    lines : sequence of Box
        Lines, which a name may cover rather than another name.

    Returns
    -------
    list of Place
        One for each point.
    """
    fixed = [*taken, *map(dot, points)]
    chosen: dict[int, tuple[Place, Box]] = {}
    for _ in range(_ROUNDS):
        before = dict(chosen)
        for at, ((x, y), text) in enumerate(zip(points, texts, strict=True)):
            names = [box for other, (_, box) in chosen.items() if other != at]
            choices = list(_choices(x, y, text, height))
            chosen[at] = min(choices, key=lambda choice: _cost(choice, [*fixed, *names], lines))
        if chosen == before:
            break
    return [chosen[at][0] for at in range(len(points))]


def dot(point: tuple[float, float]) -> Box:
    """Return the box of a point, given by x from 0 (left) to 1 (right) and y in pixels from the top."""
    x, y = point
    return Box(x, -_NEAR, _NEAR, y - _NEAR, y + _NEAR)


def text_width(text: str) -> float:
    """Estimate the width of a name in pixels."""
    return min(LONGEST, LETTER_WIDTH * len(text))


def _choices(x: float, y: float, text: str, height: float) -> Iterator[tuple[Place, Box]]:
    """Yield the places within the plot at every width: level with the point, and in lines above and below it."""
    width = text_width(text)
    first, last = -x * NARROWEST, (1 - x) * NARROWEST - width
    for dy in _lines_away(y, height):
        top, bottom = y + dy - LINE_HEIGHT / 2, y + dy + LINE_HEIGHT / 2
        for align, start in (("left", _BESIDE), ("right", -_BESIDE - width), ("center", -width / 2)):
            left = min(max(start, first), last)
            dx = left + {"left": 0.0, "right": width, "center": width / 2}[align]
            yield Place(align, dx, dy), Box(x, left, left + width, top, bottom)


def _lines_away(y: float, height: float) -> Iterator[float]:
    half = LINE_HEIGHT / 2
    for step in range(1, 2 * round(height / half)):
        dy = half * (step // 2) * (1 if step % 2 else -1)
        if half <= y + dy <= height - half:
            yield dy


def _cost(choice: tuple[Place, Box], others: Sequence[Box], lines: Sequence[Box]) -> float:
    place, box = choice
    away = abs(place.dy) + _SIDES[place.align]
    return away + _COVERING * covered(box, others) + _CROSSING * covered(box, lines)


def covered(box: Box, others: Iterable[Box]) -> float:
    """Return the area of a box that lies on others, counting each at the plot width where the overlap is largest."""
    return sum(_shared(box, other) for other in others)


def _shared(one: Box, other: Box) -> float:
    """Return the largest area that two boxes can share.

    As the plot widens, one box moves along the other, from its position at the narrowest width to that at the widest.
    They share most when their centres are nearest.
    """
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    if down <= 0:
        return 0.0
    ends = sorted((other.anchor - one.anchor) * width for width in (NARROWEST, WIDEST))
    together = (one.left + one.right - other.left - other.right) / 2
    shift = min(max(together, ends[0]), ends[1])
    across = min(one.right, other.right + shift) - max(one.left, other.left + shift)
    return down * max(0.0, across)
