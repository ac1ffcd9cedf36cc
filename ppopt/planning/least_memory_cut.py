"""The cut of a model with which a schedule needs the least memory, exactly."""

from __future__ import annotations

from collections.abc import Iterator

from ppopt.planning.linear_bound import scales_of
from ppopt.planning.rows_for_any_order import ACTIVATION, STATIC, items_of, layers_of
from solver.deadline import OutOfTimeError
from solver.partitioning.greatest_row import GreatestRow, Row
from solver.partitioning.problem import Term
from strategies.cuts import Counts
from strategies.pipeline import Pipeline
from strategies.placements import Placement


def cut_of_least_memory(pipeline: Pipeline, placement: Placement, deadline: float) -> Counts:
    """Lay the layers of a model on stages such that the smallest limit suffices for one microbatch at a time.

    That needs on each device what is always there, and the activations of all its stages that one direction visits
    (`ppopt.optimization.least_memory`). Nothing is recomputed.

    Parameters
    ----------
    pipeline : Pipeline
        With layers; its own cut and its limits do not matter.
    placement : Placement
        Which device holds which stage.
    deadline : float
        On the clock of `time.perf_counter`.

    Raises
    ------
    OutOfTimeError
        If it passes first.
    """
    scales, stages = scales_of(pipeline), len(placement.homes[0])
    items = items_of(pipeline, stages, scales, split_backward=True, recompute=False)
    rows = list(_rows(placement))
    found = GreatestRow(stages, items, rows, deadline=deadline).solve(deadline)
    if found.split is None or found.status != "optimal":
        raise OutOfTimeError
    return layers_of(pipeline, found.split)


def _rows(placement: Placement) -> Iterator[Row]:
    for device in range(placement.devices):
        static = [
            Term(stage, STATIC, 1) for homes in placement.homes for stage, home in enumerate(homes) if home == device
        ]
        for microbatches, homes in placement.directions():
            if microbatches:
                held = [Term(stage, ACTIVATION, 1) for stage, home in enumerate(homes) if home == device]
                yield Row((*static, *held), 0)
