"""Seq1F1B (Sun et al. 2024, arXiv 2406.03488), as in sail-sg's zero-bubble repository (scheduler/seq1f1b.py)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline


@strategy("seq1f1b", placement="linear", takes_slices=True)
def seq1f1b(pipeline: Pipeline, device: int, *, slices: int | None = None, equal: int | None = None) -> Iterator[Step]:
    """Seq1F1B (Sun et al. 2024): 1F1B over slices of sequences; backwards begin with the last slice."""
    total, each = pipeline.microbatches, pipeline.slices_of_each
    warmup = min(total, pipeline.devices - 1 - device + each - 1)
    backwards = [first + place for first in range(0, total, each) for place in reversed(range(each))]
    yield from F * warmup
    for item in backwards[: total - warmup]:
        yield from F + B(0, item)
    for item in backwards[total - warmup :]:
        yield from B(0, item)
