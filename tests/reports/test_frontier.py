"""The sentence and the chart of a memory frontier agree with its points."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from reports.charts.frontier import FOUND, OTHER, PUBLISHED, TAKEN, frontier_chart, point_rows
from reports.charts.slide import HEIGHT, WIDTH, frontier_slide
from reports.frontier_points import FrontierPoint, PublishedPoint, ShownFrontier, frontier_table, knee
from reports.picture import picture
from reports.units import Units


def point(limit: float, makespan: float, bound: float | None = None) -> FrontierPoint:
    bound = makespan if bound is None else bound
    status = "optimal" if bound == makespan else "feasible"
    return FrontierPoint(limit, makespan, bound, limit, "optimized-v", "v", status, rank=0)


POINTS = [point(1, 1000, 900), point(2, 500, 480), point(4, 450), point(8, 441)]
SHOWN = ShownFrontier(
    points=POINTS,
    published=[
        PublishedPoint("v-min", 2, 510, is_comparable=True, best=500, rank=1),
        PublishedPoint("dualpipe", 4, 430, is_comparable=False, best=450, rank=2),
    ],
    stairs=[(1, 1000), (2, 500), (4, 450), (8, 441)],
    bounds=[(1, 900), (2, 480), (4, 450), (8, 441)],
    top=(8, 441),
    highest_bound=441,
    units=Units("ms"),
)


def test_the_sentence_names_the_knee_and_what_the_next_step_buys() -> None:
    assert SHOWN.sentence == (
        "From a limit of 1 to 8 the step falls from 1 s to 441 ms. The knee is at 2, with 89.45% of the "
        "possible saving; going from 2 to 4 saves 10.00% of each step; more than 8 saves nothing, which is proven."
    )


def test_the_next_step_is_that_after_the_users_limit() -> None:
    assert "going from 4 to 8 saves 2.00% of each step; more than 8" in replace(SHOWN, limit=5).sentence
    assert "going from 2 to 4 saves 10.00%" in replace(SHOWN, limit=100).sentence


def test_what_is_not_proven_is_not_called_so() -> None:
    assert (
        "with more than 8 nothing shorter was found, and at most 1.00% could be saved"
        in replace(SHOWN, highest_bound=436.59).sentence
    )
    short = replace(SHOWN, points=POINTS[:3])
    assert "; more memory keeps helping, up to 8 (2.00% of each step)." in short.sentence
    one = replace(SHOWN, points=POINTS[3:])
    assert one.sentence == "At a limit of 8 the step takes 441 ms; more than 8 saves nothing, which is proven."


def test_what_memory_saves_in_all_goes_beyond_the_last_limit() -> None:
    """The knee's share is relative to the best known saving, which the sentence does not claim to be the most."""
    short = replace(SHOWN, points=[*POINTS[:2], point(4, 500, 450)])
    assert "the knee is at 2, with 89.45% of the possible saving" in short.sentence.replace("The knee", "the knee")
    assert "more memory keeps helping, up to 8 (11.80% of each step)" in short.sentence
    open_ = replace(SHOWN, highest_bound=400)
    assert "with 89.45% of the saving found" in open_.sentence
    assert replace(SHOWN, scope="for this").sentence == f"{SHOWN.sentence} Bounds and proofs hold for this."


def test_without_a_knee_the_step_is_the_first_that_buys_anything() -> None:
    late = replace(SHOWN, points=[point(1, 500), point(2, 500), point(3, 441)], top=(3, 441))
    assert "Going from 2 to 3 saves 11.80% of each step; more than 3 saves nothing" in late.sentence
    assert "knee" not in late.sentence + frontier_table(late, None)


@pytest.mark.parametrize(
    ("points", "limit"),
    [(POINTS, 2), (POINTS[:1], None), (POINTS[:2], None), ([point(1, 3), point(2, 2), point(3, 1)], None)],
)
def test_the_knee_is_the_point_farthest_below_the_line(points: list[FrontierPoint], limit: float | None) -> None:
    found = knee(points)
    assert (None if found is None else found.limit) == limit


