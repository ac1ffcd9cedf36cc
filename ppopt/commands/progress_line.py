"""A thin line of progress on a terminal; silent elsewhere."""

from __future__ import annotations

import shutil
import sys
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from reports.numbers import number, percent

if TYPE_CHECKING:
    from solver.search.state import Standing

SHORTEST_INTERVAL = 0.1
"""Seconds between two updates."""


class ProgressLine:
    """Shows the current phase and a search's progress on one line of standard error, wiped at the end."""

    def __init__(self) -> None:
        self.wanted = sys.stderr is not None and sys.stderr.isatty()  # it is None if closed
        self.shown = 0.0
        self.said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.shown:
            click.echo("\r\x1b[K", err=True, nl=False)

    def say(self, text: str) -> None:
        """Show a phase on the line; a search's progress follows it."""
        self.said = text
        if self.wanted:
            self.shown = perf_counter()
            self._write(text)

    def say_at_times(self, text: str) -> None:
        """Show a phase, unless the line was just written."""
        if perf_counter() - self.shown >= SHORTEST_INTERVAL:
            self.say(text)

    def show(self, standing: Standing) -> None:
        """Rewrite the line, unless it was just written."""
        if not self.wanted or perf_counter() - self.shown < SHORTEST_INTERVAL:
            return
        self.shown = perf_counter()
        best = "–" if standing.best is None else number(standing.best)
        gap = "–" if standing.gap is None else percent(standing.gap)
        text = f"{standing.seconds:6.1f} s   best {best}   bound {number(standing.bound)}   gap {gap}"
        if standing.memory is not None:
            text += f"   memory {number(standing.memory)}"
        self._write(f"{self.said}   {text}" if self.said else text)

    def _write(self, text: str) -> None:
        columns = shutil.get_terminal_size((80, 24)).columns
        click.echo(f"\r\x1b[K{text[: columns - 1]}", err=True, nl=False)
