"""Predictions hold against published measurements as far as docs/explanation/fidelity.md says."""

from __future__ import annotations

from statistics import median

import pytest

from benchmarks.fidelity import DATA, NOTHING, Row, batched, fitted, outcome, read_rows, smallest
from ppopt.calibration.measured_steps import FoundCosts

ROWS, FEW = read_rows(DATA / "zero_bubble_steps.json")
MEGATRON = [row for row in ROWS if row.schedule in ("1F1B", "1F1B-I")]


def test_without_overhead_every_step_is_predicted_too_short() -> None:
    errors = outcome(MEGATRON, lambda _: NOTHING).errors
    assert len(errors) == 12
    assert -0.15 < min(errors) < max(errors) < -0.03


def test_one_overhead_explains_schedules_with_two_and_with_six_operations_for_each_microbatch() -> None:
    found = fitted(MEGATRON)
    assert 0.8 < found.overhead < 1.1
    closeness = outcome(MEGATRON, lambda _: found)
    assert median(map(abs, closeness.errors)) < 0.015
    assert max(map(abs, closeness.errors)) < 0.05


def test_batches_make_a_device_wait_for_its_transfers() -> None:
    row = next(row for row in ROWS if row.schedule == "1F1B-I")
    assert batched(row).step.predicted(NOTHING) > row.step.predicted(NOTHING)
    zero_bubble = next(row for row in ROWS if row.schedule == "ZB-1p")
    assert batched(zero_bubble) is zero_bubble


def test_rows_with_few_microbatches_take_the_costs_of_their_model() -> None:
    row = next(row for row in FEW if row.schedule == "1F1B" and row.model == "1.5B")
    assert float(row.step.pipeline.work[0].forward) == 18.522
    assert row.step.pipeline.microbatches == row.microbatches == 2


@pytest.mark.slow
def test_one_overhead_for_all_and_one_for_each_model_predict_the_zero_bubble_rows() -> None:
    for_all = fitted(ROWS)
    closeness = outcome(ROWS, lambda _: for_all)
    assert median(map(abs, closeness.errors)) <= 0.015
    assert max(map(abs, closeness.errors)) <= 0.05
    starts = {model: smallest(ROWS, model) for model in ("1.5B", "14.6B")}
    by_model: dict[str, FoundCosts] = {model: fitted(rows) for model, rows in starts.items()}
    larger: list[Row] = [row for row in ROWS if row not in starts[row.model]]
    predicted = outcome(larger, lambda row: by_model[row.model])
    assert median(map(abs, predicted.errors)) <= 0.02
    assert [pair for pair, difference in predicted.wrong if difference > 0.02] == []
