from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import ppopt
from ppopt.comparison.comparison import Comparison
from ppopt.comparison.plan_section import plan_section
from reports.charts.bubbles import BUBBLES, bubble_chart, bubble_sentence, reference_lines
from reports.charts.folding import ALL_SCHEDULES, IS_SHOWN
from reports.charts.losses import (
    DEVICES,
    IDLE,
    LADDER,
    device_idle_chart,
    idle_chart,
    ladder_chart,
    ladder_sentence,
)
from reports.charts.overview import BINS, any_timeline_chart, idle_shares, overview_chart
from reports.charts.panel import Panel
from reports.charts.records import STEP_TITLES, label, ladder_records, names_in_focus, schedule_records
from reports.charts.timeline_layout import (
    BAR_BOTTOM,
    BAR_TOP,
    LIMIT_SHARE,
    MOST_ROWS,
    STRIP_BOTTOM,
    STRIP_TOP,
    bar_rows,
    full_strip,
    highest_peak,
    idle_ticks,
    memory_rows,
    ramp,
    row_height,
    shown_devices,
)
from reports.charts.timelines import timeline_chart
from reports.charts.trade import MEMORY, memory_chart
from reports.content import Section
from reports.critical_path import critical_path
from reports.focus import in_focus
from reports.numbers import digits_of, grouped, percent
from reports.picture import picture
from tests.evaluated import pipeline

STRATEGIES = ["1f1b", "zb-h1", "dualpipe", "1f1b-overlap", "interleaved:stages=8"]
OF_SECTIONS = [bubble_chart, memory_chart, ladder_chart, idle_chart, device_idle_chart]
OF_SCHEDULES = [timeline_chart, overview_chart]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    costs = pipeline(4, 8, p2p_latency=0.25, memory={"limit": 6})
    return ppopt.compare(costs, STRATEGIES, optimize=False, engine="graph")


@pytest.fixture(params=STRATEGIES)
def schedule(request: pytest.FixtureRequest, comparison: Comparison) -> ppopt.Schedule:
    return next(each for each in comparison.schedules if each.strategy == request.param)


def texts(svg: bytes) -> list[str]:
    return [text for each in ElementTree.fromstring(svg).iter() for text in [each.text] if text and text.strip()]


@pytest.mark.parametrize("draw", OF_SECTIONS)
def test_charts_of_sections_are_valid_and_name_every_schedule(comparison: Comparison, draw: Callable[..., Any]) -> None:
    chart = draw(comparison.section("t"))
    assert chart.to_dict()["$schema"]
    found = " ".join(texts(picture(chart, "svg")))
    shown = comparison.schedules if draw is not device_idle_chart else []
    for each in shown:
        assert each.strategy in found
    if draw is device_idle_chart:
        assert all(str(device) in found for device in range(4))


@pytest.mark.exhaustive(4)
@pytest.mark.parametrize("draw", OF_SCHEDULES)
def test_charts_of_schedules_are_valid_and_label_every_device(
    schedule: ppopt.Schedule, draw: Callable[..., Any]
) -> None:
    chart = draw(schedule.presented())
    assert chart.to_dict()["$schema"]
    found = texts(picture(chart, "svg"))
    assert {f"device {device}" for device in range(4)} <= set(found)
    if draw is timeline_chart:
        assert schedule.strategy in found
        assert {str(microbatch) for microbatch in range(8)} <= set(found)


def test_pngs_are_pngs(comparison: Comparison) -> None:
    content = picture(bubble_chart(comparison.section("t")), "png")
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 5_000


@pytest.mark.parametrize("draw", [*OF_SECTIONS[:4], any_timeline_chart])
def test_names_with_markup_are_text_in_a_picture(draw: Callable[..., Any]) -> None:
    made = ppopt.compare(pipeline(2, 3), ["1f1b"], optimize=False, engine="graph")
    name = "<script>&\"'日本"
    hostile = replace(made, schedules=(replace(made.schedules[0], strategy=name),))
    shown = hostile.section("t")
    svg = picture(draw(shown.schedules[0] if draw is any_timeline_chart else shown), "svg")
    assert b"<script" not in svg
    assert any(name in text for text in texts(svg))


