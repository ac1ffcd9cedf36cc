"""The page's script makes of a timeline's columns what Python knows: times, waiting times, memory, orders."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline, Schedule
from ppopt.profiling.against import hold_against
from ppopt.profiling.measurement import MeasuredAction
from reports.charts.timeline_layout import WAITING_TEXTS, bar_rows, places
from reports.critical_path import critical_path
from reports.idle import leading_rows
from reports.page.columns import columns
from tests.evaluated import pipeline
from tests.reports.browser import Opener, Sheet

ASK = """([columns, texts]) => {
  const page = window.ppoptPage;
  page.data = { waiting: texts };
  const made = page.decoded(columns);
  const rows = [...made.start.keys()];
  return {
    start: [...made.start], end: [...made.end], kind: made.kind, stage: [...made.stage], place: [...made.place],
    microbatch: [...made.microbatch], critical: rows.filter((row) => made.isCritical[row]), memory: made.memory,
    device: rows.map((row) => page.deviceOf(made, row)), lead: [...made.lead], order: page.orderText(made),
    waited: rows.map((row) => page.wordsOf(made, row)[3]), transfers: made.transfers,
    words: rows.map((row) => page.wordsOf(made, row).slice(0, 2)), items: rows.map((row) => page.itemOf(made, row)),
  };
}"""


@pytest.fixture
def blank(open_page: Opener, tmp_path: Path) -> Sheet:
    page = tmp_path / "blank.html"
    script = files("reports.page").joinpath("columns.js").read_text(encoding="utf-8")
    page.write_text(
        "<!doctype html><html data-complete='1'><body></body>"
        f"<script>window.ppoptPage = {{}};</script><script>{script}</script></html>"
    )
    return open_page(page)


def decoded(sheet: Sheet, schedule: Schedule) -> dict[str, Any]:
    written = json.loads(json.dumps(columns(schedule.presented()), allow_nan=False))
    found: dict[str, Any] = sheet.page.evaluate(ASK, [written, WAITING_TEXTS])
    return found


def assert_the_same(sheet: Sheet, schedule: Schedule) -> None:
    shown = schedule.presented()
    found = decoded(sheet, schedule)
    rows, scale, amounts = schedule.rows, schedule.problem.ticks_per_unit, schedule.problem.amounts_per_unit
    length = schedule.makespan
    assert found["start"] == pytest.approx([row.start / scale for row in rows], rel=1e-14, abs=1e-12 * length)
    assert found["end"] == pytest.approx([row.end / scale for row in rows], rel=1e-14, abs=1e-12 * length)
    tasks = [tuple(each) for each in zip(found["stage"], found["kind"], found["microbatch"], strict=True)]
    assert tasks == [tuple(row.task) for row in rows]
    assert found["device"] == [row.device for row in rows]
    assert found["lead"] == leading_rows(rows)
    assert found["place"] == places(shown)
    assert found["critical"] == sorted(critical_path(shown.problem, rows))
    assert found["order"] == "\n".join(",".join(map(str, actions)) for actions in schedule.orders)
    for known, steps in zip(shown.memory_steps, found["memory"], strict=True):
        changes = [(time / scale, level / amounts) for time, level in known]
        assert max(steps["level"], default=0) == pytest.approx(max((level for _, level in changes), default=0))
        assert levels(list(zip(steps["time"], steps["level"], strict=True))) == pytest.approx(levels(changes))
    bars = bar_rows(shown)
    assert found["words"] == [
        [bar["action"], f"device {bar['device']}, stage {bar['stage']}, microbatch {bar['microbatch']}"] for bar in bars
    ]
    assert found["items"] == [str(bar["microbatch"]) for bar in bars]
    expected = [row["waited"] for row in bars]
    leads = leading_rows(rows)
    for told, lead in zip(found["waited"], leads, strict=True):
        assert NUMBER.sub("", told) == NUMBER.sub("", expected[lead])
        numbers, known = (list(map(value, NUMBER.findall(text))) for text in (told, expected[lead]))
        assert numbers == pytest.approx(known, rel=1e-6)
    assert [[each["device"], each["transfer"], each["does"]] for each in found["transfers"]] == [
        [each.device, each.name, each.does] for each in shown.transfers
    ]
    for name in ("ready", "start", "end"):
        times = [getattr(each, name) / scale for each in shown.transfers]
        assert [each[name] for each in found["transfers"]] == pytest.approx(times, abs=1e-12 * length)


NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


def value(text: str) -> float:
    return float(text.replace(",", ""))


def levels(steps: Sequence[tuple[float, float]]) -> list[float]:
    """Return the levels, without those that change nothing."""
    found = [0.0]
    found += [level for _, level in steps if level != pytest.approx(found[-1], abs=1e-12)]
    return found


def test_columns_of_every_schedule_are_read_as_they_were(blank: Sheet) -> None:
    costs = pipeline(4, 8, p2p_latency=0.25, memory={"limit": 6, "static": 1.5, "held_for_weight": 0.5})
    seen = 0
    for name in (each["name"] for each in ppopt.strategies()):
        try:
            schedule = ppopt.evaluate(costs, name, engine="graph")
        except ppopt.InputError:
            continue
        assert_the_same(blank, schedule)
        seen += 1
    assert seen > 20


RAW = random.Random(3)
UNEVEN = {key: [RAW.uniform(0.5, 2) for _ in range(4)] for key in ("forward", "backward_input", "backward_weight")}
MODELS: dict[str, dict[str, Any]] = {
    "raw floats": {"times": UNEVEN, "p2p_latency": 0.123456789012345, "memory": {"activation": 0.1234567890123456}},
    "overhead and a slow device": {"overhead": 0.125, "slowdown": {1: 1.5}, "p2p_latency": 0.5},
    "transfers that wait": {"p2p_latency": 0.5, "p2p": "rendezvous"},
    "copies": {"offload": {"time": 1.6}},
    "one microbatch": {"microbatches": 1},
    "one device": {"devices": 1, "stages": 1},
    "huge times": {"times": dict.fromkeys(UNEVEN, 325000000000.0)},
    "tiny times": {"times": dict.fromkeys(UNEVEN, 1e-07)},
    "no memory": {"memory": {"activation": 0}},
    "microbatches that differ": {"microbatches": [{"count": 3}, {"size": 2}, {"size": 0.1234567890123456}, {}]},
}


@pytest.mark.exhaustive(3)
@pytest.mark.parametrize("name", MODELS)
def test_columns_of_every_model_are_read_as_they_were(blank: Sheet, name: str) -> None:
    mapping = {"devices": 4, "microbatches": 6, "stages": 4, **MODELS[name]}
    given = Pipeline.from_mapping(mapping)
    is_usual = (given.devices, given.microbatches) == (4, 6)
    for strategy in ("1f1b", "zb-h1", "dualpipe") if is_usual else ("1f1b",):
        schedule = ppopt.evaluate(given, strategy)
        assert bool(schedule.presented().transfers) == (name in ("transfers that wait", "copies"))
        assert_the_same(blank, schedule)


def test_copies_are_called_by_what_they_copy(blank: Sheet) -> None:
    mapping = {"devices": 4, "microbatches": 6, "stages": 4, "offload": {"time": 0.75}}
    schedule = ppopt.evaluate(Pipeline.from_mapping(mapping), "gpipe")
    names = {each["transfer"] for each in decoded(blank, schedule)["transfers"]}
    assert names == {
        f"{stage}{kind}{number}" for stage in range(4) for kind in ("OFFLOAD", "RELOAD") for number in range(6)
    }
    assert max(max(steps["level"]) for steps in decoded(blank, schedule)["memory"]) == max(schedule.peak_memory) < 6


def test_slices_are_called_by_their_microbatch(blank: Sheet) -> None:
    costs = {
        "communication": {"transfer": 0.25},
        "p2p": "links",
        "times": {"forward": 1, "backward": 2, "attention": 0.5},
    }
    sliced = {"microbatches": [{"count": 3, "slices": 2}], "tokens": 1000}
    schedule = ppopt.evaluate(Pipeline.from_mapping({"devices": 2, "stages": 2, **sliced, **costs}), "seq1f1b")
    assert_the_same(blank, schedule)
    found = decoded(blank, schedule)
    assert set(found["items"]) == {"0.0", "0.1", "1.0", "1.1", "2.0", "2.1"}
    assert "0F2.1" in {name for name, _ in found["words"]}
    assert "0F5" in found["order"]  # in the order's grammar slices are numbered through
    assert found["transfers"][-1]["transfer"].startswith("1B2.0 ")


def test_columns_of_a_measured_step_are_read_as_they_were(blank: Sheet) -> None:
    predicted = ppopt.evaluate(pipeline(4, 8, p2p_latency=0.5, memory={"limit": 4}), "zb-h1")
    ends = random.Random(2)
    actions = [
        MeasuredAction(
            0, row.device, row.stage, row.op, row.microbatch, 17.25 + row.start, 17.25 + row.end - 0.25 * ends.random()
        )
        for row in predicted.timeline.itertuples()
    ]
    assert_the_same(blank, hold_against(predicted, actions).measured)
