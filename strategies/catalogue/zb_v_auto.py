"""ZB-V as built from times by its authors' repository (Qi et al. 2023, arXiv 2401.10241), and by ColossalAI."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.registry import strategy
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.zero_bubble_v_heuristic import zero_bubble_v_orders


@strategy("zb-v-auto", placement="v", splits_backward=True)
def zb_v_auto(pipeline: Pipeline, device: int) -> Iterator[Step]:
    """ZB-V as its authors' heuristic builds it from times (Qi et al. 2023), within p microbatches' activations."""
    yield from zero_bubble_v_orders(pipeline)[device]
