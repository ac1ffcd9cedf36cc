"""1F1B-V: controllable memory with full backwards (Qi et al. 2024, arXiv 2405.15362)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.whole_backward_block import one_forward_one_backward_on_a_v


@strategy("1f1b-v", placement="v")
def one_forward_one_backward_v(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """1F1B-V (Qi et al. 2024): a V of stages and full backwards, about two thirds of 1F1B's memory."""
    yield from one_forward_one_backward_on_a_v(pipeline.devices, pipeline.microbatches)[device]
