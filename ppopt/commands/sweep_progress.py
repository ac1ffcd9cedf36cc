"""The progress of a sweep: a bar on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import shutil
import sys
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from ppopt.sweeps.sweeping import SweepStanding

SHORTEST_INTERVAL, SHORTEST_INTERVAL_OF_LINES = 0.1, 10.0
"""Seconds between two updates of the bar, and between two lines if there is no terminal."""

_BAR = 24


class SweepProgress:
    """Shows a sweep's progress on standard error."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self.shown = perf_counter() - SHORTEST_INTERVAL if self.is_terminal else perf_counter()
        self.has_bar = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.has_bar:
            click.echo("\r\x1b[K", err=True, nl=False)

    def show(self, standing: SweepStanding) -> None:
        """Rewrite the bar, or write a line, unless it was just written."""
        interval = SHORTEST_INTERVAL if self.is_terminal else SHORTEST_INTERVAL_OF_LINES
        if perf_counter() - self.shown < interval and standing.done < standing.jobs:
            return
        self.shown = perf_counter()
        text = describe(standing)
        if not self.is_terminal:
            click.echo(f"sweep: {text}", err=True)
            return
        filled = _BAR * standing.done // max(1, standing.jobs)
        line = f"[{'#' * filled}{'.' * (_BAR - filled)}] {text}"
        click.echo(f"\r\x1b[K{line[: shutil.get_terminal_size((80, 24)).columns - 1]}", err=True, nl=False)
        self.has_bar = True


def describe(standing: SweepStanding) -> str:
    """Describe a sweep's progress."""
    text = f"{standing.done:,} of {standing.jobs:,} done, {standing.running:,} running, {standing.left:,} left"
    return text if standing.seconds_left is None else f"{text}, about {duration(standing.seconds_left)} to go"


def duration(seconds: float) -> str:
    """Format a time for humans: 40 s, 3 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 or not seconds else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
