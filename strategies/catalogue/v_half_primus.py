"""V-Half as AMD's Primus builds it, after Qi et al. 2024 (arXiv 2405.15362)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.building_blocks import v_half_block
from strategies.rules.squeezing_primus import squeezed_as_in_primus


@strategy("v-half-primus", placement="v", splits_backward=True)
def v_half_primus(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """V-Half as AMD's Primus builds it: the same blocks, squeezed by a simpler algorithm."""
    yield from squeezed_as_in_primus(v_half_block, pipeline.devices, pipeline.microbatches)[device]
