"""Shared by commands that show schedules: pages without a comparison, and the reporting of mistakes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from strategies.model.numbers import in_one_line

if TYPE_CHECKING:
    from ppopt.noise.noise import Noise
    from ppopt.profiling.against import Against
    from ppopt.schedules.schedule import Schedule
    from strategies.model.pipeline import Pipeline

DEFAULTS = "defaults"
"""The title of a pipeline without a configuration file."""


def command_line() -> list[str]:
    """Return the command as typed."""
    return ["ppopt", *sys.argv[1:]]


def tell_mistakes(lines: Iterable[str]) -> None:
    """Print what the user should fix, one line each."""
    for line in lines:
        click.echo(f"error: {in_one_line(line)}", err=True)


def tell_internal_errors(ctx: click.Context, lines: Sequence[str]) -> None:
    """Print internal errors after all results; the exit status is then 1."""
    tell_mistakes(f"internal error: {line}" for line in lines)
    if lines:
        ctx.exit(1)


def load_page() -> None:
    """Load the page's modules before a clock runs."""
    import reports.page.page  # noqa: F401


def report_schedules(
    path: str,
    form: str,
    config: str | None,
    pipeline: Pipeline,
    schedules: Sequence[Schedule],
    *,
    deadline: float | None = None,
    noise: Noise | None = None,
) -> None:
    """Write schedules as a page, and print its path.

    Parameters
    ----------
    path : str
        The page's file.
    form : str
        The format printed as well: ``table``, ``json`` or ``csv``.
    config : str or None
        The configuration file.
    pipeline : Pipeline
        The model.
    schedules : sequence of Schedule
        The schedules.
    deadline : float, optional
        When to stop looking for bounds, on the clock of `time.perf_counter`.
    noise : Noise, optional
        The noise with which their times were drawn.
    """
    from ppopt.commands.pages import write_report
    from ppopt.commands.printing import tell_files
    from ppopt.comparison.ranking import comparison_of

    comparison = replace(comparison_of(pipeline, schedules, deadline=deadline), noise=noise)
    write_report(path, [comparison], [config or DEFAULTS], command_line())
    tell_files(form, report=[path])


def report_against(path: str, form: str, against: Against) -> None:
    """Write a prediction, with the measurement below it, as a page, and print its path.

    Parameters
    ----------
    path, form
        As for `report_schedules`.
    against : Against
        The prediction and the measurement.
    """
    from ppopt.commands.pages import write_against
    from ppopt.commands.printing import tell_files

    write_against(path, against, against.predicted.strategy, command_line())
    tell_files(form, report=[path])
