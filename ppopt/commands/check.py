"""``ppopt check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ppopt.commands.pipeline_options import pipelines_for_files
from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.evaluation.check import CheckReport

_EPILOG = "The exit status is 2 if any file has a fault. See docs/orders.md."


@click.command(epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE.csv...")
@click.option("-c", "--config", metavar="FILE", help="Configuration that the files must agree with, YAML or JSON.")
@click.option("--memory-limit", metavar="X", help="The most memory that a device may hold: a number, or a list.")
@click.option("--recut", is_flag=True, help="Re-partition the model into as many stages as the file has.")
@click.pass_context
def check(
    ctx: click.Context, /, files: tuple[str, ...], config: str | None, memory_limit: str | None, recut: bool
) -> None:
    """Check schedule files: every fault with its row and column.

    A microbatch holds one unit of memory on a stage where no configuration says otherwise.
    """
    from ppopt.evaluation.check import check_schedule_file

    costs = None if config is None and memory_limit is None else pipelines_for_files(config, memory_limit, recut=recut)
    failed = False
    for file in files:
        try:
            report = check_schedule_file(file, costs)
        except InputError as error:
            failed = True
            click.echo(str(error))
            continue
        failed = failed or bool(report.faults)
        _tell(report)
    if failed:
        ctx.exit(2)


def _tell(report: CheckReport) -> None:
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    for fault in report.faults:
        click.echo(f"{report.name}: {fault}")
    click.echo(report.summary)
