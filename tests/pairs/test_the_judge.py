"""The judge itself: it finds false claims, and its exhaustive search agrees with a second one."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

import ppopt
from tests.brute_force import optimum
from tests.pairs.commands import judge
from tests.pairs.costs import costs_of, every_cut, every_recomputation
from tests.pairs.drawn_models import Model, draw_model
from tests.pairs.exhaustive import Freedom, Shorter, shorter_order
from tests.pairs.schedules import bound_faults, faults_of, own_bound_faults

LAYERS: dict[str, Any] = {
    "devices": 2,
    "microbatches": 2,
    "layers": [{"name": "block", "count": 4, "glue": 2, "forward": 2, "backward": 4, "recompute": {"activation": 0.5}}],
}
STAGES: dict[str, Any] = {"devices": 2, "stages": 2, "microbatches": 2, "times": {"forward": [1, 2], "backward": 3}}


@pytest.mark.parametrize("number", range(12))
def test_exhaustive_search_finds_the_optimum_that_brute_force_finds(number: int) -> None:
    mapping = draw_model("stages", "async", "round", number).mapping
    pipeline = ppopt.Pipeline.from_mapping({**mapping, "microbatches": 2})
    costs = costs_of(mapping, mapping["stages"])._replace(microbatches=2)
    placement, split, overlap = "v" if mapping["stages"] == 4 else "linear", number % 3 > 0, number % 2 > 0
    if placement == "v" and (split or overlap):
        split = overlap = False  # brute force is slow
    freedom = Freedom(placement, split, overlap)
    least = optimum(pipeline, placement, split=split, overlap=overlap)
    if least is None:
        assert shorter_order(costs, freedom, Fraction(1000)) is None
        return
    assert shorter_order(costs, freedom, least) is None
    found = shorter_order(costs, freedom, least + Fraction(1, 1000))
    assert found is not None
    assert found.makespan == least


def test_a_bound_that_is_too_high_is_found() -> None:
    found = ppopt.optimize(ppopt.Pipeline.from_mapping(STAGES), time_limit=2, workers=1)
    assert found.status == "optimal"
    costs, freedom = costs_of(STAGES, 2), Freedom("linear", True, False)
    assert list(bound_faults("", costs, freedom, found.bound)) == []
    (fault,) = bound_faults("", costs, freedom, found.makespan + 0.01)
    assert "above an order that exists" in fault
    assert isinstance(shorter_order(costs, freedom, Fraction(1000)), Shorter)
    assert list(own_bound_faults(STAGES, with_claims(found, proven=found.exact_makespan + Fraction(1, 100))))


def with_claims(made: ppopt.Schedule, **claims: Any) -> ppopt.Schedule:
    """Copy a schedule with other claims, past the check that refuses false ones."""
    copied = copy(made)
    for name, value in claims.items():
        object.__setattr__(copied, name, value)
    return copied


def test_a_schedule_below_its_bound_is_refused() -> None:
    found = ppopt.optimize(ppopt.Pipeline.from_mapping(STAGES), time_limit=2, workers=1)
    with pytest.raises(ppopt.InternalError, match="below the bound"):
        replace(found, proven=found.exact_makespan + Fraction(1, 10**30))


@pytest.mark.parametrize("waits", ["async", "links", "rendezvous", "batched"])
def test_wrong_times_memory_and_status_are_found(waits: str) -> None:
    mapping = {**STAGES, "communication": {"transfer": 1}, "p2p": waits}
    made = ppopt.evaluate(ppopt.Pipeline.from_mapping(mapping), "1f1b")
    assert list(faults_of(mapping, made)) == []
    later = [row._replace(start=row.start + 1, end=row.end + 1) for row in made.rows]
    wrong = [
        replace(made, rows=[*made.rows[:-1], later[-1]]),
        replace(made, figures=replace(made.figures, makespan=made.makespan - 1)),
        replace(made, figures=replace(made.figures, peaks=(Fraction(0), Fraction(0)))),
        with_claims(made, proven=made.exact_makespan + 1),
        with_claims(made, proven=made.exact_makespan - 1, status="optimal"),
    ]
    for each in wrong:
        assert list(faults_of(mapping, each))


def test_cuts_keep_glue_together_and_recomputation_does_not() -> None:
    rows = LAYERS["layers"]
    assert list(every_cut(rows, 2)) == [(0, 4), (2, 2), (4, 0)]
    assert ((1,), (0,)) in set(every_recomputation(rows, (2, 2), "per-stage"))
    assert list(every_recomputation(rows, (0, 4), "uniform-k")) == [((0,), (k,)) for k in range(5)]


def test_a_traceback_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OverflowError("Python int too large to convert to C long")

    monkeypatch.setattr(ppopt, "optimize", broken)
    verdict = judge("optimize", Model(STAGES, 2, 0))
    assert verdict.outcome == "FAULT"
    assert "OverflowError" in verdict.messages[0]
