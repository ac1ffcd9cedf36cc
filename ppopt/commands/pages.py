"""Writing reports: the page, and single charts as pictures."""

from __future__ import annotations

import difflib
import io
import shlex
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ppopt.comparison.against_section import against_section
from ppopt.process.version import __version__
from ppopt.process.whole_files import bytes_written_whole, written_whole
from solver.errors import InputError
from strategies.model.numbers import in_one_line

if TYPE_CHECKING:
    import altair as alt

    from ppopt.comparison.comparison import Comparison
    from ppopt.memory_frontier.frontier_result import Frontier
    from ppopt.profiling.against import Against
    from ppopt.schedules.schedule import Schedule
    from ppopt.sweeps.sweeping import Outcome
    from reports.content import Section

CHARTS = ("bubbles", "memory", "ladder", "idle", "devices", "timeline")
"""The charts that can be written as pictures; the file's name selects one."""

FORMATS = (".png", ".svg")

CAUTION = 1.25
"""Safety factor on the predicted time of a page."""


@dataclass(frozen=True)
class PagePace:
    """How long a page takes, measured on one with a single schedule.

    Attributes
    ----------
    alone : float
        Seconds for a page of all schedules to be shown, without timelines.
    shown, drawn : float
        Seconds per operation for a schedule's figures, and the extra seconds per operation if its timeline is drawn.
    """

    alone: float
    shown: float
    drawn: float

    @classmethod
    def of(cls, schedule: Schedule, count: int) -> PagePace:
        """Measure on one schedule that stands for ``count`` schedules."""
        from ppopt.comparison.what_if import what_if
        from reports.content import Section
        from reports.page.columns import columns, packed
        from reports.page.page import write_page

        schedule = replace(schedule)  # a fresh copy: the shown schedules have no cached figures either
        began = perf_counter()
        presented = schedule.presented()
        shown = perf_counter()
        what_if(schedule.pipeline, [schedule])
        packed(columns(presented))
        drawn = perf_counter()
        stand_in = replace(presented, is_drawn=False)
        section = Section("", schedule.pipeline.to_mapping(), [stand_in] * count)
        write_page(io.StringIO(), [section], command="", version=__version__)
        whole = perf_counter()
        operations = len(presented.timeline)
        return cls(whole - drawn, (shown - began) / operations, (drawn - shown) / operations)

    def seconds(self, operations: int) -> float:
        """Predict how long a page takes whose drawn schedules have ``operations`` in all."""
        return CAUTION * (self.alone + (self.shown + self.drawn) * operations)

    def drawn_within(self, seconds: float, comparisons: Sequence[Comparison]) -> list[int]:
        """Count the schedules of each comparison that can be drawn, at least the best one; all the best come first."""
        sizes = [[len(each.rows) for each in comparison.schedules] for comparison in comparisons]
        left = seconds / CAUTION - self.alone - self.shown * sum(map(sum, sizes))
        counts = [0] * len(sizes)
        for rank in range(max(map(len, sizes), default=0)):
            for place, each in enumerate(sizes):
                if counts[place] == rank < len(each) and (rank == 0 or self.drawn * each[rank] <= left):
                    counts[place] += 1
                    left -= self.drawn * each[rank]
        return counts


