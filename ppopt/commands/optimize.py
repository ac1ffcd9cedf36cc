"""``ppopt optimize``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ppopt.commands.exporting import check_forced, export_option, force_option, prepared, write_prepared
from ppopt.commands.finite_number import FINITE
from ppopt.commands.pipeline_options import OPTION_NAMES, pipeline_options, read_pipeline
from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.finished import Schedule

PLACEMENTS = ("linear", "interleaved", "v", "bidirectional", "all")


@click.command()
@pipeline_options
@click.option("--placement", type=click.Choice(PLACEMENTS), default="linear", show_default=True)
@click.option("--full-backward", is_flag=True, help="Backwards are whole (B), not split into I and W.")
@click.option("--overlap", is_flag=True, help="Any forward may run in one block with any full backward on its device.")
@click.option("--objective", type=click.Choice(["makespan", "span"]), default="makespan", show_default=True)
@click.option("--time-limit", type=FINITE, default=60.0, show_default=True, metavar="S", help="Seconds.")
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Threads of CP-SAT.  [default: at most 2]")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="For all that is random.")
@click.option("--explain", "explained", is_flag=True, help="Say what holds the bound and what would help.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--save", metavar="FILE.csv", help="Write the timeline, a row an operation.")
@click.option("--trace", metavar="FILE.json", help="Write a Chrome trace, for Perfetto.")
@click.option("--report", metavar="FILE.html", help="Write a page with timelines and where the time goes.")
@export_option
@force_option
@click.option("--draw", is_flag=True, help="Draw the timeline with characters.")
@click.pass_context
def optimize(
    ctx: click.Context,
    /,
    placement: str,
    full_backward: bool,
    overlap: bool,
    objective: str,
    time_limit: float,
    workers: int | None,
    seed: int,
    explained: bool,
    form: str,
    save: str | None,
    trace: str | None,
    report: str | None,
    export: str | None,
    forced: bool,
    draw: bool,
    **options: Any,
) -> None:
    """Search for the best schedule on your costs and within your memory, and prove how good it is.

    The table puts beside it every published schedule that runs on the same placement. Ctrl-C ends the search with the
    best so far.
    """
    from ppopt.output_file import check_outputs

    outputs = {"--save": save, "--trace": trace, "--report": report, "--export": export}
    check_outputs(outputs, [options["config"]])
    _check_export(export, placement, forced)
    pipeline, _ = read_pipeline(**{name: options[name] for name in OPTION_NAMES})

    from ppopt.commands.progress_line import ProgressLine
    from ppopt.finished import Schedule
    from ppopt.optimization import SearchOptions, optimize_each
    from ppopt.output import save_timelines, show_optimized, with_published, write_traces

    with ProgressLine() as line:
        wanted = SearchOptions(
            placement=placement,
            split_backward=not full_backward,
            overlap=overlap,
            objective=objective,
            time_limit=time_limit,
            workers=workers,
            seed=seed,
            progress=line.show,
        )
        outcomes = list(optimize_each(pipeline, wanted))
    found = [outcome for outcome in outcomes if isinstance(outcome, Schedule)]
    for outcome in outcomes:
        if not isinstance(outcome, Schedule):
            click.echo(str(outcome), err=True)
    if not found:
        ctx.exit(3)
    if overlap and not any(_has_saving_blocks(each, split_backward=not full_backward) for each in found):
        click.echo(
            "note: --overlap: no block is shorter than its halves one after the other; the key overlap (0 to 1) of the "
            "configuration says what part of the shorter half it saves",
            err=True,
        )
    allowed = {"split_backward": not full_backward, "overlap": overlap}
    beside = with_published(found, **allowed)
    show_optimized(pipeline, found, beside, form, draw=draw, explained=explained, **allowed)
    if save:
        save_timelines(save, found)
    if trace:
        write_traces(trace, found)
    if export is not None:
        write_prepared(export, prepared(found[0], forced=forced), form)
    if report is not None:
        from ppopt.commands.reporting import report_schedules

        report_schedules(report, form, options["config"], pipeline, beside, **allowed)


def _has_saving_blocks(schedule: Schedule, *, split_backward: bool) -> bool:
    from strategies.fusing import find_saving_blocks

    return bool(find_saving_blocks(schedule.pipeline, schedule.layout, split_backward=split_backward).durations)


def _check_export(export: str | None, placement: str, forced: bool) -> None:
    """Refuse before the search what could not be exported after it."""
    check_forced("--export FILE.csv", export, forced)
    if export is not None and placement == "all":
        raise InputError("--export: takes one schedule; --placement all finds one for each, so choose one of them")
    if export is not None and placement == "bidirectional" and not forced:
        raise InputError(
            "--export: PyTorch's runtime cannot run bidirectional schedules; --force-order-only writes the order anyway"
        )