@pytest.mark.parametrize("more", [{"memory": {"limit": [4, 3, 2, 1]}}, {"memory": {"limit": 0}}, {"devices": 1}, {}])
def test_charts_of_unusual_pipelines_are_drawn(more: dict[str, Any]) -> None:
    sizes = {"devices": 4, "microbatches": 3} | more
    made = ppopt.compare(pipeline(**sizes), ["1f1b"], optimize=False, engine="graph")
    for draw in OF_SECTIONS:
        assert not any("NaN" in text or "null" in text for text in texts(picture(draw(made.section("t")), "svg")))


@pytest.mark.parametrize("memory", [{}, {"limit": 6}])
def test_the_bound_is_a_line_across_the_bubbles_with_and_without_a_limit(memory: dict[str, Any]) -> None:
    made = ppopt.compare(pipeline(4, 8, memory=memory), ["1f1b", "zb-h1"], optimize=False, engine="graph")
    best, line = reference_lines(made.section("t"))
    assert best["line"] == made.schedules[0].strategy
    assert line["line"] == "lower bound"
    assert line["makespan"] == made.bound
    assert line["bubble_ratio"] == pytest.approx(1 - made.schedules[0].ideal / made.schedules[0].makespan)


def test_the_solid_line_is_the_winner_also_if_it_is_published(comparison: Comparison) -> None:
    section = comparison.section("t")
    winner = section.winner
    others = [replace(each, searched=each is not winner) for each in section.schedules]
    named = section.schedules.index(winner)
    assert not others[named].searched
    assert reference_lines(replace(section, schedules=others))[0]["line"] == others[named].summary.name


# ---- schedules out of focus


@pytest.fixture(scope="module")
def crowd() -> Section:
    """All published schedules, of which most are out of focus."""
    return ppopt.compare(pipeline(4, 8, p2p_latency=0.25, memory={"limit": 6}), optimize=False, engine="graph").section(
        "t"
    )


@pytest.mark.parametrize("panel", [BUBBLES, LADDER, IDLE, MEMORY])
def test_a_page_folds_what_is_out_of_focus_and_a_picture_shows_all(crowd: Section, panel: Panel) -> None:
    focus = in_focus(crowd)
    specification = panel.specification(crowd, "some-0")
    (folding,) = (each for each in specification["params"] if each["name"] == ALL_SCHEDULES)
    assert folding["value"] is False
    rows = [row for each in specification["datasets"].values() for row in each if "focus" in row]
    assert {row["name"] for row in rows} == {label(each) for each in crowd.schedules}
    assert {row["name"] for row in rows if row["focus"]} == {label(crowd.schedules[rank]) for rank in focus}
    for part in specification.get("layer", [specification]):
        data = part.get("data", specification.get("data"))
        if any("focus" in row for row in specification["datasets"].get(data.get("name"), [])):
            transforms = [*specification.get("transform", ()), *part.get("transform", ())]
            assert {"filter": IS_SHOWN} in transforms
    named = texts(picture(panel.chart(crowd), "svg"))
    if panel is not MEMORY:
        assert {label(each) for each in crowd.schedules} <= set(named)


def test_tables_keep_all_rows_and_know_which_are_in_focus(crowd: Section) -> None:
    names = names_in_focus(crowd)
    for panel in (BUBBLES, LADDER, IDLE, MEMORY, DEVICES):
        table = panel.table(crowd)
        assert table.focus is not None
        shown = [row[0].partition(", device")[0] for row, focus in zip(table.rows, table.focus, strict=True) if focus]
        assert set(shown) == names
        assert len(table.rows) == len(crowd.schedules) * (4 if panel is DEVICES else 1)


def test_a_legend_names_what_is_drawn_and_nothing_else(crowd: Section) -> None:
    for panel, field in ((BUBBLES, "state"), (LADDER, "step"), (IDLE, "cause"), (MEMORY, "state")):
        specification = panel.specification(crowd, "some-0")
        rows = [row for each in specification["datasets"].values() for row in each if field in row]
        colour = next(
            each["encoding"]["color"]
            for each in specification.get("layer", [specification])
            if "color" in each["encoding"]
        )
        every, focus = ({row[field] for row in rows if row["focus"] or whole} for whole in (True, False))
        assert set(colour["scale"]["domain"]) == every
        values = colour["legend"]["values"]["expr"]
        lists = [set(json.loads(part)) for part in re.findall(r"\[.*?\]", values)]
        assert lists == ([every] if every == focus else [every, focus])


# ---- states


