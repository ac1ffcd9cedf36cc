"""``ppopt sweep``."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ppopt.commands.finite_number import FINITE
from ppopt.commands.reporting import command_line
from ppopt.commands.sweep_progress import SweepProgress, duration
from solver.errors import InputError
from strategies.model.numbers import in_one_line

if TYPE_CHECKING:
    from ppopt.sweeps.grid import Grid
    from ppopt.sweeps.sweeping import Outcome

_SHOWN = ("strategy", "makespan", "bound", "bubble_ratio", "peak_memory", "status")
"""The figures shown in the table; JSON and CSV have all."""

_LONGEST_REASON = 60


@click.command()
@click.argument("grid", metavar="GRID.yaml")
@click.option(
    "-o", "--output", metavar="DIR", help="Keep results in DIR as they come in, and continue an earlier sweep."
)
@click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", help="Number of processes.  [default: one for each core]"
)
@click.option("--cluster", metavar="ADDRESS", help="Run on a Dask cluster, tcp://host:port, or local.")
@click.option("--time-limit", type=FINITE, metavar="S", help="Seconds for each search.  [default: the grid's, else 10]")
@click.option("--dry-run", is_flag=True, help="Show the number of jobs and roughly how long they take.")
@click.option("--yes", "confirmed", is_flag=True, help="Run more than 5,000 jobs without asking.")
@click.option("--report", metavar="FILE.html", help="Write a page: who wins where, and by how much.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    grid: str,
    output: str | None,
    jobs: int | None,
    cluster: str | None,
    time_limit: float | None,
    dry_run: bool,
    confirmed: bool,
    report: str | None,
    form: str,
) -> None:
    """Run schedules and searches on a grid of configurations, on this machine or a cluster.

    GRID.yaml holds a base configuration, axes over its keys, and the runs at each point: docs/how-to/sweep.md. With
    -o, a sweep that was stopped, in whatever way, continues where it was.
    """
    from ppopt.process.whole_files import check_outputs
    from ppopt.sweeps.grid import read_grid
    from ppopt.sweeps.sweeping import EndedError, count_workers, run_sweep

    check_outputs({"--report": report}, [grid])
    read = read_grid(grid, time_limit=time_limit)
    workers = count_workers(jobs, cluster)
    if dry_run:
        click.echo(_foreseen(read, workers))
        return
    _confirm(read, workers, confirmed=confirmed)
    try:
        with SweepProgress() as progress:
            outcome = run_sweep(read, output, workers=workers, cluster=cluster, on_progress=progress.show)
    except EndedError as error:
        if error.outcome.rows:
            _show(error.outcome, form)
        raise
    _show(outcome, form)
    if report is not None:
        from ppopt.commands.pages import write_sweep

        write_sweep(report, outcome, grid, command_line())
        click.echo(f"report: {in_one_line(report)}", err=form != "table")
    if outcome.interrupted:
        again = "; the same command goes on from there" if output is not None else ""
        click.echo(f"note: interrupted: {len(outcome.rows):,} of {outcome.jobs:,} jobs are done{again}", err=True)
    if outcome.failed:
        reason = outcome.failed[0]["reason"]
        click.echo(f"error: {len(outcome.failed):,} of {outcome.jobs:,} jobs failed; the first: {reason}", err=True)
    if outcome.interrupted or outcome.failed:
        ctx.exit(1)


def _foreseen(grid: Grid, workers: int) -> str:
    from ppopt.sweeps.sweeping import foresee

    axes = " x ".join(f"{len(axis.points)} {axis.name}" for axis in grid.axes)
    processes = f"{workers} process{'es' if workers > 1 else ''}"
    return (
        f"{grid.jobs:,} jobs ({axes}, {len(grid.runs)} to run at each), about {duration(foresee(grid, workers))} on "
        f"{processes}"
    )


def _confirm(grid: Grid, workers: int, *, confirmed: bool) -> None:
    """Ask before running very many jobs; refuse if nobody can answer.

    Raises
    ------
    InputError
        Unless the answer is yes.
    """
    from ppopt.sweeps.sweeping import MOST_UNCONFIRMED

    if confirmed or grid.jobs <= MOST_UNCONFIRMED:
        return
    text = _foreseen(grid, workers)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(f"grid: {text}; --yes runs more than {MOST_UNCONFIRMED:,}")
    if not click.confirm(f"{text}. Run them?", err=True):
        raise InputError("grid: nothing was run")


def _show(outcome: Outcome, form: str) -> None:
    columns = [axis.name for axis in outcome.grid.axes]
    if form == "table":
        _tell_notes(outcome.rows)
    if form == "json":
        click.echo(json.dumps({"rows": outcome.rows, "jobs": outcome.jobs}, allow_nan=False))
        return
    if not outcome.rows:
        return
    if form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(outcome.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in outcome.rows)
        click.echo(text.getvalue(), nl=False)
        return
    click.echo(_table(columns, outcome.rows))


def _tell_notes(rows: Sequence[dict[str, Any]]) -> None:
    """Print each note once on standard error, with the schedules that it applies to."""
    from ppopt.commands.printing import together

    named = [(str(row["strategy"]), str(row["notes"])) for row in rows if row["notes"]]
    for note in together(named, lambda name, note: f"{name}: {note}"):
        click.echo(f"note: {note}", err=True)


def _table(axes: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Write one row per job; at each point, mark the shortest schedule that fits."""
    from reports.sweeps.winners import winners

    best = {id(row) for row in winners(axes, rows).values()}
    header = ["", *axes, *_SHOWN]
    cells = [
        ["*" if id(row) in best else " ", *(_text(name, row[name]) for name in (*axes, *_SHOWN[:-1])), _status(row)]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lefts = {0, header.index("strategy"), len(header) - 1}
    lines = [
        "  ".join(
            cell.ljust(width) if place in lefts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *cells]
    ]
    return "\n".join([*lines, "* the shortest at its point that fits the memory limit"])


def _text(name: str, value: Any) -> str:
    from reports.numbers import number, percent

    if value is None:
        return ""
    if name == "bubble_ratio":
        return percent(value)
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _status(row: dict[str, Any]) -> str:
    if row["reason"]:
        reason = str(row["reason"])
        return f"{row['status']}: {reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + '…'}"
    if not row["fits"]:
        return f"{row['status']}, over the memory limit"
    return f"{row['status']}, second copy not counted" if row["lacks_second_copy"] else str(row["status"])
