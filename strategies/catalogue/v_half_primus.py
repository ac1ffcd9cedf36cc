"""V-Half as AMD's Primus builds it, after Qi et al. 2024 (arXiv 2405.15362)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.building_blocks import v_half_block
from strategies.pipeline import Pipeline
from strategies.registry import strategy
from strategies.squeezing_primus import squeezed_as_in_primus
from strategies.steps import Step


@strategy("v-half-primus", placement="v", splits_backward=True)
def v_half_primus(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """V-Half as AMD's Primus builds it: the same blocks, squeezed by a shorter algorithm."""
    yield from squeezed_as_in_primus(v_half_block, pipeline.devices, pipeline.microbatches)[device]
