"""DualPipe (DeepSeek-AI 2024, arXiv 2412.19437, section 3.2.1)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.dualpipe_programme import dualpipe_programme


@strategy(
    "dualpipe",
    placement="bidirectional",
    splits_backward=True,
    overlaps=True,
    even_devices=True,
    even_microbatches=True,
    microbatches_per_device=2,
    microbatches_less=2,
)
def dualpipe(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """DualPipe (DeepSeek-AI 2024): microbatches from both ends, forwards overlapped with backwards."""
    half = pipeline.devices // 2
    near_side = 0 if device < half else 1
    yield from dualpipe_programme(
        ranks=half,
        rank=min(device, pipeline.devices - 1 - device),
        microbatches=pipeline.microbatches // 2,
        side=(near_side, 1 - near_side),
    )
