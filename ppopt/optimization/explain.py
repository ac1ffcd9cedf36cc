"""Why a search's result is what it is, in a paragraph of plain text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from time import perf_counter
from typing import Any

from ppopt.optimization.periodic import PeriodicSchedule
from ppopt.optimization.unwritten import repeats
from ppopt.process.single_threaded_blas import single_threaded_blas
from ppopt.process.time_limit import TimeLimit
from ppopt.schedules.schedule import Schedule
from reports.numbers import grouped, percent, with_unit
from reports.source import on_costs
from solver.bounds.makespan import ARGUMENTS, makespan_bound, sizes_to_write
from solver.counted import counted
from solver.deadline import is_over
from solver.problem import Problem
from solver.repetition import Repetition
from solver.search.long_search import LARGEST_WHOLE
from strategies.model.communication import WAITING
from strategies.model.pipeline import Pipeline
from strategies.problem.search_problem import build_repetition, build_search_problem, left_out


def explain(schedule: Schedule, *, time_limit: float | None = None) -> str:
    """Say what holds the bound, and what a little more memory or no latency would give.

    Parameters
    ----------
    schedule : Schedule
        The result of `optimize`.
    time_limit : float, optional
        Seconds; what is not known by then is left out, and named.
    """
    limit = None if time_limit is None else TimeLimit(time_limit)
    return explain_within(limit, schedule)


@single_threaded_blas()
def explain_within(limit: TimeLimit | None, schedule: Schedule) -> str:
    """Explain as `explain` does, within a command's turn."""
    return on_costs(" ".join(_sentences(schedule, limit)), schedule.pipeline.source)


def _sentences(schedule: Schedule, limit: TimeLimit | None) -> Iterator[str]:
    assert schedule.bound is not None
    what, value = schedule.objective, schedule.objective_value
    place = "this placement" if schedule.pipeline.layers is None else "this placement and cut"
    without = left_out(schedule.pipeline, schedule.layout, schedule.allowed)
    if schedule.status == "optimal":
        yield (
            f"No schedule on {place}{without} has a {what} below {_time(schedule, value)}: the one found meets "
            "the lower bound."
        )
    else:
        yield (
            f"The {what} found is {_time(schedule, value)}; no schedule on {place}{without} can go "
            f"below {_time(schedule, schedule.bound)}, so at most {percent(schedule.gap or 0)} could still be gained."
        )
    yield _what_holds(schedule)
    work, spread = grouped(schedule.ideal), f"spread evenly over {counted(schedule.pipeline.devices, 'device')}"
    if schedule.ideal <= schedule.makespan:
        yield f"Of the {_time(schedule, schedule.makespan)}, {work} is the work itself, {spread}."
    else:
        yield f"Without overlapping, the work itself, {spread}, would be {work}."
    if schedule.objective == "makespan":
        yield from _what_would_help(schedule, limit)


def _what_holds(schedule: Schedule) -> str:
    bound = schedule.bound_held_by
    if bound is None:
        return "No bound above zero was proven in the time given."
    argument = ARGUMENTS[bound.piece]
    details = ", ".join(f"{key} {_detail(schedule, value)}" for key, value in bound.details.items())
    text = f"The bound comes from {argument.format(device=bound.device)}"
    after = schedule.pipeline.after if schedule.objective == "makespan" else 0
    text += f" ({details})." if details else "."
    return f"{text} It includes {_time(schedule, float(after))} after the last operation." if after else text


def _detail(schedule: Schedule, value: Any) -> str:
    return _time(schedule, value / schedule.problem.ticks_per_unit) if isinstance(value, int) else str(value)


def _time(schedule: Schedule, value: float) -> str:
    return with_unit(grouped(value), schedule.pipeline.unit)


def quick_bounds_in_explanation(pipeline: Pipeline) -> int:
    """Count the quick bounds that an explanation compares."""
    changes = len(list(_changes(pipeline)))
    return changes and 1 + changes


def _what_would_help(schedule: Schedule, limit: TimeLimit | None) -> Iterator[str]:
    """Compare the quick bound of changed pipelines with that of this one, as far as there is time."""
    pipeline = schedule.pipeline
    changes = list(_changes(pipeline))
    today = _quick_bound(pipeline, schedule, limit) if changes else None
    left_out: list[str] = []
    for change, condition, changed in changes:
        bound = None if today is None else _quick_bound(changed, schedule, limit)
        if today is None or bound is None:
            left_out.append(change)
        elif bound < today:
            yield f"{condition} the quick bound falls from {grouped(today)} to {_time(schedule, bound)}."
        else:
            yield f"{condition} the quick bound stays at {_time(schedule, today)}."
    if left_out and limit is not None:
        yield f"The effect of {' and '.join(left_out)} was left out: {limit.used_up}."


def _changes(pipeline: Pipeline) -> Iterator[tuple[str, str, Pipeline]]:
    """List what could be changed: in a word, as a condition, and the pipeline then."""
    limit = pipeline.memory.limit
    if limit is not None:
        one = max(cost.activation for cost in pipeline.costs)
        more = tuple(each + one for each in limit) if isinstance(limit, tuple) else limit + one
        higher = with_unit(grouped(float(one)), pipeline.memory.unit)
        text = f"With room for one more activation (a limit {higher} higher),"
        yield "more memory", text, pipeline.with_limit(more)
    if pipeline.longest_lag:
        without = dict.fromkeys(("communication", *WAITING))
        yield "no latency", "Without latency,", pipeline.model_copy(update={"p2p_latency": Fraction(0), **without})


def _quick_bound(pipeline: Pipeline, schedule: Schedule, limit: TimeLimit | None) -> float | None:
    """Bound the makespan of a pipeline, searched as a schedule's was.

    None if there is no time for all arguments, for part of them cannot be compared.
    """
    deadline = None if limit is None else limit.last_moment
    if limit is not None and perf_counter() + limit.bounding > limit.last_moment:
        return None
    try:
        problem = _written(pipeline, schedule)
        bound = makespan_bound(problem, deadline=deadline)
    except KeyboardInterrupt:
        if limit is None:
            raise
        limit.hurry()
        return None
    small = problem.problem if isinstance(problem, Repetition) else problem
    return None if is_over(deadline) else bound.value / small.ticks_per_unit + float(pipeline.after)


def _written(pipeline: Pipeline, schedule: Schedule) -> Problem | Repetition:
    """Write a pipeline out as the schedule's was; of a long one, only the first microbatches."""
    layout, allowed = replace(schedule.layout, microbatches=pipeline.microbatches), schedule.allowed
    is_large = len(schedule.rows) > LARGEST_WHOLE and repeats(pipeline, layout)
    if not isinstance(schedule, PeriodicSchedule) and not is_large:
        return build_search_problem(pipeline, layout, **allowed._asdict())
    size = sizes_to_write(pipeline.devices, 0)[0]
    return build_repetition(pipeline, layout, allowed, size)
