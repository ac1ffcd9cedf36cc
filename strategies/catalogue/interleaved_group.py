"""Interleaving in groups smaller than p (Wan et al. 2025, PipeOffload, arXiv 2503.01328; Zero Bubble's repository)."""

from __future__ import annotations

from collections.abc import Iterator

from solver.errors import InputError
from strategies.language.registry import strategy
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.groups_in_slots import groups_in_slots


@strategy("interleaved-group", placement="interleaved", splits_backward=True)
def interleaved_group(pipeline: Pipeline, device: int, *, group_size: int | None = None) -> Iterator[Step]:
    """Interleaving in groups of fewer than p microbatches (Wan et al. 2025), half of p by default: less memory."""
    p = pipeline.devices
    group = (p + 1) // 2 if group_size is None else group_size
    if group > p:
        raise InputError(f"group_size: must be at most the number of devices, {p}; found {group}")
    for _, op in groups_in_slots(pipeline, device, group):
        yield Step(op.kind, op.stage // p, op.microbatch)
