"""The frontier with copies: every point is replayed with them, and the sentence says what is true."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

import ppopt
from ppopt import Frontier, InputError, Pipeline
from ppopt.memory_frontier.copies import CopiedCurve
from ppopt.memory_frontier.curves import FoundSchedule
from reports.frontier_points import Saving, frontier_table
from reports.units import NO_UNITS, Units
from tests.running import call_ppopt

COSTS: dict[str, Any] = {
    "devices": 4,
    "microbatches": 12,
    "times": {"forward": 1, "backward": 2},
    "memory": {"activation": 2},
}


def with_copies(**offload: Any) -> Pipeline:
    return Pipeline.from_mapping({**COSTS, "offload": offload})


@pytest.fixture(scope="module")
def fast() -> Frontier:
    return ppopt.frontier(with_copies(time=0), offload=True, time_limit=2, points=5, workers=1)


def test_the_curve_without_copies_is_that_of_a_pipeline_that_copies_nothing(fast: Frontier) -> None:
    assert fast.pipeline.offload is None
    assert all(each.sides is None for each in (*(point.schedule for point in fast.points), *fast.published))
    alone = ppopt.frontier(with_copies(time=0), time_limit=0)
    assert alone.copied is None
    assert alone.shown.copies is None
    assert any(note.startswith("offload: nothing is copied here") for note in alone.notes)
    plain = ppopt.frontier(Pipeline.from_mapping(COSTS), time_limit=0)
    assumed = {key: each for key, each in COSTS.items() if key != "memory"} | {"offload": {"time": 1}}
    notes = ppopt.frontier(Pipeline.from_mapping(assumed), time_limit=0).notes
    assert any("no memory is given" in note for note in notes)
    assert [point.to_dict() for point in alone.points] == [point.to_dict() for point in plain.points]
    assert not any("offload" in note for note in (*plain.notes, *fast.notes))


def test_each_point_fits_its_limit_as_it_is_replayed_with_copies(fast: Frontier) -> None:
    assert fast.copied is not None
    for point, least in zip(fast.copied.points, fast.copied.without, strict=True):
        made = point.schedule
        assert made.sides is not None
        assert made.pipeline.offload is not None
        assert max(made.figures.peaks) <= Fraction(point.limit)
        assert point.proven <= made.exact_makespan
        fitting = [each.exact_makespan for each in fast.stairs if max(each.figures.peaks) <= Fraction(point.limit)]
        assert least == (float(min(fitting)) if fitting else None)
    for before, after in pairwise(fast.copied.stairs):
        assert max(before.figures.peaks) < max(after.figures.peaks)
        assert before.exact_makespan > after.exact_makespan
    assert [point.limit for point in fast.points if point.limit >= fast.copied.points[0].limit] == [
        point.limit for point in fast.copied.points if point.limit in [each.limit for each in fast.points]
    ]


@pytest.fixture(scope="module")
def published() -> Frontier:
    """Of published orders alone, the shortest holds less with copies; of those that a search meets, it need not."""
    return ppopt.frontier(with_copies(time=0), offload=True, time_limit=0)


def test_copies_that_take_no_time_cost_nothing_and_the_sentence_says_so(published: Frontier) -> None:
    fast = published
    assert fast.copied is not None
    saving = fast.copied.saving
    assert saving.is_free
    assert saving.copy == 0
    top, least = max(fast.top.figures.peaks), saving.memory[1]
    held = min(max(each.figures.peaks) for each in fast.copied.stairs if each.exact_makespan <= fast.top.exact_makespan)
    assert least == float(held)
    share = f"{100 * float(1 - held / top):.2f}%"
    start = f"Offload saves {share} of memory for nothing here: a copy there and back takes 0 of F + B."
    assert fast.sentence.startswith(start)
    assert "Without copies, from a limit of " in fast.sentence


def test_copies_are_in_the_table_in_json_in_csv_and_in_both_pictures(fast: Frontier) -> None:
    assert fast.copied is not None
    table = frontier_table(fast.shown, None)
    assert "with copies" in table
    assert "without: the shortest step known without copies within the same memory" in table
    told = json.loads(json.dumps(fast.to_dict()))["offload"]
    assert fast.sentence.startswith(told["sentence"])
    assert [row["limit"] for row in told["points"]] == [point.limit for point in fast.copied.points]
    assert told["time_cost"] == fast.copied.saving.makespan[1] / fast.copied.saving.makespan[0] - 1
    assert {row["limit"]: row["makespan_with_copies"] for row in fast.to_rows()}[fast.points[-1].limit] == (
        fast.copied.points[-1].makespan
    )
    names = [each.summary.name for each in fast.section().schedules]
    assert sum(name.endswith(" with copies") for name in names) == len(
        {id(point.schedule) for point in fast.copied.points}
    )
    for drawn in (fast.chart().to_dict(), fast.slide().to_dict()):
        dots = [layer for layer in drawn["layer"] if "copies" in str(layer.get("mark")) or _is_dotted(layer)]
        assert len(dots) == 1
        data = dots[0]["data"]
        levels = {row["makespan"] for row in data.get("values") or drawn["datasets"][data["name"]]}
        assert levels <= {each.makespan for each in fast.copied.stairs}


def _is_dotted(layer: dict[str, Any]) -> bool:
    mark = layer["mark"]
    return isinstance(mark, dict) and mark.get("strokeDash", [1])[0] == 0


def found(memory: int, makespan: int, schedule: Any = None) -> FoundSchedule:
    return FoundSchedule(schedule, Fraction(makespan), Fraction(memory))


@pytest.mark.parametrize(
    ("copied", "best"),
    [
        ([(2, 100), (4, 100), (6, 90)], (2, 100)),  # for nothing: the least memory
        ([(2, 130), (4, 110), (9, 105)], (4, 110)),  # at a price: the shortest that is worth it
        ([(4, 120), (1, 300)], (1, 300)),  # at 4, one without copies is as short; at 1 nothing runs
        ([(4, 120), (8, 100)], None),
        ([], None),
    ],
)
def test_what_the_sentence_is_about(copied: list[tuple[int, int]], best: tuple[int, int] | None) -> None:
    curve = CopiedCurve([found(2, 150), found(4, 120), found(8, 100)], [found(*each) for each in copied])
    assert (None if curve.best is None else (curve.best.memory, curve.best.makespan)) == best


SAVING = Saving(memory=(8, 4), makespan=(100, 110), is_free=False, plain_within=120, copy=0.72)


@pytest.mark.parametrize(
    ("saving", "sentence"),
    [
        (
            replace(SAVING, makespan=(100, 100), is_free=True),
            (
                "Offload saves 50.00% of memory for nothing here: a copy there and back takes 0.72 of F + B. The "
                "shortest step found, 100 ms, needs 8 GB without copies and 4 GB with them."
            ),
        ),
        (
            SAVING,
            (
                "Offload saves 50.00% of memory here and costs 10.00% of time: a copy there and back takes 0.72 of F + "
                "B. The shortest step found needs 8 GB without copies; one with copies needs 4 GB, in which the "
                "shortest without copies costs 20.00%."
            ),
        ),
        (
            replace(SAVING, plain_within=None, differs=True),
            (
                "Offload saves 50.00% of memory here and costs 10.00% of time: a copy there and back takes up to 0.72 "
                "of F + B. The shortest step found needs 8 GB without copies; one with copies needs 4 GB, in which "
                "no order known runs without copies."
            ),
        ),
        (
            replace(SAVING, memory=(8, None), makespan=(100, None)),
            (
                "Offload saves nothing here: an order without copies is as short within any memory; a copy there and "
                "back takes 0.72 of F + B."
            ),
        ),
        (
            replace(SAVING, copies_anything=False),
            (
                "Offload saves nothing here: no order known copies anything, since a device does only with three "
                "microbatches in flight; a copy there and back takes 0.72 of F + B."
            ),
        ),
        (replace(SAVING, offloads_anything=False), "Offload saves nothing here: no stage offloads anything."),
    ],
)
def test_the_sentence_in_every_case(saving: Saving, sentence: str) -> None:
    assert saving.sentence(Units("ms", "GB")) == sentence
    assert saving.sentence(NO_UNITS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"offload": {"time": 40}}, "Offload saves nothing here: "),
        ({"offload": {"time": 0, "share": 0}}, "Offload saves nothing here: no stage offloads anything."),
        ({"offload": {"time": 1}, "microbatches": 1}, "Offload saves nothing here: no order known copies anything"),
        ({"offload": {"time": 0}, "devices": 1}, "Offload saves "),
    ],
)
def test_where_copies_save_nothing_the_sentence_says_why(change: dict[str, Any], sentence: str) -> None:
    made = ppopt.frontier(Pipeline.from_mapping({**COSTS, "devices": 2, **change}), offload=True, time_limit=0)
    assert made.sentence.startswith(sentence)


def test_it_needs_offload_in_the_configuration(tmp_path: Any) -> None:
    with pytest.raises(InputError, match=r"^offload: compares the curve without copies"):
        ppopt.frontier(Pipeline.from_mapping(COSTS), offload=True, time_limit=0)
    config = tmp_path / "plain.yaml"
    config.write_text(json.dumps(COSTS))
    said = call_ppopt("frontier", "--offload", "-c", str(config), "--time-limit", "0")
    assert said.returncode == 2
    assert "--offload: compares the curve without copies" in said.stderr