def test_the_tables_have_every_figure() -> None:
    text = frontier_table(SHOWN, None)
    assert [line.split() for line in text.splitlines()[2:6]] == [
        ["1", "v", "1000", "900", "10.00%", "feasible"],
        ["*", "2", "v", "500", "480", "4.00%", "feasible", "−50.0%"],
        ["4", "v", "450", "450", "0.00%", "optimal", "−10.0%"],
        ["8", "v", "441", "441", "0.00%", "optimal", "−2.0%"],
    ]
    assert ["v-min", "2", "510", "+2.0%"] in [line.split() for line in text.splitlines()]
    assert ["~", "dualpipe", "4", "430", "−4.4%"] in [line.split() for line in text.splitlines()]
    assert "~ on a placement" in text
    assert "runs in" not in text
    named = {"P": "pytorch", "Z": "zero-bubble"}
    points = [replace(each, runs_in=named) for each in POINTS]
    text = frontier_table(replace(SHOWN, points=points), None)
    assert text.splitlines()[2].split() == ["1", "v", "1000", "900", "10.00%", "feasible", "PZ"]
    assert text.endswith("\nruns in: P pytorch, Z zero-bubble")


def test_memory_has_its_unit_in_the_sentence_and_the_tables() -> None:
    assert GB.sentence.startswith("From a limit of 1 GB to 8 GB the step falls from 1 s to 441 ms. The knee is at 2 GB")
    assert GB.sentence.endswith("more than 8 GB saves nothing, which is proven.")
    lines = frontier_table(GB, None).splitlines()
    assert lines[1].split() == ["GB", "ms", "ms"]
    assert lines[lines.index(next(line for line in lines if "published" in line)) + 1].split() == ["GB", "ms"]


