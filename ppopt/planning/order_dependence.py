"""Whether a schedule's order is the same whatever the stages cost."""

from __future__ import annotations

from typing import Any

from ppopt.planning.order_as_partition import Orders
from solver.errors import InputError
from strategies.orders import make_orders
from strategies.pipeline import Pipeline
from strategies.registry import Strategy


def depends_on_costs(strategy: Strategy, pipeline: Pipeline, options: dict[str, int], orders: Orders) -> bool:
    """Ask a schedule for its orders on unlike pipelines of the same sizes, and compare.

    Parameters
    ----------
    strategy : Strategy
        The rule.
    pipeline : Pipeline
        With a settled number of stages.
    options : dict of str to int
        The rule's options.
    orders : sequence of sequence of (Op or Block)
        What it does on this pipeline.
    """
    for costs in _unlike_costs(pipeline):
        sizes = {"devices": pipeline.devices, "stages": pipeline.stages, "microbatches": pipeline.microbatches}
        try:
            _, other = make_orders(strategy, Pipeline.from_mapping(sizes | costs), options)
        except InputError:  # what it runs on follows from costs, too
            return True
        if [list(order) for order in other] != [list(order) for order in orders]:
            return True
    return False


def _unlike_costs(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Make costs that have little in common: which stages are heavy, what W takes, latency, memory and its limit."""
    stages = pipeline.stages or pipeline.devices
    every = stages * pipeline.microbatches
    rising = [1 + stage for stage in range(stages)]
    falling = [2 * (stages - stage) for stage in range(stages)]
    waves = [1 + stage * 7 % 5 for stage in range(stages)]
    return [
        {"times": {"forward": rising, "backward_input": falling, "backward_weight": 1}},
        {
            "times": {"forward": falling, "backward_input": waves, "backward_weight": rising},
            "p2p_latency": 3,
            "memory": {"activation": waves, "limit": 5 * every},
        },
        {
            "times": {"forward": 1, "backward_input": 1, "backward_weight": [9 * each for each in waves]},
            "memory": {"activation": 1, "held_for_weight": 0, "limit": 2 * pipeline.devices * stages},
        },
    ]
