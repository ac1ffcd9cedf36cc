"""``ppopt measure``."""

from __future__ import annotations

import json
from typing import Any

import click

from ppopt.commands.finite_number import FINITE
from ppopt.estimation.division import OPTIMIZERS
from ppopt.estimation.gpus import DTYPES
from solver.errors import InputError


@click.command()
@click.argument("config", metavar="CONFIG")
@click.option(
    "--seq", type=click.IntRange(1, 10**8), metavar="N", help="Tokens of a sequence.  [default: at most 4096]"
)
@click.option(
    "--microbatch-size",
    type=click.IntRange(1, 10**6),
    default=1,
    show_default=True,
    metavar="N",
    help="Sequences of a microbatch.",
)
@click.option(
    "--dtype", type=click.Choice(list(DTYPES)), help="Weights and activations.  [default: bf16, on a CPU fp32]"
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to run."
)
@click.option("--seconds", type=FINITE, default=60.0, show_default=True, metavar="S", help="Most seconds to repeat in.")
@click.option(
    "--stages",
    "together",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Run whole stages of N layers; the times are of one layer.",
)
@click.option(
    "--optimizer",
    type=click.Choice(list(OPTIMIZERS)),
    default="adam-mixed",
    show_default=True,
    help="What is kept for each parameter.",
)
@click.option(
    "--recompute",
    type=click.Choice(["none", "full"]),
    default="full",
    show_default=True,
    help="What a layer may compute again for its backward: nothing, or all of it.",
)
@click.option("-o", "--output", metavar="FILE.yaml", help="Write the costs there.  [default: standard output]")
@click.option("--spread", metavar="FILE.csv", help="Write how much the times vary, layer by layer.")
@click.pass_context
def measure(ctx: click.Context, /, config: str, output: str | None, spread: str | None, **options: Any) -> None:
    """Measure the costs of training a model on the device that is there: one layer of each kind, embedding and head.

    CONFIG is the config.json of a model, or its folder, as for `ppopt estimate`. Forwards, both halves of backwards and
    whole backwards run with random weights until their medians are precise (see docs/how-to/estimate.md).
    """
    from ppopt.commands.progress_line import ProgressLine
    from ppopt.estimation.libraries import MissingLibrariesError
    from ppopt.estimation.measure import measure as take
    from ppopt.process.whole_files import check_outputs, written_whole

    check_outputs({"--output": output, "--spread": spread}, [config])
    if spread is not None and not spread.lower().endswith(".csv"):
        raise InputError(f"--spread: {spread!r} must end in .csv")
    try:
        with ProgressLine() as line:
            found = take(config, say=line.say_at_times, **options)
    except MissingLibrariesError as error:
        click.echo(f"error: {error}", err=True)
        ctx.exit(1)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    text = found.layers.to_yaml()
    if output is None:
        click.echo(text, nl=False)
    elif output.lower().endswith(".json"):
        text = json.dumps(found.layers.to_mapping(), indent=2) + "\n"
    for what, path, written in (("costs", output, text), ("spread", spread, found.spread_csv())):
        if path is not None:
            with written_whole(path) as file:
                file.write(written)
            click.echo(f"{what}: {path}", err=output is None)
