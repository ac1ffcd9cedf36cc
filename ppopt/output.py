"""What the commands print and write."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from typing import Any

import click

from ppopt.finished import Schedule
from ppopt.output_file import written_whole
from reports.chrome_trace import Traced, write_trace
from reports.table import Row, table
from reports.terminal_timeline import draw as draw_timeline
from strategies.pipeline import Pipeline

_COLOURS = {"F": "blue", "B": "yellow", "I": "bright_yellow", "W": "green", "OVERLAP": "magenta"}


def show(pipeline: Pipeline, schedules: Sequence[Schedule], form: str, *, draw: bool = False) -> None:
    """Print schedules: a table, JSON or CSV on standard output, notes on standard error."""
    for note in dict.fromkeys(note for schedule in schedules for note in schedule.notes):
        click.echo(f"note: {note}", err=True)
    if form == "json":
        whole = {"pipeline": pipeline.to_mapping(), "schedules": [schedule.to_dict() for schedule in schedules]}
        click.echo(json.dumps(whole, allow_nan=False))
    elif form == "csv":
        click.echo(_as_csv([schedule.to_dict() for schedule in schedules]), nl=False)
    else:
        click.echo(table([_row(schedule) for schedule in schedules]))
    if draw:
        for schedule in schedules:
            click.echo("\n" + _drawing(schedule), err=form != "table")


def _row(schedule: Schedule) -> Row:
    pipeline = schedule.pipeline
    sizes = (pipeline.devices, pipeline.stages or 0, pipeline.microbatches)
    return Row(schedule.strategy, sizes, schedule.figures, schedule.limits)


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Write figures as CSV; lists are separated by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(" ".join(map(str, value)) if isinstance(value, list) else value for value in row.values())
    return text.getvalue()


def _drawing(schedule: Schedule) -> str:
    width = shutil.get_terminal_size((80, 24)).columns
    lines = draw_timeline(schedule.rows, schedule.pipeline.devices, width, _paint)
    return f"{schedule.strategy}, time 0 to {schedule.makespan:g}\n{lines}"


def _paint(text: str, kind: str) -> str:
    return click.style(text, fg="white" if kind == "F" else "black", bg=_COLOURS[kind])


def save_timelines(path: str, schedules: Sequence[Schedule]) -> None:
    """Write timelines as CSV, a row an operation; with several schedules, a column names each."""
    with written_whole(path) as file:
        for place, schedule in enumerate(schedules):
            frame = schedule.timeline
            if len(schedules) > 1:
                frame = frame.assign(strategy=schedule.strategy)[["strategy", *frame.columns]]
            frame.to_csv(file, index=False, header=place == 0, lineterminator="\n")


def write_traces(path: str, schedules: Sequence[Schedule]) -> None:
    """Write schedules as one Chrome trace, a process each."""
    with written_whole(path) as file:
        write_trace(file, (Traced(each.strategy, each.problem, each.rows) for each in schedules))
