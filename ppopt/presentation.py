"""From results to what reports show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ppopt.finished import Schedule
from reports.content import Presented, Section
from reports.ladder import Ladder
from reports.table import Row

if TYPE_CHECKING:
    from ppopt.against import Against
    from ppopt.comparison import Comparison


def table_row(schedule: Schedule) -> Row:
    """Take what a table shows of a schedule."""
    pipeline = schedule.pipeline
    return Row(
        schedule.strategy,
        (pipeline.devices, pipeline.stages or 0, pipeline.microbatches),
        schedule.figures,
        schedule.limits,
        schedule.status,
        schedule.objective,
        schedule.bound,
        pipeline.unit or "",
    )


def presented(schedule: Schedule, ladder: Ladder | None = None, figures: dict[str, Any] | None = None) -> Presented:
    """Take what a report shows of a schedule.

    Parameters
    ----------
    schedule : Schedule
        The schedule.
    ladder : Ladder, optional
        Where its time goes.
    figures : dict, optional
        Its plain values, where there are more than its own.
    """
    return Presented(
        row=table_row(schedule),
        placement=schedule.placement,
        local_stages=schedule.layout.local_stages,
        problem=schedule.problem,
        rows=schedule.rows,
        waiting=schedule.waiting,
        orders=schedule.orders,
        ladder=ladder,
        searched=schedule.is_searched,
        notes=schedule.notes,
        figures=schedule.to_dict() if figures is None else figures,
    )


def section(comparison: Comparison, title: str) -> Section:
    """Take what a report shows of a comparison."""
    figures = comparison.to_dict()["schedules"]
    parts = zip(comparison.schedules, comparison.ladders, figures, strict=True)
    return Section(
        title=title,
        pipeline=comparison.pipeline.to_mapping(),
        schedules=[presented(schedule, ladder, values) for schedule, ladder, values in parts],
        left_out=comparison.left_out,
        infeasible=comparison.infeasible,
        bound=comparison.bound,
        baseline=None if comparison.baseline is None else table_row(comparison.baseline),
        search=" ".join(_search_sentences(comparison)),
    )


def against_section(against: Against, title: str) -> Section:
    """Take what a report shows of a prediction and the measurement beside it."""
    from ppopt.comparison import comparison_of

    predicted, measured = against.predicted, against.measured
    comparison = comparison_of(predicted.pipeline, [predicted])
    return Section(
        title=title,
        pipeline=predicted.pipeline.to_mapping(),
        schedules=[presented(comparison.schedules[0], comparison.ladders[0]), presented(measured)],
        bound=comparison.bound,
        headline=f"Predicted above, measured below. {against.differences[0]}",
        differences=against.differences[1:],
    )


def _search_sentences(comparison: Comparison) -> Iterable[str]:
    found = [each for each in comparison.schedules if each.is_searched]
    if not comparison.searched:
        yield "Nothing was searched: the bound is a quick one, and better schedules may exist."
        return
    if found:
        results = ", ".join(f"{each.strategy} {each.status} after {each.seconds:.1f} s" for each in found)
        yield f"Searched placements: {', '.join(comparison.searched)}; {results}."
    if comparison.interrupted:
        yield "The search was interrupted: these are the best schedules that it had found by then."
    if comparison.bounds_cut_short:
        yield "Some bounds were cut short by the clock or the size: all are true, but another run may find higher ones."
    if any(each.placement == "bidirectional" for each in comparison.schedules):
        yield "Bidirectional placements keep two copies of the weights, which the peak memory does not contain."


def sections(comparisons: Sequence[Comparison], titles: Sequence[str]) -> list[Section]:
    """Take what a report shows of several comparisons."""
    return [section(comparison, title) for comparison, title in zip(comparisons, titles, strict=True)]
