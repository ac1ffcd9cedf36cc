"""ZB-H1: the handcrafted schedule within 1F1B's memory (Qi et al. 2023, arXiv 2401.10241, section 2.1)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import F, I, Step, W
from strategies.model.pipeline import Pipeline


@strategy("zb-h1", placement="linear", splits_backward=True)
def zb_h1(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """ZB-H1 (Qi et al. 2023): within 1F1B's memory, device d puts off d of its W's."""
    warmup = min(pipeline.microbatches, pipeline.devices - 1 - device)
    steady = pipeline.microbatches - warmup
    put_off = min(steady, device)
    yield from F * warmup
    yield from (F + I) * put_off
    yield from (F + I + W) * (steady - put_off)
    yield from (I + W) * warmup
    yield from W * put_off
