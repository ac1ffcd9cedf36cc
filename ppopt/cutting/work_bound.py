"""The least time of a model's work, for every schedule and every cut."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from strategies.model.layers import Layers
from strategies.model.pipeline import Pipeline


def work_bound(layers: Layers, pipeline: Pipeline) -> Fraction:
    """Bound every schedule of a model by its work, shared by all devices, and the overhead of its operations.

    Overlap saves at most σ times the smaller of all forwards and all backwards: a block saves at most σ of its shorter
    half, so all blocks together save at most σ of all forwards, and at most σ of all backwards. With σ > 1 a longer
    half can make a block shorter, so there a block counts as (2 − σ) of its longer half. A block saves the
    overhead of its backward, too, so only forwards count with theirs if there may be blocks. In a makespan T a device
    that takes f times as long does work of at most (T − its overheads) ÷ f; the works of all devices add up to that of
    the model.

    In a block, layers with parts that are paired take at least as long as each of the two streams is busy; all others
    keep the device for their F or B. So for each stream all works add up to at least the sum, over layers, of the
    lesser of the two.

    Parameters
    ----------
    layers : Layers
        The model.
    pipeline : Pipeline
        Its devices, microbatches, overlap, overhead and slow devices.
    """
    costs, overheads = layers.sum_of_costs, pipeline.overheads
    backward = min(costs.backward, costs.backward_input + costs.backward_weight)
    overlap = pipeline.overlap or Fraction(0)
    saved = overlap * min(costs.forward, backward)
    if overlap > 1:
        saved = costs.forward + backward - (2 - overlap) * max(costs.forward, backward)
    if layers.have_parts:
        saved = min(_saved_by_parts(layers, stream) for stream in ("computing", "communication"))
    share = sum(1 / pipeline.pace(device) for device in range(pipeline.devices))
    operations = overheads["F"] * (pipeline.stages or 0) / pipeline.paces[-1]
    return pipeline.microbatches * (costs.forward + backward - saved + operations) / share + pipeline.after


def _saved_by_parts(layers: Layers, stream: Literal["computing", "communication"]) -> Fraction:
    """Bound what all layers save if each takes only what it needs of a stream."""
    saved = Fraction(0)
    for kind in layers.kinds:
        if kind.parts is not None:
            backward = min(kind.costs.backward, kind.costs.backward_input + kind.costs.backward_weight)
            needed = getattr(kind.parts, stream)
            pairs = zip((kind.costs.forward, backward), needed, strict=True)
            saved += kind.count * sum((max(Fraction(0), alone - part) for alone, part in pairs), Fraction(0))
    return saved
