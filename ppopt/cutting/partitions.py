"""Cuts of a model, sorted by a bound that holds for every order on a placement."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol

from ppopt.cutting.linear_bound import LinearBound, scales_of
from ppopt.cutting.one_device import device_bound
from ppopt.cutting.rows_for_any_order import items_of, layers_of, memory_limits, rows_for_any_order
from solver.bottleneck import Bottleneck
from solver.deadline import OutOfTimeError, check_time
from solver.partitioning.greatest_row import GreatestRow
from solver.partitioning.problem import Split
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement


class Partitions(Protocol):
    """Cuts of a model, the one with the lowest bound first."""

    def bound(self, deadline: float, below: Fraction | None, /) -> Fraction | None:
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

    def take(self) -> Counts:
        """Take the cut whose bound was returned last: how many layers each stage holds."""


def partitions_of(
    pipeline: Pipeline, placement: Placement, deadline: float, *, split_backward: bool, empty: bool, recompute: bool
) -> Partitions:
    """List the cuts of a model for a placement.

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
    if placement.name == "linear":
        bound = LinearBound(pipeline, split_backward=split_backward, empty=empty, recompute=recompute)
        return _OnePerDevice(bound, deadline)
    return _SeveralPerDevice(
        pipeline, placement, deadline, split_backward=split_backward, empty=empty, recompute=recompute
    )


class _OnePerDevice:
    """Sorts cuts by the greatest bound of a device; a device's bound depends only on its slice."""

    def __init__(self, bound: LinearBound, deadline: float) -> None:
        self._slices = bound
        self._cuts: Iterator[tuple[int, Counts]] = Bottleneck(bound.devices, bound.items, bound, deadline).cuts()
        self._next = next(self._cuts, None)

    def bound(self, _deadline: float, below: Fraction | None) -> Fraction | None:
        if self._next is None:
            return None
        value = Fraction(self._next[0], self._slices.scales.time)
        return None if below is not None and value >= below else value

    def take(self) -> Counts:
        assert self._next is not None
        items = self._next[1]
        self._next = next(self._cuts, None)
        return self._slices.layers_of(items)


class _SeveralPerDevice:
    """Sorts cuts by rows that hold for every order (CP-SAT minimizes the greatest) and by each device's bound.

    A device's bound (`ppopt.cutting.one_device`) holds for all cuts that agree in the layers on it and where in the
    model they begin. So it becomes a row for those cuts, and CP-SAT solves again, until no device raises the bound.
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
        scales = scales_of(pipeline)
        stages = len(placement.homes[0])
        items = items_of(pipeline, stages, scales, split_backward=split_backward, recompute=recompute)
        rows = rows_for_any_order(pipeline, placement, split_backward=split_backward, deadline=deadline)
        self._pipeline, self._placement, self._scales = pipeline, placement, scales
        self._split_backward, self._looks_at_devices = split_backward, not recompute
        limits = memory_limits(pipeline, placement)
        self._rows = GreatestRow(stages, items, rows, limits, empty=empty, deadline=deadline)
        self._bounds: dict[tuple[tuple[int, int], ...], int | None] = {}
        self._found: tuple[Fraction, Counts] | None = None

    def bound(self, deadline: float, below: Fraction | None) -> Fraction | None:
        most = None if below is None else int(-(-below * self._scales.time // 1))
        while self._found is None:
            found = self._rows.solve(deadline, below=most)
            if found.status == "infeasible":
                return None
            if found.split is None or found.status != "optimal":
                raise OutOfTimeError
            cut = layers_of(self._pipeline, found.split)
            if not self._is_raised(found.split, cut, found.bound, deadline):
                self._rows.forbid(found.split)
                self._found = Fraction(found.bound, self._scales.time), cut
        return None if below is not None and self._found[0] >= below else self._found[0]

    def _is_raised(self, split: Split, cut: Counts, bound: int, deadline: float) -> bool:
        """Bound each device of a cut; return whether that raises the bound of this cut and of those alike in this."""
        if not self._looks_at_devices:
            return False
        pipeline, is_raised = self._pipeline.with_cut(cut), False
        cuts = self._rows.cuts_of(split)
        for device in range(self._placement.devices):
            stages = [stage for stage, home in enumerate(self._placement.homes[0]) if home == device]
            around = sorted({place for stage in stages for place in (stage - 1, stage)} - {-1, len(cuts) - 1})
            alike = tuple((place, cuts[place]) for place in around)
            if alike in self._bounds:
                continue
            check_time(deadline)
            least = device_bound(pipeline, self._placement, device, self._scales, split_backward=self._split_backward)
            self._bounds[alike] = least
            if least is None or least > bound:
                self._rows.require(dict(alike), least)
                is_raised = True
        return is_raised

    def take(self) -> Counts:
        assert self._found is not None
        _, cut = self._found
        self._found = None
        return cut
