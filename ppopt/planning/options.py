"""The options of a plan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from ppopt.cutting.order_as_partition import Recompute
from ppopt.planning.candidates import Restriction
from solver.errors import InputError
from solver.search.state import Progress
from strategies.layouts.runs_in import Framework, find_framework
from strategies.model.numbers import check_seed, read_count, shown
from strategies.model.pipeline import Pipeline
from strategies.model.placements import PLACEMENTS
from strategies.order_files.given_order import Named

RECOMPUTATIONS: tuple[Recompute, ...] = get_args(Recompute)
FREE_PLACEMENTS = tuple(name for name, rule in PLACEMENTS.items() if rule.copies == 1)
"""The placements for searching an order together with a cut: those with one copy of each stage."""


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """The arguments of `ppopt.plan` besides the pipeline, with the same names and meanings.

    Raises
    ------
    InputError
        If a value is wrong.
    """

    strategies: Sequence[Named] | None = None
    stages_per_device: Sequence[int] | None = None
    free: bool = False
    placement: str | None = None
    split_backward: bool = True
    recompute: Recompute | None = None
    empty_stages: bool = True
    layouts: Sequence[object] = ()
    time_limit: float = 60.0
    workers: int | None = None
    seed: int = 0
    progress: Progress | None = None
    framework: str | None = None

    def __post_init__(self) -> None:
        if self.recompute is not None and self.recompute not in RECOMPUTATIONS:
            raise InputError(
                f"recompute: {shown(self.recompute)} is not known; allowed are {', '.join(RECOMPUTATIONS)}"
            )
        if self.placement is not None and self.placement not in (*FREE_PLACEMENTS, "all"):
            known = ", ".join([*FREE_PLACEMENTS, "all"])
            raise InputError(f"placement: {shown(self.placement)} is not known here; allowed are {known}")
        if not self.free and (self.placement is not None or not self.split_backward):
            key = "placement" if self.placement is not None else "split_backward"
            raise InputError(f"{key}: restricts the search for orders; give free as well")
        self._refuse_what_the_framework_does_not()
        limit, workers = self.time_limit, self.workers
        if not (isinstance(limit, (int, float)) and 0 <= limit < math.inf):
            raise InputError(f"time_limit: must be a finite number of seconds of at least 0; found {limit!r}")
        check_seed(self.seed)
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise InputError(f"workers: must be a whole number of at least 1; found {workers!r}")

    def _refuse_what_the_framework_does_not(self) -> None:
        framework = self.runs_for
        if framework is None:
            return
        if self.free and not framework.loads:
            raise InputError(f"free: {framework.loads_only}; leave it out to plan for its own schedules")
        order = ("none", "uniform-k", "per-stage")
        if self.recompute is not None and order.index(self.recompute) > order.index(framework.recompute):
            allowed = " or ".join(order[: 1 + order.index(framework.recompute)])
            raise InputError(f"recompute: {framework.title} takes {allowed}; found {self.recompute}")

    @property
    def runs_for(self) -> Framework | None:
        """The framework that runs the plans, if one is given."""
        return None if self.framework is None else find_framework(self.framework)

    def recomputation(self, pipeline: Pipeline) -> Recompute:
        """Return what may be recomputed: as requested, or else anything if there is a limit and its cost is given.

        Raises
        ------
        InputError
            If recomputation is requested, and the model does not give its cost.
        """
        layers = pipeline.layers
        assert layers is not None
        if self.recompute in ("per-stage", "uniform-k") and not layers.recomputable:
            raise InputError(
                "recompute: needs a kind of layers with recompute: {activation: …}, which says what it costs and keeps"
            )
        if self.recompute is not None:
            return self.recompute
        limited = any(limit is not None for limit in pipeline.limits)
        most: Recompute = "per-stage" if self.runs_for is None else self.runs_for.recompute
        return most if limited and layers.recomputable else "none"

    @property
    def restriction(self) -> Restriction:
        """The restriction of published orders: the same as of searched ones."""
        placement = None if self.placement == "all" else self.placement
        return Restriction(placement, self.split_backward, self.runs_for)

    @property
    def free_placements(self) -> Sequence[str]:
        """The placements to search orders on."""
        if not self.free:
            return ()
        if self.placement in (None, "all"):
            return [name for name in FREE_PLACEMENTS if PLACEMENTS[name].in_all]
        return [str(self.placement)]


def read_stages_per_device(given: object) -> tuple[int, ...] | None:
    """Read numbers of stages per device: one or several, without duplicates.

    Raises
    ------
    InputError
        Unless all are whole numbers of at least 1.
    """
    if given is None:
        return None
    entries = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    numbers: dict[int, None] = {}
    for entry in entries:
        try:
            numbers[read_count(entry)] = None
        except ValueError as error:
            raise InputError(f"stages_per_device: {error}") from None
    if not numbers:
        raise InputError("stages_per_device: must be one whole number of at least 1, or several; found none")
    return tuple(sorted(numbers))
