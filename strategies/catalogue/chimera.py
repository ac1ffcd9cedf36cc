"""Chimera by direct concatenation (Li and Hoefler 2021, arXiv 2107.06925, section 3)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline
from strategies.rules.slots import by_slot


@strategy("chimera", placement="bidirectional", even_devices=True, even_microbatches=True)
def chimera(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """Chimera (Li and Hoefler 2021): two pipelines in opposite directions, one unit of p microbatches after another."""
    p = pipeline.devices
    slotted = []
    for chunk, stage in enumerate((device, p - 1 - device)):
        for microbatch in range(pipeline.microbatches // 2):
            unit, place = divmod(microbatch, p // 2)
            entered = 2 * p * unit + 2 * place
            slotted += [(entered + stage, F(chunk)), (entered + 2 * p - 1 - stage, B(chunk))]
    yield from by_slot(slotted)
