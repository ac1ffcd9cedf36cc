"""1F1B with each steady forward fused with a backward (as in PP-Emulation's ``1f1b_overlap``)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline


@strategy("1f1b-overlap", placement="linear", overlaps=True)
def one_forward_one_backward_overlap(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """1F1B with every steady forward and backward overlapped: twice the warm-up of 1F1B."""
    warmup = min(pipeline.microbatches, 2 * (pipeline.devices - 1 - device) + 1)
    yield from F * warmup
    yield from (F | B) * (pipeline.microbatches - warmup)
    yield from B * warmup
