"""Notebooks show a picture, a chart to restyle, and text."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape

import altair as alt
import pytest

import ppopt
from ppopt import InputError, Pipeline
from reports.page.bundle import vega_script
from tests.evaluated import evaluated, pipeline

CHARTS = ["bubble_chart", "memory_chart", "ladder_chart", "idle_chart", "device_idle_chart"]


def test_a_schedule_shows_its_timeline_as_a_picture() -> None:
    schedule = evaluated("1f1b", pipeline(2, 4))
    html = schedule._repr_html_()
    image = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    assert image.startswith(b"<svg")
    assert "makespan 15" in html
    assert "http" not in html


@pytest.mark.slow
@pytest.mark.no_cover
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


# ---- comparisons and pipelines


def test_a_comparison_shows_its_verdict_and_its_table() -> None:
    costs = pipeline(3, 6, unit="ms", memory={"limit": 3})
    made = ppopt.compare(costs, ["1f1b", "zb-h1", "gpipe", "dualpipe"], optimize=False)
    html = made._repr_html_()
    assert made.verdict.startswith("zb-h1 is the fastest of all and fits the memory limit, 16.7% shorter than 1f1b")
    assert f"<p>{escape(made.verdict)}</p>" in html
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]
    assert rows[0] == ["", "strategy", "makespan, ms", "vs 1f1b", "bubble", "memory", "bound, ms", "gap", "runs in"]
    assert [row[1] for row in rows[1:]] == [*(each.strategy for each in made.schedules), "lower bound"]
    assert [row[0] for row in rows[1:]] == ["*", " ", "!", ""]
    assert "gpipe is over the memory limit" in html
    assert "left out: dualpipe needs an even number of devices" in html
    assert "http" not in html
    assert repr(made) == f"<Comparison of 3 schedules: {made.verdict}>"


def test_names_in_a_comparison_are_shown_as_text() -> None:
    made = ppopt.compare(pipeline(2, 4), ["1f1b", "gpipe"], optimize=False)
    odd = tuple(replace(each, strategy="<b>&") for each in made.schedules)
    html = replace(made, schedules=odd, baseline=odd[0], left_out=(("<i>", "<i> does not fit"),))._repr_html_()
    assert "<b>" not in html
    assert "<i>" not in html


def test_a_comparison_in_which_nothing_remains_says_so() -> None:
    made = ppopt.compare(pipeline(3, 3, memory={"limit": 0}), ["dualpipe"], placement="linear", time_limit=1)
    assert made.schedules == ()
    assert "No schedule fits the memory limit." in made._repr_html_()
    assert "No schedule fits the memory limit." in repr(made)


def test_a_pipeline_is_shown_in_two_lines_without_fractions() -> None:
    times = {"forward": [0.1, 0.2], "backward": 0.3, "overlapped_forward_backward": 18522000}
    costs = pipeline(2, 1, times=times, p2p_latency=0.05, unit="<ms>", memory={"limit": 2})
    sizes = "2 devices, 2 stages, 1 microbatch"
    amounts = "F 0.1 to 0.2, B 0.3, overlapped block 18522000, latency 0.05 <ms>; activation 1, limit 2"
    assert repr(costs) == str(costs) == f"<Pipeline: {sizes};\n {amounts}>"
    assert costs._repr_html_() == f"<div><b>{sizes}</b><br>{amounts.replace('<ms>', '&lt;ms&gt;')}</div>"
    assert "stages as the schedule needs" in repr(pipeline(2, 4))
    for part in (costs, costs.recut(6), costs.times, costs.memory, costs.recut(6).times):
        assert "Fraction" not in repr(part) + str(part)


def test_a_pipeline_of_layers_shows_what_is_known_of_them() -> None:
    layers = [
        {"name": "layer", "count": 7, "forward": 2, "backward": 4, "static": 3},
        {"name": "head", "forward": 9, "backward": 5},
    ]
    costs = Pipeline.from_mapping({"devices": 2, "microbatches": 4, "layers": layers, "unit": "ms"})
    sizes = "2 devices, stages as the schedule needs, 4 microbatches, 8 layers"
    assert (
        repr(costs) == f"<Pipeline: {sizes};\n all layers together: F 23, B 33, latency 0 ms; activation 8, no limit>"
    )
    cut = repr(costs.with_cut([5, 3]))
    assert "2 devices, 2 stages, 4 microbatches, 8 layers;\n F 10 to 13, B 13 to 20, I 6.5 to 10, W 6.5 to 10" in cut
    assert "static 6 to 15" in cut


# ---- charts without a network


@pytest.fixture
def offline() -> Iterator[None]:
    before = alt.renderers.active
    ppopt.show_offline()
    yield
    alt.renderers.enable(before)


def test_by_default_charts_are_loaded_from_the_network() -> None:
    """This is why `show_offline` exists: Altair's own HTML names a network address."""
    with alt.renderers.enable("default"):
        html = ppopt.bubble_chart(evaluated("1f1b", pipeline(2, 4)))._repr_mimebundle_()["text/html"]
    assert "https://" in html


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", [*CHARTS, "timeline_chart"])
def test_offline_charts_hold_no_address(name: str) -> None:
    made = evaluated("1f1b", pipeline(2, 4, unit="</script>ms"[:12]))
    html = getattr(ppopt, name)(made)._repr_mimebundle_()["text/html"]
    assert vega_script() in html
    own = html.replace(vega_script(), "")
    assert "http" not in own
    assert len(re.findall(r"<script|</script", own)) == 2
    named = set(re.findall(r"https?://[\w./-]+", html))  # in Vega's own text: names, and links that are never followed
    assert all(
        address.startswith(("http://www.w3.org/", "https://vega.github.io/", "https://github.com/vega/"))
        for address in named
    )


@pytest.mark.usefixtures("offline")
def test_a_user_restyles_what_is_shown_offline() -> None:
    with alt.renderers.set_embed_options(theme="dark"):
        html = ppopt.bubble_chart(evaluated("1f1b", pipeline(2, 4)))._repr_mimebundle_()["text/html"]
    assert '"theme":"dark"' in html.replace(vega_script(), "")
