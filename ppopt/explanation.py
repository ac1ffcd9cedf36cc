"""Why a search's result is what it is, in a paragraph of plain text."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from ppopt.finished import Schedule
from reports.numbers import number, percent, with_unit
from strategies.pipeline import Pipeline
from strategies.placements import Placement
from strategies.search_problem import build_search_problem


def explain(schedule: Schedule, *, split_backward: bool = True, overlap: bool = False) -> str:
    """Say what holds the bound, and what a little more memory or no latency would give.

    Parameters
    ----------
    schedule : Schedule
        The result of `optimize`.
    split_backward, overlap : bool
        As they were given to `optimize`.
    """
    return " ".join(_sentences(schedule, split_backward, overlap))


def _sentences(schedule: Schedule, split_backward: bool, overlap: bool) -> Iterator[str]:
    assert schedule.bound is not None
    what, value = schedule.objective, schedule.objective_value
    if schedule.status == "optimal":
        yield (
            f"No schedule on this placement has a {what} below {_time(schedule, value)}: the one found meets the lower "
            "bound."
        )
    else:
        yield (
            f"The {what} found is {_time(schedule, value)}; no schedule on this placement can go below "
            f"{_time(schedule, schedule.bound)}, so at most {percent(schedule.gap or 0)} could still be gained."
        )
    yield _what_holds(schedule)
    yield (
        f"Of the {_time(schedule, schedule.makespan)}, {number(schedule.ideal)} are the work itself, spread evenly "
        f"over {schedule.pipeline.devices} devices."
    )
    if schedule.objective == "makespan":
        yield from _what_would_help(schedule, split_backward, overlap)


_ARGUMENTS = {
    "path": "the longest chain of operations that wait for one another",
    "load": "the work of device {device}, with the time before it can start and after it must end",
    "window": "the work of device {device}, with the idle time that filling, draining and memory force on it",
    "jackson": "the work of device {device} and when each part of it can start and must be done",
    "area": "the memory of device {device}: what is held, for how long",
    "blocks": "the work of device {device}, less all that overlapping can save",
    "span": "the work of device {device}, with the idle time that its round trips and its memory force on it",
    "search": "an exhaustive search by CP-SAT, which excludes anything shorter",
}


def _what_holds(schedule: Schedule) -> str:
    held = schedule.bound_held_by
    if held is None:
        return "Nothing more than zero has been proven in the time given."
    argument = _ARGUMENTS.get(held.piece, "an exact relaxation to the work and memory of device {device}")
    details = ", ".join(f"{key} {_detail(schedule, value)}" for key, value in held.details.items())
    text = f"The bound is held by {argument.format(device=held.device)}"
    return f"{text} ({details})." if details else f"{text}."


def _detail(schedule: Schedule, value: Any) -> str:
    return _time(schedule, value / schedule.problem.ticks_per_unit) if isinstance(value, int) else str(value)


def _time(schedule: Schedule, value: float) -> str:
    return with_unit(number(value), schedule.pipeline.unit)


def _what_would_help(schedule: Schedule, split_backward: bool, overlap: bool) -> Iterator[str]:
    """Compare the quick bound of changed pipelines with that of this one; bounds cost nothing."""
    pipeline = schedule.pipeline
    today = _quick_bound(pipeline, schedule.layout, split_backward, overlap)
    for condition, changed in _changes(pipeline):
        bound = _quick_bound(changed, schedule.layout, split_backward, overlap)
        if bound < today:
            yield f"{condition} the quick bound falls from {number(today)} to {_time(schedule, bound)}."
        else:
            yield f"{condition} the quick bound stays at {_time(schedule, today)}."


def _changes(pipeline: Pipeline) -> Iterator[tuple[str, Pipeline]]:
    limit = pipeline.memory.limit
    if limit is not None:
        one = max(cost.activation for cost in pipeline.costs)
        more = tuple(each + one for each in limit) if isinstance(limit, tuple) else limit + one
        text = f"With room for one more activation (a limit greater by {number(float(one))}),"
        yield text, pipeline.with_limit(more)
    if pipeline.p2p_latency:
        yield "Without latency,", pipeline.model_copy(update={"p2p_latency": Fraction(0)})


def _quick_bound(pipeline: Pipeline, layout: Placement, split_backward: bool, overlap: bool) -> float:
    from solver.bounds.makespan import makespan_bound

    problem = build_search_problem(pipeline, layout, split_backward=split_backward, overlap=overlap)
    return makespan_bound(problem).value / problem.ticks_per_unit
