"""``ppopt compare``."""

from __future__ import annotations

import math
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import click

from ppopt.commands.exporting import how_to_export, read_export_options, tell_notes
from ppopt.commands.finite_number import FINITE, SEED
from ppopt.commands.grouped_help import GroupedCommand
from ppopt.commands.noise_options import NOISE_OPTIONS, noise_options, read_noise
from ppopt.commands.optimize import PLACEMENTS_OR_ALL
from ppopt.commands.pipeline_options import (
    FOR,
    OPTION_NAMES,
    cut_options,
    overriding_options,
    read_with_strategies,
    with_layout,
)
from ppopt.commands.reporting import DEFAULTS, command_line, load_page, tell_internal_errors
from ppopt.process.time_limit import Afterwards
from solver.errors import InputError
from solver.states import EngineChoice
from strategies.model.numbers import in_one_line

if TYPE_CHECKING:
    from ppopt.commands.pages import PagePace
    from ppopt.comparison.comparison import Comparison
    from ppopt.schedules.export import ExportOptions
    from ppopt.schedules.schedule import Schedule
    from strategies.model.pipeline import Pipeline
    from strategies.order_files.given_order import Named

SECONDS_OVER, SHARE_OVER = 0.5, 0.05
"""Overruns of the time limit are reported above this many seconds and this share of the limit."""

_EPILOG = (
    "Strategies are named as for `ppopt evaluate`, with options after a colon: "
    "--strategies 1f1b,interleaved:stages=16,group_size=8,zb1p names three."
)


@click.command(cls=GroupedCommand, epilog=_EPILOG, context_settings={"allow_extra_args": True})
@click.option(
    "-c",
    "--config",
    "configs",
    metavar="FILE",
    multiple=True,
    help="Configuration, YAML or JSON; several are compared one after the other.",
)
@overriding_options
@cut_options
@click.option(
    "--strategies",
    "named",
    multiple=True,
    metavar="A,B,…",
    help="Published schedules, and files of your own.  [default: all published ones]",
)
@click.option("--exclude", "excluded", multiple=True, metavar="A,B,…", help="Schedules to leave out.")
@click.option(
    "--baseline",
    metavar="NAME",
    help="Schedule to compare the others with, or none.  [default: 1f1b, if it is shown]",
)
@click.option("--optimize/--no-optimize", default=True, help="Also search for better schedules.  [default: yes]")
@click.option(
    "--placement", type=click.Choice(PLACEMENTS_OR_ALL), default="all", show_default=True, help="Placements to search."
)
@click.option(
    "--overlap/--no-overlap",
    default=None,
    help="Let the search run a forward and a backward in one block.  [default: where blocks save time]",
)
@click.option("--offload", is_flag=True, help="Let the search choose what is copied to the host and back.")
@click.option(
    "--time-limit", type=FINITE, default=60.0, show_default=True, metavar="S", help="Seconds for each configuration."
)
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Cores to use.  [default: all, up to 16]")
@SEED
@FOR
@noise_options
@click.option("--engine", type=click.Choice(get_args(EngineChoice)), default="graph", show_default=True)
@click.option("--report", metavar="FILE.html", help="Write a page with timelines and where the time goes.")
@click.option(
    "--chart",
    "charts",
    metavar="FILE.png|svg",
    multiple=True,
    help="Write a single chart as an image, named after the chart: bubbles.svg.",
)
@click.option("--export-dir", metavar="DIR", help="Write each order into a folder (see docs/reference/orders.md).")
@how_to_export
@click.option("--open", "opened", is_flag=True, help="Open the page in a browser.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    configs: tuple[str, ...],
    named: tuple[str, ...],
    excluded: tuple[str, ...],
    baseline: str | None,
    report: str | None,
    charts: tuple[str, ...],
    export_dir: str | None,
    forced: bool,
    lowered: bool,
    unshard: bool,
    opened: bool,
    form: str,
    **options: Any,
) -> None:
    """Rank published and searched schedules on your costs.

    Each schedule is shown with the lower bound of its placement. Schedules that do not fit the pipeline are left out,
    with the reason. Ctrl-C ends the search with the best so far.
    """
    if opened and report is None:
        raise InputError("--open: opens the page of --report FILE.html; give that as well")
    if ctx.args:
        raise InputError(f"compare: takes schedules with --strategies; write --strategies {','.join(ctx.args)[:80]}")
    names = tuple(name for text in named for name in split_strategies(text))
    if named and not names:
        raise InputError(f"--strategies: must name at least one; found {named[0][:40]!r}")
    options["noise"] = read_noise(**{name: options.pop(name) for name in NOISE_OPTIONS}, seed=options["seed"])
    _check_files(report, charts, [*configs, *names, *([] if baseline is None else [baseline])])
    how = read_export_options("--export-dir DIR", export_dir, forced=forced, lowered=lowered, unshard=unshard)
    _check_folder(export_dir)
    if report is not None:
        load_page()
    clock = _Clock(options["time_limit"] * max(1, len(configs)) if options["optimize"] else math.inf)
    options["afterwards"] = Afterwards(foresee=None if report is None else clock.foresee)
    comparisons, titles = _compare_each(configs or (None,), names, excluded, baseline, options, clock)

    from ppopt.commands.printing import show_comparisons, tell_files

    show_comparisons(comparisons, titles, form)
    _write_files(comparisons, titles, report, charts, clock)
    orders = [] if export_dir is None else _write_orders(export_dir, comparisons, titles, how)
    tell_files(form, chart=charts, report=[] if report is None else [report], export=orders)
    clock.tell_what_is_over()
    if opened and report is not None:
        webbrowser.open(Path(report).absolute().as_uri())
    tell_internal_errors(ctx, [line for comparison in comparisons for line in comparison.internal_errors])
    if any(comparison.infeasible and comparison.winner is None for comparison in comparisons):
        ctx.exit(3)


