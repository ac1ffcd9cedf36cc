"""V-Min, controllable memory (Qi et al. 2024, arXiv 2405.15362), as its authors' repository builds it."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.building_blocks import v_min_block
from strategies.pipeline import Pipeline
from strategies.registry import strategy
from strategies.squeezing import squeezed
from strategies.steps import Step


@strategy("v-min", placement="v", splits_backward=True)
def v_min(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """V-Min (Qi et al. 2024): one V of stages, about a third of 1F1B's activations."""
    yield from squeezed(v_min_block, pipeline.devices, pipeline.microbatches)[device]
