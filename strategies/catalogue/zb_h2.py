"""ZB-H2: the handcrafted schedule with twice 1F1B's memory (Qi et al. 2023, arXiv 2401.10241, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import F, I, Step, W
from strategies.model.pipeline import Pipeline


@strategy("zb-h2", placement="linear", splits_backward=True)
def zb_h2(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """ZB-H2 (Qi et al. 2023): up to 2p − 1 activations, so that no device idles within its span."""
    warmup = min(pipeline.microbatches, 2 * (pipeline.devices - 1 - device) + 1)
    steady = pipeline.microbatches - warmup
    put_off = min(steady, 2 * device)
    yield from F * warmup
    yield from (I + F) * put_off
    yield from (I + W + F) * (steady - put_off)
    yield from (I + W) * warmup
    yield from W * put_off
