"""Interleaved zero bubble: ZB-H1 with several chunks per device, like PyTorch's ``ScheduleInterleavedZeroBubble``."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import F, I, Step, W
from strategies.model.pipeline import Pipeline
from strategies.rules.interleaving import interleave


@strategy(
    "zb-interleaved",
    placement="interleaved",
    aliases=("ScheduleInterleavedZeroBubble", "InterleavedZeroBubble"),
    splits_backward=True,
)
def zb_interleaved(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """PyTorch's interleaved zero bubble: 1F1B over chunks with 1F1B's warm-up, device d puts off d of its W's."""
    groups = max(1, pipeline.microbatches // pipeline.devices)
    group_size = pipeline.microbatches // groups
    forwards, backwards, _ = interleave(pipeline, device, group_size)
    steps = len(forwards)
    warmup = min(steps, pipeline.devices - 1 - device + (pipeline.stages_per_device - 1) * group_size)
    for chunk in forwards[:warmup]:
        yield from F(chunk)
    for done, chunk in enumerate(backwards):
        if warmup + done < steps:
            yield from F(forwards[warmup + done])
        yield from I(chunk)
        if done >= device:
            yield from W
    yield from W * min(device, steps)
