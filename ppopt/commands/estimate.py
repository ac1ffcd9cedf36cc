"""``ppopt estimate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ppopt.commands.finite_number import FINITE
from ppopt.commands.grouped_help import GroupedCommand
from ppopt.commands.pipeline_options import FOR
from ppopt.estimation.division import OPTIMIZERS
from ppopt.estimation.gpus import DTYPES, GPUS
from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.estimation.estimate import Estimate

DEFAULT = ParameterSource.DEFAULT
LISTING = {"gpus", "batch", "most_tensor", "runs_for", "time_limit", "report"}
"""Parameters that belong to the list of splits."""

CHOSEN = {"tensor", "data", "pipeline", "microbatch_size"}
"""Parameters that such a list chooses."""

INFEASIBLE, NOTHING_FOUND = 3, 4
"""The exit statuses if no split fits, and if none was found that does."""

COUNT = click.IntRange(min=1, max=10**6)


@click.command(cls=GroupedCommand)
@click.argument("config", metavar="CONFIG")
@click.option(
    "--seq", type=click.IntRange(1, 10**8), metavar="N", help="Tokens of a sequence.  [default: at most 4096]"
)
@click.option(
    "--microbatch-size", type=COUNT, default=1, show_default=True, metavar="N", help="Sequences of a microbatch."
)
@click.option(
    "--tensor-parallel",
    "tensor",
    type=COUNT,
    default=1,
    show_default=True,
    metavar="N",
    help="GPUs that share each layer, with sequence parallelism.",
)
@click.option(
    "--context-parallel",
    "context",
    type=COUNT,
    default=1,
    show_default=True,
    metavar="N",
    help="GPUs that share each sequence.",
)
@click.option(
    "--expert-parallel",
    "expert",
    type=COUNT,
    default=1,
    show_default=True,
    metavar="N",
    help="GPUs that share the experts of a layer.",
)
@click.option(
    "--data-parallel", "data", type=COUNT, default=1, show_default=True, metavar="N", help="Copies of the pipeline."
)
@click.option(
    "--pipeline-parallel",
    "pipeline",
    type=COUNT,
    metavar="N",
    help="Stages for which to estimate what follows a step, gradients and optimizer.  [default: left out]",
)
@click.option("--gpu", type=click.Choice(GPUS), default="h100", show_default=True, help="The GPU.")
@click.option(
    "--efficiency",
    type=FINITE,
    metavar="X",
    help="The share of the GPU's peak that products of matrices reach.  [default: 0.5]",
)
@click.option(
    "--tflops", type=FINITE, metavar="X", help="The TFLOP/s that the GPU reaches over all, in place of --efficiency."
)
@click.option(
    "--dtype", type=click.Choice(list(DTYPES)), default="bf16", show_default=True, help="Weights and activations."
)
@click.option(
    "--optimizer",
    type=click.Choice(list(OPTIMIZERS)),
    default="adam-mixed",
    show_default=True,
    help="Weights, gradients and optimizer state; distributed shards the state over data-parallel ranks.",
)
@click.option(
    "--flash/--no-flash", default=True, show_default=True, help="Attention in one kernel, which keeps no scores."
)
@click.option(
    "--causal/--full-attention",
    default=True,
    show_default=True,
    help="Count half of the scores of attention, those that are not masked, or all.",
)
@click.option(
    "--recompute",
    type=click.Choice(["none", "selective", "full"]),
    default="full",
    show_default=True,
    help="What a layer may compute again for its backward: nothing, its attention, or all of it.",
)
@click.option(
    "--gpus",
    type=COUNT,
    metavar="N",
    help="List the ways to split N GPUs into tensor, pipeline and data parallel, each with a plan.",
)
@click.option("--global-batch", "batch", type=COUNT, metavar="N", help="With --gpus: sequences of one step.")
@click.option(
    "--max-tensor-parallel", "most_tensor", type=COUNT, metavar="N", help="With --gpus.  [default: the GPUs of a node]"
)
@FOR
@click.option("--time-limit", type=FINITE, default=60.0, show_default=True, metavar="S", help="Seconds, with --gpus.")
@click.option("--report", metavar="FILE.html", help="With --gpus: write a page with the list and the best plans.")
@click.option(
    "-o",
    "--output",
    metavar="FILE.yaml|DIR",
    help="Write the costs there; with --gpus, those of the first ten, into a folder.  [default: standard output]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    help="Print what was counted: parameters, FLOPs and kept bytes of each layer.",
)
@click.pass_context
def estimate(
    ctx: click.Context,
    /,
    config: str,
    output: str | None,
    form: str | None,
    seq: int | None,
    microbatch_size: int,
    dtype: str,
    causal: bool,
    flash: bool,
    gpu: str,
    efficiency: float | None,
    tflops: float | None,
    gpus: int | None,
    batch: int | None,
    most_tensor: int | None,
    runs_for: str | None,
    time_limit: float,
    report: str | None,
    **divided: Any,
) -> None:
    """Estimate the costs of training a model: a configuration of its layers, as all commands take it.

    CONFIG is the config.json of a model as Hugging Face writes it, or its folder. Libraries build the model without
    data and count its FLOPs and what it keeps; speeds are assumed (see docs/how-to/estimate.md).
    """
    from ppopt.estimation.division import Division
    from ppopt.estimation.estimate import Speed, Workload
    from ppopt.estimation.estimate import estimate as take_estimate
    from ppopt.estimation.libraries import MissingLibrariesError
    from ppopt.process.whole_files import check_outputs

    _check_options(ctx)
    check_outputs({"--report": report} if gpus else {"--output": output}, [config])
    how = {name: divided.pop(name) for name in ("optimizer", "recompute", "pipeline")}
    workload, speed = Workload(seq, microbatch_size, dtype, causal, flash), Speed(gpu, efficiency, tflops)
    if gpus is not None and ctx.get_parameter_source("optimizer") is DEFAULT:
        how["optimizer"] = "distributed"
    try:
        found = take_estimate(config, workload, speed, Division() if gpus else Division(**divided), **how)
        if gpus is not None and batch is not None:
            from ppopt.commands.shortlisting import list_splits
            from ppopt.estimation.splits import Cluster

            chosen = ctx.get_parameter_source("expert") is not DEFAULT
            cluster = Cluster(
                gpus,
                batch,
                most_tensor or found.assumed.gpu.gpus_per_node,
                divided["context"],
                divided["expert"] if chosen else None,
            )
            for note in found.model.notes:
                click.echo(f"note: {note}", err=True)
            listed = list_splits(
                found.model,
                found.assumed,
                cluster,
                config=config,
                output=output,
                report=report,
                form=form,
                framework=runs_for,
                time_limit=time_limit,
            )
            ctx.exit(0 if listed.found else NOTHING_FOUND if listed.unplanned else INFEASIBLE)
    except MissingLibrariesError as error:
        click.echo(f"error: {error}", err=True)
        ctx.exit(1)
    _show(found, form, output)


def _check_options(ctx: click.Context) -> None:
    """Refuse options that do not go together."""
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is not DEFAULT}
    options = {each.name: each.opts[0] for each in ctx.command.params}
    if ctx.params["gpus"] is None:
        if alone := sorted(options[name] for name in given & LISTING if name != "gpus"):
            raise InputError(f"{alone[0]}: goes with --gpus, which lists the ways to split that many; give it as well")
        return
    if ctx.params["batch"] is None:
        raise InputError("--global-batch: is missing: the sequences of one step, which the splits of --gpus share")
    if both := sorted(options[name] for name in given & CHOSEN):
        raise InputError(f"{both[0]}: is what --gpus chooses; leave one of the two out")
    if "tflops" in given:
        raise InputError("--tflops: includes communication, which the splits of --gpus differ in; give --efficiency")


def _show(found: Estimate, form: str | None, output: str | None) -> None:
    import json

    from ppopt.process.whole_files import written_whole

    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if form == "json":
        click.echo(json.dumps(found.to_dict()))
    elif form == "table" or output is not None:
        from ppopt.estimation.counts_table import counts_table

        click.echo(counts_table(found.model))
    if output is not None:
        as_json = output.lower().endswith(".json")
        with written_whole(output) as file:
            file.write(json.dumps(found.layers.to_mapping(), indent=2) + "\n" if as_json else found.layers.to_yaml())
        click.echo(f"costs: {output}", err=form == "json")
    elif form is None:
        click.echo(found.layers.to_yaml(), nl=False)
