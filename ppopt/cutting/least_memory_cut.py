"""The cut of a model that needs the least memory, and whether any cut fits one microbatch within the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ppopt.cutting.least_costs import scales_of
from ppopt.cutting.least_memory import missing_for_one
from ppopt.cutting.rows_for_any_order import ACTIVATION, STATIC, items_of, layers_of
from solver.deadline import OutOfTimeError
from solver.exact import in_ticks
from solver.partitioning.greatest_row import GreatestRow, Row
from solver.partitioning.problem import Split, Term
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement


def cut_of_least_memory(pipeline: Pipeline, placement: Placement, deadline: float) -> Counts:
    """Cut a model such that the smallest limit suffices for one microbatch at a time.

    One microbatch needs, on each device, the static memory and the activations of all its stages in one direction
    (`ppopt.cutting.least_memory`). Nothing is recomputed.

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
        If the deadline passes first.
    """
    scales, stages = scales_of(pipeline), len(placement.homes[0])
    items = items_of(pipeline, stages, scales, split_backward=True, recompute=False)
    rows = _rows(placement, [0] * placement.devices)
    found = GreatestRow(stages, items, rows, deadline=deadline).solve(deadline)
    if found.split is None or found.status != "optimal":
        raise OutOfTimeError
    return layers_of(pipeline, found.split)


@dataclass(frozen=True)
class Roomiest:
    """A cut that fits the memory limits, or misses them by little.

    Attributes
    ----------
    pipeline : Pipeline
        With the cut.
    missing : Fraction
        The greatest excess of a device's least memory over its limit; at most 0 if each fits one microbatch.
    none_fits : bool
        Whether it is proven that one microbatch fits with no cut; this cut then has the least excess.
    """

    pipeline: Pipeline
    missing: Fraction
    none_fits: bool


def roomiest_cut(pipeline: Pipeline, placement: Placement, deadline: float) -> Roomiest | None:
    """Find a cut with which one microbatch fits on each device, or prove that none exists.

    The memory that a device needs for one microbatch is linear in the cut (`ppopt.cutting.least_memory`), so CP-SAT
    finds the cut whose greatest excess over a limit is least. CP-SAT rounds amounts to its own steps; a cut that fits
    only because of this rounding is found out in exact amounts, and forbidden.

    Parameters
    ----------
    pipeline : Pipeline
        With layers and limits.
    placement : Placement
        Which device holds which stage.
    deadline : float
        On the clock of `time.perf_counter`.

    Returns
    -------
    Roomiest or None
        None if no cut was found in the time.
    """
    stages, scales = len(placement.homes[0]), scales_of(pipeline)
    items = items_of(pipeline, stages, scales, split_backward=True, recompute=False)
    highest = in_ticks(max(limit for limit in pipeline.limits if limit is not None), scales.memory)
    excess = [None if limit is None else highest - in_ticks(limit, scales.memory) for limit in pipeline.limits]
    rows = GreatestRow(stages, items, _rows(placement, excess), deadline=deadline)
    best: Roomiest | None = None
    while best is None or best.missing > 0:
        found = rows.solve(deadline)
        if found.status == "infeasible" or (found.status == "optimal" and found.bound > highest):
            if best is None and found.split is not None:
                best = _met(pipeline, placement, found.split)
            return best and Roomiest(best.pipeline, best.missing, none_fits=best.missing > 0)
        if found.split is None:
            return best
        met = _met(pipeline, placement, found.split)
        best = met if best is None or met.missing < best.missing else best
        rows.forbid(found.split)
    return best


def _met(pipeline: Pipeline, placement: Placement, split: Split) -> Roomiest:
    made = pipeline.with_cut(layers_of(pipeline, split))
    return Roomiest(made, missing_for_one(made, placement), none_fits=False)


def _rows(placement: Placement, beside: Sequence[int | None]) -> list[Row]:
    """Write each device's needs for one microbatch of each direction, plus a constant; no row if that is None."""
    rows: list[Row] = []
    for device, constant in enumerate(beside):
        if constant is None:
            continue
        static = tuple(Term(stage, STATIC, 1) for stage, _ in placement.local_stages[device])
        for microbatches, homes in placement.directions():
            held = tuple(Term(stage, ACTIVATION, 1) for stage, home in enumerate(homes) if home == device)
            if microbatches:
                rows.append(Row(static + held, constant))
    return rows
