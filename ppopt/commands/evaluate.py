"""``ppopt evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from ppopt.commands.exporting import export_option, how_to_export, prepared, read_export_options, write_prepared
from ppopt.commands.finite_number import SEED
from ppopt.commands.grouped_help import GroupedCommand
from ppopt.commands.measuring import check_measuring, compare_with_measured, measuring_options, print_differences
from ppopt.commands.noise_options import (
    LENGTHS,
    NOISE_OPTIONS,
    noise_options,
    print_drawn,
    read_noise,
    with_noise,
)
from ppopt.commands.pipeline_options import (
    OPTION_NAMES,
    cut_options,
    pipeline_options,
    read_with_strategies,
    with_layout,
)
from ppopt.commands.reporting import report_against, report_schedules, tell_internal_errors, tell_mistakes
from solver.errors import InputError
from solver.states import EngineChoice

if TYPE_CHECKING:
    from ppopt.schedules.schedule import Schedule
    from strategies.given_model.stages import CutChoice
    from strategies.model.pipeline import Pipeline
    from strategies.order_files.given_order import Named

_EPILOG = (
    "A strategy may carry options: interleaved:stages=16 cuts the model into 16 stages, interleaved:group_size=8 takes "
    "groups of 8 microbatches. A name that ends in .csv, or the path of a file, is a schedule in PyTorch's format."
)


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("strategies", nargs=-1, metavar="[STRATEGY|FILE.csv]...")
@pipeline_options
@cut_options
@click.option("--engine", type=click.Choice(get_args(EngineChoice)), default="auto", show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--save", metavar="FILE.csv", help="Write the timeline, one row per operation.")
@click.option("--trace", metavar="FILE.json", help="Write a Chrome trace, for Perfetto.")
@click.option("--report", metavar="FILE.html", help="Write a page with timelines and where the time goes.")
@export_option
@how_to_export
@measuring_options
@noise_options
@LENGTHS
@SEED
@click.option("--draw", is_flag=True, help="Draw the timeline in the terminal.")
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    strategies: tuple[str, ...],
    cut: CutChoice,
    layout: str | None,
    engine: EngineChoice,
    form: str,
    save: str | None,
    trace: str | None,
    report: str | None,
    export: str | None,
    forced: bool,
    lowered: bool,
    unshard: bool,
    against: tuple[str, ...],
    unit: str | None,
    draw: bool,
    seed: int,
    **options: Any,
) -> None:
    """Replay published schedules, or your own from files, on your costs and print exact figures.

    Several strategies are compared on the same model, which is re-partitioned for those that need another number of
    stages. A strategy that does not run does not stop the others.
    """
    from ppopt.process.whole_files import check_outputs

    check_outputs(
        {"--save": save, "--trace": trace, "--report": report, "--export": export},
        [options["config"], options["lengths"], options["noise_lengths"], options["spread"], *strategies, *against],
    )
    how = read_export_options("--export FILE.csv", export, forced=forced, lowered=lowered, unshard=unshard)
    drawn, samples = options["noise_lengths"], options["samples"]
    options["samples"] = None if drawn is not None and options["noise"] is None else samples
    noise = read_noise(**{name: options[name] for name in NOISE_OPTIONS}, seed=seed)
    pipeline, names = read_with_strategies(strategies, **{name: options[name] for name in OPTION_NAMES})
    pipeline = with_layout(pipeline, layout)
    if not names:
        raise InputError("strategy: none is named; try `ppopt evaluate 1f1b zb1p`, or see `ppopt strategies`")
    check_measuring(against, unit, names)
    if export is not None and len(names) > 1:
        raise InputError(
            f"--export: takes one schedule; found {len(names)}. `ppopt compare --export-dir` takes several"
        )

    from ppopt.commands.printing import show

    schedules, mistakes, faults = _evaluated(pipeline, names, engine, cut)
    schedules = with_noise(schedules, noise)
    order = None if export is None else prepared(schedules[0], how)
    comparison = compare_with_measured(schedules[0], against, unit) if against else None
    if comparison is not None:
        schedules.append(comparison.measured)
    show(pipeline, schedules, form, draw=draw, noise=noise)
    if comparison is not None:
        print_differences(comparison, form)
    print_drawn(pipeline, schedules, drawn, samples, seed, form)
    _write_timelines(schedules, save, trace)
    if export is not None and order is not None:
        write_prepared(export, order, form)
    if report is not None and comparison is not None:
        report_against(report, form, comparison)
    elif report is not None:
        report_schedules(report, form, options["config"], pipeline, schedules, noise=noise)
    tell_mistakes(mistakes)
    tell_internal_errors(ctx, faults)
    if mistakes:
        ctx.exit(2)


def _evaluated(
    pipeline: Pipeline, names: Sequence[Named], engine: EngineChoice, cut: CutChoice
) -> tuple[list[Schedule], list[str], list[str]]:
    """Evaluate each schedule; list why the others do not run, and internal errors."""
    from ppopt.evaluation.evaluate import evaluate as evaluate_one
    from ppopt.evaluation.evaluate import evaluate_each
    from ppopt.process.internal_error import InternalError

    if len(names) == 1:
        return [evaluate_one(pipeline, names[0], engine, cut=cut)], [], []
    schedules: list[Schedule] = []
    mistakes: list[str] = []
    faults: list[str] = []
    for outcome in evaluate_each(pipeline, names, engine, cut=cut):
        if isinstance(outcome, InternalError):
            faults.append(str(outcome))
        elif isinstance(outcome, InputError):
            mistakes += str(outcome).split("\n")
        else:
            schedules.append(outcome)
    mistakes = list(dict.fromkeys(mistakes))
    if not schedules and faults:
        tell_mistakes(mistakes)
        raise InternalError("\n".join(faults))
    if not schedules:
        raise InputError("\n".join(mistakes))
    return schedules, mistakes, faults


def _write_timelines(schedules: Sequence[Schedule], save: str | None, trace: str | None) -> None:
    from ppopt.commands.printing import save_timelines, write_traces

    if save is not None:
        save_timelines(save, schedules)
    if trace is not None:
        write_traces(trace, schedules)
