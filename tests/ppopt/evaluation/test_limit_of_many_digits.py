"""Whether a schedule fits its limit is decided exactly, also where floats cannot tell its peak from the limit."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ppopt
from ppopt import Pipeline
from reports.table import table

ACTIVATION = 0.0013636470816694817

TWO_HELD: dict[str, Any] = {
    "devices": 2,
    "microbatches": 4,
    "layers": [
        {
            "name": "block",
            "count": 1,
            "forward": 2.344460798126816,
            "backward_input": 4.712010767859121,
            "backward_weight": 1.1985593270475279,
            "activation": ACTIVATION,
        }
    ],
    "layers_per_stage": [1, 0],
    "communication": {"transfer": 0.4359442163582586},
    "memory": {"limit": 0.0027272941633389633},
}
"""1F1B holds two activations on device 0: as a float that is the limit, in truth it is 10⁻¹⁹ more."""


def _glued(limit: float) -> Pipeline:
    block = {"name": "block", "count": 2, "forward": 1, "backward": 2, "activation": 4.852601470368976, "glue": 2}
    return Pipeline.from_mapping({"devices": 2, "microbatches": 2, "layers": [block], "memory": {"limit": limit}})


def test_the_models_are_what_they_should_be() -> None:
    exact, limit = 2 * Fraction(str(ACTIVATION)), TWO_HELD["memory"]["limit"]
    assert float(exact) == limit
    assert exact > Fraction(str(limit))


def test_what_exceeds_a_limit_by_less_than_a_digit_of_a_float_is_over_it() -> None:
    exact = 4 * Fraction("4.852601470368976")
    near = float(exact)
    for limit in (math.nextafter(near, 0), near, math.nextafter(near, math.inf)):
        fits = exact <= Fraction(repr(limit))
        assert ppopt.evaluate(_glued(limit), "gpipe").fits == fits
        assert len(ppopt.evaluate(_glued(limit), "gpipe").over_limit) == (0 if fits else 1)


def test_all_that_is_shown_says_that_it_does_not_fit() -> None:
    pipeline = Pipeline.from_mapping(TWO_HELD)
    made = ppopt.evaluate(pipeline, "1f1b")
    assert made.peak_memory[0] == made.limits[0]
    assert not made.fits
    assert made.to_dict()["over_memory_limit"] == [0]
    row = made.table_row()
    assert row.over == [0]
    lines = table([row, ppopt.evaluate(pipeline.with_limit(1), "gpipe").table_row()], None).splitlines()
    assert lines[1].startswith("! 1f1b")
    assert lines[-1] == "! 1f1b is over the memory limit: device 0 holds 1e-19 more than its limit of 0.002727294"


def test_no_schedule_that_fits_beats_the_bound() -> None:
    compared = ppopt.compare(Pipeline.from_mapping(TWO_HELD), placement="linear", time_limit=1, workers=1)
    bounds = [schedule for schedule in compared.schedules if schedule.is_searched]
    assert bounds
    assert bounds[0].bound is not None
    assert compared.winner is not None
    linear = [schedule for schedule in compared.schedules if schedule.placement == "linear"]
    assert any(not schedule.fits for schedule in linear)
    assert all(schedule.makespan >= bounds[0].bound for schedule in linear if schedule.fits)
