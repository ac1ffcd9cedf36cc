"""How many stages keep their parameters: what each number costs and saves, and which one is chosen."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline, Schedule
from ppopt.profiling.against import hold_against
from ppopt.schedules.replaying import with_each_resident
from reports.table import ranking, table
from tests.running import call_ppopt

MODEL = {"devices": 4, "stages": 8, "microbatches": 8, "times": {"forward": 2, "backward": 4}}
SHARDING = {"all_gather": 2, "weights": 2, "gradients": 1}


def model(resident: int | str, **memory: Any) -> Pipeline:
    sharding = SHARDING | {"resident": resident}
    return Pipeline.from_mapping(MODEL | {"sharding": sharding, "memory": {"activation": 1, **memory}})


def figures(schedule: Schedule) -> tuple[float, float]:
    return schedule.makespan, max(schedule.peak_memory)


@pytest.mark.parametrize("resident", [1, 3, "auto"])
def test_a_comparison_says_what_each_number_costs_and_saves(resident: int | str) -> None:
    compared = ppopt.compare(model(resident), ["zb-v", "1f1b-v"], optimize=False)
    best = compared.winner
    assert best is not None
    alone = [ppopt.evaluate(model(number), best.strategy, engine="graph") for number in (1, 2)]
    assert [figures(each) for each in compared.by_resident] == [figures(each) for each in alone]
    listed = compared.to_dict()["by_resident"]
    assert [(each["resident"], each["makespan"], max(each["peak_memory"])) for each in listed] == [
        (number, *figures(each)) for number, each in enumerate(alone, 1)
    ]
    assert f"{best.strategy} by resident stages: 1: " in compared.verdict


def test_a_table_says_which_number_each_schedule_has_where_they_differ() -> None:
    made = [ppopt.evaluate(model("auto"), name, engine="graph") for name in ("1f1b", "zb-v")]
    assert [each.resident for each in made] == [each.to_dict()["resident"] for each in made] == [1, 2]
    rows = [replace(each.table_row(), runs_in=None) for each in made]
    bounded = [replace(row, bound=1.0) for row in rows]
    for lines in (table(rows), table(bounded), ranking(bounded, 1.0, rows[0])):
        title, *others = (line.split() for line in lines.splitlines())
        assert title[-1] == "resident"
        assert [line[-1] for line in others if "1f1b" in line[:2] or "zb-v" in line[:2]] == ["1", "2"]
    for lines in (table(rows[:1]), ranking(bounded[1:], 1.0)):
        assert "resident" not in lines
    assert ppopt.evaluate(Pipeline.from_mapping(MODEL), "zb-v").resident is None


def test_a_comparison_without_a_choice_says_nothing() -> None:
    plain = ppopt.compare(Pipeline.from_mapping(MODEL), ["zb-v"], optimize=False)
    assert plain.by_resident == ()
    assert "by_resident" not in plain.to_dict()
    assert "resident" not in plain.verdict
    one_each = ppopt.compare(model(2).recut(4), ["1f1b"], optimize=False)
    assert "resident" not in one_each.verdict


def test_auto_is_the_shortest_that_fits() -> None:
    every = [ppopt.evaluate(model(number), "zb-v", engine="graph") for number in (1, 2)]
    assert every[0].makespan > every[1].makespan
    low, high = (max(each.peak_memory) for each in every)
    assert low < high
    for limit, expected in ((low, every[0]), ((low + high) / 2, every[0]), (high, every[1]), (low / 2, every[1])):
        made = ppopt.evaluate(model("auto", limit=limit), "zb-v", engine="graph")
        assert made.makespan == expected.makespan or not made.fits
        assert made.fits == (limit >= low)


def test_a_note_says_which_number_was_chosen() -> None:
    chosen = ppopt.evaluate(model("auto"), "zb-v", engine="graph")
    assert "zb-v keeps at most 2 stages gathered (sharding.resident: auto)" in chosen.notes
    assert all("gathered" not in note for each in with_each_resident(chosen) for note in each.notes)
    assert all("gathered" not in note for note in ppopt.evaluate(model(2), "zb-v", engine="graph").notes)


def test_each_limit_of_a_frontier_has_its_own_number() -> None:
    found = ppopt.frontier(model("auto"), placement="v", limits=[8, 10, 14], time_limit=2, workers=1)
    for point in found.points:
        assert max(point.schedule.peak_memory) <= point.limit
        others = with_each_resident(point.schedule)
        assert all(each.makespan >= point.makespan for each in others if max(each.peak_memory) <= point.limit)
        assert point.to_dict()["resident"] == point.schedule.to_dict()["resident"]
    assert found.points[-1].to_dict()["resident"] == 2
    assert [each.resident for each in found.shown.points] == [point.to_dict()["resident"] for point in found.points]


def test_the_least_limit_of_a_frontier_counts_gathered_weights() -> None:
    with pytest.raises(ppopt.InputError, match="limits: must be at least 6, with which one microbatch at a time runs"):
        ppopt.frontier(model(1), placement="v", limits=[5], time_limit=2, workers=1)


def test_a_frontier_names_the_number_in_its_table(tmp_path) -> None:
    config = tmp_path / "c.json"
    config.write_text(json.dumps(model("auto").to_mapping()))
    run = call_ppopt("frontier", "-c", str(config), "--placement", "v", "--limits", "8,14", "--time-limit", "1")
    assert run.returncode == 0
    assert "resident" in run.stdout.splitlines()[2]
    assert re.search(r"[a-z], resident [12] ", run.stdout)


def test_a_sweep_varies_the_number(tmp_path) -> None:
    base = model(1).to_mapping()
    found = ppopt.sweep({"base": base, "axes": {"sharding.resident": [1, 2, "auto"]}, "run": ["zb-v"]}, tmp_path / "s")
    assert list(found.sort_values("sharding.resident", key=lambda each: each.map(str))["makespan"]) == [
        ppopt.evaluate(model(number), "zb-v", engine="graph").makespan for number in (1, 2, "auto")
    ]


@pytest.mark.parametrize("beside", [{"sharding": SHARDING}, {"data_parallel": {"all_reduce": 3}}])
def test_what_takes_nothing_beside_computing_says_so(beside: dict[str, Any]) -> None:
    pipeline = Pipeline.from_mapping(MODEL | beside)
    message = rf"takes nothing beside computing; found {next(iter(beside))}; leave it out$"
    with pytest.raises(ppopt.InputError, match="^rehearse " + message):
        ppopt.rehearse(pipeline, "zb-v")
    with pytest.raises(ppopt.InputError, match="^--against " + message):
        hold_against(ppopt.evaluate(pipeline, "zb-v"), [])
    with pytest.raises(ppopt.InputError, match=message):
        ppopt.under_noise([ppopt.evaluate(pipeline, "zb-v")], ppopt.Noise(operation=0.05))
