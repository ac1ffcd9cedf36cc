"""Eager 1F1B (Zhuang et al. 2022, arXiv 2211.05322): more microbatches in flight hide transfers."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline


@strategy("eager-1f1b", placement="linear", aliases=("eager", "1f1b-overlap-friendly"))
def eager_one_forward_one_backward(pipeline: Pipeline, device: int, *, depth: int = 2) -> Iterator[Step]:
    """Eager 1F1B (Zhuang et al. 2022): depth times the warm-up of 1F1B, which hides the latency."""
    warmup = min(pipeline.microbatches, depth * (pipeline.devices - 1 - device))
    yield from F * warmup
    yield from (F + B) * (pipeline.microbatches - warmup)
    yield from B * warmup
