"""``ppopt check``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ppopt.commands.pipeline_options import pipelines_for_files
from solver.errors import InputError
from strategies.model.communicators import COMMUNICATORS

if TYPE_CHECKING:
    from ppopt.evaluation.check import CheckReport

_EPILOG = "The exit status is 2 if any file has a fault, or hangs with the communicators. See docs/reference/orders.md."


@click.command(epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE.csv...")
@click.option("-c", "--config", metavar="FILE", help="Configuration that the files must agree with, YAML or JSON.")
@click.option("--memory-limit", metavar="X", help="The most memory that a device may hold: a number, or a list.")
@click.option("--recut", is_flag=True, help="Re-partition the model into as many stages as the file has.")
@click.option(
    "--lower",
    type=click.Choice(["pytorch", "deferred"]),
    help="Check an order of computations as PyTorch would lower it: by default, or with defer_pp_recv.",
)
@click.option(
    "--communicators",
    type=click.Choice(COMMUNICATORS),
    help="Communicators with which a lowered file must run.  [default: the configuration's, else pair: PyTorch 2.13's]",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def check(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    config: str | None,
    memory_limit: str | None,
    recut: bool,
    lower: str | None,
    communicators: str | None,
    form: str,
) -> None:
    """List every fault of schedule files with its row and column, and the communicators that a lowered file needs.

    Without a configuration, a microbatch holds one unit of memory on each stage.
    """
    from ppopt.evaluation.check import check_schedule_file

    costs = None if config is None and memory_limit is None else pipelines_for_files(config, memory_limit, recut=recut)
    failed = False
    checked: list[dict[str, Any]] = []
    for file in files:
        try:
            report = check_schedule_file(file, costs, lower, communicators)
        except InputError as error:
            failed = True
            checked.append({"file": file, "faults": [{"row": None, "column": None, "message": str(error)}]})
            if form == "text":
                click.echo(str(error))
            continue
        failed = failed or report.failed
        checked.append(report.to_dict())
        _tell(report, form)
    if form == "json":
        click.echo(json.dumps({"files": checked}))
    if failed:
        ctx.exit(2)


def _tell(report: CheckReport, form: str) -> None:
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if form == "json":
        return
    about = f"{report.name}, {report.lowered}" if report.lowered else report.name
    for fault in report.faults:
        click.echo(f"{about}: {fault}")
    for text, names in _together(report.cycles).items():
        click.echo(f"{about}: hangs with {', '.join(names)}: {text}")
    if report.buffers_in_a_line:
        click.echo(f"{about}: {report.buffers_in_a_line}")
    click.echo(report.summary)


def _together(cycles: Mapping[str, str]) -> dict[str, list[str]]:
    """Group communicators that hang in the same cycle."""
    names: dict[str, list[str]] = {}
    for name, text in cycles.items():
        names.setdefault(text, []).append(name)
    return names
