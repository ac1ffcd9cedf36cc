"""Plans from cuts: each is replayed and checked, and the best one is compared with other cuts of its order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from time import perf_counter

from ppopt.cutting.best_cut import FixedPlan, plan_fixed_order
from ppopt.cutting.fixed_order import FixedOrder
from ppopt.cutting.order_as_partition import Recompute
from ppopt.planning.candidates import label_of, name_of
from ppopt.planning.options import PlanOptions
from ppopt.planning.plans import Plan
from ppopt.planning.race import Entry
from ppopt.planning.reasons import Alternatives
from ppopt.process.internal_error import InternalError
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from reports.memory import peak_memory
from solver.errors import InputError
from strategies.given_model.model_notes import halves_notes
from strategies.model.pipeline import Pipeline
from strategies.model.plausibility import doubts

LEAST_TO_COMPARE, MOST_TO_COMPARE = 0.3, 3.0
"""Least and most seconds for comparing the best plan with other cuts."""

OnPhase = Callable[[str], None]
"""Called with a short text about the current phase."""


@dataclass(frozen=True)
class Replays:
    """Replays cuts of orders.

    Attributes
    ----------
    options : PlanOptions
        The options of the plan.
    recompute : {"none", "per-stage", "uniform-k"}
        What may be recomputed.
    on_phase : callable
        ``on_phase(text)`` is called with the current phase.
    interrupted : callable
        ``interrupted()`` says whether the user wants an answer now.
    """

    options: PlanOptions
    recompute: Recompute
    on_phase: OnPhase
    interrupted: Callable[[], bool]

    def replayed(self, order: FixedOrder, pipeline: Pipeline) -> Schedule:
        """Replay an order on a cut.

        Raises
        ------
        InputError
            If it does not run.
        """
        orders = order.orders_on(pipeline)
        splits = order.strategy is not None and order.strategy.splits_backward
        notes = [*doubts(pipeline), *(halves_notes(pipeline) if splits else ())]
        return replay_orders(name_of(order), pipeline, order.placement, orders, "graph", notes=notes)

    def plan_of(self, entry: Entry, until: float = 0.0) -> Plan:
        """Replay the best cut of an order, and check its makespan against the replay.

        Cuts are chosen without what work beside computing holds. If that exceeds the limit, another cut is looked for
        until a moment on the clock of `time.perf_counter`.

        Raises
        ------
        InputError
            If the order does not run, or no cut is found that fits with what is held beside computing.
        """
        order, answer = entry.order, entry.answer
        assert answer is not None
        assert answer.cut is not None
        self.on_phase(f"replaying {label_of(order)}")
        schedule = self.replayed(order, answer.cut)
        makespan, without_waiting = schedule.exact_makespan, schedule.unhindered_makespan
        if answer.makespan != (makespan if without_waiting is None else without_waiting):  # a plan ignores waits
            raise InternalError(f"{label_of(order)}: the plan takes {answer.makespan}, its replay another time")
        if not schedule.fits and schedule.sides is not None:
            schedule = self._with_room_beside(order, schedule, until)
            makespan = schedule.exact_makespan
        plan = Plan(
            name=name_of(order),
            schedule=schedule,
            bound=entry.bound,
            status="optimal" if entry.bound == makespan else "feasible",
            strategy=order.strategy,
            options=order.options,
            recomputation=self.recompute,
            uniform_k=answer.uniform_k,
            seconds=entry.seconds,
            notes=() if entry.bound == makespan else answer.notes,  # the bound holds for all orders
        )
        if entry.bound > makespan or not schedule.fits:
            raise InternalError(f"{label_of(order)}: the bound {entry.bound} is above {makespan}, or it does not fit")
        if without_waiting is None or entry.bound == makespan or self.interrupted():
            return plan
        plain = [order.pipeline.with_cut(cut) for cut in entry.starts]
        return reduce(self._shorter, (self._as_run(order, each) for each in (order.pipeline, *plain)), plan)

    def _with_room_beside(self, order: FixedOrder, schedule: Schedule, until: float) -> Schedule:
        """Find a cut that leaves room for what work beside computing holds: as much as it holds on the last cut tried.

        Raises
        ------
        InputError
            If none is found in time.
        """
        given, last = order.pipeline.limits, schedule
        while perf_counter() + LEAST_TO_COMPARE < until and not self.interrupted():
            room = [
                None if limit is None else limit - beside for limit, beside in zip(given, _beside(last), strict=True)
            ]
            if any(limit is not None and limit < 0 for limit in room):
                break
            try:
                found = self._quick(order.with_limit(room), self.recompute, LEAST_TO_COMPARE)
            except InputError:  # the room is too small for the static memory of the layers
                break
            cut = None if found.cut is None else found.cut.with_limit(given)
            if cut is None or cut == last.pipeline:
                break
            last = self.replayed(order, cut)
            if last.fits:
                return last
        device, over = next(iter(schedule.figures.excesses(given).items()))
        beside = " and ".join(schedule.pipeline.streams)
        raise InputError(
            f"with what {beside} takes, its shortest cut holds {float(over):.10g} more than the limit on "
            f"device {device}, and no other cut was found that fits"
        )

    def compared(self, plan: Plan, order: FixedOrder, left: float) -> tuple[Plan, Alternatives]:
        """Find the cuts to compare a plan with: the even one, and the best ones without the limit or recomputation.

        All are replayed with the waits of transfers, as the plan was. One that fits and is shorter replaces the plan.
        There are ``left`` seconds for it.
        """
        pipeline = plan.pipeline
        limited = any(limit is not None for limit in pipeline.limits) and not self.interrupted()
        recomputes = any(plan.recomputed_per_stage) and not self.interrupted()
        left = max(LEAST_TO_COMPARE, min(left, MOST_TO_COMPARE)) / (1 + limited + recomputes)
        even, unlimited, plain = self._as_run(order, order.pipeline), None, None
        costs_nothing = plain_is_infeasible = False
        if limited:
            free = order.without_limit()
            found = self._quick(free, "none", left)
            unlimited = self._as_run(free, found.cut)
            costs_nothing = found.bound >= plan.exact_makespan
            if unlimited is not None and unlimited.exact_makespan < plan.exact_makespan:
                plan = self._shorter(plan, self._as_run(order, unlimited.pipeline.with_limit(pipeline.limits)))
        if recomputes:
            found = self._quick(order, "none", left)
            plain, plain_is_infeasible = self._as_run(order, found.cut), found.status == "infeasible"
            plan = self._shorter(plan, plain)
        return plan, Alternatives(
            even=_length(even),
            even_fits=even is None or even.fits,
            unlimited=_length(unlimited),
            limit_costs_nothing=costs_nothing,
            plain=_length(plain),
            plain_is_infeasible=plain_is_infeasible,
        )

    def _as_run(self, order: FixedOrder, pipeline: Pipeline | None) -> Schedule | None:
        """Replay an order on another cut, including waits of transfers; None if it does not run."""
        if pipeline is None:
            return None
        with suppress(InputError):
            return self.replayed(order, pipeline)
        return None

    def _shorter(self, plan: Plan, other: Schedule | None) -> Plan:
        """Return the plan, with another cut without recomputation if that fits and is shorter."""
        if other is None or not self._is_allowed(other) or other.exact_makespan >= plan.exact_makespan:
            return plan
        is_proven = plan.bound == other.exact_makespan
        return replace(
            plan,
            schedule=other,
            status="optimal" if is_proven else "feasible",
            uniform_k=None if plan.uniform_k is None else 0,
            notes=() if is_proven else plan.notes,
        )

    def _is_allowed(self, schedule: Schedule) -> bool:
        cut = schedule.pipeline.layers_per_stage or ()
        return schedule.fits and (self.options.empty_stages or all(cut))

    def _quick(self, order: FixedOrder, recompute: Recompute, seconds: float) -> FixedPlan:
        return plan_fixed_order(
            order.pipeline,
            order.label,
            recompute=recompute,
            empty=self.options.empty_stages,
            time_limit=seconds,
            seed=self.options.seed,
            stop=self.interrupted,
            order=order,
        )


def _beside(schedule: Schedule) -> list[Fraction]:
    """Return by how much work beside computing raises the peak of each device."""
    alone = peak_memory(schedule.problem, schedule.rows)
    amounts = schedule.problem.amounts_per_unit
    return [peak - Fraction(each, amounts) for peak, each in zip(schedule.figures.peaks, alone, strict=True)]


def _length(schedule: Schedule | None) -> Fraction | None:
    return None if schedule is None else schedule.exact_makespan
