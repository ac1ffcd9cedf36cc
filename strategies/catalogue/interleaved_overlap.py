"""Interleaved 1F1B with overlapped pairs (as in PP-Emulation's ``1f1b_interleave_overlap`` and Megatron-Core)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline
from strategies.rules.interleaving import group_sizes, interleave, short_group


@strategy(
    "interleaved-overlap",
    placement="interleaved",
    overlaps=True,
    aliases=("1f1b-interleave-overlap", "1f1b-interleaved-overlap", "interleave-overlap"),
    proposals={"group_size": group_sizes},
    why_deadlocked=short_group,
)
def interleaved_overlap(pipeline: Pipeline, device: int, *, group_size: int | None = None) -> Iterator[Step]:
    """Interleaved 1F1B with one more warm-up forward and every steady pair overlapped."""
    forwards, backwards, warmup = interleave(pipeline, device, group_size)
    warmup = min(len(forwards), warmup + 1)
    for chunk in forwards[:warmup]:
        yield from F(chunk)
    for forward, backward in zip(forwards[warmup:], backwards, strict=False):
        yield from F(forward) | B(backward)
    for chunk in backwards[len(forwards) - warmup :]:
        yield from B(chunk)
