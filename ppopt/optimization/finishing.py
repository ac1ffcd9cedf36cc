"""From the best orders of a search to a schedule with its bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from time import perf_counter

from ppopt.process.internal_error import InternalError
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from solver.problem import Orders
from solver.search.state import NEGLIGIBLE, Search
from solver.states import Objective
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.problem.search_problem import pipeline_actions


@dataclass(frozen=True)
class Draft:
    """The best orders of a search so far, finished, and how long that took: its last ones will take as long."""

    orders: Orders
    result: Schedule
    seconds: float

    @classmethod
    def of(cls, search: Search, pipeline: Pipeline, placement: Placement) -> Draft:
        """Replay the best orders in the pipeline's own terms, and check them against the memory limit too."""
        began = perf_counter()
        result = replayed(pipeline, placement, search.orders)
        return cls(search.orders, result, perf_counter() - began)


def replayed(pipeline: Pipeline, placement: Placement, orders: Orders, until: float | None = None) -> Schedule:
    """Replay orders of a search in the pipeline's own terms, and check them; ``until`` as in `replay_orders`."""
    label = f"optimized-{placement.name}"
    actions = pipeline_actions(orders)
    return replay_orders(label, pipeline, placement, actions, "graph", check_memory=True, searched=True, until=until)


def check_result(search: Search, result: Schedule) -> None:
    """Check the best schedule of a search against its replay, and against the bound."""
    label = result.strategy
    scale = search.problem.ticks_per_unit
    value = float(exact_value(result, search.objective))
    assert search.best is not None
    pipeline = result.pipeline  # with streams, it need not be the shortest order, see `BesideComputing`
    waits = pipeline.follows_lowering  # then the result may be longer than was found
    if (value < search.best / scale and not pipeline.streams) or (value > search.best / scale and not waits):
        raise InternalError(f"{label}: the search found {search.best / scale}, the replay {value}")
    if search.bound > search.best:
        raise InternalError(f"{label}: the bound {search.bound / scale} is above the schedule found, {value}")


def exact_value(result: Schedule, objective: Objective) -> Fraction:
    """Return what the search minimised: it knows nothing of what a step takes after its last operation.

    Parameters
    ----------
    result : Schedule
        Replayed.
    objective : {"makespan", "span"}
        What was minimised.
    """
    return result.exact_makespan - result.pipeline.after if objective == "makespan" else result.exact_span


def finish(search: Search, result: Schedule, notes: Sequence[str], started: float) -> Schedule:
    """Give a result of a search its bound."""
    scale = search.problem.ticks_per_unit
    value, after = exact_value(result, search.objective), result.pipeline.after
    if search.interrupted:
        notes = ("the search was interrupted; this is the best schedule found so far", *notes)
    notes = (*notes, *_digit_notes(search, result.strategy), *placement_notes(result.pipeline))
    is_proven = value == Fraction(search.bound, scale)
    return replace(
        result,
        objective=search.objective,
        proven=Fraction(search.bound, scale) + (after if search.objective == "makespan" else 0),
        bound_held_by=search.held_by,
        status="optimal" if is_proven else "feasible",
        ended="" if is_proven else why_ended(search, result.pipeline),
        seconds=perf_counter() - started,
        interrupted=search.interrupted,
        notes=(*result.notes, *notes),
    )


def why_ended(search: Search, pipeline: Pipeline) -> str:
    """Say why a search ended whose schedule is not proven to be the best.

    Parameters
    ----------
    search : Search
        Where it ended.
    pipeline : Pipeline
        What was searched.
    """
    if search.interrupted:
        return "when it was interrupted"
    if search.closed and pipeline.waits:  # by an order that may not be that of the schedule
        return "since the bound is met as long as nothing waits or runs beside computing"
    if search.closed:
        return "since the bound is met by a schedule that is worse under noise"
    if search.cannot_win:
        return "since another placement is proven to be better"
    if search.nothing_to_gain:
        return "since nothing is left to gain within the digits that it counts"
    return "when the time was up"


def _digit_notes(search: Search, label: str) -> Iterator[str]:
    """Say that what is open lies beyond the digits that CP-SAT can count in."""
    if search.best is not None and not search.closed and (search.best - search.bound) * NEGLIGIBLE <= search.best:
        yield (
            f"{label}: no schedule is shorter by more than {1 / NEGLIGIBLE:.0e} of it; it is not proven that none is "
            "shorter at all, because the costs have more digits than that"
        )


def placement_notes(pipeline: Pipeline) -> Iterator[str]:
    """Say that a searched order's communication is placed by time, where the pipeline asks for something else.

    Parameters
    ----------
    pipeline : Pipeline
        The model.
    """
    asked = pipeline.lowering if pipeline.semantics == "rendezvous" else pipeline.semantics
    if asked in ("pytorch", "megatron", "given", "batched"):
        key, value = ("p2p" if asked == "batched" else "lowering"), asked
        if pipeline.framework is not None:
            key, value = "framework", pipeline.framework
        yield f"{key}: {value} applies to orders of frameworks; this order gets its transfers placed by time"
