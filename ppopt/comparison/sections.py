"""From comparisons to the sections of a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ppopt.comparison.compare import Comparison, comparison_of
from ppopt.profiling.against import Against
from reports.content import Section


def section(comparison: Comparison, title: str) -> Section:
    """Take what a report shows of a comparison."""
    figures = comparison.to_dict()["schedules"]
    parts = zip(comparison.schedules, comparison.ladders, figures, strict=True)
    return Section(
        title=title,
        pipeline=comparison.pipeline.to_mapping(),
        schedules=[schedule.presented(ladder, values) for schedule, ladder, values in parts],
        left_out=comparison.left_out,
        infeasible=comparison.infeasible,
        bound=comparison.bound,
        baseline=None if comparison.baseline is None else comparison.baseline.table_row(),
        search=" ".join(_search_sentences(comparison)),
    )


def against_section(against: Against, title: str) -> Section:
    """Take what a report shows of a prediction and the measurement beside it."""
    predicted, measured = against.predicted, against.measured
    comparison = comparison_of(predicted.pipeline, [predicted])
    return Section(
        title=title,
        pipeline=predicted.pipeline.to_mapping(),
        schedules=[comparison.schedules[0].presented(comparison.ladders[0]), measured.presented()],
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
