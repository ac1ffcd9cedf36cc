from __future__ import annotations

import json
import random
from collections.abc import Sequence
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline, Schedule
from ppopt.comparison.comparison import Comparison
from ppopt.comparison.what_if import what_if
from reports.memory import memory_steps
from reports.page.columns import columns
from strategies.model.configuration import read_configuration
from tests.evaluated import UNIT, evaluated, pipeline
from tests.reports.browser import Opener, Sheet, page_of
from tests.strategies.catalogue.test_catalogue_rows import ROWS, costs_of, named
from tests.test_rooms import ROOT

SCRIPTS = [files("reports.page").joinpath(name).read_text(encoding="utf-8") for name in ("columns.js", "replay.js")]
ASK = """([timeline, costs, factors, latency, slowness, more]) => {
  const made = window.ppoptReplay.prepared(window.ppoptPage.decoded(timeline), costs);
  const makespan = window.ppoptReplay.replay(made, factors, latency, Float64Array.from(slowness), more);
  const { memory, critical } = window.ppoptReplay;
  return { makespan, start: [...made.start], memory: memory(made), critical: critical(made) };
}"""


def sample(count: int) -> list[dict[str, Any]]:
    """Sample golden rows that are small enough for a page."""
    usable = [row for row in ROWS if row["p"] * row["m"] <= 1200 and not row["options"].get("splits")]
    return random.Random(15).sample(usable, count)


@pytest.fixture
def blank(open_page: Opener, tmp_path: Path) -> Sheet:
    page = tmp_path / "blank.html"
    scripts = "".join(f"<script>{each}</script>" for each in ("window.ppoptPage = {};", *SCRIPTS))
    page.write_text(f"<!doctype html><html data-drawn='1' data-complete='1'><body></body>{scripts}</html>")
    return open_page(page)


def replayed(
    sheet: Sheet,
    given: Pipeline,
    schedule: Schedule,
    *,
    factor: Any = lambda key, place: 1,
    latency: float | None = None,
    slowness: Sequence[float] | None = None,
    more_overhead: float = 0,
) -> dict[str, Any]:
    found = what_if(given, [schedule])
    costs = found.schedules[0]
    assert costs is not None, schedule.strategy
    factors = [float(factor(cost.key, cost.place)) for cost in found.costs]
    arguments = [
        columns(schedule.presented()),
        json.loads(json.dumps(costs.to_dict())),
        factors,
        found.latency if latency is None else latency,
        slowness or [1.0] * given.devices,
        more_overhead,
    ]
    answer: dict[str, Any] = sheet.page.evaluate(ASK, arguments)
    return answer


@pytest.mark.exhaustive
@pytest.mark.no_cover
@pytest.mark.parametrize("part", range(10))
def test_the_browser_agrees_with_python_on_golden_rows(blank: Sheet, part: int) -> None:
    rows = sample(100)
    assert len({row["schedule"] for row in rows}) > 12
    for row in rows[part::10]:
        costs = costs_of(row)
        schedule = evaluated(named(row), costs)
        answer = replayed(blank, costs, schedule)
        assert answer["makespan"] == pytest.approx(row["makespan"], rel=1e-12), row
        scale = schedule.problem.ticks_per_unit
        assert answer["start"] == pytest.approx([each.start / scale for each in schedule.rows], rel=1e-12, abs=1e-9)


CHANGES = {"forward": Fraction(3, 4), "backward_input": Fraction(3, 2), "backward_weight": Fraction(4, 5)}


