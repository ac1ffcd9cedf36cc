"""The least time of a model's work, for every schedule and every cut."""

from __future__ import annotations

from fractions import Fraction

from strategies.model.layers import Layers
from strategies.model.pipeline import Pipeline


def work_bound(layers: Layers, pipeline: Pipeline) -> Fraction:
    """Bound every schedule of a model by its work, shared by all devices, and the overhead of its operations.

    Overlap saves at most σ times the smaller of all forwards and all backwards: a block saves at most σ of its shorter
    half, so all blocks together save at most σ of all forwards, and at most σ of all backwards. A block saves the
    overhead of its backward, too, so only forwards count with theirs if there may be blocks. In a makespan T a device
    that takes f times as long does work of at most (T − its overheads) ÷ f; the works of all devices add up to that of
    the model.

    Parameters
    ----------
    layers : Layers
        The model.
    pipeline : Pipeline
        Its devices, microbatches, overlap, overhead and slow devices.
    """
    costs, overheads = layers.sum_of_costs, pipeline.overheads
    backward = min(costs.backward, costs.backward_input + costs.backward_weight)
    saved = (pipeline.overlap or Fraction(0)) * min(costs.forward, backward)
    share = sum(1 / pipeline.pace(device) for device in range(pipeline.devices))
    operations = overheads["F"] * (pipeline.stages or 0) / pipeline.paces[-1]
    return pipeline.microbatches * (costs.forward + backward - saved + operations) / share + pipeline.after
