"""1F1B, also known as PipeDream-Flush (Narayanan et al. 2021, arXiv 2104.04473, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline


@strategy("1f1b", placement="linear", aliases=("Schedule1F1B", "pipedream-flush"))
def one_forward_one_backward(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """1F1B (Narayanan et al. 2021): at most p − d microbatches in flight on device d."""
    warmup = min(pipeline.microbatches, pipeline.devices - 1 - device)
    yield from F * warmup
    yield from (F + B) * (pipeline.microbatches - warmup)
    yield from B * warmup
