"""A prediction and a measurement of the same order, side by side."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pandas import NA

from ppopt import InputError, Pipeline, Schedule, evaluate
from ppopt.commands.pages import write_against
from ppopt.profiling.against import hold_against
from ppopt.profiling.measurement import MeasuredAction
from tests.evaluated import UNIT, evaluated, pipeline
from tests.running import call_ppopt

COSTS = pipeline(4, 8, p2p_latency=0.5, memory={"limit": 4})


def measured(schedule: Schedule, *, stretch: float = 1.0, begin: float = 0.0) -> list[MeasuredAction]:
    """Return the actions of a schedule as if they had been measured, in milliseconds."""
    return [
        MeasuredAction(
            0, row.device, row.stage, row.op, row.microbatch, begin + row.start * stretch, begin + row.end * stretch
        )
        for row in schedule.timeline.itertuples()
    ]


def test_what_ran_as_predicted_differs_in_nothing() -> None:
    predicted = evaluated("zb-h1", COSTS)
    against = hold_against(predicted, measured(predicted, begin=17.25))
    assert against.measured.figures == predicted.figures
    assert against.measured.orders == predicted.orders
    assert against.measured.status == "measured"
    assert len(against.differences) == 1
    assert "(+0.00%)" in against.differences[0]


@pytest.mark.parametrize(("unit", "stretch"), [("s", 1000.0), ("ms", 1.0), ("us", 0.001)])
def test_milliseconds_become_the_unit_of_the_costs(unit: str, stretch: float) -> None:
    predicted = evaluated("1f1b", COSTS)
    against = hold_against(predicted, measured(predicted, stretch=stretch), unit)
    assert against.measured.makespan == pytest.approx(predicted.makespan, rel=1e-5)


def test_a_slow_stage_is_named_first_and_the_waits_that_it_causes() -> None:
    predicted = evaluated("1f1b", COSTS)
    slow = Pipeline.from_mapping({**COSTS.to_mapping(), "stages": 4, "times": {"forward": [1, 1, 1, 3], "backward": 2}})
    against = hold_against(predicted, measured(evaluate(slow, "1f1b")))
    assert against.differences[1] == "F of stage 3 takes 3 instead of 1 (+200.00%)."
    assert any(text.startswith("Device 0 idles") for text in against.differences)


def test_a_wait_is_explained_by_what_ended_later() -> None:
    predicted = evaluated("1f1b", COSTS)
    slow = Pipeline.from_mapping({**COSTS.to_mapping(), "stages": 4, "times": {"forward": [1, 1, 1, 3], "backward": 2}})
    texts = hold_against(predicted, measured(evaluate(slow, "1f1b"))).differences
    waits = [text for text in texts if " idles " in text]
    assert waits
    assert all(re.search(r" idles \d+\.?\d* (longer|less) before .* instead of .*: .* ended ", text) for text in waits)


def with_overhead(schedule: Schedule, overhead: float) -> list[MeasuredAction]:
    """Return the actions of a schedule on the same costs with overhead, which passes before each action."""
    costs = Pipeline.from_mapping(schedule.pipeline.to_mapping() | {"overhead": overhead})
    return [
        each._replace(start=each.start + overhead)
        for each in measured(evaluate(costs, schedule.strategy, engine="graph"))
    ]


@pytest.mark.parametrize("strategy", ["1f1b", "zb-h1", "gpipe"])
def test_the_part_that_overhead_explains_is_named(strategy: str) -> None:
    predicted = evaluated(strategy, COSTS)
    texts = hold_against(predicted, with_overhead(predicted, 0.25)).differences
    longer = evaluate(Pipeline.from_mapping(COSTS.to_mapping() | {"overhead": 0.25}), strategy).makespan - 0.25
    assert texts[1].startswith("Overhead, time in which a device does nothing although it has the data, is 0.25 ")
    whole = longer - predicted.makespan
    assert f"With it the prediction is {longer:g}, which explains {whole:g} of the {whole:g}." in texts[1]
    assert not any(" of stage " in text for text in texts)


def test_overhead_that_was_predicted_is_no_difference() -> None:
    costs = Pipeline.from_mapping(COSTS.to_mapping() | {"overhead": 0.25})
    predicted = evaluated("1f1b", costs)
    against = hold_against(predicted, with_overhead(evaluated("1f1b", COSTS), 0.25))
    assert len(against.differences) == 1
    assert against.measured.figures == predicted.figures


def test_the_order_that_ran_must_be_the_predicted_one() -> None:
    predicted = evaluated("1f1b", COSTS)
    actions = measured(predicted)
    with pytest.raises(InputError, match="1f1b: 1 action was not measured, though its order has it"):
        hold_against(predicted, actions[1:])
    with pytest.raises(InputError, match="were measured, but its order lacks them, the first: 0I0 on device 0"):
        hold_against(predicted, measured(evaluated("zb-h1", COSTS)))
    with pytest.raises(InputError, match="unit: must be one of s, ms, us; found 'min'"):
        hold_against(predicted, actions, "min")


def test_a_block_is_compared_with_a_block_and_lone_actions_with_their_like() -> None:
    predicted = evaluated("dualpipe-v", pipeline(2, 6, times={**UNIT, "overlapped_forward_backward": 2.5}))
    actions = [
        each._replace(block=None if block is NA else block)
        for each, block in zip(measured(predicted), predicted.timeline.block, strict=True)
    ]
    together = hold_against(predicted, actions)
    assert together.measured.figures == predicted.figures
    assert together.measured.orders == predicted.orders
    assert len(together.differences) == 1
    apart = hold_against(predicted, [each._replace(block=None) for each in in_turn(actions)])
    assert apart.measured.makespan > predicted.makespan
    assert not any("1e-" in text or "(−" in text for text in apart.differences)


def in_turn(actions: list[MeasuredAction]) -> list[MeasuredAction]:
    """Run the halves of each block one after the other, and everything after them later."""
    late: dict[int, float] = {}
    shifted = []
    for each in actions:
        delay = late.get(each.device, 0.0)
        if each.block is not None and each.kind == "B":
            late[each.device] = delay = delay + each.end - each.start
        shifted.append(each._replace(start=each.start + delay, end=each.end + delay))
    return shifted


def test_another_order_of_the_same_actions_is_refused() -> None:
    predicted = evaluated("gpipe", COSTS)
    with pytest.raises(InputError, match="gpipe: device 0 ran 0B0 at place 4, where its order has 0F4"):
        hold_against(predicted, measured(evaluated("1f1b", COSTS)))


def test_a_unit_that_cannot_be_right_is_pointed_out() -> None:
    predicted = evaluated("1f1b", COSTS)
    assert "--unit" in hold_against(predicted, measured(predicted), "us").differences[1]
    assert "--unit" not in " ".join(hold_against(predicted, measured(predicted)).differences)


def test_the_page_shows_the_prediction_above_the_measurement(tmp_path: Path) -> None:
    predicted = evaluated("zb-h1", COSTS)
    page = tmp_path / "page.html"
    against = hold_against(predicted, measured(predicted, stretch=1.1))
    write_against(str(page), against, "zb-h1 <measured>", ["ppopt", "evaluate"])
    text = page.read_text()
    assert against.differences[0] in text
    assert "(+10.00%)" in against.differences[0]
    assert text.index("<h3>zb-h1</h3>") < text.index("<h3>zb-h1 (measured)</h3>")
    assert "zb-h1 &lt;measured&gt;" in text


def rehearsed(schedule: Schedule, path: Path) -> None:
    """Write a schedule as if a rehearsal had run it, with one warm-up step and two that count."""
    actions = [
        [
            step,
            each.device,
            each.stage,
            each.kind,
            each.microbatch,
            each.start + 1000 * step,
            each.end + 1000 * step,
            0,
            None,
        ]
        for step in range(3)
        for each in measured(schedule, stretch=1.02)
    ]
    sizes = {"devices": 4, "stages": 4, "microbatches": 8}
    whole = {**sizes, "actions": actions, "skipped": {"0": "warm-up"}, "offsets": [0, 0, 0, 0], "notes": []}
    path.write_text(json.dumps({"format": "ppopt-rehearsal-1", "measurement": whole}))


def test_the_command_shows_both_and_names_the_differences(tmp_path: Path) -> None:
    run, page = tmp_path / "run.json", tmp_path / "page.html"
    costs = ["--devices", "4", "--microbatches", "8", "--p2p-latency", "0.5"]
    rehearsed(evaluate(pipeline(4, 8, p2p_latency=0.5), "zb-h1"), run)
    result = call_ppopt("evaluate", "zb-h1", *costs, "--against", str(run), "--report", str(page))
    assert result.returncode == 0, result.stderr
    assert "zb-h1 (measured)" in result.stdout
    assert "The step takes" in result.stdout
    assert "(+2.00%)" in result.stdout
    assert "* the shortest" not in result.stdout
    assert "A run against its prediction" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["1f1b", "--unit", "ms"], "error: --unit: "),
        (["1f1b", "zb1p", "--against", "run.json"], "error: --against: takes one schedule"),
        (["1f1b", "--against", "missing.json"], "error: missing.json"),
        (["1f1b", "--devices", "4", "--microbatches", "8", "--against", "run.json"], "error: 1f1b: "),
    ],
)
def test_what_does_not_go_together_is_told_in_a_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    rehearsed(evaluate(pipeline(4, 8, p2p_latency=0.5), "zb-h1"), tmp_path / "run.json")
    result = call_ppopt("evaluate", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(told)
    assert "Traceback" not in result.stderr