def test_a_published_order_on_a_searched_cut_is_published_and_a_file_is_a_given_order(tmp_path: Path) -> None:
    """The status of a plan is that of the search for its cut; its order is what was published."""
    layers = [{"name": "layer", "count": 5, "forward": 1, "backward_input": 1, "backward_weight": 1}]
    costs = ppopt.Pipeline.from_mapping({"devices": 2, "microbatches": 4, "layers": layers})
    planning = ppopt.plan(costs, ["1f1b"], time_limit=5)
    section = plan_section(planning, "t")
    assert [row["state"] for row in schedule_records(section)] == ["published"]
    order = tmp_path / "mine.csv"
    order.write_text("\n".join(",".join(actions) for actions in ppopt.evaluate(pipeline(2, 2), "1f1b").orders))
    made = ppopt.compare(pipeline(2, 2), [str(order), "gpipe"], optimize=False)
    states = {row["name"]: row["state"] for row in schedule_records(made.section("t"))}
    assert sorted(states.values()) == ["given order", "published"]
    assert states["gpipe"] == "published"


# ---- ladders


def test_ladders_run_from_the_ideal_up_and_what_is_saved_lies_below_it() -> None:
    times = {"forward": 1, "backward": 2, "overlapped_forward_backward": 2.25}
    section = ppopt.compare(
        pipeline(4, 8, times=times, p2p_latency=0.1), ["1f1b-overlap", "dualpipe", "1f1b"], optimize=False
    ).section("t")
    records = ladder_records(section)
    assert any(each["from"] < 0 for each in records)
    for each in section.schedules:
        own = [record for record in records if record["name"] == label(each)]
        assert each.ladder is not None
        for record in own:
            assert (record["from"] < 0) == (record["step"] == STEP_TITLES["saved"])
            assert record["to"] > record["from"]
        losses = [record for record in own if record["from"] >= 0]
        assert losses[0]["from"] == 0
        assert all(one["to"] == following["from"] for one, following in pairwise(losses))
        net = losses[-1]["to"] + min(0.0, own[0]["from"])
        assert net == pytest.approx(each.summary.figures.bubble_over_ideal)


def test_the_imbalance_of_layers_is_not_blamed_on_their_cut() -> None:
    """A plan may have proven that no other cut is shorter."""
    layers = [
        {"name": "layer", "count": 5, "forward": 1, "backward_input": 1, "backward_weight": 1},
    ]
    costs = ppopt.Pipeline.from_mapping({"devices": 2, "microbatches": 30, "layers": layers})
    section = ppopt.compare(costs, ["1f1b"], optimize=False).section("t")
    assert section.schedules[0].ladder is not None
    assert section.schedules[0].ladder.imbalance > 0
    assert "1f1b loses most to imbalance" in ladder_sentence(section)
    assert "partition" not in ladder_sentence(section)


# ---- one figure, one text


def test_figures_read_the_same_in_charts_tables_and_sentences(crowd: Section) -> None:
    best = crowd.schedules[0]
    figures = best.summary.figures
    (row,) = (each for each in schedule_records(crowd) if each["rank"] == 0)
    found = texts(picture(BUBBLES.chart(crowd), "svg"))
    for panel in (BUBBLES, MEMORY):
        (cells,) = (each for each in panel.table(crowd).rows if each[0] == best.summary.name)
        assert row["makespan_text"] in cells
    assert percent(figures.bubble_ratio) in found
    assert percent(figures.bubble_ratio) in bubble_sentence(crowd)
    assert row["bubble_ratio_text"] == percent(figures.bubble_ratio)
    (measured,) = schedule_records(
        replace(crowd, schedules=[replace(best, summary=replace(best.summary, status="measured"))])
    )
    assert measured["makespan_text"] == grouped(figures.makespan, digits_of("measured"))


# ---- timelines


def test_bars_are_the_timeline(schedule: ppopt.Schedule) -> None:
    bars = bar_rows(schedule.presented())
    frame = schedule.timeline
    found = [(bar["device"], bar["stage"], bar["microbatch"], bar["action"], bar["start"], bar["end"]) for bar in bars]
    assert found == [
        (row.device, row.stage, row.microbatch, f"{row.stage}{row.op}{row.microbatch}", row.start, row.end)
        for row in frame.itertuples()
    ]
    path = set(critical_path(schedule.problem, schedule.rows))
    assert {at for at, bar in enumerate(bars) if bar["critical"]} == path


