"""The Zero Bubble heuristic for ZB-1p and ZB-2p, from times (Qi et al. 2023, arXiv 2401.10241, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.zero_bubble_heuristic import zero_bubble_orders


@strategy("zb-auto", placement="linear", aliases=("zb", "zb1p-auto", "zb2p-auto", "zero-bubble"), splits_backward=True)
def zb_auto(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """Zero Bubble's heuristic (Qi et al. 2023), from times and memory.limit: ZB-1p at p activations, ZB-2p at 2p."""
    yield from zero_bubble_orders(pipeline)[device]