@pytest.mark.exhaustive(4)
@pytest.mark.parametrize("strategy", ["1f1b", "zb-v", "dualpipe", "interleaved:stages=12", "hanayo", "1f1b-overlap"])
@pytest.mark.parametrize("overlap", [None, 0.3])
def test_the_browser_agrees_with_python_on_other_costs(blank: Sheet, strategy: str, overlap: float | None) -> None:
    uneven = {"forward": [1, 1.5, 1, 2], "backward_input": [1, 1, 2, 3], "backward_weight": [1, 1, 1, 0.5]}
    more = {} if overlap is None else {"overlap": overlap}
    given = Pipeline.from_mapping({"devices": 4, "microbatches": 8, "times": uneven, "p2p_latency": 0.2, **more})
    changed = {
        key: [Fraction(str(value)) * CHANGES[key] * (2 if stage == 3 else 1) for stage, value in enumerate(values)]
        for key, values in uneven.items()
    }
    after = Pipeline.from_mapping({"devices": 4, "microbatches": 8, "times": changed, "p2p_latency": 0.7, **more})
    schedule = evaluated(strategy, given)
    expected = evaluated(strategy, after)
    if schedule.orders == expected.orders:  # rules that use times may give another order
        answer = replayed(
            blank,
            given,
            schedule,
            factor=lambda key, place: CHANGES[key] * (2 if place == "3" else 1),
            latency=0.7,
        )
        assert answer["makespan"] == pytest.approx(expected.makespan, rel=1e-12)
        assert [max(each["level"]) for each in answer["memory"]] == pytest.approx(expected.peak_memory)
    else:
        pytest.fail("this schedule's order depends on the times")


def test_a_slow_device_slows_what_it_runs(blank: Sheet) -> None:
    given = pipeline(4, 8, stages=4)
    slow = Pipeline.from_mapping({"devices": 4, "microbatches": 8, "times": {key: [1, 1, 2, 1] for key in UNIT}})
    answer = replayed(blank, given, evaluated("zb-h1", given), slowness=[1, 1, 2, 1])
    assert answer["makespan"] == evaluated("zb-h1", slow).makespan


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("strategy", ["1f1b", "zb-v", "dualpipe", "chimera", "interleaved:stages=8"])
def test_overhead_and_paces_are_those_of_python(blank: Sheet, strategy: str) -> None:
    slow = {"slowdown": {1: 1.5, 3: 1.25}, "p2p_latency": 0.5, "overlap": 0.25}
    given, after = (pipeline(4, 8, stages=4, overhead=overhead, **slow) for overhead in (0.5, 0.75))
    schedule, expected = evaluated(strategy, given), evaluated(strategy, after)
    assert replayed(blank, given, schedule)["makespan"] == pytest.approx(schedule.makespan)
    assert schedule.orders == expected.orders
    assert replayed(blank, given, schedule, more_overhead=0.25)["makespan"] == pytest.approx(expected.makespan)


def test_memory_and_critical_path_are_those_of_python(blank: Sheet) -> None:
    given = pipeline(4, 8, memory={"activation": 3, "held_for_weight": 1, "static": 5}, p2p_latency=0.5)
    for strategy in ("zb-v", "1f1b", "dualpipe"):
        schedule = evaluated(strategy, given)
        answer = replayed(blank, schedule.pipeline, schedule)
        scale, amounts = schedule.problem.ticks_per_unit, schedule.problem.amounts_per_unit
        for steps, found in zip(memory_steps(schedule.problem, schedule.rows), answer["memory"], strict=True):
            known = dict(zip(found["time"], found["level"], strict=True))  # keeps the last level of each moment
            for time, level in steps:
                assert known[time / scale] == pytest.approx(level / amounts)
        ends = [schedule.rows[row].end for row in answer["critical"]]
        assert max(ends) == max(row.end for row in schedule.rows)
        assert schedule.rows[answer["critical"][-1]].start == 0


def test_models_of_layers_change_by_kind_of_layer(blank: Sheet) -> None:
    mapping = read_configuration(ROOT / "examples" / "llama-70b-layers.yaml")
    cut = {"microbatches": 8, "layers_per_stage": [11, 10, 10, 10, 10, 10, 10, 11]}
    given = Pipeline.from_mapping(mapping | cut)
    schedule = ppopt.evaluate(given, "1f1b", engine="graph")
    for layer in mapping["layers"]:
        if "head" in layer["name"]:
            layer["forward"] = Fraction(layer["forward"]) * 3
    after = ppopt.evaluate(Pipeline.from_mapping(mapping | cut), "1f1b", engine="graph")
    assert after.makespan > schedule.makespan
    answer = replayed(
        blank, given, schedule, factor=lambda key, place: 3 if key == "forward" and "head" in place else 1
    )
    assert answer["makespan"] == pytest.approx(after.makespan, rel=1e-12)


