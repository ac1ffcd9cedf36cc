"""V-Half, controllable memory (Qi et al. 2024, arXiv 2405.15362), as its authors' repository builds it."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.building_blocks import v_half_block
from strategies.rules.squeezing import squeezed


@strategy("v-half", placement="v", splits_backward=True)
def v_half(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """V-Half (Qi et al. 2024): one V of stages, about half of 1F1B's activations."""
    yield from squeezed(v_half_block, pipeline.devices, pipeline.microbatches)[device]
