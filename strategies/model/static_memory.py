"""The memory that devices hold at all times: the weights, gradients and optimizer state of their stages."""

from __future__ import annotations

from fractions import Fraction

from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement


def static_memory(pipeline: Pipeline, placement: Placement) -> list[Fraction]:
    """Add up the static memory of each device; if a placement keeps two copies of a stage, both count.

    Parameters
    ----------
    pipeline : Pipeline
        The costs.
    placement : Placement
        Which device holds which stage.
    """
    return [sum((pipeline.costs[stage].static for stage, _ in held), Fraction(0)) for held in placement.local_stages]
