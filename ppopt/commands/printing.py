"""The printed output and files of the commands."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import click

from ppopt.comparison.comparison import Comparison
from ppopt.memory_frontier.frontier_result import Frontier
from ppopt.noise.noise import Noise
from ppopt.optimization.published_beside import compared_with_published
from ppopt.process.time_limit import TimeLimit
from ppopt.process.whole_files import bytes_written_whole, written_whole
from ppopt.schedules.flat_figures import flat
from ppopt.schedules.schedule import Schedule
from ppopt.schedules.twins import each_order_once
from reports.chrome_trace import Traced, write_trace
from reports.content import with_name
from reports.frontier_points import frontier_table
from reports.noise import NoisyRow, noise_sentence, noise_table
from reports.numbers import number, with_unit
from reports.table import TERMINAL_WIDTH, ranking, table
from reports.terminal_timeline import draw as draw_timeline
from solver.counted import counted, listed
from solver.errors import InputError
from strategies.layouts.runs_in import Framework
from strategies.model.numbers import in_one_line
from strategies.model.pipeline import Pipeline
from strategies.problem.short_blocks import one_on_short_blocks

_COLOURS = {"F": "blue", "B": "yellow", "I": "bright_yellow", "W": "green", "OVERLAP": "magenta"}


def show(
    pipeline: Pipeline, schedules: Sequence[Schedule], form: str, *, draw: bool = False, noise: Noise | None = None
) -> None:
    """Print schedules: a table, JSON or CSV on standard output, notes on standard error."""
    _tell_notes(schedules)
    if form == "json":
        whole = {"pipeline": pipeline.to_mapping(), "schedules": [schedule.to_dict() for schedule in schedules]}
        whole |= {} if noise is None else {"noise": noise.to_dict()}
        click.echo(json.dumps(whole, allow_nan=False))
    elif form == "csv":
        click.echo(as_csv([flat(schedule.to_dict()) for schedule in schedules]), nl=False)
    else:
        click.echo(table([schedule.table_row() for schedule in each_order_once(schedules)], table_width()))
        _show_noise(schedules, noise)
    if draw:
        for schedule in schedules:
            click.echo("\n" + _drawing(schedule), err=form != "table")


def _show_noise(schedules: Sequence[Schedule], noise: Noise | None) -> None:
    if noise is not None:
        click.echo("\n" + "\n".join(_noise_lines(schedules, noise)))


def _noise_lines(schedules: Sequence[Schedule], noise: Noise) -> list[str]:
    named = [(each, each.noise) for each in each_order_once(schedules)]
    rows = [NoisyRow(each.strategy, each.makespan, figures) for each, figures in named if figures is not None]
    unit = schedules[0].pipeline.unit or ""
    return [wrapped(noise_sentence(rows), indent=""), "", noise_table(rows, str(noise), unit)] if rows else []


def table_width() -> int | None:
    """Return the width of a table: unlimited in a pipe, so that no name is broken."""
    return TERMINAL_WIDTH if _is_read_on_a_terminal() else None


def _is_read_on_a_terminal() -> bool:
    return sys.stdout.isatty()


def with_published(
    schedule: Schedule, limit: TimeLimit | None = None, framework: Framework | None = None
) -> list[Schedule]:
    """Add the published schedules on the same placement after a search's result, as time permits."""
    published, left_out = compared_with_published(schedule, limit, framework)
    if left_out and limit is not None:
        note = f"{schedule.strategy}: {listed(left_out)} left out beside it: {limit.used_up}"
        schedule = replace(schedule, notes=(*schedule.notes, note))
    return [schedule, *published]


def show_optimized(
    pipeline: Pipeline,
    found: Sequence[Schedule],
    beside: Sequence[Schedule],
    form: str,
    *,
    draw: bool,
    texts: Sequence[str] = (),
    noise: Noise | None = None,
) -> None:
    """Print the results of a search, ranked with those that `with_published` adds, each with its explanation."""
    if form == "json":
        _tell_notes(beside)
        rows = [schedule.to_dict() for schedule in beside]
        for schedule, text in zip(found, texts, strict=False):
            rows[beside.index(schedule)]["explanation"] = text
        whole = {"pipeline": pipeline.to_mapping(), "schedules": rows}
        whole |= {} if noise is None else {"noise": noise.to_dict()}
        click.echo(json.dumps(whole, allow_nan=False))
    else:
        show(pipeline, beside, form, noise=noise)
    if form == "table":
        click.echo("\n".join(_search_line(schedule) for schedule in found))
        for schedule, text in zip(found, texts, strict=False):
            click.echo(click.wrap_text(f"{schedule.strategy}: {text}", 80))
    if draw:
        for schedule in found:
            click.echo("\n" + _drawing(schedule), err=form != "table")


