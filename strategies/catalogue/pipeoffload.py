"""PipeOffload's order (Wan et al. 2025, arXiv 2503.01328; Zero Bubble's repository): interleaving, one by one."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.groups_in_slots import groups_in_slots


@strategy("pipeoffload", placement="interleaved", splits_backward=True)
def pipeoffload(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """PipeOffload (Wan et al. 2025): interleaving in groups of one microbatch, so that early chunks wait for long."""
    for _, op in groups_in_slots(pipeline, device, group=1):
        yield Step(op.kind, op.stage // pipeline.devices, op.microbatch)
