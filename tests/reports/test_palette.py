"""Every meaning has a colour of its own, by the difference that the CIE recommends (CIEDE2000)."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations, product
from math import atan2, cbrt, cos, degrees, exp, hypot, radians, sin, sqrt
from pathlib import Path

import pytest

from reports.charts import palette
from reports.charts.palette import (
    CAUSES,
    COLOURS,
    KINDS,
    LINES_AND_POINTS,
    SERIES,
    STEPS,
    contrast,
    ink_on,
    shaded,
)
from reports.charts.timeline_layout import ramp

OTHERS = ("timelines.py",)
"""Timelines, whose bars have white edges."""

LIGHT_CARD, DARK_CARD = "#FFFFFF", "#1D232A"
APART = 12.0
"""About five times the difference at which two neighbouring areas are seen to differ."""


def lab(colour: str) -> tuple[float, float, float]:
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4
        for each in (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    ]
    rows = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
    white = (0.95047, 1.0, 1.08883)
    scaled = [
        sum(part * each for part, each in zip(row, linear, strict=True)) / w for row, w in zip(rows, white, strict=True)
    ]
    x, y, z = (cbrt(each) if each > 216 / 24389 else (24389 / 27 * each + 16) / 116 for each in scaled)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    (light1, a1, b1), (light2, a2, b2) = one, other
    mean = (hypot(a1, b1) + hypot(a2, b2)) / 2
    more = 1.5 - 0.5 * sqrt(mean**7 / (mean**7 + 25**7))
    chroma1, chroma2 = hypot(a1 * more, b1), hypot(a2 * more, b2)
    hue1, hue2 = (degrees(atan2(b, a * more)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (hue2 - hue1 + 180) % 360 - 180 if chroma1 * chroma2 else 0.0
    apart = 2 * sqrt(chroma1 * chroma2) * sin(radians(turn / 2))
    light, chroma, hue = (light1 + light2) / 2, (chroma1 + chroma2) / 2, (hue1 + turn / 2) % 360
    bent = 1 - 0.17 * cos(radians(hue - 30)) + 0.24 * cos(radians(2 * hue))
    bent += 0.32 * cos(radians(3 * hue + 6)) - 0.2 * cos(radians(4 * hue - 63))
    by_light = (light2 - light1) / (1 + 0.015 * (light - 50) ** 2 / sqrt(20 + (light - 50) ** 2))
    by_chroma, by_hue = (chroma2 - chroma1) / (1 + 0.045 * chroma), apart / (1 + 0.015 * chroma * bent)
    blue = -2 * sqrt(chroma**7 / (chroma**7 + 25**7)) * sin(radians(60 * exp(-(((hue - 275) / 25) ** 2))))
    return sqrt(by_light**2 + by_chroma**2 + by_hue**2 + blue * by_chroma * by_hue)


def test_the_difference_is_that_of_the_published_examples() -> None:
    """Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", pairs 1, 8 and 25."""
    assert difference((50, 2.6772, -79.7751), (50, 0, -82.7485)) == pytest.approx(2.0425, abs=1e-4)
    assert difference((50, -1, 2), (50, 0, 0)) == pytest.approx(2.3669, abs=1e-4)
    assert difference((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387)) == pytest.approx(1.2644, abs=1e-4)


def test_no_two_meanings_share_a_colour() -> None:
    alike = [
        (one, other)
        for one, other in combinations(COLOURS, 2)
        if difference(lab(COLOURS[one]), lab(COLOURS[other])) < APART
    ]
    assert alike == []


def test_neither_a_later_stage_nor_a_microbatch_has_the_colour_of_another_meaning() -> None:
    second = {kind: shaded(colour, 1, 2) for kind, colour in KINDS.items()}
    for (meaning, colour), (kind, shade) in product(COLOURS.items(), second.items()):
        assert meaning == kind or difference(lab(colour), lab(shade)) >= APART, (meaning, kind)
    for colour, microbatch in product((*COLOURS.values(), *second.values()), ramp(41)):
        assert difference(lab(colour), lab(microbatch)) >= APART, (colour, microbatch)


def test_what_is_one_thing_has_one_colour() -> None:
    for name in set(CAUSES) & set(STEPS):
        assert CAUSES[name] == STEPS[name]
    assert STEPS["filling_and_draining"] == CAUSES["filling"]


@pytest.mark.parametrize("card", [LIGHT_CARD, DARK_CARD])
def test_lines_and_points_stand_out_from_both_grounds(card: str) -> None:
    faint = [
        each for each in (*(COLOURS[meaning] for meaning in LINES_AND_POINTS), *SERIES) if contrast(each, card) < 3
    ]
    assert faint == []


def test_texts_on_bars_can_be_read() -> None:
    shades = [shaded(colour, place, 8) for colour in KINDS.values() for place in range(8)]
    for colour in (*shades, *ramp(41)):
        assert contrast(ink_on(colour), colour) >= 4.5


def test_charts_take_their_colours_from_the_table() -> None:
    """A colour of its own in a chart would have no meaning, or a second one."""
    own = {
        path.name: found
        for path in Path(palette.__file__).parent.glob("*.py")
        if path.name not in ("palette.py", *OTHERS) and (found := re.findall(r"#[0-9A-Fa-f]{6}", path.read_text()))
    }
    assert own == {}


def test_the_page_has_the_same_colours() -> None:
    css = files("reports.page").joinpath("page.css").read_text(encoding="utf-8").upper()
    for part, colour in (
        (".LEGEND .MEMORY", palette.ACTIVATIONS),
        (".LEGEND .OVER", palette.OVER_LIMIT),
        (".LEGEND .LIMIT", palette.OVER_LIMIT),
        (".RACE .TRACK I", palette.OTHER_COSTS),
        (".RACE .OVER .TRACK I", palette.OVER_LIMIT),
    ):
        (rule,) = re.findall(rf"^{re.escape(part)} {{(.*)}}$", css, flags=re.MULTILINE)
        assert colour in rule, part
