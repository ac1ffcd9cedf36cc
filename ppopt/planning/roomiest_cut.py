"""The cut of a model that leaves most room on the device that has least: whether one microbatch fits with any cut."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ppopt.optimization.least_memory import missing_for_one
from ppopt.planning.linear_bound import scales_of
from ppopt.planning.rows_for_any_order import ACTIVATION, STATIC, items_of
from solver.exact import in_ticks
from solver.partitioning.greatest_row import GreatestRow, Row
from solver.partitioning.problem import Split, Term
from strategies.cuts import Counts
from strategies.pipeline import Pipeline
from strategies.placements import Placement


@dataclass(frozen=True)
class Roomiest:
    """A cut with little missing.

    Attributes
    ----------
    pipeline : Pipeline
        With the cut.
    missing : Fraction
        By so much the least memory of one device exceeds its limit; at most 0 where one microbatch fits on each.
    none_fits : bool
        Whether one microbatch is proven to fit with no cut at all; this is then one that lacks least.
    """

    pipeline: Pipeline
    missing: Fraction
    none_fits: bool


def roomiest_cut(pipeline: Pipeline, placement: Placement, deadline: float) -> Roomiest | None:
    """Find a cut with which one microbatch fits on each device, or prove that there is none.

    What a device needs for one microbatch is linear in the cut (`ppopt.optimization.least_memory`), so CP-SAT finds the
    cut whose greatest excess over a limit is least. It counts in its own steps; an excess that only these hide is seen
    in exact amounts, and that cut is forbidden.

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
    rows = GreatestRow(stages, items, _rows(pipeline, placement, highest, scales.memory), deadline=deadline)
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
    layers = pipeline.layers
    assert layers is not None
    cut: Counts = tuple(
        sum(count * kind.glue for count, kind in zip(held, layers.kinds, strict=True)) for held in split.held
    )
    made = pipeline.with_cut(cut)
    return Roomiest(made, missing_for_one(made, placement), none_fits=False)


def _rows(pipeline: Pipeline, placement: Placement, highest: int, scale: int) -> list[Row]:
    """Write what each device needs for one microbatch of each direction, as if all limits were the highest."""
    rows: list[Row] = []
    for device, limit in enumerate(pipeline.limits):
        if limit is None:
            continue
        static = tuple(Term(stage, STATIC, 1) for stage, _ in placement.local_stages[device])
        for microbatches, homes in placement.directions():
            held = tuple(Term(stage, ACTIVATION, 1) for stage, home in enumerate(homes) if home == device)
            if microbatches:
                rows.append(Row(static + held, highest - in_ticks(limit, scale)))
    return rows