def show_comparisons(comparisons: Sequence[Comparison], titles: Sequence[str], form: str) -> None:
    """Print comparisons: tables, JSON or CSV on standard output, notes on standard error."""
    for comparison, title in zip(comparisons, titles, strict=True):
        _tell_comparison(comparison, f"{in_one_line(title)}: " if len(titles) > 1 else "")
    if form == "json":
        whole = [comparison.to_dict() for comparison in comparisons]
        click.echo(json.dumps(whole[0] if len(whole) == 1 else {"comparisons": whole}, allow_nan=False))
    elif form == "csv":
        click.echo(_comparisons_as_csv(comparisons, titles), nl=False)
    else:
        texts = [_comparison_text(comparison) for comparison in comparisons]
        if len(texts) > 1:
            texts = [f"{in_one_line(title)}:\n{text}" for title, text in zip(titles, texts, strict=True)]
        click.echo("\n\n".join(texts))
    for comparison, title in zip(comparisons, titles, strict=True):
        if form != "table" or comparison.winner is None:
            for message in comparison.infeasible:
                click.echo(f"{in_one_line(title)}: {message}" if len(titles) > 1 else message, err=True)


def show_frontier(frontier: Frontier, form: str) -> None:
    """Print a memory frontier: tables, JSON or CSV on standard output, notes on standard error."""
    for note in frontier.notes:
        click.echo(f"note: {note}", err=True)
    if form == "json":
        click.echo(json.dumps(frontier.to_dict(), allow_nan=False))
    elif form == "csv":
        click.echo(as_csv(frontier.to_rows()), nl=False)
    else:
        reasons = [f"left out: {text}" for text in together(frontier.left_out, with_name)]
        tables = frontier_table(frontier.shown, table_width())
        click.echo("\n".join([wrapped(frontier.sentence, indent=""), "", tables, *map(wrapped, reasons)]))


def _tell_comparison(comparison: Comparison, prefix: str) -> None:
    """Print the notes on a comparison, prefixed with its configuration if there are several."""
    _tell_notes(comparison.schedules, prefix)
    for note in comparison.notes:
        click.echo(f"note: {prefix}{note}", err=True)
    if comparison.interrupted and not any(schedule.interrupted for schedule in comparison.schedules):
        click.echo(f"note: {prefix}the search was interrupted before it found anything", err=True)
    if comparison.bounds_cut_short:
        text = "some bounds were cut short; all are valid, but another run may find higher ones"
        click.echo(f"note: {prefix}{text}", err=True)


def _comparison_text(comparison: Comparison) -> str:
    comparison = comparison.shown
    rows = [schedule.table_row() for schedule in comparison.schedules]
    lines = []
    if rows:
        table_lines = ranking(rows, comparison.bound, comparison.baseline_row, table_width())
        lines = [wrapped(comparison.verdict, indent=""), "", table_lines]
    if comparison.noise is not None:
        lines += ["", *_noise_lines(comparison.schedules, comparison.noise)]
    reasons = [f"left out: {text}" for text in together(comparison.left_out, with_name)]
    infeasible = comparison.infeasible if comparison.winner else ()
    return "\n".join([*lines, *(wrapped(text) for text in (*reasons, *infeasible))])


def wrapped(text: str, indent: str = "  ") -> str:
    """Wrap a line for a terminal; in a pipe, keep it whole."""
    width = table_width()
    return text if width is None else click.wrap_text(text, width, subsequent_indent=indent)


def _comparisons_as_csv(comparisons: Sequence[Comparison], titles: Sequence[str]) -> str:
    rows = [
        ({"configuration": title} if len(titles) > 1 else {}) | flat(figures)
        for comparison, title in zip(comparisons, titles, strict=True)
        for figures in comparison.figures()
    ]
    return as_csv(rows) if rows else ""


def tell_files(form: str, **files: Sequence[str]) -> None:
    """Say which files were written, away from data on standard output."""
    for kind, paths in files.items():
        for path in paths:
            click.echo(f"{kind}: {in_one_line(path)}", err=form != "table")


