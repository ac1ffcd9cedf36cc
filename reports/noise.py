"""Schedules under noise: their figures, and the table that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.numbers import number, percent, signed_percent, with_unit

TITLES = ("mean", "vs exact", "5%", "95%", "best")


@dataclass(frozen=True)
class NoiseFigures:
    """The makespan of one order over many draws of its times, in the user's unit.

    Attributes
    ----------
    mean : float
        The mean of all draws.
    standard_error : float
        The standard error of the mean: its standard deviation over repeated sets of the same number of draws.
    low, high : float
        One draw in twenty is shorter than ``low``, one in twenty longer than ``high``.
    best : float or None
        The fraction of draws in which it is the shortest of the schedules in the table that fit the memory; equally
        short ones share a draw. None if it does not fit and others do.
    samples : int
        The number of draws.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    best: float | None
    samples: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Write the figures as plain values."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "p5": self.low,
            "p95": self.high,
            "best": self.best,
            "samples": self.samples,
        }


@dataclass(frozen=True)
class NoisyRow:
    """A schedule of the table.

    Attributes
    ----------
    name : str
        Its name.
    makespan : float
        Its makespan without noise.
    figures : NoiseFigures
        Its figures with noise.
    """

    name: str
    makespan: float
    figures: NoiseFigures

    def cells(self) -> list[str]:
        """Write the figures in the order of `TITLES`."""
        figures = self.figures
        return [
            number(figures.mean),
            signed_percent(figures.mean / self.makespan - 1) if self.makespan else "",
            number(figures.low),
            number(figures.high),
            "" if figures.best is None else percent(figures.best),
        ]


def noise_table(rows: Sequence[NoisyRow], about: str, unit: str = "") -> str:
    """Write the figures of schedules under noise as a table, the smallest mean first.

    Parameters
    ----------
    rows : sequence of NoisyRow
        The schedules; at least one.
    about : str
        A description of the noise.
    unit : str
        The unit of time.
    """
    ranked = sorted(rows, key=lambda row: row.figures.mean)
    cells = [["strategy", *TITLES], *([row.name, *row.cells()] for row in ranked)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([name.ljust(widths[0]), *(text.rjust(width) for text, width in zip(texts, widths[1:], strict=True))])
        for name, *texts in cells
    ]
    samples = ranked[0].figures.samples
    title = f"under noise ({about}; {samples:,} draws, the same for all{with_unit(', in', unit) if unit else ''}):"
    return "\n".join([title, *(line.rstrip() for line in lines)])


def noise_sentence(rows: Sequence[NoisyRow]) -> str:
    """Say which schedule is the shortest under noise, and whether it is also the shortest without."""
    least = min(rows, key=lambda row: row.figures.mean)
    fitting = [row for row in rows if row.figures.best is not None]
    if fitting:
        least = min(fitting, key=lambda row: row.figures.mean)
    text = f"Under this noise {least.name} has the least mean"
    shortest = min(fitting or rows, key=lambda row: row.makespan)
    if len(rows) == 1:
        change = least.figures.mean / least.makespan - 1
        return f"Under this noise {least.name} takes {signed_percent(change)} on average."
    if shortest.makespan == least.makespan:
        text += ", as without noise"
    else:
        loss = shortest.figures.mean / least.figures.mean - 1
        text += f"; {shortest.name}, the shortest without noise, is {percent(loss)} behind it on average"
    often = max(fitting or rows, key=lambda row: row.figures.best or 0.0)
    return f"{text}. {often.name} wins most often, in {percent(often.figures.best or 0.0)} of the draws."
