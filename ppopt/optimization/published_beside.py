"""Published schedules beside the result of a search."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from ppopt.evaluation.evaluate import evaluate_with, first_variant_that_runs
from ppopt.optimization.periodic import PeriodicSchedule
from ppopt.optimization.starts import fitting_strategies
from ppopt.process.time_limit import TimeLimit
from ppopt.schedules.schedule import Schedule
from solver.errors import InputError
from strategies.given_model.stages import GivenModel
from strategies.language.registry import Strategy
from strategies.layouts.runs_in import Framework


def compared_with_published(
    schedule: Schedule, limit: TimeLimit | None = None, framework: Framework | None = None
) -> tuple[list[Schedule], list[str]]:
    """Evaluate the published schedules that run on the same placement, cut and kinds of steps.

    One that deadlocks with its default options is there with the first options worth trying that run.

    Parameters
    ----------
    schedule : Schedule
        The result of a search; its bound is theirs too.
    limit : TimeLimit, optional
        The clock of the command.
    framework : Framework, optional
        Only those that it runs.

    Returns
    -------
    tuple of (list of Schedule, list of str)
        Those evaluated, and the names of those for which there was no time.
    """
    compared: list[Schedule] = []
    left_out: list[str] = []
    if isinstance(schedule, PeriodicSchedule):
        return [], []  # they are not written out either
    longest = 0.0 if limit is None else limit.finishing
    split_backward, overlap = schedule.allowed
    for strategy in fitting_strategies(schedule.pipeline, schedule.placement, split_backward=split_backward):
        if strategy.overlaps and not overlap:
            continue
        if limit is not None and perf_counter() + longest > limit.last_moment:
            left_out.append(strategy.name)
            continue
        began = perf_counter()
        try:
            result = _made_beside(schedule, strategy)
        except KeyboardInterrupt:
            if limit is None:
                raise
            limit.hurry()
            left_out.append(strategy.name)
            continue
        if framework is not None and result is not None and framework.why_not(result.strategy, result.layout):
            result = None
        if result is not None and result.strategy != schedule.strategy:
            compared.append(
                replace(
                    result,
                    proven=schedule.proven if result.fits else None,  # what takes more memory may be shorter
                    objective=schedule.objective,
                    allowed=schedule.allowed,
                )
            )
        longest = max(longest, perf_counter() - began)
    return compared, left_out


def _made_beside(schedule: Schedule, strategy: Strategy) -> Schedule | None:
    """Evaluate a published schedule beside a result, with options that run where its own do not."""
    model = GivenModel(schedule.pipeline)
    try:
        return evaluate_with(model, strategy.name, "graph", {}, cured=False)
    except InputError:
        return first_variant_that_runs(model, strategy.name, "graph")
