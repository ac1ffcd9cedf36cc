"""``ppopt optimize``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args

import click

from ppopt.commands.exporting import export_option, how_to_export, prepared, read_export_options, write_prepared
from ppopt.commands.finite_number import FINITE, SEED
from ppopt.commands.grouped_help import GroupedCommand
from ppopt.commands.noise_options import NOISE_OPTIONS, noise_options, read_noise, with_noise
from ppopt.commands.pipeline_options import (
    FOR,
    OPTION_NAMES,
    cut_options,
    pipeline_options,
    read_pipeline,
    with_layout,
)
from ppopt.commands.reporting import load_page, report_schedules, tell_internal_errors
from solver.errors import InfeasibleError, InputError, TimeTooShortError
from solver.states import Objective
from strategies.model.placements import PLACEMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ppopt.noise.noise import Noise
    from ppopt.optimization.options import SearchOptions
    from ppopt.process.time_limit import TimeLimit
    from ppopt.schedules.export import ExportOptions
    from ppopt.schedules.schedule import Schedule
    from strategies.given_model.stages import CutChoice
    from strategies.model.pipeline import Pipeline

PLACEMENTS_OR_ALL = (*PLACEMENTS, "all")


@click.command(cls=GroupedCommand)
@pipeline_options
@cut_options
@click.option("--placement", type=click.Choice(PLACEMENTS_OR_ALL), help="[default: linear; with --for, all]")
@FOR
@click.option(
    "--feed",
    metavar="SCHEDULE",
    help="Search only for the order in which to feed microbatches that differ to this schedule.",
)
@click.option("--full-backward", is_flag=True, help="Keep backwards whole (B) instead of splitting them into I and W.")
@click.option("--overlap", is_flag=True, help="Let any forward run in one block with any full backward on its device.")
@click.option("--offload", is_flag=True, help="Choose which activations are copied to the host and back.")
@click.option("--objective", type=click.Choice(get_args(Objective)), default="makespan", show_default=True)
@click.option("--time-limit", type=FINITE, default=60.0, show_default=True, metavar="S", help="Seconds.")
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Cores to use.  [default: all, up to 16]")
@SEED
@noise_options
@click.option(
    "--robust", is_flag=True, help="Take the schedule with the least mean under noise, of those that the search met."
)
@click.option("--explain", "explained", is_flag=True, help="Explain the bound and what would help.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--save", metavar="FILE.csv", help="Write the timeline, one row per operation.")
@click.option("--trace", metavar="FILE.json", help="Write a Chrome trace, for Perfetto.")
@click.option("--report", metavar="FILE.html", help="Write a page with timelines and where the time goes.")
@export_option
@how_to_export
@click.option("--draw", is_flag=True, help="Draw the timeline in the terminal.")
@click.pass_context
def optimize(
    ctx: click.Context,
    /,
    cut: CutChoice,
    layout: str | None,
    placement: str | None,
    runs_for: str | None,
    feed: str | None,
    full_backward: bool,
    overlap: bool,
    offload: bool,
    objective: Objective,
    time_limit: float,
    workers: int | None,
    seed: int,
    robust: bool,
    explained: bool,
    form: str,
    save: str | None,
    trace: str | None,
    report: str | None,
    export: str | None,
    forced: bool,
    lowered: bool,
    unshard: bool,
    draw: bool,
    **options: Any,
) -> None:
    """Search for the best schedule on your costs and within your memory, and prove how good it is.

    The table also shows every published schedule that runs on the same placement. Ctrl-C ends the search with the
    best so far.
    """
    from ppopt.process.whole_files import check_outputs

    placement = placement or ("linear" if runs_for is None else "all")
    outputs = {"--save": save, "--trace": trace, "--report": report, "--export": export}
    check_outputs(outputs, [options["config"], options["lengths"], options["spread"]])
    how = read_export_options("--export FILE.csv", export, forced=forced, lowered=lowered, unshard=unshard)
    _check_export(export, placement, forced)
    pipeline, _ = read_pipeline(**{name: options[name] for name in OPTION_NAMES})
    pipeline = with_layout(pipeline, layout)
    noise = _read_noise(options, seed, pipeline, robust=robust)
    files = _Files(save, trace, report, export, how, form, options["config"])
    if feed is not None:
        _search_feed(pipeline, feed, time_limit, seed, cut, files, noise, draw=draw)
        return

    from ppopt.commands.printing import show_optimized
    from ppopt.optimization.options import SearchOptions
    from ppopt.process.time_limit import DRAWING, REPORTING, SAVING, TRACING, Afterwards, TimeLimit
    from solver.budget import FILES

    if report is not None:
        load_page()
    wanted = SearchOptions(
        placement=placement,
        split_backward=not full_backward,
        overlap=overlap,
        objective=objective,
        time_limit=time_limit,
        workers=workers,
        seed=seed,
        cut=cut,
        periodic=report is None and noise is None,
        robust=noise if robust else None,
        framework=runs_for,
        offload=offload,
    )
    afterwards = Afterwards(
        beside=True,
        explained=explained,
        bounded=report is not None,
        exported=export is not None,
        lowered=lowered,
        per_result=SAVING * (save is not None) + TRACING * (trace is not None),
        per_schedule=REPORTING * (report is not None) + (0.0 if noise is None else DRAWING * noise.samples),
    )
    limit = TimeLimit(time_limit, afterwards)
    results = _search_each(pipeline, wanted, limit)
    results.draw_times(noise, limit)
    for reason in (*results.infeasible, *results.undecided):
        click.echo(reason, err=True)
    if not results.found:
        tell_internal_errors(ctx, results.faults)
        ctx.exit(4 if results.undecided else 3)
    if overlap and not any(map(_has_saving_blocks, results.found)):
        click.echo(
            "note: --overlap: no block is shorter than its halves one after the other; set the key overlap (0 to less "
            "than 2) of the configuration to the part of the shorter half that a block saves",
            err=True,
        )
    show_optimized(pipeline, results.found, results.beside, form, draw=draw, texts=results.texts, noise=noise)
    with limit.running(FILES, limit.owed):
        files.write(pipeline, results.found, results.beside, limit.bounds_end, noise)
    tell_internal_errors(ctx, results.faults)


@dataclass(frozen=True)
class _Files:
    """The files that the options ask for."""

    save: str | None
    trace: str | None
    report: str | None
    export: str | None
    how: ExportOptions
    form: str
    config: str | None

    def write(
        self,
        pipeline: Pipeline,
        found: Sequence[Schedule],
        beside: Sequence[Schedule],
        deadline: float | None = None,
        noise: Noise | None = None,
    ) -> None:
        """Write all of them."""
        from ppopt.commands.printing import save_timelines, write_traces

        if self.save:
            save_timelines(self.save, found)
        if self.trace:
            write_traces(self.trace, found)
        if self.export is not None:
            write_prepared(self.export, prepared(found[0], self.how), self.form)
        if self.report is not None:
            report_schedules(self.report, self.form, self.config, pipeline, beside, deadline=deadline, noise=noise)


def _search_feed(
    pipeline: Pipeline,
    feed: str,
    time_limit: float,
    seed: int,
    cut: CutChoice,
    files: _Files,
    noise: Noise | None,
    *,
    draw: bool,
) -> None:
    """Search for the order of feeding a given schedule, and show it."""
    from ppopt.commands.printing import show
    from ppopt.optimization.best_feed import best_feed

    try:
        found = best_feed(pipeline, feed, time_limit=time_limit, seed=seed, cut=cut)
    except InputError as error:
        raise InputError(f"--feed: {str(error).removeprefix('feed: ')}") from None
    shown = with_noise([found], noise)
    show(pipeline, shown, files.form, draw=draw, noise=noise)
    files.write(pipeline, shown, shown, noise=noise)


@dataclass
class _Results:
    """The schedules found, published ones for comparison, explanations, and reasons for placements without a schedule.

    ``faults`` are internal errors on single placements.
    """

    found: list[Schedule] = field(default_factory=list)
    beside: list[Schedule] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    infeasible: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)

    def tell_why_not(self, outcome: Exception) -> None:
        """Record why a placement has no schedule."""
        if isinstance(outcome, TimeTooShortError):
            self.undecided.append(str(outcome))
        elif isinstance(outcome, InfeasibleError):
            self.infeasible.append(str(outcome))
        else:
            self.faults.append(str(outcome))

    def draw_times(self, noise: Noise | None, limit: TimeLimit) -> None:
        """Replay all schedules with drawn times, if noise is given."""
        noisy = dict(zip(map(id, self.beside), with_noise(self.beside, noise, limit.ends), strict=True))
        self.found = [noisy[id(schedule)] for schedule in self.found]
        self.beside = list(noisy.values())


def _search_each(pipeline: Pipeline, wanted: SearchOptions, limit: TimeLimit) -> _Results:
    """Search each placement, and evaluate the published schedules shown with its result in the same turn."""
    from ppopt.commands.printing import with_published
    from ppopt.commands.progress_line import ProgressLine
    from ppopt.optimization.explain import explain_within
    from ppopt.optimization.optimize import optimize_each
    from ppopt.process.internal_error import InternalError
    from ppopt.schedules.schedule import Schedule
    from solver.budget import BESIDE, EXPLANATION

    results = _Results()
    with ProgressLine() as line:
        for outcome in optimize_each(pipeline, replace(wanted, progress=line.show), limit):
            if not isinstance(outcome, Schedule):
                results.tell_why_not(outcome)
                continue
            if not outcome.is_searched:  # the best of all that a framework runs: nothing is left to show beside it
                results.found.append(outcome)
                results.beside.append(outcome)
                continue
            line.say("evaluating published schedules")
            try:
                with limit.running(BESIDE):
                    schedule, *published = with_published(outcome, limit, wanted.runs_for)
            except InternalError as error:
                results.faults.append(str(error))
                schedule, published = outcome, []
            results.found.append(schedule)
            results.beside += [schedule, *published]
            if limit.afterwards.explained:
                line.say("explaining")
                with limit.running(EXPLANATION):
                    results.texts.append(explain_within(limit, schedule))
            line.say("")
    return results


def _read_noise(options: dict[str, Any], seed: int, pipeline: Pipeline, *, robust: bool) -> Noise | None:
    noise = read_noise(**{name: options[name] for name in NOISE_OPTIONS}, seed=seed)
    if noise is not None:
        noise.refuse_unknown_devices(pipeline.devices)
    elif robust:
        raise InputError("--robust: needs to know how times vary; give --noise, --spread or --noise-device as well")
    return noise


def _has_saving_blocks(schedule: Schedule) -> bool:
    from strategies.problem.fusing import saving_blocks

    return bool(saving_blocks(schedule.pipeline, schedule.layout, split_backward=schedule.allowed.split_backward)[1])


def _check_export(export: str | None, placement: str, forced: bool) -> None:
    """Refuse, before the search, a result that could not be exported."""
    if export is not None and placement == "all":
        raise InputError("--export: takes one schedule; --placement all finds one for each, so choose one of them")
    if export is not None and PLACEMENTS[placement].copies > 1 and not forced:
        raise InputError(
            "--export: PyTorch's runtime cannot run bidirectional schedules; --force-order-only writes the order anyway"
        )
