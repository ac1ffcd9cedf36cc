"""The first bound on the span: the longest time that one device is at work from its first start to its last end."""

from __future__ import annotations

from solver.bounds.bound import Bound
from solver.bounds.loads import least_loads
from solver.bounds.span import span_bound
from solver.exact import in_ticks
from solver.problem import Problem
from strategies.pipeline import Pipeline
from strategies.placements import Placement


def first_span_bound(pipeline: Pipeline, placement: Placement, problem: Problem) -> Bound:
    """Bound the span by the load of a device, and on a linear pipeline with split backwards by its round trips."""
    loads = least_loads(problem)
    device = max(range(problem.devices), key=loads.__getitem__)
    bound = Bound(loads[device], "span", device, {"load": loads[device]})
    if placement.name != "linear" or not problem.partners or problem.merged_durations or problem.fusing.firsts:
        return bound
    scale = problem.ticks_per_unit
    value = span_bound(
        [in_ticks(cost.forward, scale) for cost in pipeline.costs],
        [in_ticks(cost.backward_input, scale) for cost in pipeline.costs],
        [in_ticks(cost.backward_weight, scale) for cost in pipeline.costs],
        lag=in_ticks(pipeline.p2p_latency, scale),
        live=_live(pipeline),
        count=pipeline.microbatches,
    )
    return max(bound, Bound(value, "span", device, {"load": loads[device]}), key=lambda each: each.value)


def _live(pipeline: Pipeline) -> list[int]:
    """Count how many forwards of a stage can have started whose W has not ended.

    When the last of them starts, it takes a whole activation, and each of the others still holds what I leaves to W.
    """
    live: list[int] = []
    for cost, limit in zip(pipeline.costs, pipeline.limits, strict=True):  # device s holds stage s
        if limit is None or not cost.held_for_weight:
            live.append(pipeline.microbatches)
        else:
            live.append(
                min(pipeline.microbatches, 1 + int((limit - cost.static - cost.activation) / cost.held_for_weight))
            )
    return live