def _tell_notes(schedules: Sequence[Schedule], prefix: str = "") -> None:
    named = [(schedule.strategy.partition(":")[0], note) for schedule in schedules for note in schedule.notes]
    apart = [(name if note.startswith(f"{name} ") else "", note.removeprefix(f"{name} ")) for name, note in named]
    for note in one_on_short_blocks(together(apart, lambda name, note: f"{name} {note}".lstrip())):
        click.echo(f"note: {prefix}{note}", err=True)


def together(named: Iterable[tuple[str, str]], of_one: Callable[[str, str], str]) -> list[str]:
    """Write one text per schedule; a text shared by several is written once, with all their names.

    Parameters
    ----------
    named : iterable of (str, str)
        Names and texts.
    of_one : callable
        Writes a text about a single schedule, from its name and the text.
    """
    names: dict[str, dict[str, None]] = {}
    for name, text in named:
        names.setdefault(text, {})[name] = None
    return [
        of_one(next(iter(about)), text) if len(about) == 1 else f"{listed(about)}: {text}"
        for text, about in names.items()
    ]


def _search_line(schedule: Schedule) -> str:
    pipeline = schedule.pipeline
    ended = f", {schedule.ended}" if schedule.ended else ""
    text = (
        f"{schedule.strategy}: {schedule.status} after {schedule.seconds:.1f} s{ended} "
        f"({counted(pipeline.devices, 'device')}, {counted(pipeline.stages or 0, 'stage')}, "
        f"{counted(pipeline.microbatches, 'microbatch')}); runs in "
        + (listed(each.name for each in schedule.runs_in) or "no framework known here")
    )
    return click.wrap_text(text, 80, subsequent_indent="  ")


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Write figures as CSV; lists are separated by spaces.

    Parameters
    ----------
    rows : sequence of dict
        At least one, all with the same keys.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(" ".join(map(str, value)) if isinstance(value, list) else value for value in row.values())
    return text.getvalue()


def _drawing(schedule: Schedule) -> str:
    width = shutil.get_terminal_size((80, 24)).columns
    lines = draw_timeline(schedule.rows, schedule.pipeline.devices, width, _paint, schedule.names_of_items)
    after, unit = schedule.pipeline.after, schedule.pipeline.unit
    end = with_unit(number(float(schedule.exact_makespan - after)), unit)
    then = f", then {with_unit(number(float(after)), unit)} after the last operation" if after else ""
    return f"{schedule.strategy}, time 0 to {end}{then}\n{lines}"


def _paint(text: str, kind: str) -> str:
    return click.style(text, fg="white" if kind == "F" else "black", bg=_COLOURS[kind])


def save_timelines(path: str, schedules: Sequence[Schedule]) -> None:
    """Write timelines as CSV, one row per operation; with several schedules, a column holds the name."""
    with written_whole(path) as file:
        for place, schedule in enumerate(schedules):
            frame = schedule.timeline
            if len(schedules) > 1:
                frame = frame.assign(strategy=schedule.strategy)[["strategy", *frame.columns]]
            frame.to_csv(file, index=False, header=place == 0, lineterminator="\n")


def _traced(schedule: Schedule) -> Traced:
    """Describe a schedule for a trace, with the pipeline that it was made from; a measured one was made from none."""
    configuration, is_exact = None, True
    if schedule.status != "measured":
        configuration = schedule.pipeline.to_mapping()
        try:
            is_exact = Pipeline.from_mapping(configuration) == schedule.pipeline
        except InputError:  # a finer cut can have shorter operations than a configuration may
            configuration = None
    unit = schedule.pipeline.unit or ""
    return Traced(
        schedule.strategy,
        schedule.problem,
        schedule.rows,
        unit,
        configuration,
        is_exact,
        schedule.names_of_items,
        None if schedule.sides is None else schedule.sides.beside,
    )


def write_traces(path: str, schedules: Sequence[Schedule]) -> None:
    """Write schedules as one Chrome trace, one process each; compressed if the name ends in ``.gz``."""
    traced = [_traced(each) for each in schedules]
    if not path.endswith(".gz"):
        with written_whole(path) as file:
            write_trace(file, traced)
        return
    with (
        bytes_written_whole(path) as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as file,
    ):
        write_trace(file, traced)
