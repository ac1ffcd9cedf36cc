"""Places of point names, checked with rectangles laid out at many widths one by one."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from reports.charts.label_places import LINE_HEIGHT, NARROWEST, WIDEST, label_places, text_width
from tests.examples import examples

WIDTHS = [NARROWEST, 350, 400, 555, 720, 901, WIDEST]
NAMES = ["1f1b", "zb-h1, zb1p", "optimized-bidirectional", "! interleaved-overlap:group_size=8,stages=16", "gpipe"]

POINTS = st.lists(
    st.tuples(st.floats(0.11, 0.89), st.floats(0.11, 0.89), st.sampled_from(NAMES)), min_size=1, max_size=14
)


def rectangle(x: float, y: float, text: str, place: tuple[str, float, float], width: float) -> tuple[float, ...]:
    align, dx, dy = place
    long, at = text_width(text), x * width + dx
    left = {"left": at, "right": at - long, "center": at - long / 2}[align]
    return left, y + dy - LINE_HEIGHT / 2, left + long, y + dy + LINE_HEIGHT / 2


def share_area(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    slack = 1e-6
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across > slack and down > slack


@settings(max_examples=examples(60), deadline=None)
@given(POINTS)
def test_names_cover_no_other_and_stay_in_the_plot_at_every_width(parts: list[tuple[float, float, str]]) -> None:
    height = max(300.0, 1.5 * LINE_HEIGHT * len(parts))
    points, texts = [(x, y * height) for x, y, _ in parts], [text for _, _, text in parts]
    places = label_places(points, texts, height=height)
    for width in WIDTHS:
        there = [rectangle(x, y, text, place, width) for (x, y), text, place in zip(points, texts, places, strict=True)]
        assert not [pair for pair in combinations(there, 2) if share_area(*pair)]
        for left, top, right, bottom in there:
            assert left >= -1e-6
            assert right <= width + 1e-6
            assert top >= 0
            assert bottom <= height


def test_a_point_with_room_around_it_has_its_name_beside_it() -> None:
    assert label_places([(0.2, 50), (0.2, 150)], ["1f1b", "gpipe"], height=300) == [("left", 10, 0), ("left", 10, 0)]


def test_a_point_at_the_right_edge_has_its_name_on_the_left() -> None:
    assert label_places([(0.99, 50)], ["interleaved"], height=300) == [("right", -10, 0)]


def test_a_name_covers_neither_its_own_point_nor_another() -> None:
    points = [(0.3, 150), (0.36, 152), (0.33, 140)]
    places = label_places(points, ["zb-h1", "dualpipe", "zb1p"], height=300)
    for width in WIDTHS:
        dots = [(x * width - 5, y - 5, x * width + 5, y + 5) for x, y in points]
        names = ["zb-h1", "dualpipe", "zb1p"]
        for (x, y), text, place in zip(points, names, places, strict=True):
            box = rectangle(x, y, text, place, width)
            assert not [at for at in dots if share_area(box, at)]
