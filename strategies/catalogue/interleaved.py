"""Interleaved 1F1B (Narayanan et al. 2021, arXiv 2104.04473, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline
from strategies.rules.interleaving import group_sizes, interleave, short_group


@strategy(
    "interleaved",
    placement="interleaved",
    aliases=("interleave", "ScheduleInterleaved1F1B", "1f1b-interleaved", "1f1b-interleave"),
    proposals={"group_size": group_sizes},
    why_deadlocked=short_group,
)
def interleaved(pipeline: Pipeline, device: int, *, group_size: int | None = None) -> Iterator[Step]:
    """Interleaved 1F1B (Narayanan et al. 2021): several chunks per device, groups of p microbatches."""
    forwards, backwards, warmup = interleave(pipeline, device, group_size)
    for chunk in forwards[:warmup]:
        yield from F(chunk)
    for forward, backward in zip(forwards[warmup:], backwards, strict=False):
        yield from F(forward) + B(backward)
    for chunk in backwards[len(forwards) - warmup :]:
        yield from B(chunk)
