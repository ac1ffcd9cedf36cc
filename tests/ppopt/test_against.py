"""A prediction and a measurement of the same order, side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppopt import InputError, Pipeline, Schedule, evaluate
from ppopt.against import hold_against
from ppopt.measurement import MeasuredAction
from ppopt.report import write_against
from tests.evaluated import evaluated, pipeline

COSTS = pipeline(4, 8, p2p_latency=0.5, memory={"limit": 4})


def measured(schedule: Schedule, *, stretch: float = 1.0, begin: float = 0.0) -> list[MeasuredAction]:
    """The actions of a schedule as if they had been measured, in milliseconds."""
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


def test_the_order_that_ran_must_be_the_predicted_one() -> None:
    predicted = evaluated("1f1b", COSTS)
    actions = measured(predicted)
    with pytest.raises(InputError, match="1f1b: 1 actions were not measured"):
        hold_against(predicted, actions[1:])
    with pytest.raises(InputError, match="were measured, but its order lacks them, the first: 0I0 on device 0"):
        hold_against(predicted, measured(evaluated("zb-h1", COSTS)))
    with pytest.raises(InputError, match="unit: must be one of s, ms, us; found 'min'"):
        hold_against(predicted, actions, "min")


def test_the_page_shows_the_prediction_above_the_measurement(tmp_path: Path) -> None:
    predicted = evaluated("zb-h1", COSTS)
    page = tmp_path / "page.html"
    against = hold_against(predicted, measured(predicted, stretch=1.1))
    write_against(str(page), against, "zb-h1 <measured>", ["ppopt", "evaluate"])
    text = page.read_text()
    assert f"Predicted above, measured below. {against.differences[0]}" in text
    assert "(+10.00%)" in against.differences[0]
    assert text.index("<h4>zb-h1</h4>") < text.index("<h4>zb-h1 (measured)</h4>")
    assert "zb-h1 &lt;measured&gt;" in text
