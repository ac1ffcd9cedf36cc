"""``ppopt rehearse``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ppopt.commands.finite_number import FINITE
from ppopt.commands.grouped_help import GroupedCommand
from ppopt.commands.pipeline_options import OPTION_NAMES, pipeline_options, read_with_strategies
from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.rehearsal.outcome import Rehearsal


@click.command(cls=GroupedCommand)
@click.argument("schedule", metavar="SCHEDULE")
@pipeline_options
@click.option(
    "--processes", type=int, metavar="N", help="Local processes, one per pipeline rank: the same as --devices."
)
@click.option("--steps", type=int, default=3, show_default=True, metavar="N", help="Measured steps, after a warm-up.")
@click.option(
    "--unit",
    type=click.Choice(["us", "ms", "s"]),
    help="The unit of your times.  [default: the configuration's unit, else ms]",
)
@click.option(
    "--timeout",
    type=FINITE,
    metavar="S",
    help="Seconds after which the processes are stopped.  [default: 60 and five times the predicted time]",
)
@click.option("--save", metavar="FILE.json", help="Write all measurements, for `ppopt profile`.")
@click.option("--trace-dir", metavar="DIR", help="Write a trace of each rank by PyTorch's profiler.")
@click.option(
    "--communicators",
    type=click.Choice(["async", "edge", "pair", "rank"]),
    default="async",
    show_default=True,
    help="Queues of blocking sends and receives: one for each edge, pair of ranks, or rank; async for none.",
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def rehearse(
    ctx: click.Context,
    /,
    schedule: str,
    processes: int | None,
    steps: int,
    unit: str | None,
    timeout: float | None,
    save: str | None,
    trace_dir: str | None,
    communicators: str,
    form: str,
    **options: Any,
) -> None:
    """Run a schedule in PyTorch's pipeline runtime, on local processes whose stages wait as long as they should take.

    SCHEDULE is a strategy as for `ppopt evaluate`, or a file with an order. The prediction is compared with the
    measured step time and activation memory, and the gradients with those of a single process: docs/how-to/rehearse.md.
    """
    from ppopt.process.whole_files import check_outputs

    check_outputs({"--save": save}, [options["config"], options["lengths"], schedule])
    if options["framework"] is not None:
        raise InputError("--framework: a rehearsal runs PyTorch's runtime; choose its queues with --communicators")
    if processes is not None:
        if options["devices"] not in (None, processes):
            raise InputError(f"--processes: must be the number of devices, {options['devices']}; found {processes}")
        options["devices"] = processes
    pipeline, (named,) = read_with_strategies((schedule,), **{name: options[name] for name in OPTION_NAMES})

    from ppopt.rehearsal.crew import RehearsalError
    from ppopt.rehearsal.rehearsing import rehearse as run

    try:
        result = run(
            pipeline,
            named,
            steps=steps,
            unit=unit,
            timeout=timeout,
            trace_dir=trace_dir,
            communicators=communicators,
        )
    except RehearsalError as error:
        for line in str(error).split("\n"):
            click.echo(f"error: {line}", err=True)
        ctx.exit(1)
    _show(result, form, save)


def _show(result: Rehearsal, form: str, save: str | None) -> None:
    import json

    from ppopt.process.whole_files import written_whole

    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    if form == "json":
        click.echo(json.dumps(result.to_dict(), allow_nan=False))
    else:
        from ppopt.rehearsal.summary import summary

        click.echo(summary(result))
    if save is not None:
        with written_whole(save) as file:
            json.dump(result.to_dict(), file, allow_nan=False)
            file.write("\n")