def test_halves_of_a_block_lie_above_each_other_and_whole_bars_fill_the_row(schedule: ppopt.Schedule) -> None:
    bars, blocks = bar_rows(schedule.presented()), schedule.timeline.block
    whole = [bar for bar, lone in zip(bars, blocks.isna(), strict=True) if lone]
    halved = [bar for bar, lone in zip(bars, blocks.isna(), strict=True) if not lone]
    for bar in whole:
        assert (bar["top"], bar["bottom"]) == (bar["device"] + BAR_TOP, bar["device"] + BAR_BOTTOM)
    for upper, lower in zip(halved[::2], halved[1::2], strict=True):
        assert upper["device"] == lower["device"]
        assert upper["device"] + BAR_TOP == upper["top"] < upper["bottom"] <= lower["top"] < lower["bottom"]
        assert lower["bottom"] == lower["device"] + BAR_BOTTOM
    assert bool(halved) == (schedule.strategy in {"dualpipe", "1f1b-overlap"})


def test_bars_of_one_device_do_not_cover_each_other(schedule: ppopt.Schedule) -> None:
    bars = bar_rows(schedule.presented())
    for one, following in pairwise(bars):
        apart = one["device"] != following["device"] or one["end"] <= following["start"]
        assert apart or one["bottom"] <= following["top"]


def test_memory_strips_reach_the_peaks_and_end_empty(schedule: ppopt.Schedule) -> None:
    shown = schedule.presented()
    strips = memory_rows(shown, highest_peak([shown]))
    for device, peak in enumerate(schedule.peak_memory):
        here = [strip for strip in strips if strip["device"] == device]
        assert max(strip["level"] for strip in here) == pytest.approx(peak)
        assert [strip["time"] for strip in here] == sorted(strip["time"] for strip in here)
        assert here[-1]["level"] == 0
        for strip in here:
            assert device + STRIP_TOP - 1e-9 <= strip["top"] <= strip["base"] == device + STRIP_BOTTOM
        highest = min(here, key=lambda strip: strip["top"])
        assert highest["level"] == pytest.approx(peak) or highest["level"] > 6 / LIMIT_SHARE


def test_what_is_above_the_limit_is_drawn_as_such(comparison: Comparison) -> None:
    highest = highest_peak([each.presented() for each in comparison.schedules])
    for schedule in comparison.schedules:
        strips = memory_rows(schedule.presented(), highest)
        over = {strip["device"] for strip in strips if strip["limit"] is not None and strip["over"] < strip["limit"]}
        assert over == {device for device, peak in enumerate(schedule.peak_memory) if peak > 6}


@pytest.mark.parametrize(
    ("limit", "names", "full"),
    [
        (40, ["1f1b", "gpipe"], [50, 50, 50, 50]),  # the limit is at four fifths, though 1F1B holds only 4
        (6, ["1f1b", "zb-h2"], [7.5, 7.5, 7.5, 7.5]),
        ([4, 3, 2, 9], ["1f1b"], [5, 3.75, 2.5, 11.25]),  # each device's own
        (0, ["1f1b", "gpipe"], [8, 8, 8, 8]),
        (None, ["1f1b", "gpipe"], [8, 8, 8, 8]),  # the highest peak of all
    ],
)
def test_memory_strips_are_scaled_to_the_limit(limit: Any, names: list[str], full: list[float]) -> None:
    costs = pipeline(4, 8, memory={} if limit is None else {"limit": limit})
    shown = [ppopt.evaluate(costs, name).presented() for name in names]
    highest = highest_peak(shown)
    for each in shown:
        assert [full_strip(known, highest) for known in each.summary.limits] == full
        for strip in memory_rows(each, highest):
            part = (strip["base"] - strip["top"]) / (STRIP_BOTTOM - STRIP_TOP)
            assert part == pytest.approx(min(1, strip["level"] / full[strip["device"]]))


@pytest.mark.parametrize("devices", [1, 8, 9, 64, 500])
def test_memory_strips_are_tall_enough_to_read(devices: int) -> None:
    assert row_height(devices) * (STRIP_BOTTOM - STRIP_TOP) >= 14