def write_report(
    path: str,
    comparisons: Sequence[Comparison],
    titles: Sequence[str],
    command: Sequence[str],
    drawn: Sequence[int] | None = None,
) -> None:
    """Write comparisons as one HTML page that needs no network.

    Parameters
    ----------
    path : str
        The page; it appears only when it is complete.
    comparisons : sequence of Comparison
        One section each.
    titles : sequence of str
        Their titles, such as their configuration files.
    command : sequence of str
        The command that makes the page again, word by word.
    drawn : sequence of int, optional
        How many schedules of each, best first, are drawn; by default all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    most_of_each: Sequence[int | None] = drawn or [None] * len(titles)
    parts = zip(comparisons, titles, most_of_each, strict=True)
    sections = [each.section(readable(title), replayable=True, drawn=most) for each, title, most in parts]
    write_sections(path, sections, command)


def write_sections(path: str, shown: Sequence[Section], command: Sequence[str]) -> None:
    """Write sections as one HTML page that needs no network.

    Parameters
    ----------
    path, command
        As for `write_report`.
    shown : sequence of Section
        The sections.
    """
    from reports.page.page import write_page

    with written_whole(path) as file:
        write_page(file, shown, command=readable(shlex.join(command)), version=__version__)


def write_against(path: str, against: Against, title: str, command: Sequence[str]) -> None:
    """Write a prediction, with the measurement below it, as one HTML page.

    Parameters
    ----------
    path, command
        As for `write_report`.
    against : Against
        The prediction and the measurement.
    title : str
        The title.
    """
    write_sections(path, [against_section(against, readable(title))], command)


def write_frontier(path: str, frontier: Frontier, title: str, command: Sequence[str]) -> None:
    """Write a memory frontier as one HTML page.

    Parameters
    ----------
    path, command
        As for `write_report`.
    frontier : Frontier
        The frontier.
    title : str
        Its title, such as its configuration file.
    """
    from reports.page.page import write_page

    section = frontier.section(readable(title))
    with written_whole(path) as file:
        write_page(file, [section], command=readable(shlex.join(command)), version=__version__)


def write_sweep(path: str, outcome: Outcome, title: str, command: Sequence[str]) -> None:
    """Write the results of a sweep as one HTML page.

    Parameters
    ----------
    path, command
        As for `write_report`.
    outcome : Outcome
        The results.
    title : str
        The title.
    """
    from reports.sweeps.page import write_sweep_page

    with written_whole(path) as file:
        shown = outcome.shown(readable(title))
        write_sweep_page(file, shown, command=readable(shlex.join(command)), version=__version__)


def _sections(comparisons: Sequence[Comparison], titles: Sequence[str]) -> list[Section]:
    return [comparison.section(readable(title)) for comparison, title in zip(comparisons, titles, strict=True)]


def readable(text: str) -> str:
    """Replace line breaks and bytes that are not text: a file name can hold any bytes."""
    return in_one_line(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def check_chart(path: str) -> None:
    """Refuse a picture if its name gives no known chart or format.

    Raises
    ------
    InputError
        With the allowed names.
    """
    check_picture(path)
    _chart_named(path)


def check_picture(path: str) -> None:
    """Refuse a picture in an unknown format.

    Raises
    ------
    InputError
        With the allowed formats.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise InputError(f"--chart: {path!r} must end in {' or '.join(FORMATS)}")


def _chart_named(path: str) -> str:
    name = Path(path).stem.lower().partition("-")[0]
    name = {"bubble": "bubbles", "timelines": "timeline"}.get(name, name)
    if name not in CHARTS:
        near = difflib.get_close_matches(name, CHARTS, n=1)
        rest = Path(path).name[len(name) :]
        hint = f"; did you mean {near[0]}{rest}?" if near else ""
        allowed = ", ".join(CHARTS)
        raise InputError(f"--chart: {path!r} must be named after a chart: {allowed} (or {CHARTS[0]}-anything){hint}")
    return name


def write_chart(path: str, comparisons: Sequence[Comparison], titles: Sequence[str]) -> None:
    """Write one chart as a picture; the file name gives the chart, the suffix the format (PNG or SVG).

    Several comparisons are stacked.

    Raises
    ------
    InputError
        If the name names no chart, or the file cannot be written.
    """
    import altair as alt

    check_chart(path)
    draw = _drawing(_chart_named(path))
    shown = [each for each in _sections(comparisons, titles) if each.schedules]
    if not shown:
        raise InputError(f"--chart: {path!r}: there is no schedule to draw")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Automatically deduplicated")  # a picture does not zoom anyway
        charts = [draw(each).properties(title=each.title) for each in shown]
        write_picture(path, charts[0] if len(charts) == 1 else alt.vconcat(*charts))


def write_picture(path: str, chart: alt.TopLevelMixin) -> None:
    """Write a chart as a picture, in the format of the file's suffix.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from reports.picture import picture

    content = picture(chart, Path(path).suffix.lower().removeprefix("."))
    with bytes_written_whole(path) as file:
        file.write(content)


def _drawing(name: str) -> Callable[[Section], Any]:
    from reports.charts.bubbles import bubble_chart
    from reports.charts.losses import device_idle_chart, idle_chart, ladder_chart
    from reports.charts.trade import memory_chart

    return {
        "bubbles": bubble_chart,
        "memory": memory_chart,
        "ladder": ladder_chart,
        "idle": idle_chart,
        "devices": device_idle_chart,
        "timeline": _timelines,
    }[name]


def _timelines(section: Section) -> Any:
    """Draw the timelines of all schedules stacked; a timeline that is too long is replaced by a summary."""
    import altair as alt

    from reports.charts.overview import any_timeline_chart
    from reports.charts.timeline_layout import highest_peak

    highest = highest_peak(section.schedules)
    return alt.vconcat(*(any_timeline_chart(each, highest) for each in section.schedules))
