"""GPipe (Huang et al. 2019, arXiv 1811.06965)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import B, F, Step
from strategies.model.pipeline import Pipeline


@strategy("gpipe", placement="linear", aliases=("ScheduleGPipe",))
def gpipe(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """GPipe (Huang et al. 2019): all forwards, then all backwards."""
    yield from F * pipeline.microbatches
    yield from B * pipeline.microbatches
