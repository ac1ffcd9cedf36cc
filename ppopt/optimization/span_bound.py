"""The first bound on the span: the longest time that one device is at work from its first start to its last end."""

from __future__ import annotations

from fractions import Fraction

from solver.bounds.bound import Bound, best
from solver.bounds.span import span_bounds
from solver.exact import in_ticks
from solver.problem import Problem
from solver.search.first_bounds import busiest_device
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement


def first_span_bound(pipeline: Pipeline, placement: Placement, problem: Problem) -> Bound:
    """Bound the span by the load of a device, and on a linear pipeline with split backwards by its round trips.

    The problem's capacities count; they may be smaller than the pipeline's limits.
    """
    bound = busiest_device(problem)
    if (
        pipeline.has_unequal_items
        or placement.name != "linear"
        or not problem.partners
        or problem.merged_durations
        or problem.fusing.firsts
    ):
        return bound
    scale = problem.ticks_per_unit
    costs = pipeline.costs_at(placement.homes[0])
    values = span_bounds(
        [in_ticks(cost.forward, scale) for cost in costs],
        [in_ticks(cost.backward_input, scale) for cost in costs],
        [in_ticks(cost.backward_weight, scale) for cost in costs],
        lag=min((in_ticks(hop.lag, scale) for hop in pipeline.hops(placement.homes[0])), default=0),
        live=_live(pipeline, problem),
        count=pipeline.microbatches,
    )
    device = max(range(len(values)), key=values.__getitem__)  # device s holds stage s
    return best(bound, Bound(values[device], "span", device))


def _live(pipeline: Pipeline, problem: Problem) -> list[int]:
    """Count how many forwards of a stage can have started whose W has not ended.

    When the last of them starts, it takes a whole activation, and each of the others still holds what I leaves to W, or
    what of that is never offloaded.
    """
    live: list[int] = []
    for stage, (cost, capacity) in enumerate(zip(pipeline.costs, problem.capacities, strict=True)):
        share = 0 if pipeline.offload is None else pipeline.side_costs[stage].share
        held = (1 - share) * cost.held_for_weight
        if capacity is None or not held:
            live.append(pipeline.microbatches)
        else:
            room = Fraction(capacity, problem.amounts_per_unit)
            live.append(min(pipeline.microbatches, 1 + int((room - cost.activation) / held)))
    return live