def test_the_microbatches_have_colours_from_light_to_dark() -> None:
    for microbatches in (1, 2, 8, 300):
        colours = ramp(microbatches)
        light = [sum(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in colours]
        assert len(colours) == microbatches
        assert light == sorted(light, reverse=True)
    assert len(set(ramp(8))) == 8


BUSIER = {key: [1] * 9 + [5] + [1] * 30 for key in ("forward", "backward_input", "backward_weight")}


@pytest.mark.parametrize(("devices", "more"), [(16, {}), (17, {}), (40, {}), (40, {"times": BUSIER})])
def test_of_many_devices_the_first_the_last_and_those_that_idle_longest_are_shown(
    devices: int, more: dict[str, Any]
) -> None:
    shown = ppopt.evaluate(pipeline(devices, 3, **more), "1f1b").presented()
    chosen, idle = shown_devices(shown), idle_ticks(shown)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(devices, MOST_ROWS)
    assert {0, devices - 1} <= set(chosen)
    hidden = set(range(devices)) - set(chosen)
    between = [idle[device] for device in chosen[1:-1]]
    assert not hidden or min(between) >= max(idle[device] for device in hidden)
    makespan = shown.summary.figures.makespan * shown.problem.ticks_per_unit
    busy = [sum(row.end - row.start for row in shown.timeline if row.device == device) for device in range(devices)]
    assert idle == [makespan - each for each in busy]


def test_waits_are_those_before_the_bars(schedule: ppopt.Schedule) -> None:
    shown = schedule.presented()
    bars, scale = bar_rows(shown), schedule.problem.ticks_per_unit
    for bar, wait in zip(bars, shown.waiting.before, strict=True):
        assert bar["idle"] == wait.idle / scale
        assert (bar["waited"] == "did not wait") == (wait.idle == 0)
        if wait.idle and wait.producer is not None:
            stage, kind, microbatch = wait.producer
            assert bar["waited"].startswith(f"idle {grouped(wait.idle / scale)} before it (")
            assert f"), waiting for {stage}{kind}{microbatch} of device " in bar["waited"]


# ---- long schedules


def test_the_idle_shares_average_to_the_idle_time_of_each_device(schedule: ppopt.Schedule) -> None:
    shares = idle_shares(schedule.presented())
    for busy, each in zip(schedule.busy, shares, strict=True):
        assert len(each) == BINS
        assert all(-1e-9 <= share <= 1 + 1e-9 for share in each)
        assert sum(each) / BINS == pytest.approx(1 - busy / schedule.makespan, abs=6e-4)


def test_a_schedule_of_more_than_20000_operations_is_drawn_by_its_idle_shares() -> None:
    long = ppopt.evaluate(pipeline(2, 5_001), "1f1b", engine="graph").presented()
    assert len(long.timeline) == 20_004
    chart = any_timeline_chart(long).to_dict()
    assert chart["mark"]["type"] == "rect"
    (values,) = chart["datasets"].values()
    assert len(values) == 2 * BINS
    assert any_timeline_chart(ppopt.evaluate(pipeline(2, 5), "1f1b").presented()).to_dict()["layer"]


def test_a_label_near_the_end_of_an_axis_is_moved_inwards(comparison: Comparison) -> None:
    """A label of 7 digits is about 50 pixels wide, and a tick may be anywhere."""
    spec = ladder_chart(comparison.section("t")).to_dict()
    axes = [layer["encoding"]["x"].get("axis", {}) for layer in spec["layer"]]
    assert max(axis.get("labelFlush", 0) for axis in axes) >= 25


def test_memory_has_its_unit_in_charts_sentences_and_tables(crowd: Section) -> None:
    memory = dict(crowd.pipeline["memory"])
    shown = replace(crowd, pipeline={**crowd.pipeline, "memory": memory | {"unit": "GB"}})
    assert "peak memory of a device, GB" in texts(picture(MEMORY.chart(shown), "svg"))
    assert "peak memory, GB" in MEMORY.table(shown).header
    assert re.search(r"holds [\d.]+ GB on its fullest device", MEMORY.sentence(shown))
    assert not any("GB" in text for text in texts(picture(MEMORY.chart(crowd), "svg")))


def test_a_schedule_without_its_second_copy_of_the_weights_takes_no_name_from_the_front(crowd: Section) -> None:
    """Its memory counts too little, so it beats nothing."""
    assert any(each.summary.lacks_second_copy for each in crowd.schedules)
    fair = [each for each in crowd.schedules if each.summary.may_win]
    least = min(fair, key=lambda each: (each.peak, each.summary.figures.makespan))
    named = " ".join(texts(picture(MEMORY.chart(crowd), "svg")))
    assert crowd.winner is not None
    assert least.summary.name in named
    assert crowd.winner.summary.name in named
