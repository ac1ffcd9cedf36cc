"""Plans: the layers of each stage, the schedule's makespan with them, and a bound on every other cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ppopt.cutting.order_as_partition import Recompute
from ppopt.process.internal_error import internal_errors
from ppopt.schedules.schedule import Schedule, refuse_below_bound
from reports.numbers import number
from solver.counted import counted
from solver.errors import InfeasibleError
from strategies.language.registry import Strategy
from strategies.layouts.frameworks import FRAMEWORKS, Export, Planned, exports
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline

if TYPE_CHECKING:
    from strategies.model.layers import Layers


MOST_SHOWN = 8
"""The most plans on a page; the best ones are shown."""


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """The best cut found for one order, or for any order on a placement.

    Attributes
    ----------
    name : str
        The schedule with its options except ``stages``; the file of an order; or ``optimized-`` and the placement.
    schedule : Schedule
        The order, replayed on this cut: `ppopt.evaluate` gives the same.
    bound : Fraction
        Proven and exact: with any cut of the model this order takes at least this long; with ``is_free``, any order on
        this placement does. 0 if nothing was proven.
    status : {"optimal", "feasible"}
        Whether the makespan meets the bound.
    strategy : Strategy or None
        The published schedule, if it is one.
    options : dict of str to int
        Its options except ``stages``.
    is_free : bool
        Whether the order was searched as well.
    recomputation : str
        What was allowed to be recomputed.
    uniform_k : int or None
        The number of layers that every stage recomputes, if it is uniform.
    even_makespan : float or None
        The order's makespan on the even cut; None if not computed.
    seconds : float
        The time of the search.
    reasons : tuple of str
        Why the layers are placed as they are, in sentences.
    notes : tuple of str
        Notes for the user.
    """

    name: str
    schedule: Schedule
    bound: Fraction
    status: Literal["optimal", "feasible"]
    strategy: Strategy | None = None
    options: dict[str, int] = field(default_factory=dict)
    is_free: bool = False
    recomputation: Recompute = "none"
    uniform_k: int | None = None
    even_makespan: float | None = None
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse_below_bound(self.name, self.exact_makespan, self.bound)

    @property
    def pipeline(self) -> Pipeline:
        """The model with the cut."""
        return self.schedule.pipeline

    @property
    def layers(self) -> Layers:
        """The model's layers."""
        layers = self.pipeline.layers
        assert layers is not None
        return layers

    @property
    def makespan(self) -> float:
        """How long a step takes."""
        return self.schedule.makespan

    @property
    def exact_makespan(self) -> Fraction:
        """The exact makespan."""
        return self.schedule.exact_makespan

    @property
    def gap(self) -> float:
        """(T − bound) ÷ T."""
        makespan = self.exact_makespan
        return float((makespan - self.bound) / makespan)

    @property
    def stages_per_device(self) -> int:
        """How many stages each device holds."""
        return self.pipeline.stages_per_device

    @property
    def label(self) -> str:
        """The name, with the number of stages per device."""
        return f"{self.name}, v = {self.stages_per_device}"

    @property
    def layers_per_stage(self) -> Counts:
        """How many layers each stage holds."""
        cut = self.pipeline.layers_per_stage
        assert cut is not None
        return cut

    @property
    def recomputed_per_stage(self) -> Counts:
        """How many layers of each stage are recomputed."""
        counts = self.pipeline.recomputed_per_stage
        return (0,) * len(self.layers_per_stage) if counts is None else tuple(map(sum, counts))

    @property
    def peak_memory(self) -> tuple[float, ...]:
        """The most that each device holds."""
        return self.schedule.peak_memory

    @cached_property
    def exports(self) -> dict[str, Export]:
        """The cut in each framework's format, by the framework's name."""
        planned = Planned(self.pipeline, self.schedule.layout, self.strategy, self.options)
        return {each.framework: each for each in exports(planned)}

    def longer_than(self, other: Plan) -> float:
        """Return how much longer this plan takes than another, as a ratio."""
        return float(self.exact_makespan / other.exact_makespan - 1)

    @property
    def megatron_layout(self) -> str | None:
        """The cut in Megatron's format; None if Megatron cannot run it."""
        layout = self.exports["Megatron-Core"].value
        return None if layout is None else str(layout)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, as in ``--format json``."""
        written = self.exports
        return {
            "strategy": self.name,
            "stages_per_device": self.stages_per_device,
            "placement": self.schedule.placement,
            "free": self.is_free,
            "makespan": self.makespan,
            "bound": float(self.bound),
            "gap": self.gap,
            "status": self.status,
            "runs_in": [framework.name for framework in self.schedule.runs_in],
            "layers_per_stage": list(self.layers_per_stage),
            "recomputation": self.recomputation,
            "uniform_k": self.uniform_k,
            "recomputed_per_stage": list(self.recomputed_per_stage),
            "peak_memory": list(self.peak_memory),
            "resident": self.schedule.resident,
            "even_makespan": self.even_makespan,
            "megatron_layout": self.megatron_layout,
            "megatron_options": list(written["Megatron-Core"].lines),
            "torchtitan_parts": written["torchtitan"].value,
            "deepspeed_parts": written["DeepSpeed"].value,
            "cannot_express": {name: list(each.cannot) for name, each in written.items() if each.cannot},
            "seconds": self.seconds,
            "reasons": list(self.reasons),
            "notes": [*self.notes, *self.schedule.notes],
        }

    def __repr__(self) -> str:
        cut = " ".join(map(str, self.layers_per_stage))
        return f"<Plan {self.label}: makespan {number(self.makespan)}, {self.status}, gap {self.gap:.2%}; layers {cut}>"


@dataclass(frozen=True)
class Unplanned:
    """An order for which no cut was found.

    Attributes
    ----------
    name : str
        The order, with its number of stages per device.
    reason : str
        What is missing, and where.
    is_proven : bool
        Whether no cut exists; otherwise none was found in time, or the order does not run.
    """

    name: str
    reason: str
    is_proven: bool


@dataclass(frozen=True)
class ComparedLayout:
    """The user's layout, compared with the plan for the same order.

    Attributes
    ----------
    layout : str
        As given.
    schedule : Schedule
        The order, replayed on the layout.
    plan : Plan or None
        The plan for the same order and number of stages; None if there is none.
    """

    layout: str
    schedule: Schedule
    plan: Plan | None

    @property
    def longer_by(self) -> float | None:
        """How much longer the layout takes than the plan, as a ratio; negative if it is shorter."""
        return None if self.plan is None else self.schedule.makespan / self.plan.makespan - 1

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return {
            "layout": self.layout,
            "strategy": self.schedule.strategy,
            "makespan": self.schedule.makespan,
            "layers_per_stage": list(self.schedule.pipeline.layers_per_stage or ()),
            "peak_memory": list(self.schedule.peak_memory),
            "over_memory_limit": self.schedule.over_limit,
            "longer_by": self.longer_by,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Planning(Sequence[Plan]):
    """What `ppopt.plan` returns: the plans, best first.

    Attributes
    ----------
    pipeline : Pipeline
        The model as given.
    plans : tuple of Plan
        By makespan, then by least memory.
    unplanned : tuple of Unplanned
        Orders for which no cut was found.
    left_out : tuple of (str, str)
        Schedules left out, with the reason: they do not fit, the time was too short, or an internal error.
    layouts : tuple of ComparedLayout
        The user's layouts, compared with the plans.
    layouts_left_out : tuple of (str, str)
        Layouts that could not be compared, with any plan or with some, with the reason.
    interrupted : bool
        Whether Ctrl-C ended the search.
    infeasible : InfeasibleError or None
        Why nothing fits the memory, if that is proven for every order.
    seconds : float
        The time it took.
    """

    pipeline: Pipeline
    plans: tuple[Plan, ...]
    unplanned: tuple[Unplanned, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    layouts: tuple[ComparedLayout, ...] = ()
    layouts_left_out: tuple[tuple[str, str], ...] = ()
    interrupted: bool = False
    infeasible: InfeasibleError | None = None
    seconds: float = 0.0

    def __getitem__(self, place: Any) -> Any:
        return self.plans[place]

    def __len__(self) -> int:
        return len(self.plans)

    def __iter__(self) -> Iterator[Plan]:
        return iter(self.plans)

    @property
    def best(self) -> Plan | None:
        """The shortest plan, if there is one."""
        return next(iter(self.plans), None)

    @property
    def internal_errors(self) -> tuple[str, ...]:
        """Internal errors, one line per order; the other plans stand."""
        return internal_errors([*((each.name, each.reason) for each in self.unplanned), *self.left_out])

    def best_for(self, framework: str) -> Plan | None:
        """Return the shortest plan that a framework can run, both cut and order, if there is one.

        Parameters
        ----------
        framework : {"Megatron-Core", "torchtitan", "DeepSpeed"}
            Its name.
        """
        return next((plan for plan in self if plan.exports[framework].is_whole), None)

    def _best_for_each(self) -> dict[str, dict[str, Any] | None]:
        found = {framework: self.best_for(framework) for framework in FRAMEWORKS}
        return {
            framework: None
            if plan is None
            else {
                "strategy": plan.name,
                "stages_per_device": plan.stages_per_device,
                "longer_by": plan.longer_than(self.plans[0]),
            }
            for framework, plan in found.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, as in ``--format json``."""
        return {
            "pipeline": self.pipeline.to_mapping(),
            "plans": [plan.to_dict() for plan in self.plans],
            "best_for": self._best_for_each(),
            "unplanned": [
                {"strategy": each.name, "reason": each.reason, "proven": each.is_proven} for each in self.unplanned
            ],
            "left_out": [{"strategy": name, "reason": reason} for name, reason in self.left_out],
            "layouts": [each.to_dict() for each in self.layouts],
            "layouts_left_out": [{"layout": layout, "reason": reason} for layout, reason in self.layouts_left_out],
            "interrupted": self.interrupted,
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        return f"<Planning: {counted(len(self.plans), 'plan')}, the best {self.best!r}>"
