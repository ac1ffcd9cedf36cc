"""Plans with searched orders: for each requested placement, starting from the best plans for published orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from ppopt.planning.free_order import FreeOptions, FreeOrder, FreeResult
from ppopt.planning.options import PlanOptions
from ppopt.planning.plans import Plan, Unplanned
from ppopt.process.internal_error import as_reason
from ppopt.schedules.schedule import Schedule
from solver.errors import InputError
from strategies.given_model.stages import USUAL_STAGES_PER_DEVICE
from strategies.model.pipeline import Pipeline
from strategies.model.placements import PLACEMENTS, Placement, make_placement
from strategies.problem.fusing import saving_blocks

OnPhase = Callable[[str], None]


@dataclass
class FreePlans:
    """The plans found.

    Attributes
    ----------
    plans : list of Plan
        One for each placement with a result.
    unplanned : list of Unplanned
        The placements without a result, and why.
    interrupted : bool
        Whether Ctrl-C ended the search.
    """

    plans: list[Plan] = field(default_factory=list)
    unplanned: list[Unplanned] = field(default_factory=list)
    interrupted: bool = False


def free_plans(
    pipeline: Pipeline,
    options: PlanOptions,
    recompute: bool,
    fixed: Sequence[Plan],
    deadline: float,
    on_phase: OnPhase,
) -> FreePlans:
    """Search for the best cut and order on each placement; they share the time evenly.

    Parameters
    ----------
    pipeline : Pipeline
        With layers.
    options : PlanOptions
        The placements, and options of the search.
    recompute : bool
        Whether layers may be recomputed.
    fixed : sequence of Plan
        Plans for published orders: the result on their placement is never longer.
    deadline : float
        On the clock of `time.perf_counter`.
    on_phase : callable
        Called with the current phase.
    """
    made = FreePlans()
    placements = _placements(pipeline, options)
    try:
        for place, placement in enumerate(placements):
            on_phase(f"searching {_name(placement)}")
            left = max(0.0, deadline - perf_counter())
            until = perf_counter() + left / (len(placements) - place)
            _search(made, pipeline, placement, options, recompute, fixed, until)
            if made.interrupted:
                break
    except KeyboardInterrupt:
        made.interrupted = True
    return made


def _search(
    made: FreePlans,
    pipeline: Pipeline,
    placement: Placement,
    options: PlanOptions,
    recompute: bool,
    fixed: Sequence[Plan],
    until: float,
) -> None:
    """Search one placement."""
    began = perf_counter()
    how = FreeOptions(
        split_backward=options.split_backward,
        empty=options.empty_stages,
        recompute=recompute,
        workers=options.workers,
        seed=options.seed,
    )
    starts = _starts(placement, options, fixed)
    try:
        found = FreeOrder(pipeline, placement, how, starts, options.progress).run(until)
        made.interrupted = found.interrupted
        if found.best is None:
            made.unplanned.append(_unplanned(placement, found, options))
        else:
            made.plans.append(_plan(placement, found, found.best, fixed, perf_counter() - began))
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else as_reason(_name(placement), error)
        made.unplanned.append(Unplanned(_name(placement), reason, is_proven=False))


def _placements(pipeline: Pipeline, options: PlanOptions) -> list[Placement]:
    """List the placements to search, with the requested numbers of stages per device."""
    devices, found = pipeline.devices, list[Placement]()
    for name in options.free_placements:
        only = PLACEMENTS[name].stages_per_device
        asked = options.stages_per_device
        numbers = (asked or (USUAL_STAGES_PER_DEVICE,)) if only is None else (only,)
        if asked is not None and only is not None and only not in asked and options.placement in (None, "all"):
            continue
        for number in numbers:
            if only is not None or (number > 1 and number % PLACEMENTS[name].stages_come_in == 0):
                found.append(make_placement(name, devices, number * devices, pipeline.microbatches))
    if not found:
        given = ", ".join(map(str, options.stages_per_device or ()))
        raise InputError(f"stages_per_device: {options.placement or 'no placement'} does not take {given}")
    return found


def _name(placement: Placement) -> str:
    return f"optimized-{placement.name}, v = {len(placement.homes[0]) // placement.devices}"


def _starts(placement: Placement, options: PlanOptions, fixed: Sequence[Plan]) -> list[Schedule]:
    """Choose the plans that a search may start from: with the same stages, and only operations that it may use."""
    return [
        plan.schedule
        for plan in fixed
        if plan.schedule.layout.homes == placement.homes
        and (options.split_backward or not any(key.kind == "I" for key in plan.schedule.problem.tasks))  # type: ignore[attr-defined]
        and not _saves_by_blocks(plan)
    ]


def _saves_by_blocks(plan: Plan) -> bool:
    """Return whether the order may use blocks shorter than their halves, which the search does not use."""
    if plan.strategy is not None and not plan.strategy.overlaps:
        return False
    return bool(saving_blocks(plan.pipeline, plan.schedule.layout, split_backward=True)[1])


def _unplanned(placement: Placement, found: FreeResult, options: PlanOptions) -> Unplanned:
    if found.is_infeasible:
        reason = "no cut leaves room for one microbatch on every device"
        return Unplanned(_name(placement), reason, is_proven=True)
    why = "it was interrupted" if found.interrupted else f"the time limit of {options.time_limit:g} s"
    return Unplanned(_name(placement), f"no schedule was found: {why}", is_proven=False)


def _plan(placement: Placement, found: FreeResult, best: Schedule, fixed: Sequence[Plan], seconds: float) -> Plan:
    same = next((plan for plan in fixed if plan.schedule is best), None)
    notes = (f"no better order was found than that of {same.label}",) if same is not None else ()
    return Plan(
        name=f"optimized-{placement.name}",
        schedule=best,
        bound=found.bound,
        status="optimal" if found.bound == found.makespan else "feasible",
        is_free=True,
        recomputation="none" if same is None else same.recomputation,
        seconds=seconds,
        notes=notes,
    )
