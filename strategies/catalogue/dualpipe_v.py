"""DualPipeV: DualPipe cut in half (DeepSeek-AI 2025; PyTorch's ScheduleDualPipeV)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.dualpipe_programme import dualpipe_programme


@strategy(
    "dualpipe-v",
    placement="v",
    aliases=("ScheduleDualPipeV",),
    splits_backward=True,
    overlaps=True,
    microbatches_per_device=2,
    microbatches_less=1,
)
def dualpipe_v(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """DualPipeV (DeepSeek-AI 2025): DualPipe's programme on one V of stages, with one copy of the weights."""
    yield from dualpipe_programme(ranks=pipeline.devices, rank=device, microbatches=pipeline.microbatches, side=(0, 1))
