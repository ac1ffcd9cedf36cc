"""What a notebook shows: a picture, a chart to restyle, and words."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest

import ppopt
from ppopt import InputError
from tests.evaluated import evaluated, pipeline

CHARTS = ["bubble_chart", "memory_chart", "ladder_chart", "idle_chart", "device_idle_chart"]


def test_a_schedule_shows_its_timeline_as_a_picture() -> None:
    schedule = evaluated("1f1b", pipeline(2, 4))
    html = schedule._repr_html_()
    image = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    assert image.startswith(b"<svg")
    assert "makespan 15" in html
    assert "http" not in html


def test_a_long_schedule_is_shown_in_pixels() -> None:
    html = evaluated("1f1b", pipeline(4, 500))._repr_html_()
    assert base64.b64decode(re.search(r"base64,([^\"]+)", html)[1]).startswith(b"\x89PNG")


def test_a_name_with_markup_is_shown_as_text() -> None:
    schedule = replace(evaluated("1f1b", pipeline(2, 4)), strategy="<script>alert(1)</script>")
    assert "<script>" not in schedule._repr_html_()


def test_a_notebook_is_offered_text_picture_and_chart() -> None:
    schedule = evaluated("zb-h1", pipeline(2, 4))
    bundle = schedule._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == repr(schedule)
    assert bundle["text/html"].startswith("<div>")
    assert "vega-lite/v6" in bundle["application/vnd.vegalite.v6+json"]["$schema"]


@pytest.mark.parametrize("name", CHARTS)
def test_charts_take_comparisons_schedules_and_lists_and_can_be_restyled(name: str) -> None:
    draw = getattr(ppopt, name)
    costs = pipeline(2, 4, memory={"limit": 2})
    one, other = evaluated("1f1b", costs), evaluated("gpipe", costs)
    for shown in (one, [one, other], ppopt.compare(costs, ["1f1b"], optimize=False)):
        restyled = draw(shown).properties(width=321, title="mine").to_dict()
        assert restyled["width"] == 321
        assert restyled["title"] == "mine"


def test_the_timeline_chart_has_a_bar_for_each_operation() -> None:
    schedule = evaluated("zb-h1", pipeline(2, 3))
    bars = ppopt.timeline_chart(schedule).layer[0].data.values
    assert [(bar["action"], bar["start"], bar["end"]) for bar in bars] == [
        (f"{row.stage}{row.op}{row.microbatch}", row.start, row.end) for row in schedule.timeline.itertuples()
    ]


@pytest.mark.parametrize("wrong", [[], [1], None, "1f1b"])
def test_what_cannot_be_drawn_is_refused(wrong: object) -> None:
    with pytest.raises(InputError, match="schedule"):
        ppopt.bubble_chart(wrong)
    with pytest.raises(InputError, match="schedule"):
        ppopt.timeline_chart(wrong)
