"""Places of point names, checked with rectangles laid out at many widths one by one."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from reports.charts.label_places import LINE_HEIGHT, NARROWEST, WIDEST, Place, Sheet, label_places, text_width
from tests.examples import examples

WIDTHS = [NARROWEST, 400, 555, 720, 901, 1280, WIDEST]
NAMES = ["1f1b", "zb-h1, zb1p", "optimized-bidirectional", "! interleaved-overlap:group_size=8,stages=16", "gpipe"]
SHEET = Sheet(300.0)
DOT = 5.0

POINTS = st.lists(
    st.tuples(st.floats(0.02, 0.98), st.floats(0.02, 0.98), st.sampled_from(NAMES)), min_size=1, max_size=14
)

Rectangle = tuple[float, float, float, float]


def name_of(x: float, y: float, text: str, place: Place, width: float) -> Rectangle:
    long, at = text_width(text), x * width + place.dx
    left = {"left": at, "right": at - long, "center": at - long / 2}[place.align]
    return left, y + place.dy - LINE_HEIGHT / 2, left + long, y + place.dy + LINE_HEIGHT / 2


def leader_of(x: float, y: float, place: Place, width: float) -> Rectangle:
    """Return the part of the line from a point to its name that lies outside the point."""
    near = DOT if place.leader > 0 else -DOT
    top, bottom = sorted((y + near, y + place.leader))
    return x * width - 0.5, top, x * width + 0.5, bottom


def share_area(one: Rectangle, other: Rectangle) -> bool:
    slack = 1e-6
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across > slack and down > slack


@settings(max_examples=examples(150), deadline=None)
@given(POINTS, st.integers(0, 20))
def test_no_name_and_no_leader_covers_or_crosses_anything_at_any_width(
    parts: list[tuple[float, float, str]], unnamed: int
) -> None:
    points, texts = [(x, y * SHEET.height) for x, y, _ in parts], [text for _, _, text in parts]
    texts = texts[: max(1, len(texts) - unnamed)]
    places = label_places(points, texts, SHEET)
    assert len(places) == len(texts)
    for width in WIDTHS:
        dots = [(x * width - DOT, y - DOT, x * width + DOT, y + DOT) for x, y in points]
        named = [
            (x, y, text, place) for (x, y), text, place in zip(points, texts, places, strict=False) if place is not None
        ]
        names = [name_of(x, y, text, place, width) for x, y, text, place in named]
        leaders = [leader_of(x, y, place, width) for x, y, _, place in named if place.leader]
        assert not [pair for pair in combinations([*names, *leaders], 2) if share_area(*pair)]
        assert not [at for at in dots for each in (*names, *leaders) if share_area(each, at)]
        for left, top, right, bottom in names:
            assert left >= -1e-6
            assert right <= width + 1e-6
            assert top >= 0
            assert bottom <= SHEET.height


@settings(max_examples=examples(60), deadline=None)
@given(POINTS)
def test_a_leader_ends_at_its_name(parts: list[tuple[float, float, str]]) -> None:
    points, texts = [(x, y * SHEET.height) for x, y, _ in parts], [text for _, _, text in parts]
    for (x, y), text, place in zip(points, texts, label_places(points, texts, SHEET), strict=True):
        if place is None or not place.leader:
            continue
        left, top, right, bottom = name_of(x, y, text, place, NARROWEST)
        assert left - 1e-6 <= x * NARROWEST <= right + 1e-6
        assert y + place.leader in (top, bottom)


def test_a_few_points_are_all_named() -> None:
    points = [(0.2, 50.0), (0.25, 60.0), (0.3, 150.0), (0.36, 152.0), (0.33, 140.0), (0.9, 250.0), (0.9, 262.0)]
    texts = ["optimized-bidirectional", "zb-v-auto", "zb-h1", "dualpipe", "zb1p", "1f1b", "gpipe"]
    assert None not in label_places(points, texts, SHEET)


def test_the_first_name_is_the_last_to_be_left_out() -> None:
    crowd = [(0.5, 150.0 + 3 * place) for place in range(40)]
    places = label_places(crowd, ["winner"], SHEET)
    assert places[0] is not None


def test_a_point_with_room_around_it_has_its_name_beside_it() -> None:
    places = label_places([(0.2, 50), (0.2, 150)], ["1f1b", "gpipe"], SHEET)
    assert places == [("left", 10, 0, 0), ("left", 10, 0, 0)]


def test_a_point_at_the_right_edge_has_its_name_on_the_left() -> None:
    assert label_places([(0.99, 50)], ["interleaved"], SHEET) == [("right", -10, 0, 0)]
