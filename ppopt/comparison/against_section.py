"""A prediction and its measurement, as a section of a report."""

from __future__ import annotations

from ppopt.comparison.ranking import comparison_of
from ppopt.profiling.against import Against
from reports.content import Section


def against_section(against: Against, title: str) -> Section:
    """Make the section of a report for a prediction and its measurement."""
    predicted, measured = against.predicted, against.measured
    comparison = comparison_of(predicted.pipeline, [predicted])
    return Section(
        title=title,
        pipeline=predicted.pipeline.to_mapping(),
        schedules=[comparison.schedules[0].presented(comparison.ladders[0]), measured.presented()],
        bound=comparison.bound,
        headline=against.differences[0],
        differences=against.differences[1:],
    )
