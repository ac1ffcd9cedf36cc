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
    from ppopt.memory_frontier.frontier import Frontier
    from ppopt.profiling.against import Against
    from ppopt.schedules.schedule import Schedule
    from ppopt.sweeps.sweeping import Outcome
    from reports.content import Section

CHARTS = ("bubbles", "memory", "ladder", "idle", "devices", "timeline")
"""What can be written as a picture: each is named by the file's name."""

FORMATS = (".png", ".svg")

CAUTION = 1.25
"""A page may take this much longer than foreseen."""


@dataclass(frozen=True)
class PagePace:
    """How long a page takes, as one with a single schedule has shown.

    Attributes
    ----------
    alone : float
        Seconds for a page of as many schedules as are to be shown, without their timelines.
    shown, drawn : float
        Seconds for each operation of a schedule that is shown by its figures, and more where its timeline is drawn.
    """

    alone: float
    shown: float
    drawn: float

    @classmethod
    def of(cls, schedule: Schedule, count: int) -> PagePace:
        """Measure it on a schedule that stands for so many."""
        from ppopt.comparison.what_if import what_if
        from reports.charts.timeline_layout import columns
        from reports.content import Section
        from reports.page.page import embedded, write_page

        schedule = replace(schedule)  # what it knows of itself by now is not known of those that are shown
        began = perf_counter()
        presented = schedule.presented()
        shown = perf_counter()
        what_if(schedule.pipeline, [schedule])
        embedded(columns(presented))
        drawn = perf_counter()
        stand_in = replace(presented, is_drawn=False)
        section = Section("", schedule.pipeline.to_mapping(), [stand_in] * count)
        write_page(io.StringIO(), [section], command="", version=__version__)
        whole = perf_counter()
        operations = len(presented.timeline)
        return cls(whole - drawn, (shown - began) / operations, (drawn - shown) / operations)

    def seconds(self, operations: int) -> float:
        """Foresee how long a page takes that draws schedules of so many operations together."""
        return CAUTION * (self.alone + (self.shown + self.drawn) * operations)

    def drawn_within(self, seconds: float, comparisons: Sequence[Comparison]) -> list[int]:
        """Count how many schedules of each comparison can be drawn, the best at least: the best of all come first."""
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
        The page; it appears when all of it is written.
    comparisons : sequence of Comparison
        A section each.
    titles : sequence of str
        What each is called, such as its configuration file.
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
        What is on it.
    """
    from reports.page.page import write_page

    with written_whole(path) as file:
        write_page(file, shown, command=readable(shlex.join(command)), version=__version__)


def write_against(path: str, against: Against, title: str, command: Sequence[str]) -> None:
    """Write a prediction with the measurement beneath it as one HTML page.

    Parameters
    ----------
    path, command
        As for `write_report`.
    against : Against
        The prediction and the measurement.
    title : str
        What it is called.
    """
    write_sections(path, [against_section(against, readable(title))], command)


def write_frontier(path: str, frontier: Frontier, title: str, command: Sequence[str]) -> None:
    """Write a memory frontier as one HTML page.

    Parameters
    ----------
    path, command
        As for `write_report`.
    frontier : Frontier
        What is shown.
    title : str
        What it is called, such as its configuration file.
    """
    from reports.page.page import write_page

    section = frontier.section(readable(title))
    with written_whole(path) as file:
        write_page(file, [section], command=readable(shlex.join(command)), version=__version__)


def write_sweep(path: str, outcome: Outcome, title: str, command: Sequence[str]) -> None:
    """Write what a sweep has found as one HTML page.

    Parameters
    ----------
    path, command
        As for `write_report`.
    outcome : Outcome
        What it has found.
    title : str
        What it is called.
    """
    from reports.sweeps.page import write_sweep_page

    with written_whole(path) as file:
        shown = outcome.shown(readable(title))
        write_sweep_page(file, shown, command=readable(shlex.join(command)), version=__version__)


def _sections(comparisons: Sequence[Comparison], titles: Sequence[str]) -> list[Section]:
    return [comparison.section(readable(title)) for comparison, title in zip(comparisons, titles, strict=True)]


def readable(text: str) -> str:
    """Replace what is not text, and line breaks: a file's name can be any bytes."""
    return in_one_line(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def check_chart(path: str) -> None:
    """Refuse a picture whose name names no chart or no format.

    Raises
    ------
    InputError
        With what is allowed.
    """
    check_picture(path)
    _chart_named(path)


def check_picture(path: str) -> None:
    """Refuse a picture in no format that is known.

    Raises
    ------
    InputError
        With what is allowed.
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
    """Write one chart as a picture; its file's name says which, its ending whether as PNG or SVG.

    Several comparisons stand below each other.

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
    """Write a chart as a picture, in the format that the file's name ends in.

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
    """Draw the timelines of all schedules below each other, or what stands for them where they are too long."""
    import altair as alt

    from reports.charts.overview import any_timeline_chart
    from reports.charts.timeline_layout import memory_scale

    full = memory_scale(section.schedules)
    return alt.vconcat(*(any_timeline_chart(each, full) for each in section.schedules))
