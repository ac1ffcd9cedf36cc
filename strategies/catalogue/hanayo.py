"""Hanayo's wave-like pipeline (Liu et al. 2023, arXiv 2308.15762)."""

from __future__ import annotations

from collections.abc import Iterator

from solver.errors import InputError
from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline
from strategies.rules.slots import by_slot


@strategy("hanayo", placement="wave", stages_option="waves")
def hanayo(pipeline: Pipeline, device: int, *, waves: int | None = None) -> Iterator[Step]:
    """Hanayo (Liu et al. 2023): stages in waves there and back, one unit of p microbatches after another."""
    p, chunks = pipeline.devices, pipeline.stages_per_device
    if waves is not None and chunks != 2 * waves:
        raise InputError(f"waves: {waves} need {2 * waves} stages per device; found {chunks}")
    stages = chunks * p
    slotted = []
    for chunk in range(chunks):
        stage = chunk * p + (p - 1 - device if chunk % 2 else device)
        for microbatch in range(pipeline.microbatches):
            unit, place = divmod(microbatch, p)
            entered = 2 * stages * unit + 2 * place
            slotted += [(entered + stage, F(chunk)), (entered + 2 * stages - 1 - stage, B(chunk))]
    yield from by_slot(slotted)
