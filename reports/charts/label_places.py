"""Where the names of points go: beside their points, without covering each other, however wide the chart is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

NARROWEST, WIDEST = 320.0, 1000.0
"""Between these widths of the plot, in pixels, names keep clear of each other."""

LETTER_WIDTH, LINE_HEIGHT, LONGEST = 6.7, 14.0, 260.0
"""Pixels that a letter and a line take on average, and the width at which a name is cut off."""

_NEAR, _BESIDE = 6.0, 10.0
_ROUNDS = 4
_SIDES = {"left": 0.0, "right": 1.0, "center": 2.0}
_CROSSING, _COVERING = 6.0, 1000.0


class Box(NamedTuple):
    """A rectangle that is tied to a place on the x axis and so moves with the width of the plot.

    Attributes
    ----------
    anchor : float
        The place, from 0 (left) to 1 (right).
    left, right : float
        Its sides, in pixels from the anchor.
    top, bottom : float
        In pixels from the top of the plot.
    """

    anchor: float
    left: float
    right: float
    top: float
    bottom: float


class Place(NamedTuple):
    """Where a name stands beside its point: how it is aligned, and by how many pixels it is moved."""

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

    Each in turn takes the place where it covers least of the other names, of the points and of what is taken, then of
    the lines, and then the one nearest to its point. This is repeated, since names that are placed later move, too.

    Parameters
    ----------
    points : sequence of (float, float)
        From 0 (left) to 1 (right), and in pixels from the top.
    texts : sequence of str
        Their names.
    height : float
        Of the plot, in pixels.
    taken : sequence of Box
        Where other texts stand.
    lines : sequence of Box
        What a name may cover rather than another name.

    Returns
    -------
    list of Place
        One a point.
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
    """Give the box of a point: its place from 0 (left) to 1 (right), and in pixels from the top."""
    x, y = point
    return Box(x, -_NEAR, _NEAR, y - _NEAR, y + _NEAR)


def text_width(text: str) -> float:
    """Estimate how many pixels a name takes."""
    return min(LONGEST, LETTER_WIDTH * len(text))


def _choices(x: float, y: float, text: str, height: float) -> Iterator[tuple[Place, Box]]:
    """List the places that lie within the plot at every width: in the point's line, and in lines above and below."""
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
    """Measure how much of a box lies on others, on each at the width of the plot at which that is most."""
    return sum(_shared(box, other) for other in others)


def _shared(one: Box, other: Box) -> float:
    """Measure the area that two boxes share at most.

    As the plot widens, the one moves along the other, from where they lie at the narrowest width to where they lie at
    the widest. They share most where their middles come nearest.
    """
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    if down <= 0:
        return 0.0
    ends = sorted((other.anchor - one.anchor) * width for width in (NARROWEST, WIDEST))
    together = (one.left + one.right - other.left - other.right) / 2
    shift = min(max(together, ends[0]), ends[1])
    across = min(one.right, other.right + shift) - max(one.left, other.left + shift)
    return down * max(0.0, across)
