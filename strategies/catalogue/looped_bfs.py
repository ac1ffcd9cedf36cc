"""Looped BFS (Lamy-Poirier 2023, arXiv 2211.05953)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline


@strategy("looped-bfs", placement="interleaved", aliases=("ScheduleLoopedBFS", "breadth-first"))
def looped_bfs(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """Breadth-first (Lamy-Poirier 2023): all forwards chunk by chunk, then all backwards in reverse."""
    chunks = range(pipeline.stages_per_device)
    for chunk in chunks:
        yield from F(chunk) * pipeline.microbatches
    for chunk in reversed(chunks):
        for microbatch in reversed(range(pipeline.microbatches)):
            yield from B(chunk, microbatch)
