"""Cuts of a model in the order of a bound that holds for every order on a placement."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol

from ppopt.planning.linear_bound import LinearBound, scales_of
from ppopt.planning.rows_for_any_order import items_of, memory_limits, rows_for_any_order
from solver.bottleneck import Bottleneck
from solver.deadline import OutOfTimeError
from solver.partitioning.greatest_row import GreatestRow
from strategies.cuts import Counts
from strategies.pipeline import Pipeline
from strategies.placements import Placement


class Partitions(Protocol):
    """Cuts of a model, the one with the lowest bound first."""

    def bound(self, deadline: float, below: Fraction | None, /) -> Fraction | None:
        """Bound the makespan for every cut that has not been taken; None where none is left below a makespan.

        Parameters
        ----------
        deadline : float
            On the clock of `time.perf_counter`.
        below : Fraction or None
            A makespan that is known: cuts that cannot beat it do not matter.

        Raises
        ------
        OutOfTimeError
            If the deadline passes before a cut is found.
        """

    def take(self) -> Counts:
        """Take the cut whose bound was last asked for: how many layers each stage holds."""


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
        Whether layers may be recomputed: the bounds then hold for every way to do so.

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
    return _SeveralPerDevice(pipeline, placement, split_backward=split_backward, empty=empty, recompute=recompute)


class _OnePerDevice:
    """By the greatest of the bounds of the devices, each of which follows from the slice that a device holds."""

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
    """By rows that hold for every order, the greatest of which CP-SAT makes least."""

    def __init__(
        self, pipeline: Pipeline, placement: Placement, *, split_backward: bool, empty: bool, recompute: bool
    ) -> None:
        scales = scales_of(pipeline)
        stages = len(placement.homes[0])
        items = items_of(pipeline, stages, scales, split_backward=split_backward, recompute=recompute)
        rows = rows_for_any_order(pipeline, placement, split_backward=split_backward)
        self._scale = scales.time
        self._layers, self._stages = pipeline.layers, stages
        self._rows = GreatestRow(stages, items, rows, memory_limits(pipeline, placement), empty=empty)
        self._found: tuple[Fraction, Counts] | None = None

    def bound(self, deadline: float, below: Fraction | None) -> Fraction | None:
        if self._found is None:
            most = None if below is None else -(-below * self._scale // 1)
            found = self._rows.solve(deadline, below=None if most is None else int(most))
            if found.status == "infeasible":
                return None
            if found.split is None or found.status != "optimal":
                raise OutOfTimeError
            self._rows.forbid(found.split)
            layers = self._layers
            assert layers is not None
            counts = (
                sum(count * kind.glue for count, kind in zip(held, layers.kinds, strict=True))
                for held in found.split.held
            )
            self._found = Fraction(found.bound, self._scale), tuple(counts)
        return None if below is not None and self._found[0] >= below else self._found[0]

    def take(self) -> Counts:
        assert self._found is not None
        _, cut = self._found
        self._found = None
        return cut
