"""ZB-1P: zero-bubble 1F1B with at most p activations (Qi et al. 2023, arXiv 2401.10241; as in PP-Emulation)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import F, I, Step, W
from strategies.model.pipeline import Pipeline


@strategy("zb1p", placement="linear", aliases=("zb-1p",), splits_backward=True)
def zb1p(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """ZB-1P (Qi et al. 2023): 1F1B's warm-up, with each W put off until p activations are held."""
    warmup = min(pipeline.microbatches, pipeline.devices - 1 - device)
    weights = 0
    yield from F * warmup
    for done in range(pipeline.microbatches - warmup):
        yield from F + I
        if warmup + done - weights >= pipeline.devices - 1:
            weights += 1
            yield from W
    yield from (I + W) * warmup
    yield from W * (pipeline.microbatches - warmup - weights)
