"""Ranking the schedules of a comparison: best first, each with its ladder and its bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ppopt.comparison.comparison import Comparison
from ppopt.comparison.selection import DEFAULT_BASELINE
from ppopt.optimization.ladders import QuickBounds, measure_ladders
from ppopt.process.internal_error import InternalError, as_reason
from ppopt.schedules.schedule import Schedule
from reports.ladder import Ladder
from solver.exact import written_bound
from strategies.given_model.stages import GivenModel
from strategies.model.pipeline import Pipeline


def comparison_of(pipeline: Pipeline, schedules: Sequence[Schedule], *, deadline: float | None = None) -> Comparison:
    """Rank existing schedules.

    Parameters
    ----------
    pipeline : Pipeline
        The model of all of them.
    schedules : sequence of Schedule
        At least one.
    deadline : float, optional
        When to stop looking for bounds, on the clock of `time.perf_counter`.
    """
    least = min(schedule.pipeline.stages or 0 for schedule in schedules)
    settled = GivenModel(pipeline, least).settled()
    found = list(_first_of_each(schedule for schedule in schedules if schedule.is_searched))
    ranked = rank_schedules(settled, schedules, QuickBounds(deadline))
    return replace(
        ranked,
        baseline=next((each for each in ranked.schedules if each.strategy == DEFAULT_BASELINE), None),
        searched=tuple(schedule.placement for schedule in found),
        interrupted=any(schedule.interrupted for schedule in found),
        seconds=sum(schedule.seconds for schedule in schedules),
    )


def _first_of_each(schedules: Iterable[Schedule]) -> Iterator[Schedule]:
    """Yield one schedule for each placement."""
    yield from {schedule.placement: schedule for schedule in schedules}.values()


def rank_schedules(pipeline: Pipeline, schedules: Sequence[Schedule], quick: QuickBounds) -> Comparison:
    """Rank schedules and make their ladders; a schedule below its bound is left out as an internal error."""
    ranked = sorted(schedules, key=_rank)
    measured = measure_ladders(ranked, quick)
    bounded: list[tuple[Schedule, Ladder]] = []
    faults: list[tuple[str, str]] = []
    for schedule, ladder in zip(ranked, measured.ladders, strict=True):
        try:
            bounded.append((with_bound(schedule, ladder), ladder))
        except InternalError as error:
            faults.append((schedule.strategy, as_reason(schedule.strategy, error)))
    return Comparison(
        pipeline=pipeline,
        schedules=tuple(schedule for schedule, _ in bounded),
        ladders=tuple(ladder for _, ladder in bounded),
        left_out=tuple(faults),
        bound=None if measured.bound is None else _written_bound(measured.bound, [each for each, _ in bounded]),
        bounds_cut_short=measured.cut_short,
    )


def _written_bound(bound: Fraction, schedules: Sequence[Schedule]) -> float:
    """Write the common bound below every makespan that it is below."""
    above = [schedule.exact_makespan for schedule in schedules if schedule.exact_makespan > bound]
    return written_bound(bound, min(above)) if above else float(bound)


def _rank(schedule: Schedule) -> tuple[Any, ...]:
    """Rank by whether it may win and whether it fits, makespan, memory, searched before published, and name."""
    searched = schedule.is_searched
    return (
        not schedule.may_win,
        not schedule.fits,
        schedule.makespan,
        *schedule.memory_taken,
        not searched,
        schedule.strategy,
    )


def with_bound(schedule: Schedule, ladder: Ladder) -> Schedule:
    """Give a schedule its ladder's bound on the makespan."""
    proven = schedule.bound_held_by
    same = proven is not None and (ladder.bound - ladder.after) * schedule.problem.ticks_per_unit == proven.value
    status = schedule.status
    if schedule.is_searched:
        status = "feasible" if ladder.order or ladder.communication else "optimal"
    return replace(
        schedule,
        objective="makespan",
        proven=ladder.bound,
        bound_held_by=proven if same and schedule.objective == "makespan" else None,
        status=status,
    )