@dataclass
class _Clock:
    """The time limit of a comparison with its page, in seconds, and the part that the page needs."""

    seconds: float
    ends: float = math.inf
    pace: PagePace | None = None

    def start(self) -> None:
        """Start the clock."""
        self.ends = perf_counter() + self.seconds

    def foresee(self, schedules: Sequence[Schedule], operations: int) -> float:
        """Measure how long a page takes with these schedules and with others that have ``operations`` in all."""
        from ppopt.commands.pages import PagePace

        sizes = [len(schedule.rows) for schedule in schedules]
        if self.pace is None:
            self.pace = PagePace.of(schedules[sizes.index(min(sizes))], len(sizes))
        return self.pace.seconds(sum(sizes) + operations)

    def drawn(self, comparisons: Sequence[Comparison]) -> list[int] | None:
        """Count the schedules of each comparison that can be drawn in time, and name the others."""
        if self.pace is None or self.ends == math.inf:
            return None
        counts = self.pace.drawn_within(self.ends - perf_counter(), comparisons)
        parts = zip(comparisons, counts, strict=True)
        names = dict.fromkeys(each.strategy for comparison, most in parts for each in comparison.schedules[most:])
        if names:
            click.echo(
                f"note: the report has no timelines of {', '.join(names)}: "
                f"the time limit of {self.seconds:g} s was used up",
                err=True,
            )
        return counts

    def tell_what_is_over(self) -> None:
        """Report by how much the time limit was too short."""
        over = perf_counter() - self.ends
        if over > max(SECONDS_OVER, SHARE_OVER * self.seconds):
            click.echo(f"note: the time limit of {self.seconds:g} s was too short by {over:.1f} s", err=True)


def split_strategies(text: str) -> Iterator[str]:
    """Split a list of strategies at its commas, except for those between the options of one.

    A part with ``=`` after a strategy with a colon is an option of that strategy.
    """
    name = ""
    for part in text.split(","):
        if ":" in name and ":" not in part and "=" in part:
            name += f",{part}"
            continue
        if name.strip():
            yield name.strip()
        name = part
    if name.strip():
        yield name.strip()


def _check_files(report: str | None, charts: Sequence[str], inputs: Sequence[str]) -> None:
    """Refuse, before any work is done, files that cannot be written."""
    from ppopt.process.whole_files import check_outputs

    numbered = {f"--chart{f' ({place})' if place > 1 else ''}": path for place, path in enumerate(charts, 1)}
    check_outputs({"--report": report, **numbered}, inputs)
    if charts:
        from ppopt.commands.pages import check_chart

        for path in charts:
            check_chart(path)


