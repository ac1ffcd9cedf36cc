"""Cuts of a model, sorted by a bound that holds for every order on a placement."""

from __future__ import annotations

from fractions import Fraction

from ppopt.cutting.least_costs import scales_of
from ppopt.cutting.rows_for_any_order import items_of, layers_of, memory_limits, rows_for_any_order
from solver.deadline import OutOfTimeError
from solver.partitioning.greatest_row import GreatestRow
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement


class Partitions:
    """Cuts of a model, the one with the lowest bound first, by rows that hold for every order.

    CP-SAT minimizes the greatest row.

    Parameters
    ----------
    pipeline : Pipeline
        With layers.
    placement : Placement
        Which device holds which stage.
    deadline : float
        On the clock of `time.perf_counter`.
    split_backward : bool
        Whether backwards may be I and W.
    empty : bool
        Whether stages may be empty.
    recompute : bool
        Whether layers may be recomputed: the bounds then hold for every choice of recomputed layers.

    Raises
    ------
    OutOfTimeError
        If the deadline passes first.
    InputError
        If the pins allow no cut.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        placement: Placement,
        deadline: float,
        *,
        split_backward: bool,
        empty: bool,
        recompute: bool,
    ) -> None:
        stages = len(placement.homes[0])
        self._pipeline, self._scales = pipeline, scales_of(pipeline)
        items = items_of(pipeline, stages, self._scales, split_backward=split_backward, recompute=recompute)
        rows = rows_for_any_order(pipeline, placement, split_backward=split_backward, deadline=deadline)
        limits = memory_limits(pipeline, placement)
        self._rows = GreatestRow(stages, items, rows, limits, empty=empty, deadline=deadline)
        self._found: tuple[Fraction, Counts] | None = None

    def bound(self, deadline: float, below: Fraction | None) -> Fraction | None:
        """Bound the makespan of every cut not taken yet; None if no cut left can beat a makespan.

        Parameters
        ----------
        deadline : float
            On the clock of `time.perf_counter`.
        below : Fraction or None
            A known makespan: cuts that cannot beat it are skipped.

        Raises
        ------
        OutOfTimeError
            If the deadline passes before a cut is found.
        """
        if self._found is None:
            most = None if below is None else int(-(-below * self._scales.time // 1))
            found = self._rows.solve(deadline, below=most)
            if found.status == "infeasible":
                return None
            if found.split is None or found.status != "optimal":
                raise OutOfTimeError
            self._rows.forbid(found.split)
            self._found = Fraction(found.bound, self._scales.time), layers_of(self._pipeline, found.split)
        return None if below is not None and self._found[0] >= below else self._found[0]

    def take(self) -> Counts:
        """Take the cut whose bound was returned last: how many layers each stage holds."""
        assert self._found is not None
        _, cut = self._found
        self._found = None
        return cut