def rows_of(chart: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    data = layer.get("data", chart.get("data"))
    return data["values"] if "values" in data else chart["datasets"][data["name"]]


def layers_of(chart: dict[str, Any], mark: str) -> list[dict[str, Any]]:
    return [layer for layer in chart["layer"] if layer["mark"]["type"] == mark]


def test_the_chart_shows_both_curves_the_limit_and_every_point() -> None:
    chart = frontier_chart(replace(SHOWN, limit=3)).to_dict()
    steps = rows_of(chart, layers_of(chart, "area")[0])
    at = {row["memory"]: (row["makespan"], row["bound"]) for row in steps}
    assert at[1] == (1000, 480)  # from 1 on, up to 2
    assert at[2] == (500, 450)
    assert at[4] == (450, 441)
    assert at[8] == (441, 441)
    rows = point_rows(SHOWN)
    assert rows_of(chart, layers_of(chart, "point")[0]) == rows
    assert [row["state"] for row in rows] == [FOUND] * 4 + [PUBLISHED, OTHER]
    names = [row["name"] for row in rows_of(chart, layers_of(chart, "text")[-1])]
    assert names == ["dualpipe", "v-min"]  # neither is beaten by the other; the shorter one is placed first
    known, bound, limit = (rows_of(chart, layer) for layer in layers_of(chart, "rule"))
    assert limit == [{"memory": 3, "text": "memory limit"}]
    for curve, steps in ((known, SHOWN.stairs), (bound, [(1, 480), (2, 450), (4, 441)])):
        levels = {row["memory"]: row["makespan"] for row in curve if row["makespan"] == row["to_makespan"]}
        assert [levels[memory] for memory, _ in steps] == [makespan for _, makespan in steps]
    assert any(each["name"] == "zoom" for each in chart["params"])


def test_a_published_schedule_is_not_shown_as_found() -> None:
    shown = replace(SHOWN, points=[POINTS[0], replace(POINTS[1], name="v-min", searched=False), *POINTS[2:]])
    assert [row["state"] for row in point_rows(shown)][:3] == [FOUND, TAKEN, FOUND]
    legend = layers_of(frontier_chart(shown).to_dict(), "point")[0]["encoding"]["color"]["scale"]["domain"]
    assert legend == [FOUND, TAKEN, PUBLISHED, OTHER]
    assert layers_of(frontier_chart(SHOWN).to_dict(), "point")[0]["encoding"]["color"]["scale"]["domain"] == [
        FOUND, PUBLISHED, OTHER,
    ]  # fmt: skip


def test_a_point_far_outside_is_an_arrow_with_its_value() -> None:
    far = PublishedPoint("zb-h2", 900, 430, is_comparable=True, best=441, rank=3)
    chart = frontier_chart(replace(SHOWN, published=[*SHOWN.published, far], units=Units("ms", "GB"))).to_dict()
    x = layers_of(chart, "point")[0]["encoding"]["x"]["scale"]["domain"]
    assert x[1] < 20
    (arrow,) = rows_of(chart, layers_of(chart, "point")[1])
    assert (arrow["name"], arrow["arrow"], arrow["memory"]) == ("zb-h2", "triangle-right", x[1])
    beaten = [row["name"] for row in rows_of(chart, layers_of(chart, "text")[-1])]
    assert beaten == ["dualpipe", "v-min"]  # dualpipe is as short with less memory
    best = replace(SHOWN, published=[*SHOWN.published, replace(far, makespan=400)], units=Units("ms", "GB"))
    chart = frontier_chart(best).to_dict()
    assert "zb-h2 900 GB" in [row["name"].strip() for row in rows_of(chart, layers_of(chart, "text")[-1])]


# ---- the picture for a slide


def texts_of(shown: ShownFrontier, *more: Any) -> tuple[ElementTree.Element, list[str]]:
    svg = ElementTree.fromstring(picture(frontier_slide(shown, "model", *more), "svg"))
    return svg, [text.strip() for each in svg.iter() for text in [each.text] if text and text.strip()]


GB = replace(SHOWN, units=Units("ms", "GB"), limit=3)


def test_a_slide_says_what_it_shows_with_units_on_16_to_9() -> None:
    svg, texts = texts_of(GB)
    assert (float(svg.get("width", 0)), float(svg.get("height", 0))) == (WIDTH, HEIGHT)
    assert WIDTH * 9 == HEIGHT * 16
    assert {"Step time against memory per device: model", "memory per device, GB", "step time, ms"} <= set(texts)
    assert "memory per device" in texts_of(SHOWN)[1]
    sizes = [float(size) for each in svg.iter() if (size := re.sub("px", "", each.get("font-size", "")))]
    assert min(sizes) >= 18


def test_a_slide_has_at_most_eight_texts_besides_axes_and_legend() -> None:
    crowd = [
        PublishedPoint(f"crowd-{place}", 1 + place / 3, 900 - 20 * place, is_comparable=True, rank=0)
        for place in range(20)
    ]
    for more in ((), (((2, 500), (4, 450)),)):
        _, texts = texts_of(replace(GB, published=crowd), *more)
        named = {text for text in texts if text.startswith(("crowd", "memory limit", "+"))}
        assert len(named) <= 8
        assert sum(text.startswith("crowd") for text in named) >= 2


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        (((2, 500), (4, 450)), ["+2 GB: 10.00% shorter", "500 → 450 ms"]),
        (((3.5, 500), (100, 441)), ["+96.5 GB: 11.80% shorter", "500 → 441 ms"]),
        (((4, 450), (5, 450)), ["+1 GB: no shorter step known", "450 ms"]),
        (((1, 1000), (8, 441)), ["+7 GB: 55.90% shorter", "1,000 → 441 ms"]),
    ],
)
def test_a_bracket_says_what_more_memory_saves(ends: Any, text: list[str]) -> None:
    _, texts = texts_of(GB, ends)
    assert set(text) <= set(texts)


def test_a_bracket_names_nothing_that_lies_beyond_its_axes() -> None:
    far = PublishedPoint("v-slow", 1.5, 990, is_comparable=True, rank=0)
    assert any(text.startswith("v-slow") for text in texts_of(replace(GB, published=[*GB.published, far]))[1])
    _, texts = texts_of(replace(GB, published=[*GB.published, far]), ((4, 450), (8, 441)))
    assert not any(text.startswith("v-slow") for text in texts)


def test_a_slide_says_which_cuts_its_bounds_hold_for() -> None:
    _, texts = texts_of(replace(GB, scope="for every cut"))
    assert "Bounds and proofs hold for every cut." in texts


def test_a_slide_says_where_its_bracket_is_hardly_known() -> None:
    ends = ((1.0, 1000.0), (4.0, 450.0))
    assert "with 1 a step may be up to 10.00% shorter than found" in json.dumps(
        frontier_slide(SHOWN, "", ends).to_dict()
    )
    closed = replace(SHOWN, points=[replace(each, bound=each.makespan) for each in POINTS])
    assert "shorter than found" not in json.dumps(frontier_slide(closed, "", ends).to_dict())