def _check_folder(folder: str | None) -> None:
    if folder is not None:
        from ppopt.schedules.export import check_folder

        check_folder("--export-dir", folder)


def _write_orders(
    folder: str, comparisons: Sequence[Comparison], titles: Sequence[str], how: ExportOptions
) -> list[str]:
    """Write the orders of all schedules; with several configurations, file names start with the configuration."""
    from ppopt.schedules.export import write_orders

    several = len(comparisons) > 1
    parts = zip(comparisons, titles, strict=True)
    named = [(title if several else "", schedule) for comparison, title in parts for schedule in comparison.schedules]
    paths, notes = write_orders(folder, named, how)
    tell_notes(notes)
    return paths


def _compare_each(
    configs: Sequence[str | None],
    names: tuple[str, ...],
    excluded: Sequence[str],
    baseline: str | None,
    options: dict[str, Any],
    clock: _Clock,
) -> tuple[list[Comparison], list[str]]:
    """Compare on each configuration. All are read before the first is compared."""
    from ppopt.comparison.selection import read_baseline, read_exclusions, without
    from ppopt.schedules.order_files import read_each
    from strategies.given_model.stages import with_slices
    from strategies.layouts.runs_in import run_by

    layout = options.pop("layout")
    overriding = {name: options.pop(name) for name in OPTION_NAMES if name != "config"}
    options["framework"] = options.pop("runs_for")
    exclude = [name for text in excluded for name in split_strategies(text)]
    wanted = without(read_each(names or run_by(options["framework"])), read_exclusions(exclude))
    own = [] if baseline is None else [read for read in (read_baseline(baseline),) if read is not None]
    titles = [config or DEFAULTS for config in configs]
    mistakes: list[str] = []
    read: list[tuple[Pipeline, tuple[Named, ...]]] = []
    for config, title in zip(configs, titles, strict=True):
        try:
            pipeline, every = read_with_strategies([*wanted, *own], config, **overriding)
            read.append((with_layout(pipeline, layout), every))
        except InputError as error:
            mistakes += _about(title, error, several=len(configs) > 1)
    if mistakes:
        raise InputError("\n".join(dict.fromkeys(mistakes)))

    from ppopt.commands.progress_line import ProgressLine
    from ppopt.comparison.compare import compare as compare_one

    options |= {"exclude": exclude, "baseline": baseline}
    comparisons: list[Comparison] = []
    was_wanted = options["optimize"]
    clock.start()
    with ProgressLine() as line:
        for (pipeline, strategies), title in zip(read, titles, strict=True):
            if own:
                strategies, options["baseline"] = strategies[: len(wanted)], strategies[-1]
            if not names:
                strategies = tuple(with_slices(strategies, pipeline))
            if any(comparison.interrupted for comparison in comparisons):
                options["optimize"] = False
            try:
                comparison = compare_one(pipeline, strategies, **options, progress=line.show, on_phase=line.say)
            except InputError as error:
                raise InputError("\n".join(_about(title, error, several=len(configs) > 1))) from None
            comparisons.append(
                comparison if options["optimize"] or not was_wanted else replace(comparison, interrupted=True)
            )
    return comparisons, titles


def _about(title: str, error: InputError, *, several: bool) -> list[str]:
    """Write the lines of an error, prefixed with the configuration if there are several."""
    lines = str(error).split("\n")
    name = in_one_line(title)
    return [line if not several or line.startswith(name) else f"{name}: {line}" for line in lines]


def _write_files(
    comparisons: Sequence[Comparison], titles: Sequence[str], report: str | None, charts: Sequence[str], clock: _Clock
) -> None:
    if report is None and not charts:
        return
    from ppopt.commands.pages import write_chart, write_report

    if report is not None:
        write_report(report, comparisons, titles, command_line(), clock.drawn(comparisons))
    if charts and not any(comparison.schedules for comparison in comparisons):
        click.echo("note: there is no schedule to draw, so no chart was written", err=True)
        return
    for path in charts:
        write_chart(path, comparisons, titles)