# ---- the panel of the page


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    costs = pipeline(4, 8, p2p_latency=0.25, memory={"limit": 6})
    return ppopt.compare(costs, ["1f1b", "zb-h1", "gpipe", "interleaved:stages=8"], optimize=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, comparison: Comparison) -> Path:
    return page_of(tmp_path_factory.mktemp("pages"), comparison)


def makespans(sheet: Sheet) -> dict[str, float]:
    rows = sheet.page.locator(".race > div").all()
    return {row.locator(".racer").inner_text(): float(row.get_attribute("data-makespan") or "nan") for row in rows}


def test_without_changes_the_panel_shows_the_exact_makespans(
    open_page: Opener, path: Path, comparison: Comparison
) -> None:
    sheet = open_page(path)
    sheet.page.wait_for_selector(".race > div")
    assert {name.removeprefix("! "): value for name, value in makespans(sheet).items()} == pytest.approx(
        {each.strategy: each.makespan for each in comparison.schedules}
    )
    assert not sheet.page.locator("[data-part=untrue]").is_visible()
    assert "1 % off" in sheet.page.locator("#effects-0-sentence").inner_text()


@pytest.mark.slow
def test_an_address_carries_the_sliders_and_reset_takes_them_back(open_page: Opener, path: Path) -> None:
    sheet = open_page(path)
    sheet.page.wait_for_selector(".race > div")
    before, kept = makespans(sheet), sheet.keep()
    sheet.page.select_option("[data-part=cost]", "forward")
    sheet.page.select_option("[data-part=where]", "3")
    sheet.page.locator("[data-part=factor]").fill("2")
    sheet.page.locator("[data-part=latency]").fill("0.5")
    assert sheet.page.url.endswith("#what-if-0=forward%403:2,latency:0.5")
    after = makespans(sheet)
    slow = pipeline(4, 8, times=UNIT | {"forward": [1, 1, 1, 2]}, p2p_latency=0.5, stages=4)
    assert after["zb-h1"] == pytest.approx(evaluated("zb-h1", slow).makespan)
    assert after["interleaved:stages=8"] == pytest.approx(evaluated("interleaved:stages=8", slow).makespan)
    assert "No longer true with these costs" in sheet.page.locator("[data-part=untrue]").inner_text()
    sheet.page.wait_for_function("document.querySelector('.race > div').dataset.makespan")
    sheet.settle()
    assert any(key.startswith("timeline") for key in sheet.changed(kept))

    other = open_page(path.with_name(path.name + ""))
    other.page.goto(sheet.page.url)
    other.page.reload()
    other.page.wait_for_selector("[data-what-if].moved")
    assert makespans(other) == after
    assert other.page.locator("[data-part=list] button").all_inner_texts() == [
        "forward of stage 3 × 2.00 ✕",
        "latency 0.5 ✕",
    ]
    other.page.locator("[data-part=reset]").click()
    assert makespans(other) == before
    assert "#" not in other.page.url
    assert not other.page.locator("[data-part=untrue]").is_visible()


def test_ranks_follow(open_page: Opener, path: Path) -> None:
    sheet = open_page(path)
    sheet.page.wait_for_selector(".race > div")
    sheet.page.select_option("[data-part=device]", "0")
    sheet.page.locator("[data-part=speed]").fill("0.5")
    values = makespans(sheet)
    ranked = sorted(
        sheet.page.locator(".race > div").all(), key=lambda row: int(row.get_attribute("data-rank") or "-1")
    )
    names = [row.locator(".racer").inner_text() for row in ranked]
    assert names == sorted(values, key=lambda name: (name.startswith("!"), values[name]))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "address", ["#what-if-0=x:1", "#what-if-0=forward@99:2", "#what-if-0=%E0%A4:1", "#what-if-0=latency:-1"]
)
def test_an_address_that_means_nothing_changes_nothing(open_page: Opener, path: Path, address: str) -> None:
    sheet = open_page(path)
    sheet.page.wait_for_selector(".race > div")
    before = makespans(sheet)
    sheet.page.evaluate(f"location.hash = {json.dumps(address)}")
    sheet.settle()
    assert makespans(sheet) == before
